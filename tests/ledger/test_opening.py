"""One owner, many readers; made, migrated, taken over from the last run; and every refusal in words."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
from importlib import resources
from pathlib import Path

import pytest

from agent.ledger import Ledger, LedgerLocked, LedgerUnusable
from tests.ledger.given import behind_the_back, claimed, delivery_of, fetched, opened, shot

VERSIONS = len(list(resources.files("agent").joinpath("schema").iterdir()))


def version_of(folder: Path) -> int:
    with behind_the_back(folder) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


async def test_a_new_folder_becomes_a_ledger(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    ledger = await Ledger.open(folder)
    assert await ledger.views.counts() == {"files": {}, "deliveries": {"verified": 0}}
    await ledger.close()
    assert version_of(folder) == VERSIONS
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "ledger.db").stat().st_mode) == 0o600


async def test_epoch_and_owner_stay_and_differ_between_installations(tmp_path: Path) -> None:
    first = await Ledger.open(tmp_path / "a")
    await first.close()
    again, other = await Ledger.open(tmp_path / "a"), await Ledger.open(tmp_path / "b")
    assert (first.epoch, first.owner) == (again.epoch, again.owner)
    assert len(first.epoch) == 16 and first.owner.isalnum()
    assert first.epoch != other.epoch and first.owner != other.owner
    await again.close()
    await other.close()


async def test_a_newer_ledger_is_refused_in_words_and_left_alone(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    with behind_the_back(tmp_path) as db:
        db.execute(f"PRAGMA user_version={VERSIONS + 1}")
    for opening in (Ledger.open, Ledger.open_to_read):
        with pytest.raises(LedgerUnusable, match="newer hotshoe"):
            await opening(tmp_path)
    assert version_of(tmp_path) == VERSIONS + 1


async def test_an_older_ledger_is_not_read_before_it_is_migrated(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "ledger.db").close()
    with behind_the_back(tmp_path) as db:
        db.execute("CREATE TABLE x (y)")
    with pytest.raises(LedgerUnusable, match="older hotshoe"):
        await Ledger.open_to_read(tmp_path)


async def test_a_migration_that_fails_leaves_the_version_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.ledger import store

    good = store._scripts()
    bad = tmp_path / "9999.sql"
    bad.write_text("CREATE TABLE extra (x); CREATE TABLE counter (x);")
    monkeypatch.setattr(store, "_scripts", lambda: [*good, bad])
    with pytest.raises(LedgerUnusable, match="counter already exists"):
        await Ledger.open(tmp_path / "state")
    assert version_of(tmp_path / "state") == VERSIONS
    with behind_the_back(tmp_path / "state") as db:
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'extra'").fetchall()
    bad.write_text("CREATE TABLE extra (x);")
    await (await Ledger.open(tmp_path / "state")).close()
    assert version_of(tmp_path / "state") == VERSIONS + 1


async def test_a_second_owner_is_refused_in_words(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerLocked, match="another hotshoe is running") as refusal:
        await Ledger.open(tmp_path)
    assert str(tmp_path) in str(refusal.value)
    await fetched(ledger)  # the first is not disturbed
    await ledger.close()
    await (await Ledger.open(tmp_path)).close()


_HOLD = """
import asyncio, sys
from pathlib import Path
from agent.ledger import Ledger
async def main():
    await Ledger.open(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


async def test_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLD, tmp_path, stdout=pipe, stdin=pipe
    )
    assert other.stdout is not None and await other.stdout.readline() == b"held\n"
    with pytest.raises(LedgerLocked):
        await Ledger.open(tmp_path)
    other.kill()
    await other.wait()
    await (await Ledger.open(tmp_path)).close()


async def test_reading_beside_the_writer_and_after_it(ledger: Ledger, tmp_path: Path) -> None:
    reader = await Ledger.open_to_read(tmp_path)
    assert (reader.epoch, reader.owner) == (ledger.epoch, ledger.owner)
    file_id = await fetched(ledger)
    assert [row["id"] for row in await reader.views.files()] == [file_id]  # what is committed is seen at once
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="opened to read"):
            await reader.orders.retry(None)
    await reader.close()
    await ledger.close()
    later = await Ledger.open_to_read(tmp_path)
    assert [row["id"] for row in await later.views.files()] == [file_id]
    await later.close()


async def test_no_ledger_to_read(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="there is no ledger to read"):
        await Ledger.open_to_read(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_damaged_ledger_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database " * 1000)
    for opening in (Ledger.open, Ledger.open_to_read):
        with pytest.raises(LedgerUnusable, match=r"ledger\.db"):
            await opening(tmp_path)


async def test_a_state_folder_that_is_a_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("x")
    with pytest.raises(LedgerUnusable, match="cannot use the state folder"):
        await Ledger.open(tmp_path / "state")


async def test_a_refused_open_leaves_no_lock_behind(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database " * 1000)
    with pytest.raises(LedgerUnusable):
        await Ledger.open(tmp_path)
    (tmp_path / "ledger.db").unlink()
    await (await Ledger.open(tmp_path)).close()
    assert not [fd for fd in os.listdir("/proc/self/fd") if str(tmp_path) in _target(fd)]


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


async def test_a_restart_queues_what_was_uploading_and_lets_nothing_wait_for_the_clock(
    tmp_path: Path,
) -> None:
    ledger = await opened(tmp_path)
    first = await fetched(ledger)
    second = await fetched(ledger, shot("IMG_0002.JPG"))
    held = await fetched(ledger, shot("IMG_0003.JPG"))
    await ledger.files.hold_file(held, "camera", "camera.busy", "", "2999-01-01T00:00:00.000Z")
    for _ in range(2):
        job = await claimed(ledger)
        if job.file_id == first:
            await ledger.deliveries.postpone(
                job.id, waiting_for="retry", code="x.y", next_try_at="2999-01-01T00:00:00.000Z"
            )
    await ledger.close()
    ledger = await Ledger.open(tmp_path)
    for file_id in (first, second, held):
        delivery = await delivery_of(ledger, file_id)
        assert (delivery["state"], delivery["next_try_at"]) == ("queued", None)
    row = await ledger.files.file(held)
    assert row is not None and row["next_try_at"] is None and row["fault_code"] == "camera.busy"
    await ledger.close()


async def test_the_boot_id_is_kept(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path)
    assert await ledger.last_boot_id() is None
    await ledger.keep_boot_id("boot 1")
    await ledger.keep_boot_id("boot 2")
    await ledger.close()
    ledger = await Ledger.open(tmp_path)
    assert await ledger.last_boot_id() == "boot 2"
    await ledger.close()
