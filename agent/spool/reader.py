"""A reader that follows one file of the spool while it grows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from agent.spool.disk import Threads, open_first, read_full, translated
from agent.spool.growth import Growth


class Reader:
    """Made by `Spool.follow`; used by one task at a time; holds one descriptor from the first read to `close`.

    The descriptor outlives the rename at the end of the fetch. A restarted fetch writes into the same file, so
    the generation is looked at again after every read.
    """

    def __init__(
        self,
        growth: Growth,
        size: int,
        part: Path,
        whole: Path,
        threads: Threads,
        on_close: Callable[[Growth], None],
    ) -> None:
        self.size = size
        self.generation = growth.generation
        self.growth = growth
        self._paths = part, whole  # in this order: a rename in between moves the file to the second
        self._threads = threads
        self._on_close = on_close
        self._descriptor: int | None = None
        self._is_open = True
        growth.readers += 1

    @property
    def is_complete(self) -> bool:
        """All bytes are there, durable and digested."""
        return self.growth.is_complete

    @property
    def available_bytes(self) -> int:
        return self.growth.length

    async def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` with the bytes from `offset` on, waiting for them as long as they are being fetched.

        Returns their number: less than the buffer holds at the end of the file, 0 behind it. Raises Suspended
        (try again later), Restarted, Gone, Fault. May be cancelled; the buffer is the caller's again when this
        returns or raises.
        """
        wanted = max(0, min(len(buffer), self.size - offset))
        await self.wait_for(offset + wanted if wanted else 0)
        if wanted:
            await self._threads.run(self.read_now, offset, buffer[:wanted])
        return wanted

    async def wait_for(self, end: int) -> None:
        """Return when all bytes before `end` may be read. Raises Suspended, Restarted, Gone."""
        self._require_open()
        self.growth.check(self.generation)
        if end:
            await self.growth.until(lambda: self.growth.length >= end, self.generation)
        self._require_open()

    def read_now(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with bytes that `wait_for` has vouched for. Blocks, in any thread, so that whoever passes the
        bytes on needs one hop for both. Raises Restarted, Gone, Fault: then what is in the buffer is worth nothing.
        """
        try:
            with translated():
                self._read(offset, buffer)
        finally:
            self.growth.check(self.generation)  # says more than the fault of a file that was taken away
        self.growth.last_read = time.time()

    def _require_open(self) -> None:
        if not self._is_open:
            raise ValueError("the reader is closed")

    def _read(self, offset: int, view: memoryview) -> None:
        if self._descriptor is None:
            self._descriptor = open_first(*self._paths)
        read_full(self._descriptor, view, offset)

    def close(self) -> None:
        """May be repeated."""
        if not self._is_open:
            return
        self._is_open = False
        self.growth.readers -= 1
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._on_close(self.growth)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
