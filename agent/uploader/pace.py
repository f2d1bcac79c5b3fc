"""How fast bytes go, and when at all: a limit's lines at work (agent/schedule.py says what they mean).

A chunk is paid for before it is written, so nothing ever goes faster than its line allows, but for what an upload
saved up while it was writing (one chunk at most) and a second's worth after a rest. Of those that wait for one line
the smaller rank goes first; uploads of one rank get equal shares of bytes, whatever the size of their chunks. A limit
may be replaced at any time: whoever waits sees it within a second.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from agent.keys import Media
from agent.schedule import Rule, Schedule

LOOK_SECONDS = 1.0
REST_SECONDS = 1.0
RECHECK_SECONDS = 24 * 3600.0
"""When to look again at what no line ever opens: settings or the clock may have changed."""

_numbers = itertools.count()


class Closed(Exception):
    """Files of this kind may not go now. `until`: seconds since the epoch."""

    def __init__(self, until: float):
        super().__init__(f"closed until {until:.0f}")
        self.until = until


class Pace:
    """One limit: that of a destination, or of all together."""

    def __init__(self, schedule: Schedule | None = None, *, wall: Callable[[], float] = time.time):
        self.schedule = schedule or Schedule()
        self.zone: tzinfo | None = None  # None: this computer's
        self._wall = wall
        self._lines: dict[Rule, _Line] = {}

    def is_closed(self, kind: Media) -> bool:
        return bool(self.schedule.rules) and self._rule(kind).is_pause

    def is_slow(self, kind: Media) -> bool:
        return bool(self.schedule.rules) and self._rule(kind).rate is not None

    def closed_until(self, kind: Media) -> float | None:
        """None while files of `kind` may go; else when they may again, as the clock stands now."""
        if not self.is_closed(kind):
            return None
        now = self._wall()
        opens = self.schedule.opens_at(now, kind, self._local)
        return now + RECHECK_SECONDS if opens is None else opens

    async def take(self, flow: Flow, size: int) -> None:
        """Return when `size` bytes may go. Raises Closed, also when the hours end while it waits."""
        turn: _Turn | None = None
        try:
            while self.schedule.rules:
                if (until := self.closed_until(flow.kind)) is not None:
                    raise Closed(until)
                rule = self._rule(flow.kind)
                if rule.rate is None:
                    return
                if turn is None or turn.line.rule != rule:
                    if turn:
                        turn.line.leave(turn)
                    turn = self._line(rule).join(flow, size)
                await turn.wait(LOOK_SECONDS)
                if turn.is_granted:
                    return
        finally:
            if turn:
                turn.line.leave(turn)

    def forget(self, flow: Flow) -> None:
        """This upload has ended."""
        for rule, line in list(self._lines.items()):
            line.forget(flow)
            if line.is_resting and rule not in self.schedule.rules:
                del self._lines[rule]

    def _rule(self, kind: Media) -> Rule:
        return self.schedule.at(self._local(self._wall()), kind)

    def _local(self, moment: float) -> datetime:
        return datetime.fromtimestamp(moment, self.zone)

    def _line(self, rule: Rule) -> _Line:
        return self._lines.setdefault(rule, _Line(rule))


class Flow:
    """One upload, as the limits know it."""

    def __init__(self, kind: Media, rank: int):
        self.kind = kind
        self.rank = rank
        self.number = next(_numbers)


class _Turn:
    """A place in the queue of a line, for one chunk."""

    def __init__(self, line: _Line, flow: Flow, size: int, tag: float):
        self.line = line
        self.flow = flow
        self.size = size
        self.order = flow.rank, tag, flow.number
        self.tag = tag
        self._granted = asyncio.Event()

    @property
    def is_granted(self) -> bool:
        return self._granted.is_set()

    def grant(self) -> None:
        self._granted.set()

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._granted.wait()
        except TimeoutError:
            pass


class _Line:
    """The budget of one line: it fills with the rate, and is emptied chunk by chunk, start-time fair among its flows."""

    def __init__(self, rule: Rule):
        assert rule.rate
        self.rule = rule
        self._rate = rule.rate
        self._loop = asyncio.get_running_loop()
        self._credit = 0.0  # bytes
        self._at = self._loop.time()
        self._largest = 0  # chunk since it rested
        self._tags: dict[Flow, float] = {}  # where in the common count of bytes a flow's next chunk begins
        self._reached = 0.0  # in that count
        self._waiting: list[_Turn] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_resting(self) -> bool:
        return not self._tags

    def join(self, flow: Flow, size: int) -> _Turn:
        self._fill()
        turn = _Turn(self, flow, size, max(self._tags.get(flow, 0.0), self._reached))
        self._tags[flow] = turn.tag
        self._largest = max(self._largest, size)
        self._waiting.append(turn)
        self._serve()
        return turn

    def leave(self, turn: _Turn) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._serve()

    def forget(self, flow: Flow) -> None:
        self._fill()
        self._tags.pop(flow, None)
        if not self._tags:
            self._largest = 0

    def _fill(self) -> None:
        now = self._loop.time()
        most = max(self._rate * REST_SECONDS, self._largest)
        self._credit = min(self._credit + self._rate * (now - self._at), most)
        self._at = now

    def _serve(self) -> None:
        self._fill()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            head = min(self._waiting, key=lambda turn: turn.order)
            if (missing := head.size - self._credit) > 1e-6:
                self._timer = self._loop.call_later(missing / self._rate, self._serve)
                return
            self._waiting.remove(head)
            self._credit -= head.size
            self._reached = max(self._reached, head.tag)
            self._tags[head.flow] = head.tag + head.size
            head.grant()


class Gate:
    """One upload's way through the limits that concern it, the narrowest first. Close it when the upload ends."""

    def __init__(self, paces: Sequence[Pace], kind: Media, rank: int):
        self._paces = paces
        self._flow = Flow(kind, rank)
        self._taking: asyncio.Task[None] | None = None

    async def admits(self, size: int, within_seconds: float) -> bool:
        """Whether `size` bytes may be written now, or could be after so long a wait. False: ask again, for the same chunk.
        Raises Closed."""
        if self._taking is None:
            if not any(pace.schedule.rules for pace in self._paces):
                return True
            self._taking = asyncio.create_task(self._take(size))
        await asyncio.wait([self._taking], timeout=within_seconds)
        if not self._taking.done():
            return False
        taking, self._taking = self._taking, None
        taking.result()
        return True

    async def stands_open(self, within_seconds: float) -> bool:
        """Whether the chunk that was asked for may go, or its kind may not any more: `admits` will say which."""
        if self._taking is not None:
            await asyncio.wait([self._taking], timeout=within_seconds)
        return self._taking is None or self._taking.done()

    async def close(self) -> None:
        if self._taking:
            self._taking.cancel()
            await asyncio.wait([self._taking])
            if not self._taking.cancelled():
                self._taking.exception()  # nobody asks any more
        for pace in self._paces:
            pace.forget(self._flow)

    async def _take(self, size: int) -> None:
        for pace in self._paces:
            await pace.take(self._flow, size)
        for pace in self._paces[:-1]:  # while we waited for the last
            if (until := pace.closed_until(self._flow.kind)) is not None:
                raise Closed(until)
