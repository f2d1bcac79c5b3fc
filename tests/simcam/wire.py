"""One accepted socket: packets in, buffers out, at the pace of the pretended network and under its accidents.

Blocking sockets and a thread each: a camera does one thing after the other, and so reads this code. Framing and legal
order are `agent.ptp.connection`'s; bytes that break the rules on purpose go around it by `send`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

from agent.ptp.connection import CLOSED, NEED_DATA, Channel, Connection, Payload, Role, Signal
from agent.ptp.packets import Packet

_BATCH = 64  # buffers in one call; far below IOV_MAX


class Hangup(Exception):
    """The camera ends the conversation with FIN on both sockets."""


class Reset(Hangup):
    """The camera ends the conversation with RST."""


class Pace:
    """Turns a rate into waits, shared by everything that goes over the pretended air. None: as fast as can be."""

    def __init__(self, mbit: float | None) -> None:
        self.bytes_per_second = None if not mbit else mbit * 1e6 / 8
        self._free_at = 0.0

    @property
    def quantum_bytes(self) -> int:
        """Five milliseconds' worth, at least one segment."""
        return max(1500, int((self.bytes_per_second or 0) * 0.005))

    def begin(self) -> None:
        """What was not used before now is lost; a late wake-up within one send is made up for."""
        self._free_at = max(self._free_at, time.monotonic())

    def wait(self, size: int) -> None:
        """Return when `size` bytes have crossed."""
        if self.bytes_per_second is None:
            return
        self._free_at += size / self.bytes_per_second
        if (seconds := self._free_at - time.monotonic()) > 0:
            time.sleep(seconds)


class Brake(Protocol):
    """Decides how much may still go out before an accident."""

    def allow(self, size: int) -> int:
        """How many of the next `size` bytes may go; fewer means that `strike` follows."""

    def strike(self, wire: Wire) -> None:
        """The accident, which ends in Hangup or Reset, or passes."""


class Wire:
    """One socket with its `Connection`. Without a brake nothing ever goes wrong."""

    def __init__(self, sock: socket.socket, channel: Channel, pace: Pace, brake: Brake | None) -> None:
        self.sock = sock
        self.connection = Connection(Role.RESPONDER, channel)
        self.sent_bytes = 0
        self._pace = pace
        self._brake = brake
        self._buffer = bytearray(1 << 16)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self) -> Packet | Payload | Signal:
        """The next packet, waiting for it; CLOSED at the end of the stream."""
        while (event := self.connection.next_event()) is NEED_DATA:
            try:
                count = self.sock.recv_into(self._buffer)
            except OSError:
                return CLOSED
            self.connection.receive_data(memoryview(self._buffer)[:count])
        return event

    def send(self, buffers: Iterable[bytes | memoryview]) -> None:
        """Write all buffers, in as few calls as possible. Hangup when the peer is gone."""
        pieces = iter(buffers) if self._pace.bytes_per_second is None else self._in_quanta(buffers)
        self._pace.begin()
        batch_size = _BATCH if self._pace.bytes_per_second is None else 1
        while batch := list(islice(pieces, batch_size)):
            size = sum(map(len, batch))
            self._pace.wait(size)
            allowed = size if self._brake is None else self._brake.allow(size)
            self._write(batch if allowed >= size else _first(batch, allowed))
            if self._brake is not None and allowed < size:
                self._brake.strike(self)
                self._write(_after(batch, allowed))

    def _in_quanta(self, buffers: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
        quantum = self._pace.quantum_bytes
        for buffer in buffers:
            view = memoryview(buffer)
            for at in range(0, len(view), quantum):
                yield view[at : at + quantum]

    def _write(self, batch: list[bytes | memoryview]) -> None:
        try:
            while batch:
                sent = self.sock.sendmsg(batch)
                self.sent_bytes += sent
                while batch and sent >= len(batch[0]):
                    sent -= len(batch.pop(0))
                if sent:
                    batch[0] = memoryview(batch[0])[sent:]
        except OSError as error:
            raise Hangup("the peer is gone") from error

    def idle(self, seconds: float | None) -> None:
        """Do nothing for a while (None: for good), but notice when the peer gives up: Hangup."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            left = 0.2 if until is None else max(0.0, min(0.2, until - time.monotonic()))
            try:
                readable, _, _ = select.select([self.sock], [], [], left)
                if readable and not self.sock.recv(1, socket.MSG_PEEK):
                    raise Hangup("the peer is gone")
            except (OSError, ValueError) as error:
                raise Hangup("the peer is gone") from error
            if until is not None and time.monotonic() >= until:
                return
            if readable:
                time.sleep(0.01)  # it says something; that can wait

    def shut(self) -> None:
        """Wake whoever reads this socket; to be followed by `close` on the reading thread."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


def close(sock: socket.socket, *, reset: bool) -> None:
    """Close with FIN or, throwing away what is not sent yet, with RST."""
    with contextlib.suppress(OSError):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def _first(batch: list[bytes | memoryview], size: int) -> list[bytes | memoryview]:
    kept: list[bytes | memoryview] = []
    for buffer in batch:
        if size <= 0:
            break
        kept.append(memoryview(buffer)[:size])
        size -= len(buffer)
    return kept


def _after(batch: list[bytes | memoryview], size: int) -> list[bytes | memoryview]:
    left: list[bytes | memoryview] = []
    for buffer in batch:
        if size < len(buffer):
            left.append(memoryview(buffer)[max(0, size) :])
        size -= len(buffer)
    return left
