"""Rows in any state, reached by the ledger's own methods alone."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent.ledger import Job, Ledger, NewDelivery, NewFile, Outcome

SERIAL = "0123456789"
RECEIPT = Outcome(
    proof="readback", exclusive="atomic", checksum="sha256:00", location="/photos/x", version=None
)
SIZE_ONLY = msgspec.structs.replace(RECEIPT, proof="size")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def shot(
    name: str = "IMG_0001.JPG",
    *,
    storage: int = 1,
    folder: str = "100CANON",
    size: int | None = 1000,
    captured: str = "2024-05-01T10:00:00",
    rank: int = 0,
    kind: str = "jpeg",
    serial: str = SERIAL,
    skipped_by: str | None = None,
) -> NewFile:
    return NewFile(
        storage=storage,
        folder=folder,
        name=name,
        captured=captured,
        size=size,
        identity=None if size is None else sha256(f"{serial}/{storage}/{folder}/{name}/{size}/{captured}"),
        kind=kind,
        rank=rank,
        shot=1,
        handle=7,
        is_protected=None,
        seen_by="scan",
        skipped_by=skipped_by,
        skip_reason=None if skipped_by is None else "because",
    )


def keys_of(file: NewFile) -> tuple[str, str, str]:
    """The three keys that routing would give under the template ``{name}``."""
    stem, _, extension = file.name.rpartition(".")
    identity = file.identity or ""
    return file.name, f"{stem}-{identity[:6]}.{extension}", f"{stem}-{identity[:16]}.{extension}"


async def opened(folder: Path, *serials: str) -> Ledger:
    ledger = await Ledger.open(folder)
    for serial in serials or (SERIAL,):
        await ledger.cameras.meet_camera(serial, True, "main", ("Canon", "EOS R7", "1.0"), ("host", 15740))
    return ledger


async def discovered(ledger: Ledger, file: NewFile | None = None, *, serial: str = SERIAL) -> int:
    (file_id,) = await ledger.files.discover(serial, [file or shot()])
    return file_id


async def fetching(
    ledger: Ledger,
    file: NewFile | None = None,
    to: Sequence[str] = ("archive",),
    *,
    serial: str = SERIAL,
    keys: tuple[str, str, str] | None = None,
) -> int:
    file = file or shot()
    file_id = await discovered(ledger, file, serial=serial)
    owed = [NewDelivery(each, keys or keys_of(file)) for each in to]
    assert await ledger.files.begin_fetch(file_id, 7, from_zero=True, owed=owed) == 1
    return file_id


async def fetched(
    ledger: Ledger,
    file: NewFile | None = None,
    to: Sequence[str] = ("archive",),
    *,
    content: str = "content",
    serial: str = SERIAL,
) -> int:
    file_id = await fetching(ledger, file, to, serial=serial)
    assert await ledger.files.finish_fetch(file_id, sha256(content), None)
    return file_id


async def claimed(ledger: Ledger, destination: str = "archive", growing: Sequence[int] = ()) -> Job:
    job = await ledger.deliveries.claim(destination, growing)
    assert job is not None
    return job


async def done(
    ledger: Ledger,
    file: NewFile | None = None,
    to: Sequence[str] = ("archive",),
    *,
    outcome: Outcome = RECEIPT,
    content: str = "content",
) -> int:
    """A file that is delivered everywhere. Nothing else may be claimable meanwhile."""
    file_id = await fetched(ledger, file, to, content=content)
    for destination in to:
        job = await claimed(ledger, destination)
        assert job.file_id == file_id
        assert await ledger.deliveries.finish_delivery(job.id, outcome)
    return file_id


async def state_of(ledger: Ledger, file_id: int) -> str:
    row = await ledger.files.file(file_id)
    assert row is not None
    return str(row["state"])


async def delivery_of(ledger: Ledger, file_id: int, destination: str = "archive") -> dict[str, object]:
    (row,) = await ledger.views.files(after_id=file_id - 1, limit=1)
    assert row["id"] == file_id
    (delivery,) = [each for each in row["deliveries"] if each["destination"] == destination]
    return dict(delivery)


def behind_the_back(folder: Path) -> sqlite3.Connection:
    """The file itself, as any other program would open it."""
    db = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    db.execute("PRAGMA foreign_keys=ON")
    return db
