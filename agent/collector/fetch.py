"""One file from the card into the spool, by the order of writes.

Nothing is trusted over a gap: before a read goes on from an offset, the object is looked up again and must be the
same file; and once more after the last byte, because handles are reused and cards are swapped. Only then is the
file finished. What came before a broken link could not be looked up any more, so its end is read again and compared.
PTP has no checksum: what the camera sends twice alike is taken as what is on the card.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from agent.camera import Body, Object
from agent.collector.queue import Item
from agent.collector.room import RoomMaker
from agent.collector.surroundings import Surroundings
from agent.faults import Advice, Kind, Scope, fault
from agent.keys import Media
from agent.ledger import Ledger, NewDelivery
from agent.progress import Progress, Transfer
from agent.spool import Spool, Writer

log = structlog.get_logger("collector")

FAULTS = {
    "camera.file_changed": Advice(
        Kind.RETRYABLE,
        "Another file stands where this one was (card changed, or file deleted): the cards are read again.",
        Scope.ITEM,
    ),
    "camera.size_unsettled": Advice(
        Kind.RETRYABLE,
        "The camera has not finished writing this file, or keeps it at 0 bytes: it is looked at again by itself.",
        Scope.ITEM,
    ),
    "camera.file_unclassified": Advice(
        Kind.RETRYABLE,
        "Something unexpected went wrong with this file; the log has the details. It is tried again by itself.",
        Scope.ITEM,
    ),
    "camera.unsteady": Advice(
        Kind.RETRYABLE,
        "The camera sent the beginning of the file differently twice: it is fetched again.",
        Scope.ITEM,
    ),
}
CHUNK_BYTES = 1 << 20
_HEADER_BYTES = 16
_END_BYTES = 64 << 10

_CONCLUDING: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive

Overtake = Callable[[int], Awaitable[bool]]


class Fetcher:
    """Fetches for one connected body, one file at a time but for those that overtake a larger kind."""

    def __init__(
        self,
        body: Body,
        ledger: Ledger,
        spool: Spool,
        progress: Progress,
        room: RoomMaker,
        around: Surroundings,
    ):
        self._body = body
        self._ledger = ledger
        self._spool = spool
        self._progress = progress
        self._room = room
        self._around = around
        self._buffers: list[memoryview] = []

    async def fetch(
        self, item: Item, owed: Sequence[NewDelivery], overtake: Overtake, release: Callable[[], None]
    ) -> None:
        """Bring the file into the spool. `overtake(rank)` fetches what goes before it, between chunks, and says whether it did.
        `release` is called when the camera has given all: what follows is the disk's business.

        Raises Fault: of item scope, this file waits or fails; else the link or the spool is at fault. The part
        is kept, unless it turned out to be of another file.
        """
        await self._room.make(item.file_id, item.facts.size, lambda: overtake(item.rank))
        events = log.bind(file=item.file_id, name=item.facts.name, camera=item.facts.camera)
        try:
            digests = await self._bring(item, owed, overtake, release, events)
        finally:
            self._spool.release(item.file_id)  # a file that waits keeps nothing but what is there of it
        concluding = asyncio.create_task(self._conclude(item, digests, events))
        _CONCLUDING.add(concluding)
        concluding.add_done_callback(_CONCLUDING.discard)
        await asyncio.shield(concluding)

    async def _conclude(
        self, item: Item, digests: dict[str, str] | None, events: structlog.BoundLogger
    ) -> None:
        """The end of step 3. Uploads wait for it, so it comes even if the visit ends while the ledger waits for its disk."""
        if digests is not None and await self._ledger.files.finish_fetch(
            item.file_id, digests["sha256"], digests.get("crc32c")
        ):
            self._spool.announce(item.file_id, digests)
            self._progress.fetched_files += 1
            self._progress.fetched_bytes += item.facts.size
            self._progress.moved()
            events.info("fetched", sha256=digests["sha256"])
        else:
            await self._spool.forget(item.file_id)
            events.info("not wanted any more")

    async def _bring(
        self,
        item: Item,
        owed: Sequence[NewDelivery],
        overtake: Overtake,
        release: Callable[[], None],
        events: structlog.BoundLogger,
    ) -> dict[str, str] | None:
        """Steps 1 to 3, up to the ledger: return the digests; None if it was skipped or gone since it was queued."""
        size = item.facts.size
        if self._spool.is_finished(item.file_id):  # but the ledger does not know
            return await self._spool.rehash(item.file_id, self._around.algorithms)
        async with await self._spool.writer(item.file_id, size, self._around.algorithms) as writer:
            source = item.object
            if writer.offset or item.tries:
                source = await self._look_up(item, writer)
            if writer.offset and not (
                self._body.can_resume(source) and await self._continues(source, item, writer)
            ):
                await writer.discard()
            generation = await self._ledger.files.begin_fetch(
                item.file_id, source.handle, from_zero=writer.offset == 0, owed=owed
            )
            if generation is None:
                return None
            events.info("fetching", size=size, offset=writer.offset)
            with self._progress.transfer(
                item.file_id, item.facts.name, "camera", size, writer.offset
            ) as transfer:
                source, beginning = await self._read(source, item, writer, transfer, overtake)
            await self._check(source, item, writer, beginning, events)
            release()
            return await writer.finish()

    async def _look_up(self, item: Item, writer: Writer, read_as: Object | None = None) -> Object:
        """The same file in this session; a part of one that is no longer there is of no use.

        `read_as`: what was read since the last look was read under this handle, which must have meant the file.
        """
        fresh = await self._body.lookup(item.object)
        is_there = fresh is not None and fresh.size == item.facts.size
        if fresh is None or not is_there or (read_as and read_as.handle != fresh.handle):
            await writer.discard()
            raise fault(FAULTS, "camera.file_changed", f"{item.facts.folder}/{item.facts.name}")
        return fresh

    async def _read(
        self, source: Object, item: Item, writer: Writer, transfer: Transfer, overtake: Overtake
    ) -> tuple[Object, bytes]:
        """Read from the writer's offset to the end: one chunk is received while the one before is written.

        Returns the object as it was looked up last, and the file's first bytes if they were among what was read.
        """
        if not self._body.can_resume(source):
            await self._read_whole(source, writer, transfer)
            return source, b""
        buffers = self._buffers or [memoryview(bytearray(CHUNK_BYTES)) for _ in range(2)]
        self._buffers = []  # a file that overtakes this one brings its own
        writing: asyncio.Task[None] | None = None
        offset = writer.offset
        beginning = b""
        try:
            while offset < item.facts.size:
                chunk = buffers[0][: min(CHUNK_BYTES, item.facts.size - offset)]
                received = await self._body.read(source, offset, chunk)
                if writing:
                    await writing
                if offset == 0:
                    beginning = bytes(chunk[: min(received, _HEADER_BYTES)])
                writing = asyncio.create_task(writer.write(chunk[:received]))
                offset += received
                buffers.reverse()
                transfer.advance_to(offset)
                self._progress.moved()
                if offset < item.facts.size and await overtake(item.rank):
                    await writing
                    source = await self._look_up(item, writer, source)
            if writing:
                await writing
        finally:
            if writing:
                await _settled(writing)
        self._buffers = buffers
        return source, beginning

    async def _read_whole(self, source: Object, writer: Writer, transfer: Transfer) -> None:
        """For bodies without partial reads: all or nothing, from 0."""

        async def take(view: memoryview) -> None:
            await writer.write(view)
            transfer.advance_to(writer.offset)
            self._progress.moved()

        await self._body.stream_whole(source, take)

    async def _check(
        self, source: Object, item: Item, writer: Writer, header: bytes, events: structlog.BoundLogger
    ) -> None:
        """The handle named this file to the end; and a strange beginning is really what the card holds."""
        await self._look_up(item, writer, source)
        if not header:
            header = await self._stored(item, 0, min(_HEADER_BYTES, item.facts.size))
        if looks_right(header, item.facts.kind):
            return
        if self._body.can_resume(source):
            again = bytearray(len(header))
            received = await self._body.read(source, 0, memoryview(again))
            if bytes(again[:received]) != header[:received]:
                await writer.discard()
                raise fault(FAULTS, "camera.unsteady", f"{item.facts.folder}/{item.facts.name}")
        events.warning("odd header", kind=item.facts.kind, header=header[:8].hex())

    async def _continues(self, source: Object, item: Item, writer: Writer) -> bool:
        """Whether the camera sends the end of the part alike once more."""
        end = bytearray(min(_END_BYTES, writer.offset))
        begin, received = writer.offset - len(end), 0
        while received < len(end):
            received += await self._body.read(source, begin + received, memoryview(end)[received:])
        return bytes(end) == await self._stored(item, begin, len(end))

    async def _stored(self, item: Item, offset: int, size: int) -> bytes:
        stored = bytearray(size)
        with self._spool.follow(item.file_id, item.facts.size) as reader:
            await reader.read_into(offset, memoryview(stored))
        return bytes(stored)


def looks_right(header: bytes, kind: Media) -> bool:
    """Whether a file of this kind may begin so (protocol: JPEG, CR2, CR3, MP4, MOV). Unknown kinds always may."""
    is_boxed = header[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")
    if kind is Media.JPEG:
        return header.startswith(b"\xff\xd8")
    if kind is Media.RAW:
        return is_boxed or header[:4] in (
            b"II*\0",
            b"MM\0*",
            b"II\x1a\0",
            b"FUJI",
            b"IIU\0",
            b"IIRO",
            b"IIRS",
        )
    if kind is Media.VIDEO:
        return is_boxed or header.startswith((b"RIFF", b"\x00\x00\x01\xba", b"\x47"))
    return True


async def _settled(task: asyncio.Task[None]) -> None:
    """Wait for a write to end, whatever cancels us: the buffer is in its hands."""
    if not task.done():
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
