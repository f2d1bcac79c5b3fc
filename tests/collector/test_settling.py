"""Sizes that are not final: soon at first, then more slowly, each file at its own pace."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent.collector import settling
from agent.collector.settling import Unsettled
from tests.collector.scripted import made

SEEN = made().object


@pytest.fixture(autouse=True)
def _paces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "SECOND_LOOK_SECONDS", 0.25)


async def now(settling_files: Unsettled) -> int:
    """Which file is due at once."""
    async with asyncio.timeout(0.05):
        return (await settling_files.next()).file_id


async def test_a_new_one_is_looked_at_at_once_though_another_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    files = Unsettled()
    files.put(1, SEEN)
    entry = await files.next()
    clock += settling.PATIENCE_SECONDS + 1
    assert entry.is_slow
    files.again(entry, SEEN)
    assert entry.due == clock + settling.SLOW_LOOK_SECONDS
    files.put(2, SEEN)
    assert await now(files) == 2


async def test_the_second_look_comes_soon() -> None:
    files = Unsettled()
    files.put(1, SEEN)
    entry = await files.next()
    files.again(entry, SEEN)
    with pytest.raises(TimeoutError):
        await now(files)
    began = time.monotonic()
    async with asyncio.timeout(5):
        assert (await files.next()).file_id == 1
    assert time.monotonic() - began < settling.SLOW_LOOK_SECONDS


async def test_putting_it_again_changes_nothing() -> None:
    files = Unsettled()
    files.put(1, SEEN)
    files.again(await files.next(), SEEN)
    files.put(1, SEEN)
    assert len(files) == 1
    with pytest.raises(TimeoutError):
        await now(files)


async def test_what_was_dropped_stays_away() -> None:
    files = Unsettled()
    files.put(1, SEEN)
    entry = await files.next()
    files.drop(1)
    files.again(entry, SEEN)
    assert len(files) == 0
    with pytest.raises(TimeoutError):
        await now(files)


async def test_whoever_waits_is_woken_by_a_new_one() -> None:
    files = Unsettled()
    waiting = asyncio.create_task(files.next())
    await asyncio.sleep(0)
    files.put(7, SEEN)
    async with asyncio.timeout(5):
        assert (await waiting).file_id == 7
