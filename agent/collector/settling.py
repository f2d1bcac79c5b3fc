"""Sizes that are not final yet: what was just written is looked at again until two looks in a row agree.

Each file has its own pace: soon after the shot, then more slowly for one that does not settle.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import msgspec

from agent.camera import Object

SECOND_LOOK_SECONDS = 0.25
SLOW_LOOK_SECONDS = 3.0
PATIENCE_SECONDS = 10.0


class Unsettled(msgspec.Struct):
    file_id: int
    object: Object  # as last seen
    since: float  # monotonic
    due: float  # monotonic: when to look again
    is_told: bool = False  # that it takes long, and why

    @property
    def is_slow(self) -> bool:
        return time.monotonic() - self.since > PATIENCE_SECONDS


class Settling:
    def __init__(self) -> None:
        self._files: dict[int, Unsettled] = {}
        self._more = asyncio.Event()

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, file_id: object) -> bool:
        return file_id in self._files

    def put(self, file_id: int, seen: Object) -> None:
        """Look at this file soon. One that is here already keeps its pace."""
        if file_id not in self._files:
            now = time.monotonic()
            self._files[file_id] = Unsettled(file_id, seen, now, now)
            self._more.set()

    def again(self, entry: Unsettled, seen: Object) -> None:
        """Not settled by this look: look again later, unless it was dropped meanwhile."""
        entry.object = seen
        entry.due = time.monotonic() + (SLOW_LOOK_SECONDS if entry.is_slow else SECOND_LOOK_SECONDS)

    def drop(self, file_id: int) -> None:
        self._files.pop(file_id, None)

    async def next(self) -> Unsettled:
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
