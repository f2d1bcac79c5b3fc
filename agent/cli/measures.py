"""Sizes, rates and times as people read them. Pure; figures are decimal (1 MB = 1,000,000 bytes), as on cards."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
RATE_WINDOW_SECONDS = 10.0


def size(count: float | None) -> str:
    """Return "25.1 MB"; at most seven characters for anything below 1,000 PB."""
    if count is None:
        return "?"
    for unit in _UNITS:
        if count < 999.5 or unit == _UNITS[-1]:
            break
        count /= 1000
    digits = 0 if unit == "B" or count >= 99.95 else 1
    return f"{count:.{digits}f} {unit}"


def rate(bytes_per_second: float) -> str:
    return f"{size(bytes_per_second)}/s"


def number(count: int) -> str:
    """Return "12 345", with a space that does not break."""
    return f"{count:,}".replace(",", "\N{NO-BREAK SPACE}")


def several(count: int, one: str, many: str | None = None) -> str:
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def span(seconds: float) -> str:
    """Return how long something takes or took: "40 s", "4 min", "2 h 10 min", "3 d 4 h"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def clock(at: str | None, now: datetime | None = None) -> str:
    """Return a time of the ledger (UTC) by the local clock: "20:14:30", with its date unless it is today's."""
    if not at:
        return ""
    moment = datetime.fromisoformat(at).astimezone()
    today = (now or datetime.now(UTC)).astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")


def until(at: str | None, now: datetime | None = None) -> str:
    """Return when the next try is: "next try at 20:14:30, in 12 s"."""
    if not at:
        return ""
    left = (datetime.fromisoformat(at) - (now or datetime.now(UTC))).total_seconds()
    return f"next try at {clock(at, now)}, in {span(left)}" if left > 0 else "next try now"


def taken(captured: str) -> str:
    """Return a capture time as the camera wrote it, for a column of 16."""
    return captured[:16].replace("T", " ")


class Meter:
    """How fast something moves, over the last ten seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, done: int) -> float:
        """Take a reading of a monotonic clock and a count; return the rate per second."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # it began again
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - RATE_WINDOW_SECONDS:
            self._seen.popleft()
        began, first = self._seen[0]
        return (done - first) / (now - began) if now > began else 0.0
