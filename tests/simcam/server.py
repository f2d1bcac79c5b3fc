"""The camera on the network: one listener, one initiator, its two sockets, one transaction after the other.

Every accepted socket has a thread that ends when the socket does. What an operation means is in `operations`, what
goes wrong in `trouble`; this module keeps the order of the handshake (protocol.md §1.5) and turns an `Answer` into
packets.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import count

from agent.ptp.connection import CLOSED, Channel, Payload, ProtocolError
from agent.ptp.packets import (
    DATA_PHASE_OUT,
    Cancel,
    EndData,
    Event,
    InitCommandAck,
    InitCommandRequest,
    InitEventAck,
    InitEventRequest,
    InitFail,
    OperationRequest,
    OperationResponse,
    Packet,
    PacketType,
    ProbeRequest,
    ProbeResponse,
    StartData,
    encode,
)
from tests.simcam.camera import Camera
from tests.simcam.codes import Rc
from tests.simcam.door import BUSY, Door
from tests.simcam.gate import Gate
from tests.simcam.hooks import Transaction
from tests.simcam.operations import Answer, Session, perform
from tests.simcam.wire import Hangup, Pace, Reset, Wire, close

MAX_DATA_OUT_BYTES = 1 << 20
EVENT_CONNECTION_SECONDS = 5.0


class Link:
    """One initiator: its command socket, and its event socket once that has come."""

    def __init__(self, number: int, command: Wire) -> None:
        self.number = number
        self.command = command
        self.event: Wire | None = None
        self.event_came = threading.Event()
        self.is_gone = threading.Event()
        self.awake_at = time.monotonic()
        self.has_unread_events = False
        self.cancelled: int | None = None  # the transaction that the initiator has given up

    def shut(self) -> None:
        self.command.shut()
        if self.event is not None:
            self.event.shut()


class Server:
    """Listens on `host`:`port` (0: any) from `open` to `close`."""

    def __init__(
        self, camera: Camera, door: Door, gate: Gate, *, host: str, port: int, rtt_seconds: float, mbit: float | None,
        packet_bytes: int, coalesce: bool,
    ) -> None:  # fmt: skip
        self.camera, self.door, self.gate = camera, door, gate
        self.host, self.port = host, port
        self.rtt_seconds = rtt_seconds
        self.pace = Pace(mbit)
        self.packet_bytes = packet_bytes
        self.coalesce = coalesce
        self.link: Link | None = None
        self._numbers = count(1)
        self._listener: socket.socket | None = None
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._seat = threading.Lock()  # held by whom we talk to
        camera.on_event = self.push_event

    # --- listening

    def open(self) -> None:
        """Begin to listen; again on the same port after `deafen`."""
        with self._lock:
            if self._listener is not None:
                return
            listener = socket.create_server((self.host, self.port), backlog=16)
            self.port = listener.getsockname()[1]
            self._listener = listener
            self._spawn(self._accept, listener)

    def deafen(self) -> None:
        """Stop listening: connections are refused. Those that exist live on."""
        with self._lock:
            listener, self._listener = self._listener, None
            if listener is not None:
                listener.shutdown(socket.SHUT_RDWR)
                listener.close()

    def hang_up(self) -> None:
        """End the conversation at once, whoever is in the middle of what."""
        if (link := self.link) is not None:
            link.shut()
            link.is_gone.wait(5)

    def close(self) -> None:
        self._closing.set()
        self.deafen()
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive(), f"{thread.name} does not end"

    def _spawn(self, target: Callable[..., object], *args: object) -> None:
        def run() -> None:
            try:
                target(*args)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=f"simcam-{target.__name__}", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self.camera.stats.connections += 1
            with self._lock:
                self._sockets.add(sock)
            self._spawn(self._greet, sock)

    def _greet(self, sock: socket.socket) -> None:
        """The first packet's type says which of the two sockets this is; nothing else is let in."""
        reset = False
        try:
            self.gate.on_accept(sock)
            head = sock.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL)
            kind = int.from_bytes(head[4:8], "little")
            if kind == PacketType.INIT_COMMAND_REQUEST:
                self._serve_command(Wire(sock, Channel.COMMAND, self.pace, self.gate))
            elif kind == PacketType.INIT_EVENT_REQUEST:
                self._serve_event(Wire(sock, Channel.EVENT, Pace(None), None))
            else:
                reset = True
        except Reset:
            reset = True
        except (Hangup, ProtocolError, OSError):
            pass
        finally:
            with self._lock:
                self._sockets.discard(sock)
            close(sock, reset=reset)

    # --- the command socket

    def _serve_command(self, wire: Wire) -> None:
        request = wire.receive()
        assert isinstance(request, InitCommandRequest)
        reason = BUSY
        if self._seat.acquire(timeout=0.5):  # the one before may just be leaving
            try:
                reason = self.door.admit(request.guid, wire.idle)
                if not reason:
                    self._converse(wire)
            finally:
                self._seat.release()
        if reason:
            self.camera.stats.refused[reason] += 1
            self._say(wire, InitFail(reason))

    def _converse(self, wire: Wire) -> None:
        link = Link(next(self._numbers), wire)
        self.link = link
        try:
            self.camera.stats.handshakes += 1
            profile = self.camera.profile
            self.gate.on_ack()
            self._say(wire, InitCommandAck(link.number, profile.guid, profile.friendly_name))
            self._transactions(link)
        finally:
            self.link = None
            link.is_gone.set()  # before the event socket's reader notices, so that RST is not preceded by its FIN
            if link.event is not None:
                link.event.shut()
            self.camera.new_session()
            self._closing.wait(self.gate.linger_seconds)

    def _transactions(self, link: Link) -> None:
        session = Session()
        while (packet := link.command.receive()) is not CLOSED:
            if isinstance(packet, ProbeRequest):
                self._say(link.command, ProbeResponse())
            elif isinstance(packet, OperationRequest):
                self._await_event_connection(link)
                started = time.monotonic()
                if packet.data_phase not in (1, 2) and self.gate.ignores_odd_phases:
                    link.command.idle(None)
                payload = self._data_out(link.command) if packet.data_phase == DATA_PHASE_OUT else b""
                transaction = Transaction(
                    packet.code, packet.transaction_id, packet.params, session, link.command
                )
                self._transact(link, transaction, payload, started)

    def _await_event_connection(self, link: Link) -> None:
        """Nothing is answered before; a body gives up after some seconds (libgphoto2 issue #239)."""
        give_up_at = time.monotonic() + EVENT_CONNECTION_SECONDS
        while not link.event_came.wait(0.05):
            link.command.idle(0)
            if time.monotonic() > give_up_at:
                raise Hangup("the event connection never came")

    def _data_out(self, wire: Wire) -> bytes:
        payload = bytearray()
        while not isinstance(packet := wire.receive(), EndData):
            if packet is CLOSED:
                raise Hangup("the peer is gone")
            if isinstance(packet, Payload):
                payload += packet.data
                if len(payload) > MAX_DATA_OUT_BYTES:
                    raise Reset("more data than any operation takes")
        return bytes(payload)

    def _transact(self, link: Link, transaction: Transaction, payload: bytes, started: float) -> None:
        stats = self.camera.stats
        stats.operations[f"{transaction.code:#06x}"] += 1
        if transaction.code in (0x9116, 0x911D):
            link.awake_at = time.monotonic()
        if self.gate.stalls_on_unread_events:
            self._wait_for_event_reader(link)
        is_listed = transaction.code in self.camera.profile.operations
        answer = self.gate.before(transaction) if is_listed else None
        if answer is None:
            answer = perform(self.camera, transaction.session, transaction.code, transaction.params, payload)
        answer = self.gate.after(transaction, answer)
        if (delay := started + self.rtt_seconds - time.monotonic()) > 0:
            time.sleep(delay)
        before, began = link.command.sent_bytes, time.monotonic()
        try:
            if self.coalesce:
                link.command.send(self._packets(link.command, transaction, answer))
            else:
                for packet in one_by_one(self._packets(link.command, transaction, answer)):
                    link.command.send([packet])
        finally:
            stats.sent_bytes += link.command.sent_bytes - before
            if answer.item is not None:
                stats.note_object(answer.item.path, link.command.sent_bytes - before, began)
        if answer.then is not None:
            answer.then(link.command)

    def _packets(self, wire: Wire, transaction: Transaction, answer: Answer) -> Iterator[bytes | memoryview]:
        """The answer as bytes: StartData, Data*, EndData, OperationResponse; or whatever a trouble put in their place."""
        yield from answer.raw_before
        if answer.raw is not None:
            yield from answer.raw
            return
        is_cancelled = False
        if answer.size is not None:
            is_cancelled = yield from self._data(wire, transaction.id, answer, answer.size)
        code = Rc.TRANSACTION_CANCELLED if is_cancelled else answer.code
        yield wire.connection.send(
            OperationResponse(code, transaction.id, () if is_cancelled else answer.params)
        )

    def _data(
        self, wire: Wire, tid: int, answer: Answer, left: int
    ) -> Generator[bytes | memoryview, None, bool]:
        """The data phase of `left` bytes. True: the initiator has cancelled it."""
        total = None if self.gate.is_total_unknown else left + answer.promised_more
        yield wire.connection.send(StartData(tid, total))
        sizes = self.gate.packet_sizes() if self.gate.packet_sizes else self._packet_sizes()
        views = iter(answer.views)
        view = memoryview(b"")
        is_last = False
        while not is_last:
            if self.link is not None and self.link.cancelled == tid:
                yield wire.connection.send(EndData(tid))
                return True
            size = min(left, next(sizes))
            left -= size
            is_last = not left and not (size and self.gate.has_empty_end_data)
            yield wire.connection.send_payload(tid, size, last=is_last)
            while size:
                view = view or memoryview(next(views, b""))
                if not view:
                    raise Reset("the file behind the card has shrunk")
                yield view[:size]
                size, view = size - min(size, len(view)), view[size:]
        return False

    def _packet_sizes(self) -> Iterator[int]:
        size = 0xFFFFFFF0 if self.camera.profile.single_end_data else self.packet_bytes
        while True:
            yield size

    def _say(self, wire: Wire, packet: Packet) -> None:
        wire.send([wire.connection.send(packet)])

    # --- the event socket

    def _serve_event(self, wire: Wire) -> None:
        request = wire.receive()
        link = self.link
        if (
            not isinstance(request, InitEventRequest)
            or link is None
            or request.connection_number != link.number
        ):
            self._say(wire, InitFail(BUSY))
            return
        self.gate.on_event_request(wire)
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        link.event = wire
        self._say(wire, InitEventAck())
        link.event_came.set()
        try:
            while (packet := wire.receive()) is not CLOSED:
                if isinstance(packet, ProbeRequest):
                    self._say(wire, ProbeResponse())
                elif isinstance(packet, Cancel) and self.gate.honours_cancel:
                    link.cancelled = packet.transaction_id
        finally:
            if not link.is_gone.is_set():
                link.command.shut()

    def push_event(self, code: int, params: tuple[int, ...]) -> None:
        self.send_event(Event(code, 0xFFFFFFFF, params))

    def send_event(self, packet: Event | ProbeRequest) -> None:
        """Send if somebody listens; what does not fit into the socket is lost, and may stall the command side."""
        link = self.link
        if link is None or link.event is None or not link.event_came.is_set():
            return
        try:
            _, has_room, _ = select.select(
                [], [link.event.sock], [], 0
            )  # for a whole packet, never a part of one
            if has_room:
                link.event.sock.send(encode(packet), socket.MSG_DONTWAIT)
            else:
                self.camera.stats.troubles["unread_events"] += 1
                link.has_unread_events = True
        except (OSError, ValueError):
            pass  # its reader notices

    def _wait_for_event_reader(self, link: Link) -> None:
        """Some bodies stand still while their event socket is full (protocol.md §7.7)."""
        while link.has_unread_events and link.event is not None and not self._closing.is_set():
            _, writable, _ = select.select([], [link.event.sock], [], 0.05)
            link.has_unread_events = not writable
            link.command.idle(0)


def one_by_one(buffers: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The same bytes, cut where packets end."""
    packet = bytearray()
    for buffer in buffers:
        packet += buffer
        if len(packet) == int.from_bytes(packet[:4], "little"):
            yield bytes(packet)
            packet.clear()
    if packet:
        yield bytes(packet)
