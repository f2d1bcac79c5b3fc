"""Transactions as brands make them: each takes one turn of the link, waits out "not now", and is learnt from.

An operation can be used when the camera lists it and neither this session nor the memory of its model speaks against it.
A clear "I cannot" is remembered once anything else has worked after it: some bodies answer that to everything when their
session is in disorder (protocol.md §3, CloseSession).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from agent.camera.faults import expect_ok
from agent.camera.link import Link, Urgency
from agent.camera.memory import ModelMemory
from agent.camera.patience import patiently
from agent.camera.session import DATASET_LIMIT_BYTES, Reply, Session, Sink
from agent.faults import Fault
from agent.ptp.codes import Operation, ResponseCode, name_of

UNSUPPORTED = frozenset(
    {
        ResponseCode.OPERATION_NOT_SUPPORTED,
        ResponseCode.CANON_UNKNOWN_COMMAND,
        ResponseCode.CANON_OPERATION_REFUSED,  # in this mode: for this session alone
    }
)

HAS_ALTERNATIVE = frozenset(
    {
        Operation.GET_OBJECT_INFO,
        Operation.GET_THUMB,
        Operation.EOS_GET_OBJECT_INFO_EX,
        Operation.EOS_GET_THUMB_EX,
        Operation.EOS_GET_PARTIAL_OBJECT_64,
        Operation.EOS_GET_OBJECT_INFO_EX_64,
        Operation.EOS_GET_PARTIAL_OBJECT_EX_64,
    }
)
"""Operations whose failures are counted. Partial reads are not among them: a link that breaks often breaks in a chunk, and
reading whole objects instead would be worse."""


class Transactions:
    def __init__(self, session: Session, facts: dict[str, str]) -> None:
        self.session = session
        self.link = Link(session)
        self.timing = session.timing
        self.memory = ModelMemory(facts, session.info.model, session.info.device_version)
        self.meanwhile: Callable[[], Awaitable[None]] | None = None  # what to do while the camera is busy
        self._unsupported: dict[int, int] = {}  # operation -> answer, in this session
        self._unconfirmed: set[int] = set()

    def can(self, operation: int) -> bool:
        return (
            operation in self.session.info.operations
            and operation not in self._unsupported
            and not self.memory.avoids(operation)
        )

    def first(self, operations: Iterable[int]) -> int | None:
        """Return the first operation that can be used."""
        return next((code for code in operations if self.can(code)), None)

    async def ask(
        self,
        operation: int,
        *params: int,
        urgency: Urgency = Urgency.LOOK,
        limit: int = DATASET_LIMIT_BYTES,
        is_new: bool = False,
    ) -> Reply:
        """Return the reply, whatever it says, once it is not "not now" any more, or that for too long."""

        async def once() -> Reply:
            return await self.ask_once(operation, *params, urgency=urgency, limit=limit)

        return await patiently(once, self.timing, is_new=is_new, meanwhile=self.meanwhile)

    async def get(
        self,
        operation: int,
        *params: int,
        urgency: Urgency = Urgency.LOOK,
        limit: int = DATASET_LIMIT_BYTES,
        is_new: bool = False,
    ) -> Reply:
        """Return the reply if it is OK; its fault is raised if not."""
        reply = await self.ask(operation, *params, urgency=urgency, limit=limit, is_new=is_new)
        expect_ok(reply, name_of(operation))
        return reply

    async def ask_once(
        self,
        operation: int,
        *params: int,
        urgency: Urgency = Urgency.LOOK,
        limit: int = DATASET_LIMIT_BYTES,
    ) -> Reply:
        """Return the reply, be it "not now"."""
        return await self._once(
            urgency, operation, lambda session: session.operate(operation, *params, limit=limit)
        )

    async def read_into(
        self, operation: int, *params: int, buffer: memoryview, urgency: Urgency, is_new: bool = False
    ) -> Reply:
        async def once() -> Reply:
            return await self._once(
                urgency, operation, lambda session: session.read_into(operation, *params, buffer=buffer)
            )

        return await patiently(once, self.timing, is_new=is_new, meanwhile=self.meanwhile)

    async def stream(self, operation: int, *params: int, sink: Sink) -> Reply:
        """The one transaction without a bound: nothing else gets a turn until the object has ended."""

        async def once() -> Reply:
            return await self._once(
                Urgency.BULK, operation, lambda session: session.stream(operation, *params, sink=sink)
            )

        return await patiently(once, self.timing, meanwhile=self.meanwhile)

    def note_failed(self, operation: int) -> None:
        """Count an answer of no use, or a reset, against `operation`."""
        if operation in HAS_ALTERNATIVE:
            self.memory.note_failed(operation)

    async def _once(
        self, urgency: Urgency, operation: int, transact: Callable[[Session], Awaitable[Reply]]
    ) -> Reply:
        async with self.link.turn(urgency) as session:
            try:
                reply = await transact(session)
            except Fault:
                if session.failure is not None and session.failure.code != "camera.closed":
                    self.note_failed(operation)
                raise
            return self.learnt(operation, reply)

    def learnt(self, operation: int, reply: Reply) -> Reply:
        """Return the reply, after taking note of what it says about the operation."""
        if reply.is_ok:
            if operation in HAS_ALTERNATIVE:
                self.memory.note_worked(operation)
            for code in self._unconfirmed:
                self.memory.note_refused(code, self._unsupported[code])
            self._unconfirmed.clear()
        elif reply.code in UNSUPPORTED:
            self._unsupported[operation] = reply.code
            if reply.code != ResponseCode.CANON_OPERATION_REFUSED:
                self._unconfirmed.add(operation)
        return reply
