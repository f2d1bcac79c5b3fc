"""One socket: asyncio around one `Connection`.

Bytes are received into one reused buffer and every packet goes to `receive` in the moment it arrives. `receive` may
ask for a stop by returning True: then nothing more is read from the socket (the camera feels it) until `resume`. Payload
is a view of the reused buffer, valid until `receive` returns, or until `resume` when it asked for a stop.

The first thing that goes wrong is told to `lost`, once; nothing is told after `close`. Deadlines, and what the packets
mean, are `session`'s.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from agent.camera.faults import FAULTS, os_fault
from agent.faults import Fault, fault
from agent.ptp.connection import Channel, Connection, Payload, RemoteProtocolError, Role, Signal
from agent.ptp.packets import InitCommandRequest, InitEventRequest, OperationRequest, Packet, ProbeResponse

KEEPALIVE_SECONDS = 15
"""Idle time before TCP asks whether the camera is still there: a switched-off Wi-Fi sends no FIN."""

Receive = Callable[[Packet | Payload], bool | None]


class Wire(asyncio.BufferedProtocol):
    def __init__(self, channel: Channel, buffer_bytes: int, lost: Callable[[Fault], None]) -> None:
        self.connection = Connection(Role.INITIATOR, channel)
        self.receive: Receive = lambda packet: None
        self.heard_at = 0.0  # the loop's clock when bytes came last
        self.failure: Fault | None = None  # what went wrong on this socket first
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._on_lost = lost
        self._transport: asyncio.Transport | None = None
        self._time = asyncio.get_running_loop().time
        self._is_closed = False
        self._is_stopped = False
        self._is_greeted = False  # an answer came: who is there speaks PTP/IP

    def send(
        self,
        packet: InitCommandRequest | InitEventRequest | OperationRequest | ProbeResponse,
        *,
        data_limit: int | None = None,
    ) -> None:
        assert self._transport is not None
        self._transport.write(self.connection.send(packet, data_limit=data_limit))

    def resume(self) -> None:
        """Go on after a stop: first with what was received already."""
        if self._transport is not None and self._is_stopped:
            self._is_stopped = False
            self._transport.resume_reading()
            self.heard_at = self._time()
            self._hand_on()

    def close(self) -> None:
        """Drop the socket at once; harmless when repeated. `ended` tells when it is really closed."""
        self._is_closed = True
        self.receive = lambda packet: None
        if self._transport is None:
            if not self.ended.done():
                self.ended.set_result(None)
        else:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.heard_at = self._time()
        _tune(transport.get_extra_info("socket"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.heard_at = self._time()
        self.connection.receive_data(self._buffer[:nbytes])
        self._hand_on()

    def eof_received(self) -> None:
        self._lost(self._hang_up())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        if isinstance(exc, OSError):
            self._lost(os_fault(exc, connecting=not self._is_greeted))
        else:  # an end of ours, of the camera's, or (asyncio has logged it) a bug
            self._lost(self._hang_up())

    def _hand_on(self) -> None:
        """Give what was received to `receive`, until it is used up or a stop is asked for."""
        try:
            while not isinstance(event := self.connection.next_event(), Signal):
                self._is_greeted = True
                if self.receive(event):
                    return self._stop()
        except RemoteProtocolError as error:
            self._garbage(error)

    def _stop(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._is_stopped = True
            self._transport.pause_reading()

    def _lost(self, failure: Fault) -> None:
        if self.failure is None and not self._is_closed:
            self.failure = failure
            self._on_lost(failure)

    def _hang_up(self) -> Fault:
        code = "camera.link_lost" if self._is_greeted else "camera.hung_up"
        return fault(FAULTS, code, "closed by the camera")

    def _garbage(self, error: RemoteProtocolError) -> None:
        code = "camera.protocol_error" if self._is_greeted else "camera.wrong_host"
        self._lost(fault(FAULTS, code, str(error)))


def _tune(connection: socket.socket) -> None:
    """Small requests leave at once (asyncio has set TCP_NODELAY), and a peer that vanished is noticed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", KEEPALIVE_SECONDS), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
