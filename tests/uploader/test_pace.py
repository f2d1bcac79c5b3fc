"""What a limit lets through, on a clock that jumps from one wait to the next: hours take milliseconds, and are exact."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.keys import Media
from agent.schedule import Schedule
from agent.uploader.pace import Closed, Gate, Pace

T = TypeVar("T")
NOON = datetime(2024, 5, 6, 12, 0).timestamp()
MIB = 1 << 20


class _Jump(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """Instead of waiting it goes to the next moment at which something is due."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def played(play: Coroutine[Any, Any, T]) -> T:
    loop = Loop()
    try:
        return loop.run_until_complete(play)
    finally:
        loop.close()


def now() -> float:
    return asyncio.get_running_loop().time()


def pace_of(*lines: str) -> Pace:
    return Pace(Schedule.of(lines), wall=lambda: NOON + now())


class Upload:
    """Writes chunk after chunk, each in its own time, until it is stopped."""

    def __init__(
        self,
        *paces: Pace,
        chunk: int,
        write_seconds: float = 0.0,
        kind: Media = Media.JPEG,
        rank: int = 0,
    ):
        self.gate = Gate(paces, kind, rank)
        self.chunk = chunk
        self.write_seconds = write_seconds
        self.writes: list[tuple[float, int]] = []

    async def run(self) -> None:
        try:
            while True:
                while not await self.gate.admits(self.chunk, 10):
                    pass
                self.writes.append((now(), self.chunk))
                await asyncio.sleep(self.write_seconds)
        finally:
            await self.gate.close()

    def sent(self, begin: float, end: float) -> int:
        return sum(size for at, size in self.writes if begin <= at < end)


async def side_by_side(*uploads: Upload, seconds: float) -> None:
    tasks = [asyncio.create_task(each.run()) for each in uploads]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize("chunk", [64 << 10, MIB])
@pytest.mark.parametrize("count", [1, 4])
def test_every_minute_carries_the_limit_within_five_percent(chunk: int, count: int) -> None:
    async def play() -> None:
        pace = pace_of("512k")
        uploads = [Upload(pace, chunk=chunk, write_seconds=0.05) for _ in range(count)]
        await side_by_side(*uploads, seconds=600)
        for minute in range(10):
            sent = sum(each.sent(60 * minute, 60 * minute + 60) for each in uploads)
            assert abs(sent / (512_000 * 60) - 1) <= 0.05, (minute, sent)

    played(play())


def test_large_parts_keep_the_limit_too_and_the_first_does_not_run_ahead() -> None:
    async def play() -> None:
        upload = Upload(pace_of("64k"), chunk=8 * MIB, write_seconds=3)
        await side_by_side(upload, seconds=3600)
        assert upload.writes[0][0] >= 8 * MIB / 64_000 - 0.001, "paid for before it is written"
        assert abs(upload.sent(0, 3600) / (64_000 * 3600) - 1) <= 0.05

    played(play())


@settings(max_examples=25, deadline=None)
@given(
    rate=st.sampled_from([20_000, 512_000, 5_000_000]),
    uploads=st.lists(
        st.tuples(st.sampled_from([10_000, 256 << 10, MIB, 8 * MIB]), st.floats(0, 5), st.integers(0, 3)),
        min_size=1,
        max_size=4,
    ),
)
def test_no_stretch_of_time_carries_more_than_the_limit_and_one_chunk(
    rate: int, uploads: list[tuple[int, float, int]]
) -> None:
    async def play() -> list[tuple[float, int]]:
        pace = pace_of(f"{rate / 1000:.0f}k")
        made = [Upload(pace, chunk=chunk, write_seconds=each, rank=rank) for chunk, each, rank in uploads]
        await side_by_side(*made, seconds=60)
        return sorted(write for each in made for write in each.writes)

    writes = played(play())
    largest = max(chunk for chunk, _, _ in uploads)
    total = 0.0  # of a leaky bucket that may hold a chunk that was saved up, a second's worth, and the one that goes
    last = 0.0
    for at, size in writes:
        total = max(0.0, total - rate * (at - last)) + size
        assert total <= largest * 2 + rate + 1, "a burst"
        last = at
    assert sum(size for _, size in writes) <= rate * 61 + largest


def test_a_rest_saves_up_no_more_than_a_second() -> None:
    async def play() -> None:
        pace = pace_of("100k")
        await side_by_side(Upload(pace, chunk=10_000), seconds=10)
        await asyncio.sleep(3600)
        upload, began = Upload(pace, chunk=10_000), now()
        await side_by_side(upload, seconds=10)
        assert upload.sent(began, began + 5) <= 100_000 * 6 + 1

    played(play())


def test_uploads_of_one_rank_get_equal_shares_whatever_their_chunks() -> None:
    async def play() -> None:
        pace = pace_of("512k")
        small, large = Upload(pace, chunk=256 << 10), Upload(pace, chunk=8 * MIB)
        await side_by_side(small, large, seconds=1200)
        assert abs(small.sent(0, 1200) - large.sent(0, 1200)) <= 8 * MIB

    played(play())


def test_what_goes_first_gets_the_bytes_first() -> None:
    async def play() -> None:
        pace = pace_of("512k")
        movie, photo = Upload(pace, chunk=8 * MIB, rank=3), Upload(pace, chunk=MIB, rank=0)
        going = asyncio.create_task(movie.run())
        await asyncio.sleep(100)
        await side_by_side(photo, seconds=20)
        assert photo.sent(100, 120) >= 512_000 * 19 - MIB and movie.sent(103, 120) == 0
        await asyncio.sleep(60)
        assert movie.sent(120, 180) >= 512_000 * 60 - 8 * MIB
        going.cancel()
        await asyncio.wait([going])

    played(play())


def test_the_limit_of_all_holds_over_destinations_with_limits_of_their_own() -> None:
    async def play() -> None:
        every = pace_of("1M")
        quick = [Upload(pace_of(), every, chunk=MIB) for _ in range(2)]
        slow = Upload(pace_of("100k"), every, chunk=100_000)
        await side_by_side(*quick, slow, seconds=300)
        assert abs(slow.sent(0, 300) / (100_000 * 300) - 1) <= 0.05
        assert abs(sum(each.sent(0, 300) for each in (*quick, slow)) / (1_000_000 * 300) - 1) <= 0.05

    played(play())


def test_another_limit_counts_within_a_second() -> None:
    async def play() -> None:
        pace = pace_of("10k")
        upload = Upload(pace, chunk=MIB, write_seconds=0.1)
        going = asyncio.create_task(upload.run())
        await asyncio.sleep(50)
        assert upload.writes == []
        pace.schedule = Schedule.of(["1M"])
        await asyncio.sleep(61)
        assert 57_000_000 <= upload.sent(50, 111) <= 62_000_000 + MIB
        pace.schedule = Schedule()
        await asyncio.sleep(3)
        assert upload.sent(112.5, 114) >= 14 * MIB
        going.cancel()
        await asyncio.wait([going])

    played(play())


def test_hours_that_end_stop_an_upload_that_waits_for_its_turn() -> None:
    async def play() -> None:
        pace = pace_of("10k 08:00-12:01", "pause 12:01-13:00")
        with pytest.raises(Closed) as closed:
            await Upload(pace, chunk=8 * MIB).run()
        assert 60 <= now() <= 61.1 and closed.value.until == NOON + 3600

    played(play())


def test_one_limit_that_is_closed_is_enough_and_kinds_are_told_apart() -> None:
    async def play() -> None:
        every = pace_of("pause video")
        with pytest.raises(Closed):
            await Upload(pace_of("1M"), every, chunk=10, kind=Media.VIDEO).run()
        photo = Upload(pace_of("1M"), every, chunk=1000)
        await side_by_side(photo, seconds=1)
        assert photo.writes

    played(play())


def test_who_leaves_while_waiting_takes_nothing_along() -> None:
    async def play() -> None:
        pace = pace_of("100k")
        for _ in range(50):
            gate = Gate([pace], Media.JPEG, 0)
            assert not await gate.admits(MIB, 0.01)
            await gate.close()
        upload = Upload(pace, chunk=10_000)
        began = now()
        await side_by_side(upload, seconds=60)
        assert upload.sent(began, began + 60) >= 0.95 * 6_000_000
        assert not any(line._waiting for line in pace._lines.values())

    played(play())
