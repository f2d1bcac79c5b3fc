"""One PTP/IP session with one camera: two sockets, one transaction at a time, bytes to whoever asked for them.

- Whatever goes wrong closes both sockets for good: a session is never repaired. Every later call raises
  the same fault. CloseSession and Cancel are never sent (protocol.md §1.7, §3).
- Every wait has a deadline: silence, and a total rate below which a transfer counts as dead.
- A caller that is cancelled leaves its transaction behind; it is finished and its data dropped before the next one
  begins. A stream has no bound, so leaving one closes the session.
- The event socket is always drained and its probes are answered; what it says is no more than a hint (`hinted`).

Which operations mean what, retries and strategies are the brands'; who may call next is `link`'s.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from agent.camera.faults import FAULTS, expect_ok, refusal
from agent.camera.handshake import Address, open_command, open_event, resolve
from agent.camera.patience import patiently
from agent.camera.timing import Timing
from agent.camera.wire import Wire
from agent.faults import Fault, fault
from agent.ptp.codes import EventCode, Operation, ResponseCode, name_of
from agent.ptp.connection import Channel, Payload, RemoteProtocolError
from agent.ptp.datasets import DeviceInfo, device_info
from agent.ptp.packets import (
    Event,
    InitCommandRequest,
    OperationRequest,
    OperationResponse,
    Packet,
    ProbeRequest,
    ProbeResponse,
    StartData,
)

COMMAND_BUFFER_BYTES = 512 * 1024
EVENT_BUFFER_BYTES = 8 * 1024
DATASET_LIMIT_BYTES = 1 << 20
LAST_TRANSACTION_ID = 0xFFFFFFFE
EVENTS_KEPT = 256
NO_HINTS = frozenset({EventCode.DEVICE_PROP_CHANGED, EventCode.CANCEL_TRANSACTION})
"""Events that say nothing about files; some bodies send the first by the dozen."""


MINIMUM_BYTES_PER_SECOND = 8 * 1024
"""A data phase that is slower than this, over all its time, is a dead link that still drips."""


class Reply(NamedTuple):
    """The end of one transaction. `data` is empty where the payload went elsewhere; `received` counts it anyway."""

    code: int
    params: tuple[int, ...]
    data: bytes
    received: int  # bytes of the data phase
    announced: int | None  # what the camera said it would send; None: unknown, or no data phase

    @property
    def is_ok(self) -> bool:
        return self.code == ResponseCode.OK


Sink = Callable[[memoryview], Awaitable[None] | None]


def discard(view: memoryview) -> None:
    """The sink of data that nobody wants any more."""


class _Exchange:
    """A transaction under way. Progress is made by the wire's callbacks, not by whoever waits for it."""

    def __init__(self, code: int, sink: Sink, now: float) -> None:
        self.code = code
        self.sink = sink
        self.started_at = now
        self.held_seconds = 0.0  # spent waiting for the sink, which is not the camera's fault
        self.pending: Awaitable[None] | None = None  # what the sink asked to wait for
        self.response: OperationResponse | None = None
        self.ends_at_total = False  # nothing but the announced length is wanted


class Session:
    """Made by `open`. Use it through a `Link`: two transactions at once are an error."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.info: DeviceInfo
        self.responder_guid = b""
        self.responder_name = ""
        self.failure: Fault | None = None  # why it is closed
        self.lost_in: int | None = None  # the operation that was under way then
        self.transactions: Counter[int] = Counter()  # sent, by operation
        self.bytes_received = 0  # payload
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)  # whoever reads them clears them
        self.hinted = asyncio.Event()  # the event socket spoke, or the session is closed
        self._loop = asyncio.get_running_loop()
        self._command = Wire(Channel.COMMAND, COMMAND_BUFFER_BYTES, self._lost)
        self._event = Wire(Channel.EVENT, EVENT_BUFFER_BYTES, self._on_event_lost)
        self._news: asyncio.Future[None] = self._loop.create_future()  # what is waited for came, or failed
        self._exchange: _Exchange | None = None
        self._transaction_id = 0
        self._watch: asyncio.TimerHandle | None = None
        self._doom: Fault | None = None  # ends the session after the transaction under way

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        *,
        guid: bytes,
        name: str,
        pairing: bool,
        session_id: int = 1,
        timing: Timing | None = None,
    ) -> Session:
        """Do the whole handshake up to GetDeviceInfo; raise a Fault and leave nothing open if it fails.

        `guid`: 16 bytes, the same ones for ever. `name`: at most 15 ASCII characters, shown by the camera. `pairing`: the
        camera has never accepted this GUID, so a person may have to confirm it. `session_id`: 0x41 is what EOS Utility
        uses, and what some bodies insist on (libgphoto2 issue #333).
        """
        session = cls(timing or Timing())
        try:
            await session._greet(await resolve(host, port), InitCommandRequest(guid, name), pairing)
            await session._open_session(session_id)
        except BaseException as error:
            first = session.failure  # of the other socket, where `error` says no more than that it is over
            session.close()
            await session.wait_closed()
            if isinstance(error, Fault) and error.code == "camera.closed" and first is not None:
                raise first from error
            raise
        return session

    @property
    def round_trips(self) -> int:
        return self.transactions.total()

    def close(self) -> None:
        """Drop both sockets at once; harmless when repeated."""
        self._lost(fault(FAULTS, "camera.closed"))

    async def wait_closed(self) -> None:
        """Return when both sockets are really closed; only after `close` or a failure."""
        await asyncio.wait([self._event.ended, self._command.ended], timeout=self.timing.connect)

    async def operate(self, code: int, *params: int, limit: int = DATASET_LIMIT_BYTES) -> Reply:
        """Do one transaction whose data, if any, is a dataset of at most `limit` bytes."""
        data = bytearray()

        def collect(view: memoryview) -> None:
            data.extend(view)

        return await self._transact(code, params, collect, limit, data)

    async def read_into(self, code: int, *params: int, buffer: memoryview) -> Reply:
        """Do one transaction whose data goes to the beginning of `buffer`; more than fits is an error of the camera."""
        at = 0

        def place(view: memoryview) -> None:
            nonlocal at
            end = at + len(view)
            buffer[at:end] = view
            at = end

        return await self._transact(code, params, place, len(buffer))

    async def stream(self, code: int, *params: int, sink: Sink) -> Reply:
        """Do one transaction whose data goes to `sink` as it comes, without a limit; while `sink` is awaited nothing is
        received.

        A view is valid until `sink` is done with it. Whatever `sink` raises is raised here and closes the session, and
        so does a caller who leaves.
        """
        try:
            return await self._transact(code, params, sink, None)
        except BaseException:
            self.close()
            raise

    async def measure(self, code: int, *params: int) -> int | None:
        """Return how many bytes the camera announces for a data phase; None if it does not say.

        Nothing but closing the session stops the data, so it is closed afterwards, whatever the outcome.
        """
        try:
            await self._finish_abandoned()
            exchange = self._send(code, params, discard, None)
            exchange.ends_at_total = True
            await self._news
        finally:
            self.close()
        if exchange.response is not None:
            expect_ok(exchange.response, name_of(code))
        return self._command.connection.announced_bytes

    async def _transact(
        self, code: int, params: tuple[int, ...], sink: Sink, limit: int | None, data: bytearray | None = None
    ) -> Reply:
        if self._exchange is not None:
            await self._finish_abandoned()
        exchange = self._send(code, params, sink, limit)
        try:
            await self._run(exchange)
        except asyncio.CancelledError:
            exchange.sink = discard
            raise
        assert exchange.response is not None
        connection = self._command.connection
        return Reply(
            exchange.response.code,
            exchange.response.params,
            bytes(data) if data else b"",
            connection.received_bytes,
            connection.announced_bytes,
        )

    def _send(self, code: int, params: tuple[int, ...], sink: Sink, limit: int | None) -> _Exchange:
        self.check_open()
        self.transactions[code] += 1
        self._news = self._loop.create_future()
        self._exchange = _Exchange(code, sink, self._loop.time())
        self._command.send(OperationRequest(code, self._transaction_id, params), data_limit=limit)
        self._transaction_id = 1 if self._transaction_id == LAST_TRANSACTION_ID else self._transaction_id + 1
        if self._watch is None:
            self._watch = self._loop.call_later(self.timing.silence, self._check_progress)
        return self._exchange

    async def _run(self, exchange: _Exchange) -> None:
        """Wait for the response, and between for whatever the sink wants to be waited for."""
        await self._news
        while exchange.pending is not None:
            held_at = self._loop.time()
            await exchange.pending
            self.check_open()
            exchange.held_seconds += self._loop.time() - held_at
            exchange.pending = None
            self._news = self._loop.create_future()
            self._command.resume()
            await self._news

    async def _finish_abandoned(self) -> None:
        """Wait for the transaction whose caller left; its deadlines hold as ever."""
        self.check_open()
        assert self._exchange is None or self._exchange.sink is discard, "two transactions at once"
        if self._exchange is not None:
            if self._news.cancelled():
                self._news = self._loop.create_future()
            await asyncio.wait([self._news])

    def check_open(self) -> None:
        if self.failure is not None:
            past = self.failure
            raise fault(FAULTS, past.code, past.detail, retry_after_seconds=past.retry_after_seconds)

    def _check_progress(self) -> None:
        """Give up on a camera that is silent, or so slow that it will never end; otherwise look again later.

        One timer serves many transactions: it is not worth a new one for each.
        """
        self._watch = None
        exchange, silence = self._exchange, self.timing.silence
        if exchange is None:
            return
        now = self._loop.time()
        heard_at = now if exchange.pending is not None else max(self._command.heard_at, exchange.started_at)
        elapsed = now - exchange.started_at - exchange.held_seconds
        expected_bytes = (elapsed - 2 * silence) * MINIMUM_BYTES_PER_SECOND
        if now - heard_at >= silence:
            self._lost(fault(FAULTS, "camera.silent", f"{name_of(exchange.code)}: nothing for {silence:g} s"))
        elif exchange.pending is None and self._command.connection.received_bytes < expected_bytes:
            self._lost(fault(FAULTS, "camera.too_slow", f"{name_of(exchange.code)}: {elapsed:.0f} s"))
        else:
            self._watch = self._loop.call_at(heard_at + silence, self._check_progress)

    def _on_command(self, packet: Packet | Payload) -> bool:
        if isinstance(packet, Payload):
            return self._on_payload(packet.data)
        exchange = self._exchange
        if isinstance(packet, OperationResponse) and exchange is not None:
            self._on_response(exchange, packet)
        elif isinstance(packet, StartData) and exchange is not None and exchange.ends_at_total:
            self._tell()
        elif isinstance(packet, ProbeRequest):
            self._command.send(ProbeResponse())
        return False

    def _on_payload(self, view: memoryview) -> bool:
        exchange = self._exchange
        assert exchange is not None
        self.bytes_received += len(view)
        try:
            exchange.pending = exchange.sink(view)
        except Exception as error:
            self._tell(error)
            self.close()
            return False
        if exchange.pending is None:
            return False
        self._tell()
        return True

    def _on_response(self, exchange: _Exchange, response: OperationResponse) -> None:
        self._exchange = None
        exchange.response = response
        if self._doom is not None:
            self._tell()
            self._lost(self._doom)
        elif response.code in (ResponseCode.SESSION_NOT_OPEN, ResponseCode.INVALID_TRANSACTION_ID):
            self._lost(refusal(response, name_of(exchange.code)))
        self._tell()

    def _on_event(self, packet: Packet | Payload) -> None:
        if isinstance(packet, Event):
            self.events.append(packet)
            if packet.code not in NO_HINTS:
                self.hinted.set()
        elif isinstance(packet, ProbeRequest):
            self._event.send(ProbeResponse())

    def _on_event_lost(self, failure: Fault) -> None:
        """End the session, but not before what the camera has sent already: a 2000D closes both sockets right behind a
        whole object (canon-proxy), and the event socket may be the first to tell.
        """
        if self._exchange is None:
            self._lost(failure)
        else:
            self._doom = failure

    def _tell(self, failure: BaseException | None = None) -> None:
        if self._news.done():
            return
        if failure is None:
            self._news.set_result(None)
        else:
            self._news.set_exception(failure)
            self._news.exception()  # whoever waited may have left

    def _lost(self, failure: Fault) -> None:
        if self.failure is not None:
            return
        self.failure = failure
        self.lost_in = self._exchange.code if self._exchange else None
        self._event.close()
        self._command.close()
        if self._watch is not None:
            self._watch.cancel()
        self.hinted.set()
        self._tell(failure)

    async def _greet(self, address: Address, request: InitCommandRequest, pairing: bool) -> None:
        ack = await open_command(
            self._command, address, request, self.timing, pairing=pairing, then=self._on_command
        )
        self.responder_guid, self.responder_name = ack.guid, ack.name
        await open_event(self._event, address, ack.connection_number, self.timing, then=self._on_event)

    async def _open_session(self, session_id: int) -> None:
        """OpenSession, which may find an old session still open (that one will do), and GetDeviceInfo."""
        reply = await patiently(lambda: self.operate(Operation.OPEN_SESSION, session_id), self.timing)
        if reply.code != ResponseCode.SESSION_ALREADY_OPEN:
            expect_ok(reply, "OpenSession")
        await self.identify()

    async def identify(self) -> None:
        """Read DeviceInfo (again): what a camera can do changes with its mode."""
        reply = await patiently(lambda: self.operate(Operation.GET_DEVICE_INFO), self.timing)
        expect_ok(reply, "GetDeviceInfo")
        try:
            self.info = device_info(reply.data)
        except RemoteProtocolError as error:
            raise fault(FAULTS, "camera.protocol_error", f"DeviceInfo: {error}") from error
