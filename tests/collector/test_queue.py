"""Who is fetched next."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from agent.camera import Handle, Object
from agent.collector.queue import Item, Queue
from agent.keys import Facts, Media
from agent.routing import kind_of


def item(
    file_id: int, name: str = "A.JPG", captured: str = "2024-05-01T10:00:00", tries: int = 0, handle: int = 1
) -> Item:
    seen = Object(Handle(handle), 1, "100CANON", name, 10, captured, 0, 1)
    return Item(file_id, seen, Facts("main", "s", 1, "100CANON", name, 10, captured, kind_of(name, 0)), tries)


def drained(queue: Queue, better_than: int | None = None) -> list[int]:
    taken: list[int] = []
    while (found := queue.take(better_than=better_than)) is not None:
        taken.append(found.file_id)
    return taken


def test_small_kinds_first_and_newest_first_within_a_kind() -> None:
    queue = Queue()
    expected = [
        item(1, "new.JPG", "2024-05-01T10:00:09"),
        item(2, "old.HIF", "2024-05-01T10:00:01"),
        item(3, "old.JPG", ""),
        item(4, "new.CR3", "2024-05-01T10:00:08"),
        item(5, "old.NEF", "2024-05-01T10:00:02"),
        item(6, "memo.WAV", "2024-05-01T10:00:07"),
        item(7, "new.MP4", "2024-05-01T10:00:09"),
        item(8, "old.MOV", "2024-05-01T10:00:03"),
    ]
    for each in random.Random(5).sample(expected, len(expected)):
        queue.put(each)
    assert len(queue) == 8
    assert drained(queue) == [each.file_id for each in expected]
    assert len(queue) == 0


def test_of_the_same_second_the_last_found_goes_first() -> None:
    queue = Queue()
    for number in (1, 3, 2):
        queue.put(item(number))
    assert drained(queue) == [3, 2, 1]


def test_overtaking_takes_smaller_ranks_alone() -> None:
    queue = Queue()
    movie, raw, jpeg = item(1, "A.MP4"), item(2, "A.CR3"), item(3, "A.JPG")
    for each in (movie, raw, jpeg):
        queue.put(each)
    assert drained(queue, better_than=movie.rank) == [3, 2]
    queue.put(raw)
    assert drained(queue, better_than=raw.rank) == []
    assert drained(queue) == [2, 1]


def test_a_file_is_queued_once_with_the_object_that_was_seen_last() -> None:
    queue = Queue()
    queue.put(item(1, handle=1))
    queue.put(item(1, handle=2))
    assert len(queue) == 1
    found = queue.take()
    assert found is not None and found.object.handle == 2
    assert queue.take() is None


def test_what_was_dropped_is_not_taken_and_can_be_put_again() -> None:
    queue = Queue()
    queue.put(item(1))
    queue.put(item(2))
    queue.drop(1)
    queue.drop(99)
    assert 1 not in queue and 2 in queue
    queue.put(item(1))
    assert drained(queue) == [2, 1]


def test_what_waits_for_the_clock_waits_though_it_was_queued_before(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue()
    queue.put(item(1))
    queue.drop(1)
    queue.put_later(item(1, tries=1), 60)
    assert queue.take() is None and len(queue) == 1
    queue.put(item(1, handle=5))  # a listing does not make it due, nor forgets that it was tried
    assert queue.take() is None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    found = queue.take()
    assert found is not None and (found.tries, found.object.handle) == (1, 5)
    assert queue.take() is None


def test_a_later_time_replaces_an_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue()
    queue.put_later(item(1), 1)
    queue.put_later(item(1), 60)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    assert queue.take() is None


def test_hurry_lets_nothing_wait() -> None:
    queue = Queue()
    queue.put_later(item(1), 60)
    queue.put_later(item(2), 120)
    queue.hurry()
    assert drained(queue) == [2, 1]


async def test_waiting_for_something_to_take() -> None:
    queue = Queue()
    waiting = asyncio.create_task(queue.wait())
    await asyncio.sleep(0)
    queue.put_later(item(1), 3600)
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.put(item(2))
    async with asyncio.timeout(5):
        await waiting
        assert drained(queue) == [2]
        waiting = asyncio.create_task(queue.wait())
        await asyncio.sleep(0)
        queue.put_later(item(3), 0.01)
        await waiting
        assert drained(queue) == [3]
        waiting = asyncio.create_task(queue.wait())
        await asyncio.sleep(0)
        queue.hurry()
        await waiting
    assert drained(queue) == [1]


async def test_waiting_is_not_ended_by_what_was_dropped() -> None:
    queue = Queue()
    queue.put(item(1))
    queue.drop(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await queue.wait()


def test_every_kind_has_a_rank() -> None:
    for kind in Media:
        seen = Object(Handle(1), 1, "f", "n", 1, "", 0, 1)
        assert Item(1, seen, Facts("c", "s", 1, "f", "n", 1, "", kind)).rank in range(4)
