"""The writer of one part: write, digest, keep the disk at most two strides behind, publish."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from agent.faults import Fault, fault
from agent.spool.digests import Digester
from agent.spool.disk import (
    FAULTS,
    STRIDE_BYTES,
    Threads,
    cut,
    open_part,
    publish,
    read_full,
    trusted_bytes,
    write_all,
)
from agent.spool.growth import Growth

SYNC_SECONDS = 5.0
_DIGEST_BUFFER_BYTES = 1 << 20
_DIGEST_STEP_BYTES = 8 << 20  # per hop, so that resuming a large part can be cancelled


class Writer:
    """Made by `Spool.writer`; used by one task at a time.

    After a Fault other than ``spool.wrong_size`` it is closed, as by `suspend`. As a context manager it suspends
    at the end whatever was not finished. All methods may be cancelled: they end when the disk lets go.
    """

    def __init__(
        self,
        growth: Growth,
        size: int,
        algorithms: tuple[str, ...],
        part: Path,
        whole: Path,
        threads: Threads,
    ) -> None:
        self.size = size
        self._growth = growth
        self._algorithms = algorithms
        self._digester = Digester(algorithms)
        self._part = part
        self._whole = whole
        self._threads = threads
        self._descriptor: int | None = None
        self._is_open = False
        self._offset = 0
        self._is_published = False
        self._synced = 0  # durable up to here
        self._syncing: tuple[int, asyncio.Future[None]] | None = None
        self._sync_begun = time.monotonic()

    @property
    def offset(self) -> int:
        """How many bytes the part holds; the next `write` goes there."""
        return self._offset

    async def open(self) -> None:
        """Open the part and digest what it holds. Called by `Spool.writer` alone, once."""
        self._growth.is_held = self._is_open = True
        self._offset = self._growth.length
        try:
            descriptor, found = await self._threads.run(self._open)
            await self._resume(descriptor, found)
        except BaseException:
            await self._leave()
            raise

    def _open(self) -> tuple[int, int]:
        self._descriptor = open_part(self._part)
        return self._descriptor, os.fstat(self._descriptor).st_size

    async def _resume(self, descriptor: int, found: int) -> None:
        trusted = min(self._offset, found)
        if trusted > self.size:  # not of this file
            await self._start_over(descriptor)
            return
        self._offset = trusted
        self._synced = trusted_bytes(trusted)
        if found > trusted:
            await self._threads.run(cut, descriptor, trusted)
        if trusted:
            self._begin_sync(descriptor)
        buffer = memoryview(bytearray(min(trusted, _DIGEST_BUFFER_BYTES)))
        for start in range(0, trusted, _DIGEST_STEP_BYTES):
            end = min(start + _DIGEST_STEP_BYTES, trusted)
            await self._threads.run(self._digest, descriptor, buffer, start, end)
        self._growth.show(trusted)

    def _digest(self, descriptor: int, buffer: memoryview, start: int, end: int) -> None:
        while start < end:
            piece = buffer[: end - start]
            read_full(descriptor, piece, start)
            self._digester.update(piece)
            start += len(piece)

    async def write(self, data: memoryview) -> None:
        """Append `data`: one thread hop, which writes and digests it; then the followers see it.

        Digesting beside the writing, in two threads, was measured: not faster on two cores, and half as much CPU
        again. Raises Fault; ``spool.wrong_size``, with nothing written, when `data` goes past the size.
        """
        descriptor = self._require()
        view = data.cast("B")
        if self._offset + len(view) > self.size:
            raise fault(FAULTS, "spool.wrong_size", f"more than {self.size} bytes")
        try:
            while view:
                room = STRIDE_BYTES - self._offset % STRIDE_BYTES
                piece, view = view[:room], view[room:]
                await self._threads.run(self._store, descriptor, piece)
                self._growth.show(self._offset)
                await self._keep_synced(descriptor)
        except Fault:
            await self._leave()
            raise

    def _store(self, descriptor: int, piece: memoryview) -> None:
        write_all(descriptor, piece, self._offset)
        self._digester.update(piece)
        self._offset += len(piece)

    async def _keep_synced(self, descriptor: int) -> None:
        """Begin a sync at every stride, after the one before is done (the rule of `disk`), or when it is time.

        The timed ones do not count for the rule. They keep the last fsync of a slow fetch short.
        """
        is_idle = self._syncing is None or self._syncing[1].done()
        is_due = is_idle and time.monotonic() - self._sync_begun >= SYNC_SECONDS
        if self._offset % STRIDE_BYTES == 0 or is_due:
            await self._settle_sync()
            self._begin_sync(descriptor)

    def _begin_sync(self, descriptor: int) -> None:
        self._sync_begun = time.monotonic()
        self._syncing = self._offset, self._threads.begin(os.fdatasync, descriptor)

    async def _settle_sync(self) -> None:
        """Wait for the sync under way. When it failed, the part ends at the last good one.

        The kernel reports a lost page once and calls it clean, so no later sync would vouch for these bytes.
        """
        if self._syncing is None:
            return
        mark, future = self._syncing
        try:
            await self._threads.settle(future)
        except Fault:
            self._offset = self._synced
            self._syncing = None
            raise
        self._synced = mark
        self._syncing = None

    async def finish(self) -> dict[str, str]:
        """Publish the whole file, durably, and return its digests in hex by algorithm. The writer is closed.

        Raises Fault ``spool.wrong_size`` (still open: suspend or discard) when bytes are missing.
        """
        descriptor = self._require()
        if self._offset != self.size:
            raise fault(FAULTS, "spool.wrong_size", f"{self._offset} of {self.size} bytes")
        try:
            await self._settle_sync()
            await self._threads.run(self._publish, descriptor)
        finally:
            await self._leave()
        return self._digester.hexdigests()

    def _publish(self, descriptor: int) -> None:
        publish(descriptor, self._part, self._whole)
        self._is_published = True

    async def discard(self) -> None:
        """Start again at 0, with the same reservation: what came so far is of another file, or wrong.

        Followers get Restarted. The part is empty on the disk too when this returns: after a power loss its
        old bytes must not come back under new ones.
        """
        descriptor = self._require()
        try:
            with suppress(Fault):
                await self._settle_sync()
            await self._start_over(descriptor)
        except Fault:
            await self._leave()
            raise

    async def _start_over(self, descriptor: int) -> None:
        self._growth.restart()
        self._offset = self._synced = 0
        self._digester = Digester(self._algorithms)
        await self._threads.run(cut, descriptor, 0)

    async def suspend(self) -> None:
        """Close and keep the part. May be repeated, and after `finish`."""
        await self._leave()

    async def _leave(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            with suppress(Fault):  # whoever goes on meets the disk's error again
                await self._settle_sync()
        finally:
            try:
                with suppress(Fault):
                    await self._threads.run(self._close)
            finally:
                self._growth.is_held = False
                if self._is_published:
                    self._growth.complete()
                else:
                    self._growth.show(self._offset)

    def _close(self) -> None:
        if self._descriptor is None:
            return
        try:
            cut(self._descriptor, self._offset)
        finally:
            os.close(self._descriptor)

    def _require(self) -> int:
        if not self._is_open or self._descriptor is None:
            raise ValueError("the writer is closed")
        return self._descriptor

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()
