"""How old something is, on a computer whose clock may jump: a Raspberry Pi has none of its own, and hears of the time a
while after it was started. What was noted before a jump forward has not aged by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def _wall() -> datetime:
    return datetime.now(UTC)


class Clock:
    def __init__(
        self, wall: Callable[[], datetime] = _wall, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._began_at = wall()
        self._began = steady()

    def now(self) -> datetime:
        return self._wall()

    def now_for(self, noted_at: datetime) -> datetime:
        """Return the moment to compare `noted_at` with: by the clock that it was written by, if that was since we began."""
        unmoved = self._began_at + timedelta(seconds=self._steady() - self._began)
        now = self._wall()
        return min(now, unmoved) if self._began_at <= noted_at <= unmoved else now
