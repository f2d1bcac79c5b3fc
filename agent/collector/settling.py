"""Sizes that are not final yet: what was just written is looked at again until two looks in a row agree.

Each file has its own pace: soon after the shot, then more slowly for one that does not settle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import structlog

from agent.camera import Body, Object
from agent.collector.fetch import FAULTS
from agent.faults import Fault, Scope, fault
from agent.ledger import Ledger

log = structlog.get_logger("collector")

SECOND_LOOK_SECONDS = 0.25
SLOW_LOOK_SECONDS = 3.0
PATIENCE_SECONDS = 10.0


class Waiting(msgspec.Struct):
    file_id: int
    object: Object  # as last seen
    since: float  # monotonic
    due: float  # monotonic: when to look again
    is_told: bool = False  # that it takes long, and why

    @property
    def is_slow(self) -> bool:
        return time.monotonic() - self.since > PATIENCE_SECONDS


class Unsettled:
    """The files whose size is not final."""

    def __init__(self) -> None:
        self._files: dict[int, Waiting] = {}
        self._more = asyncio.Event()

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, file_id: object) -> bool:
        return file_id in self._files

    def put(self, file_id: int, seen: Object) -> None:
        """Look at this file soon. One that is here already keeps its pace."""
        if file_id not in self._files:
            now = time.monotonic()
            self._files[file_id] = Waiting(file_id, seen, now, now)
            self._more.set()

    def again(self, entry: Waiting, seen: Object) -> None:
        """Not settled by this look: look again later, unless it was dropped meanwhile."""
        entry.object = seen
        entry.due = time.monotonic() + (SLOW_LOOK_SECONDS if entry.is_slow else SECOND_LOOK_SECONDS)

    def drop(self, file_id: int) -> None:
        self._files.pop(file_id, None)

    async def next(self) -> Waiting:
        """Wait for a file that is to be looked at. It stays here until it is dropped."""
        while True:
            self._more.clear()
            first = min(self._files.values(), key=lambda entry: entry.due, default=None)
            wait = None if first is None else first.due - time.monotonic()
            if first is not None and wait is not None and wait <= 0:
                return first
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._more.wait()


class Settling:
    """Look at `files` until each is final, for one connected body."""

    def __init__(
        self,
        body: Body,
        camera: str,
        ledger: Ledger,
        files: Unsettled,
        finish: Callable[[int, Object], Awaitable[None]],
        read_again: Callable[[], None],
    ):
        self._body = body
        self._camera = camera
        self._ledger = ledger
        self._files = files
        self._finish = finish  # the size of a file is final
        self._read_again = read_again  # one is gone: what is on the cards has changed

    async def run(self) -> None:
        """Serve until cancelled; faults of the whole link are raised."""
        while True:
            await self._settle(await self._files.next())

    async def _settle(self, entry: Waiting) -> None:
        try:
            fresh = await self._body.lookup(entry.object)
            if fresh is not None and fresh.size is None and entry.is_slow:
                size = await self._body.measure(fresh)  # the last resort: it costs the session
                await self._finish(entry.file_id, msgspec.structs.replace(fresh, size=size))
                return
        except Fault as caught:
            if caught.scope is Scope.WHOLE:
                raise
            await self._settle_later(entry, entry.object, caught)
            return
        if fresh is None:
            self._files.drop(entry.file_id)
            self._read_again()
        elif fresh.size and fresh.size == entry.object.size:
            await self._finish(entry.file_id, fresh)
        else:
            why = fault(FAULTS, "camera.size_unsettled", f"{fresh.size} bytes")
            await self._settle_later(entry, fresh, why)

    async def _settle_later(self, entry: Waiting, seen: Object, why: Fault) -> None:
        if entry.is_slow and not entry.is_told:
            entry.is_told = True
            await self._ledger.files.hold_file(entry.file_id, "camera", why.code, why.detail, None)
            log.warning("waiting", file=entry.file_id, name=seen.name, camera=self._camera, code=why.code)
        self._files.again(entry, seen)
