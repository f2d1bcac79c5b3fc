"""The content of objects: in chunks where the camera can, as a whole where it cannot.

A chunk is at most 1 MiB, so that nobody waits long and a break costs little; newer EOS bodies choke on larger ones
(libgphoto2 ``library.c``). After a reset inside a chunk 256 KiB are tried, for a while. What counts is how many bytes came,
never what the response says about them.

Offsets beyond 4 GiB need Canon's 64-bit operations, whose parameter order is not documented: it is found out on a
small object, by a request that does nothing in the wrong form (protocol.md §4.4), and remembered for the model.

Looking an object up before its reading resumes is the caller's duty.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from agent.camera.faults import FAULTS, expect_ok
from agent.camera.link import Urgency
from agent.camera.objects import Object
from agent.camera.session import Reply, Sink
from agent.camera.transactions import Transactions
from agent.faults import Fault, fault
from agent.ptp.codes import Operation, ResponseCode, name_of

CHUNK_BYTES = 1 << 20
SMALL_CHUNK_BYTES = 256 << 10
GOOD_CHUNKS = 64
"""So many small chunks without a reset, and full ones are tried again."""

LAST_NARROW_OFFSET = 0xFFFFFFFF
MASK = 0xFFFFFFFF

_CHUNK, _WIDE, _NONE = "chunk", "wide", "none"
_TRIAL_OFFSET, _TRIAL_BYTES = 16, 32

_WIDE_FORMS: dict[str, tuple[int, Callable[[int, int, int], tuple[int, ...]]]] = {
    "0x9172 offset-low size offset-high": (
        Operation.EOS_GET_PARTIAL_OBJECT_64,
        lambda handle, offset, size: (handle, offset & MASK, size, offset >> 32),
    ),
    "0x9172 offset-low offset-high size": (
        Operation.EOS_GET_PARTIAL_OBJECT_64,
        lambda handle, offset, size: (handle, offset & MASK, offset >> 32, size),
    ),
    "0x9174": (
        Operation.EOS_GET_PARTIAL_OBJECT_EX_64,
        lambda handle, offset, size: (handle, offset & MASK, offset >> 32, size),
    ),
}


class Methods(msgspec.Struct, frozen=True):
    """The operations of a brand that read content, best first."""

    partial: tuple[int, ...] = (Operation.GET_PARTIAL_OBJECT,)
    partial_wide: tuple[int, ...] = ()
    whole: tuple[int, ...] = (Operation.GET_OBJECT,)
    whole_wide: tuple[int, ...] = ()


class Reading:
    def __init__(self, transactions: Transactions, methods: Methods) -> None:
        self._transactions = transactions
        self._memory = transactions.memory
        self._methods = methods
        self._good_chunks = 0
        self._sample: Object | None = None

    @property
    def chunk_bytes(self) -> int:
        return SMALL_CHUNK_BYTES if self._memory.recall(_CHUNK) else CHUNK_BYTES

    def consider(self, item: Object) -> None:
        """Keep the smallest object that was seen, to try the 64-bit forms on."""
        size = item.size or 0
        if size >= _TRIAL_OFFSET + _TRIAL_BYTES and (self._sample is None or size < (self._sample.size or 0)):
            self._sample = item

    def can_resume(self, item: Object) -> bool:
        """Return whether the object can be read in chunks, and so from where it stopped."""
        if self._transactions.first(self._methods.partial) is None:
            return False
        if item.size is not None and item.size <= LAST_NARROW_OFFSET:
            return True
        if item.size is None or self._memory.recall(_WIDE) == _NONE:
            return False
        return self._transactions.first(self._methods.partial_wide) is not None

    async def read(
        self, item: Object, offset: int, buffer: memoryview, urgency: Urgency = Urgency.BULK
    ) -> int:
        """Read one chunk at `offset` into the beginning of `buffer`; return how many bytes came, at least one.

        Raises ``camera.short_read`` when nothing comes before the end, ``camera.whole_object_only`` when this object
        turns out not to be readable in parts (`can_resume` then says so too).
        """
        wanted = min(len(buffer), self.chunk_bytes)
        if item.size is not None:
            wanted = min(wanted, item.size - offset)
        operation, params = await self._request(item, offset, wanted)
        for is_last in (False, True):
            reply = await self._chunk(operation, params, buffer[:wanted], urgency, item)
            if reply.code != ResponseCode.INCOMPLETE_TRANSFER or is_last:
                break
        expect_ok(reply, f"{item.name} at {offset}")
        if not reply.received:
            raise fault(FAULTS, "camera.short_read", f"{item.name}: nothing at {offset} of {item.size}")
        return reply.received

    async def stream_whole(self, item: Object, sink: Sink) -> int:
        """Read the whole object, from its beginning and without a pause; return its bytes.

        Raises ``camera.size_differs`` when they are not as many as the camera announced, or as `item` has; `sink` never gets
        more than those.
        """
        taken = 0

        def take(view: memoryview) -> Awaitable[None] | None:
            nonlocal taken
            taken += len(view)
            if item.size is not None and taken > item.size:
                raise fault(FAULTS, "camera.size_differs", f"{item.name}: more than {item.size}")
            return sink(view)

        operation = self._whole_operation(item)
        reply = await self._transactions.stream(operation, item.handle, sink=take)
        expect_ok(reply, item.name)
        for expected in (reply.announced, item.size):
            if expected not in (None, reply.received):
                raise fault(FAULTS, "camera.size_differs", f"{item.name}: {reply.received}, not {expected}")
        return reply.received

    async def measure(self, item: Object) -> int:
        """Return the size that the camera announces when asked for the whole object. **The session ends with it.**

        For objects whose size no listing tells; the only way to stop what has been asked for is to hang up.
        """
        async with self._transactions.link.turn(Urgency.BULK) as session:
            size = await session.measure(self._whole_operation(item), item.handle)
        if size is None:
            raise fault(FAULTS, "camera.size_unknown", item.name)
        return size

    def _whole_operation(self, item: Object) -> int:
        wide = self._methods.whole_wide if item.size is None or item.size > LAST_NARROW_OFFSET else ()
        operation = self._transactions.first((*wide, *self._methods.whole))
        return Operation.GET_OBJECT if operation is None else operation

    async def _request(self, item: Object, offset: int, wanted: int) -> tuple[int, tuple[int, ...]]:
        """Return the operation and parameters that read this chunk."""
        if (item.size or offset + wanted) > LAST_NARROW_OFFSET:
            operation, params = _WIDE_FORMS[await self._wide_form(item)]
            return operation, params(item.handle, offset, wanted)
        narrow = self._transactions.first(self._methods.partial)
        if narrow is None:
            raise fault(FAULTS, "camera.whole_object_only", item.name)
        return narrow, (item.handle, offset, wanted)

    async def _chunk(
        self, operation: int, params: tuple[int, ...], buffer: memoryview, urgency: Urgency, item: Object
    ) -> Reply:
        try:
            reply = await self._transactions.read_into(
                operation, *params, buffer=buffer, urgency=urgency, is_new=item.is_just_written
            )
        except Fault as broken:
            if broken.code in ("camera.link_lost", "camera.silent"):
                self._memory.note(_CHUNK, "256 KiB after a reset inside a chunk")
            raise
        self._good_chunks += reply.is_ok
        if self._good_chunks == GOOD_CHUNKS:
            self._memory.forget(_CHUNK)
        return reply

    async def _wide_form(self, item: Object) -> str:
        """Return which 64-bit form this model understands."""
        form = self._memory.recall(_WIDE)
        if form is None:
            sample, self._sample = self._sample or item, None  # a sample that is gone must not stay
            form = await self._find_wide_form(sample)
            self._memory.note(_WIDE, form)
        if form not in _WIDE_FORMS:
            raise fault(FAULTS, "camera.whole_object_only", f"{item.name}: no 64-bit reads")
        return form

    async def _find_wide_form(self, sample: Object) -> str:
        """Ask for bytes that we know, in each form; the wrong one asks for none at all, far behind the end."""
        expected = bytearray(_TRIAL_BYTES)
        narrow = self._transactions.first(self._methods.partial)
        params = (sample.handle, _TRIAL_OFFSET, _TRIAL_BYTES)
        reply = await self._trial(narrow or Operation.GET_PARTIAL_OBJECT, params, memoryview(expected))
        expect_ok(reply, name_of(Operation.GET_PARTIAL_OBJECT))
        for form, (operation, arrange) in _WIDE_FORMS.items():
            if operation in self._methods.partial_wide and self._transactions.can(operation):
                answer = bytearray(SMALL_CHUNK_BYTES)
                reply = await self._trial(operation, arrange(*params), memoryview(answer))
                if reply.is_ok and answer[: reply.received] == expected:
                    return form
        return _NONE

    async def _trial(self, operation: int, params: tuple[int, ...], buffer: memoryview) -> Reply:
        return await self._transactions.read_into(operation, *params, buffer=buffer, urgency=Urgency.BULK)
