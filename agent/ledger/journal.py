"""The journal of what was deleted from cards: begun before the camera is asked, ended with what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from agent.ledger.store import Row, Store, shielded, utc_now

STANDING = "('started', 'unknown', 'deleted')"


class Proven(msgspec.Struct, frozen=True):
    """A delivery that justified a deletion, as it stood then."""

    destination: str
    proof: str
    checksum: str | None
    location: str | None
    done_at: str


class Open(msgspec.Struct, frozen=True):
    """A deletion of which nobody knows what came, and the file that it is about."""

    id: int
    file_id: int
    started_at: str
    storage: int
    folder: str
    name: str
    size: int
    captured: str


Judge = Callable[[Row], Sequence[Proven]]
"""Given a file with its `deliveries` and `attempts`: what justifies deleting it; nothing if nothing does."""


class Journal:
    def __init__(self, store: Store):
        self._store = store

    async def deletable(self, serial: str, storage: int, folder: str, names: Sequence[str]) -> list[Row]:
        """Files of these names that were taken off the card and may be on it still, with deliveries and attempts."""
        rows = await self._store.all(
            "SELECT f.* FROM file f WHERE f.serial = ? AND f.storage = ? AND f.folder = ?"
            f" AND f.name IN ({', '.join('?' * len(names))}) AND f.state IN ('fetched', 'evicted')"
            f" AND NOT EXISTS (SELECT 1 FROM deletion x WHERE x.file_id = f.id AND x.state IN {STANDING})",
            *(serial, storage, folder, *names),
        )
        return await self._with_history([dict(row) for row in rows])

    async def page(self, after_id: int, limit: int = 500) -> list[Row]:
        """Files in order of their ids, each with its camera's name, its deliveries and its attempts at deleting it."""
        rows = await self._store.all(
            "SELECT f.*, c.name AS camera FROM file f JOIN camera c ON c.serial = f.serial WHERE f.id > ? ORDER BY f.id LIMIT ?",
            *(after_id, limit),
        )
        return await self._with_history([dict(row) for row in rows])

    @shielded
    async def begin(self, file_id: int, by: str, judge: Judge) -> int | None:
        """Note, durably, that the camera will be asked now; None if nothing justifies it (any more).

        `judge` sees the file as it is in the very transaction that notes it.
        """
        async with self._store.transaction(durable=True):
            rows = await self._store.all(
                "SELECT f.* FROM file f WHERE f.id = ? AND f.state IN ('fetched', 'evicted')"
                f" AND NOT EXISTS (SELECT 1 FROM deletion x WHERE x.file_id = f.id AND x.state IN {STANDING})",
                file_id,
            )
            proofs = judge((await self._with_history([dict(rows[0])]))[0]) if rows else ()
            if not proofs:
                return None
            row = await self._store.one(
                "INSERT INTO deletion (file_id, state, asked_by, proofs, started_at) VALUES (?, 'started', ?, ?, ?) RETURNING id",
                *(file_id, by, msgspec.json.encode(list(proofs)).decode(), utc_now()),
            )
        return int(row["id"])

    @shielded
    async def end(self, deletion_id: int, state: str, code: str | None = None, detail: str = "") -> None:
        """Note what came of it: 'deleted', 'refused' (with the camera's `code`), 'kept' (nothing was deleted), or 'unknown'."""
        ended_at = None if state == "unknown" else utc_now()
        async with self._store.transaction(durable=True):
            await self._store.do(
                "UPDATE deletion SET state = ?, fault_code = ?, detail = ?, ended_at = ? WHERE id = ? AND state IN"
                " ('started', 'unknown')",
                *(state, code, detail, ended_at, deletion_id),
            )

    async def open(self, serial: str) -> list[Open]:
        """Deletions on this camera's cards that were begun and never ended."""
        rows = await self._store.all(
            "SELECT x.id, x.file_id, x.started_at, f.storage, f.folder, f.name, f.size_bytes AS size, f.captured"
            " FROM deletion x JOIN file f ON f.id = x.file_id WHERE x.state IN ('started', 'unknown') AND f.serial = ?"
            " ORDER BY x.id",
            serial,
        )
        return [msgspec.convert(dict(row), Open) for row in rows]

    async def was_known(
        self, serial: str, storage: int, folder: str, name: str, size: int, captured: str, before: str
    ) -> bool:
        """Whether the file was seen before that time (UTC): then the card that it is on was in the camera by then."""
        rows = await self._store.all(
            "SELECT 1 FROM file WHERE serial = ? AND storage = ? AND folder = ? AND name = ? AND size_bytes = ?"
            " AND captured = ? AND discovered_at < ? LIMIT 1",
            *(serial, storage, folder, name, size, captured, before),
        )
        return bool(rows)

    async def is_deleted(self, file_id: int) -> bool:
        """Whether the file was deleted from its card, or may have been."""
        return bool(
            await self._store.all(
                f"SELECT 1 FROM deletion WHERE file_id = ? AND state IN {STANDING}", file_id
            )
        )

    async def entries(self, *, after_id: int = 0, limit: int = 500) -> list[Row]:
        """The journal, oldest first: each entry with its file's facts and its camera; `proofs` as a list."""
        rows = await self._store.all(
            "SELECT x.id, x.file_id, x.state, x.asked_by, x.proofs, x.fault_code, x.detail, x.started_at, x.ended_at, x.seq,"
            " c.name AS camera, f.serial, f.storage, f.folder, f.name, f.size_bytes, f.captured, f.sha256"
            " FROM deletion x JOIN file f ON f.id = x.file_id JOIN camera c ON c.serial = f.serial"
            " WHERE x.id > ? ORDER BY x.id LIMIT ?",
            *(after_id, limit),
        )
        return [{**dict(row), "proofs": msgspec.json.decode(row["proofs"])} for row in rows]

    async def _with_history(self, files: list[Row]) -> list[Row]:
        ids = [row["id"] for row in files]
        marks = ", ".join("?" * len(ids)) or "NULL"
        deliveries = await self._store.all(
            "SELECT file_id, destination, state, proof, checksum, location, done_at FROM delivery"
            f" WHERE file_id IN ({marks}) ORDER BY destination",
            *ids,
        )
        attempts = await self._store.all(
            f"SELECT file_id, state, fault_code, ended_at FROM deletion WHERE file_id IN ({marks}) ORDER BY id",
            *ids,
        )
        by_id = {row["id"]: row for row in files}
        for row in files:
            row["deliveries"], row["attempts"] = [], []
        for kind, found in (("deliveries", deliveries), ("attempts", attempts)):
            for each in found:
                by_id[each["file_id"]][kind].append(dict(each))
        return files
