"""How fast, and when at all: a weekly timetable as a person writes it. Pure: lines, a local time and a kind in, a line out.

A limit is a list of lines, and of these the first that applies counts. A line is made of words, in any order:

    512k · 4Mbit · off · pause      what is allowed: a rate, no limit, or nothing for now (exactly one of them)
    mon-fri · sat,sun               days; a window over midnight belongs to the day on which it begins
    08:00-22:00 · 22:00-06:00       times by the clock on the wall, so that they follow summer time
    video · raw,video               kinds of files

What a line leaves out it applies to always. Where no line applies there is no limit. All files for which one line
counts share its rate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches

import msgspec

from agent.keys import Media

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
LEAST_RATE = 1000
MOST_RATE = 100_000_000_000
MOST_LINES = 50
LINE_CHARACTERS = 200
FORM = '"512k 08:00-22:00", "pause mon-fri 08:00-18:00 video" or "off"'

_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(k|m|g)?(i)?(bit|b)?(?:/s)?", re.IGNORECASE)
_WINDOW = re.compile(r"(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)")
_KINDS = frozenset(each.value for each in Media)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}
_QUARTER_SECONDS = 900
_HORIZON_SECONDS = 8 * 24 * 3600


class Rule(msgspec.Struct, frozen=True):
    """One line. `rate` in bytes a second; None with `is_pause` False: no limit."""

    rate: int | None = None
    is_pause: bool = False
    days: frozenset[int] = frozenset()  # Monday is 0; none: every day
    windows: tuple[
        tuple[int, int], ...
    ] = ()  # minutes of the day; a window that ends sooner ends on the next day
    kinds: frozenset[Media] = frozenset()

    def applies(self, moment: datetime, kind: Media) -> bool:
        """Whether this line is about `kind` at `moment`, a local time."""
        if self.kinds and kind not in self.kinds:
            return False
        minute, day = moment.hour * 60 + moment.minute, moment.weekday()
        if not self.windows:
            return self._is_on(day)
        return any(
            (begin <= minute and (minute < end or end <= begin) and self._is_on(day))
            or (minute < end <= begin and self._is_on((day - 1) % 7))
            for begin, end in self.windows
        )

    def _is_on(self, day: int) -> bool:
        return not self.days or day in self.days


NO_LIMIT = Rule()


class Schedule(msgspec.Struct, frozen=True):
    """A limit with its timetable. Without rules there is no limit at any time."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def of(cls, lines: Iterable[str]) -> Schedule:
        """Raises ValueError with what would be right."""
        return cls(tuple(parse(line) for line in lines))

    def at(self, moment: datetime, kind: Media) -> Rule:
        """Return the line that counts for `kind` at `moment`, a local time."""
        return next((rule for rule in self.rules if rule.applies(moment, kind)), NO_LIMIT)

    def opens_at(
        self, now: float, kind: Media, local: Callable[[float], datetime] = datetime.fromtimestamp
    ) -> float | None:
        """Return when `kind` may go again, at the earliest `now` (seconds since the epoch); None: never.

        `local` gives the local time. Looked at are the ends of windows and every quarter of an hour: everywhere clocks
        are changed at one of these.
        """
        marks = sorted({mark for rule in self.rules for window in rule.windows for mark in window} | {0})
        moment = now
        while moment <= now + _HORIZON_SECONDS:
            there = local(moment)
            if not self.at(there, kind).is_pause:
                return moment
            minute = there.hour * 60 + there.minute
            ahead = min(((mark - minute) % DAY_MINUTES or DAY_MINUTES) for mark in marks) * 60
            in_minute = there.second + there.microsecond / 1e6
            quarter = _QUARTER_SECONDS - moment % _QUARTER_SECONDS
            moment = round(moment + min(ahead - in_minute, quarter))
        return None


def parse(line: str) -> Rule:
    """Read one line. Raises ValueError in words that fit behind the name of a setting."""
    if len(line) > LINE_CHARACTERS:
        raise ValueError(f"must have at most {LINE_CHARACTERS} characters")
    words = re.sub(r"\s*,\s*", ",", re.sub(r"\s*[-\u2013]\s*", "-", line.strip())).lower().split()
    allowed: list[Rule] = []
    days: set[int] = set()
    windows: list[tuple[int, int]] = []
    kinds: set[Media] = set()
    for word in (part for each in words for part in each.split(",") if part):
        if word in ("off", "pause"):
            allowed.append(Rule(is_pause=word == "pause"))
        elif word in _KINDS:
            kinds.add(Media(word))
        elif found := _WINDOW.fullmatch(word):
            windows.append(_window(word, [int(part) for part in found.groups()]))
        elif named := _days(word):
            days |= named
        elif found := _RATE.fullmatch(word):
            allowed.append(Rule(rate=_rate(word, found)))
        else:
            raise ValueError(_unknown(word))
    if len(allowed) != 1:
        what = "must say how fast" if not allowed else "must say only once how fast"
        raise ValueError(f"{what}: a rate such as 512k, off for no limit, or pause")
    return msgspec.structs.replace(
        allowed[0], days=frozenset(days), windows=tuple(windows), kinds=frozenset(kinds)
    )


def checked(line: str) -> str:
    """Return `line` as it is if `parse` can read it: for settings, which keep what a person wrote."""
    parse(line)
    return line


def several(value: object) -> object:
    """One line may stand without its list, and no line at all may be empty text."""
    return ((value,) if value.strip() else ()) if isinstance(value, str) else value


def _window(word: str, parts: Sequence[int]) -> tuple[int, int]:
    begin, end = parts[0] * 60 + parts[1], parts[2] * 60 + parts[3]
    if begin >= DAY_MINUTES or end > DAY_MINUTES or max(parts[1], parts[3]) > 59:
        raise ValueError(
            f"has a time that no clock shows, {word}: write 08:00-22:00; midnight at the end is 24:00"
        )
    if begin == end:
        raise ValueError(f"has a window without length, {word}: leave the times out for the whole day")
    return begin, end


def _days(word: str) -> set[int]:
    """The days that `word` names: sat, mon-fri, or fri-mon over the end of the week; none if it is no name of days."""
    first, dash, last = word.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        return set()
    begin, end = DAYS.index(first), DAYS.index(last if dash else first)
    return {(begin + each) % 7 for each in range((end - begin) % 7 + 1)}


def _rate(word: str, found: re.Match[str]) -> int:
    figure, power, is_binary, unit = found.groups()
    if not power and not unit:
        raise ValueError(
            f"must say what {word} counts: {word}k is {word} kB a second; off is no limit, pause is nothing"
        )
    counted = float(figure) * float(1024 if is_binary else 1000) ** _POWERS[(power or "").lower()]
    rate = round(counted / 8 if (unit or "").lower() == "bit" else counted)
    if not LEAST_RATE <= rate <= MOST_RATE:
        raise ValueError(f"must be at least 1k and at most 100G, off or pause, and not {word}")
    return rate


def _unknown(word: str) -> str:
    known = [*DAYS, *Media, "off", "pause"]
    close = get_close_matches(word, known, n=1)
    what = f"did you mean {close[0]}?" if close else f"lines are such as {FORM}"
    return f"has a word that is not understood, {word[:40]!r}; {what}"
