"""What the writer and the readers of one file know of each other, in memory alone."""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.spool.space import Change, Space


class Restarted(Exception):
    """The fetch began again at 0: what was read so far must not be joined to what comes."""


class Suspended(Exception):
    """What is waited for does not come now: nobody fetches the file. What is there can still be read."""


class Gone(Exception):
    """The file was taken out of the spool."""


class Growth:
    """One file of the spool as it grows.

    `length` counts the bytes that may be read; it is less than before after a disk error or a suspended fetch,
    without a new `generation`: the bytes that come again are the same.
    """

    def __init__(self, file_id: int, space: Space) -> None:
        self.file_id = file_id
        self.length = 0
        self.is_complete = False
        self.is_gone = False
        self.is_held = False  # by a writer, or while it is being removed
        self.generation = 0
        self.readers = 0
        self.last_read = time.time()
        self.is_announced = False
        self.digests: dict[str, str] = {}
        self.changed = Change()
        self._space = space

    def show(self, length: int) -> None:
        self.length = length
        self._space.store(self.file_id, length)
        self.changed.signal()

    def complete(self) -> None:
        self.is_complete = True
        self.changed.signal()

    def announce(self, digests: dict[str, str]) -> None:
        self.is_announced = True
        self.digests.update(digests)
        self.changed.signal()

    def restart(self) -> None:
        """Tell the followers. Must come before the first old byte is touched."""
        self.generation += 1
        self.show(0)

    def check(self, generation: int) -> None:
        if self.is_gone:
            raise Gone
        if self.generation != generation:
            raise Restarted

    async def until(self, is_ready: Callable[[], bool], generation: int) -> None:
        """Wait, as long as the fetch of `generation` goes on. Raises Gone, Restarted, Suspended."""
        while True:
            self.check(generation)
            if is_ready():
                return
            if not (self.is_held or self.is_complete):
                raise Suspended
            await self.changed.after(self.changed.count)
