"""Waiting for a change, and for a disk that is full or a file that somebody else holds."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import structlog

from agent.ledger import Ledger, LedgerLocked, store
from tests.ledger.given import claimed, delivery_of, discovered, fetched, opened, shot, state_of

TIMEOUT = 10


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RETRY_SECONDS", 0.005)


async def test_a_change_wakes_everybody_once(ledger: Ledger) -> None:
    seen = ledger.changes
    waits = [asyncio.create_task(ledger.wait_for_change(seen)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    file_id = await discovered(ledger)
    async with asyncio.timeout(TIMEOUT):
        assert set(await asyncio.gather(*waits)) == {ledger.changes}
    assert await state_of(ledger, file_id) == "discovered", "what is woken for can be read"


async def test_a_change_before_the_wait_is_not_missed(ledger: Ledger) -> None:
    seen = ledger.changes
    await discovered(ledger)
    async with asyncio.timeout(TIMEOUT):
        assert await ledger.wait_for_change(seen) > seen


async def test_a_wait_that_was_given_up_takes_nothing_from_the_others(ledger: Ledger) -> None:
    first, second = (asyncio.create_task(ledger.wait_for_change(ledger.changes)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    ledger.wake()
    async with asyncio.timeout(TIMEOUT):
        await second


async def test_a_failed_transaction_changes_nothing_and_wakes_nobody(ledger: Ledger) -> None:
    await fetched(ledger)
    before = ledger.changes
    bad = [shot("new.JPG"), shot("bad.JPG", size=-1)]
    with pytest.raises(sqlite3.IntegrityError):
        await ledger.files.discover("0123456789", bad)
    assert ledger.changes == before
    assert [row["name"] for row in await ledger.views.files()] == ["IMG_0001.JPG"]
    await discovered(ledger, shot("next.JPG"))  # and the next one works


async def test_a_cancelled_caller_leaves_a_whole_transaction(ledger: Ledger) -> None:
    files = [shot(f"{n}.JPG") for n in range(50)]
    task = asyncio.create_task(ledger.files.discover("0123456789", files))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    seen = ledger.changes
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(TIMEOUT):
        await ledger.wait_for_change(seen)
    assert len(await ledger.views.files()) == 50


@asynccontextmanager
async def full_disk(ledger: Ledger) -> AsyncIterator[None]:
    """The file may not grow: SQLite says so as it would of a disk without space."""
    db = ledger._store._db
    pages = (await (await db.execute("PRAGMA page_count")).fetchone())[0]  # type: ignore[index]
    await (await db.execute(f"PRAGMA max_page_count={pages}")).close()
    try:
        yield
    finally:
        with suppress(ValueError):  # closed
            await (await db.execute("PRAGMA max_page_count=1000000")).close()


def large(number: int) -> str:
    return f"{number}" * 20_000  # pages of its own


async def until_it_waits(events: list[structlog.typing.EventDict], ledger: Ledger) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not [event for event in events if event["event"] == "the ledger waits"]:
            await ledger.views.counts()  # a round through the ledger's thread


async def test_a_full_disk_is_a_wait(ledger: Ledger) -> None:
    file_id = await fetched(ledger)
    job = await claimed(ledger)
    with structlog.testing.capture_logs() as events:
        async with full_disk(ledger):
            writing = [
                asyncio.create_task(
                    ledger.deliveries.postpone(job.id, waiting_for="retry", code="x.y", detail=large(1))
                ),
                asyncio.create_task(ledger.files.hold_file(file_id, "camera", "x.y", large(2), None)),
            ]
            await until_it_waits(events, ledger)
            assert (await delivery_of(ledger, file_id))["state"] == "uploading", (
                "readers go on, and see the truth"
            )
            assert not any(task.done() for task in writing)
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*writing)
    assert (await delivery_of(ledger, file_id))["fault_detail"] == large(1)
    told = [event for event in events if event["log_level"] == "error"]
    assert told and all("full" in event["hint"] for event in told)
    assert len(told) == len({event["step"] for event in told}), "said once, not at every try"


async def test_a_cancelled_caller_is_let_go_and_the_write_comes_when_it_can(ledger: Ledger) -> None:
    file_id = await fetched(ledger)
    with structlog.testing.capture_logs() as events:
        async with full_disk(ledger):
            task = asyncio.create_task(ledger.files.hold_file(file_id, "camera", "x.y", large(1), None))
            await until_it_waits(events, ledger)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            seen = ledger.changes
        async with asyncio.timeout(TIMEOUT):
            await ledger.wait_for_change(seen)
    row = await ledger.files.file(file_id)
    assert row is not None and row["fault_detail"] == large(1)


async def test_closing_does_not_wait_for_a_full_disk(tmp_path: Path) -> None:
    ledger = await opened(tmp_path)
    file_id = await fetched(ledger)
    with structlog.testing.capture_logs() as events:
        async with full_disk(ledger):
            task = asyncio.create_task(ledger.files.hold_file(file_id, "camera", "x.y", large(1), None))
            await until_it_waits(events, ledger)
            async with asyncio.timeout(TIMEOUT):
                await ledger.close()
                with pytest.raises(RuntimeError):
                    await task


async def test_a_foreign_lock_is_a_wait(ledger: Ledger, db: sqlite3.Connection) -> None:
    await (await ledger._store._db.execute("PRAGMA busy_timeout=1")).close()
    file_id = await fetched(ledger)
    with structlog.testing.capture_logs() as events:
        db.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(ledger.deliveries.claim("archive", []))
        await until_it_waits(events, ledger)
        db.execute("ROLLBACK")
        async with asyncio.timeout(TIMEOUT):
            job = await task
    assert job is not None and (job.file_id, job.tries) == (file_id, 1)
    assert "Another program" in events[0]["hint"]


async def test_a_commit_that_fails_leaves_no_transaction_open(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every later transaction would fail for ever."""
    execute = ledger._store._db.execute
    failures = 2

    def failing(sql: str, *args: object) -> object:
        nonlocal failures
        if sql == "COMMIT" and failures:
            failures -= 1
            return execute("SELECT raise_an_error()")
        return execute(sql, *args)

    monkeypatch.setattr(ledger._store._db, "execute", failing)
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="no such function"):
            await discovered(ledger)
    assert await ledger.views.files() == []
    await discovered(ledger)
    assert len(await ledger.views.files()) == 1


async def test_a_start_on_a_disk_that_is_full_or_held_is_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await opened(tmp_path)
    file_id = await fetched(ledger)
    await claimed(ledger)
    await ledger.close()
    held = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    open_store = store.Store.open

    async def opened_and_then_held(folder: Path) -> store.Store:
        found = await open_store(folder)
        await found.do("PRAGMA busy_timeout=1")
        held.execute("BEGIN IMMEDIATE")
        return found

    monkeypatch.setattr(store.Store, "open", opened_and_then_held)

    def waits() -> list[str]:
        return [event["step"] for event in events if event["event"] == "the ledger waits"]

    with structlog.testing.capture_logs() as events:
        given_up, opening = (asyncio.create_task(Ledger.open(tmp_path)) for _ in range(2))
        with pytest.raises(LedgerLocked):
            await opening
        async with asyncio.timeout(TIMEOUT):
            while not waits():
                await asyncio.to_thread(int)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up  # and it leaves the folder to the next
        held.execute("ROLLBACK")
        opening = asyncio.create_task(Ledger.open(tmp_path))
        async with asyncio.timeout(TIMEOUT):
            while len(waits()) < 2:
                await asyncio.to_thread(int)
        held.execute("ROLLBACK")
        async with asyncio.timeout(TIMEOUT):
            ledger = await opening
    assert set(waits()) == {"begin_run"}
    assert (await delivery_of(ledger, file_id))["state"] == "queued"
    await ledger.close()
    held.close()
