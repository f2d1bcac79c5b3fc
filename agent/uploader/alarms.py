"""When to look again at what waits for the clock. In memory alone: a restart looks at everything."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta

from agent.ledger import as_text

_STEP_SECONDS = 0.01
"""Alarms are this far apart: thousands of files that wait for one hour are few alarms."""


class Alarms:
    def __init__(self) -> None:
        self._due: set[float] = set()  # monotonic

    def after(self, seconds: float) -> str:
        """Look again after `seconds`; return that time as the ledger writes it."""
        self.at(time.monotonic() + seconds + 0.005)  # never before the text says so
        return as_text(datetime.now(UTC) + timedelta(seconds=seconds))

    def at_clock(self, until: float) -> str:
        """Look again at a time of the clock on the wall; return it as the ledger writes it."""
        self.at(time.monotonic() + max(0.0, until - time.time()) + 0.005)
        return as_text(datetime.fromtimestamp(until, UTC))

    def at(self, moment: float) -> None:
        """Look again at a monotonic time."""
        self._due.add(math.ceil(moment / _STEP_SECONDS) * _STEP_SECONDS)

    def ring(self) -> bool:
        """Say whether any is due; those that are have rung."""
        now = time.monotonic()
        later = {moment for moment in self._due if moment > now}
        is_due, self._due = len(later) < len(self._due), later
        return is_due

    def seconds_left(self, most: float) -> float:
        return max(0.0, min(min(self._due, default=math.inf) - time.monotonic(), most))
