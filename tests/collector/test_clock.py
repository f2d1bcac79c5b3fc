"""A clock that jumps makes nothing older than it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agent.collector.clock import Clock

BEGAN = datetime(2026, 5, 1, 20, tzinfo=UTC)


class Computer:
    def __init__(self) -> None:
        self.passed = 0.0
        self.jumped = timedelta()

    def wall(self) -> datetime:
        return BEGAN + timedelta(seconds=self.passed) + self.jumped


def test_what_was_noted_before_a_jump_has_not_aged_by_it() -> None:
    computer = Computer()
    clock = Clock(computer.wall, lambda: 1000 + computer.passed)
    computer.passed = 60
    noted_at = computer.wall()
    computer.passed, computer.jumped = 100, timedelta(hours=12)
    assert clock.now_for(noted_at) - noted_at == timedelta(seconds=40)
    assert clock.now() - noted_at == timedelta(hours=12, seconds=40)
    after = computer.wall()
    computer.passed += 10
    assert clock.now_for(after) - after == timedelta(seconds=10), "written by the right clock"
    yesterday = BEGAN - timedelta(days=1)
    assert clock.now_for(yesterday) == clock.now(), "an earlier run's: nobody knows better"


def test_a_clock_that_is_set_back_makes_nothing_older() -> None:
    computer = Computer()
    clock = Clock(computer.wall, lambda: computer.passed)
    computer.passed = 3600
    noted_at = computer.wall()
    computer.jumped = timedelta(minutes=-30)
    assert clock.now_for(noted_at) < noted_at
