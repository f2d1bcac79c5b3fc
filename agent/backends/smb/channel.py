"""The TCP connection below SMB, every wait of it bounded.

Takes the place of smbprotocol's own transport, which blocks for ever in `send` when a stopped server has filled
the socket's buffer (Samba under SIGSTOP; TCP_USER_TIMEOUT does not help, since its kernel goes on answering).
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from agent.backends.smb.faults import NoAnswer, NotGenuine

_MOST_BYTES = (1 << 20) + (64 << 10)
"""The longest answer: we never ask for more than 1 MiB at once."""
_SMB2 = (b"\xfeSMB", b"\xfdSMB")  # plain or signed, and encrypted
_UNSENT_BYTES = 128 << 10
"""How much of a message may wait in the kernel behind what is in flight.

Small, so that the wait for an answer begins when nearly all is sent, and a slow uplink is not taken for a silent server:
at 2 Mbit/s this is half a second, the megabytes that the kernel would take by itself are many.
"""


class Channel:
    """`send` is called by one thread at a time, `recv` by smbprotocol's worker, `close` by anybody."""

    def __init__(self, host: str, port: int, *, connect_seconds: float, silence_seconds: float):
        self.connected = False
        self.heard_at = 0.0
        """When the server last took or gave something (monotonic)."""
        self.last = b""
        """The message that `recv` has given last."""
        self._server = (host, port)
        self._connect_seconds = connect_seconds
        self._silence_seconds = silence_seconds
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        """Try each address of the server within one deadline. Raises OSError."""
        deadline = time.monotonic() + self._connect_seconds
        failure: OSError = TimeoutError("timed out")
        for family, kind, protocol, _, address in socket.getaddrinfo(*self._server, type=socket.SOCK_STREAM):
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                break
            tried = socket.socket(family, kind, protocol)
            try:
                tried.settimeout(seconds)
                tried.connect(address)
                tried.settimeout(self._silence_seconds)
                tried.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                    tried.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
            except OSError as error:
                failure = error
                tried.close()
            else:
                self._socket = tried
                self.connected = True
                self.heard_at = time.monotonic()
                return
        raise failure

    def send(self, message: Any) -> None:
        """Send what smbprotocol has made: bytes, or one of its structures where it has encrypted."""
        self.send_all([message if isinstance(message, bytes) else message.pack()])

    def send_all(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send one message that lies in `pieces`. Raises NoAnswer when nothing of it is taken for too long."""
        if self._socket is None:
            raise ConnectionError("not connected")
        length = sum(len(piece) for piece in pieces)
        left = [memoryview(struct.pack(">L", length)), *(memoryview(piece) for piece in pieces)]
        while left:
            try:
                sent = self._socket.sendmsg(left)
            except TimeoutError as error:
                raise NoAnswer(f"nothing was taken for {self._silence_seconds:.0f} s") from error
            self.heard_at = time.monotonic()
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if left:
                left[0] = left[0][sent:]

    def recv(self, timeout: float) -> bytes:
        """Return the next message, b"" at the end of the connection. TimeoutError when none begins in time."""
        head = self._receive(4, timeout)
        if not head:
            return b""
        (length,) = struct.unpack(">L", head)
        if length > _MOST_BYTES:
            raise NotGenuine(f"an answer of {length} bytes")
        message = self._receive(length, timeout)
        if message and message[:4] not in _SMB2:
            raise NotGenuine("something else than SMB 2")
        self.last = message
        return message

    def close(self) -> None:
        """End the connection; a receiver and a sender that wait are woken. The descriptor stays until `release`."""
        self.connected = False
        if self._socket is not None:
            with suppress(OSError):  # the server was first
                self._socket.shutdown(socket.SHUT_RDWR)

    def release(self, *, is_abrupt: bool) -> None:
        """Give the descriptor back, when nobody sends or receives any more.

        `is_abrupt`: what is still on its way to the server is dropped, so that it cannot arrive late.
        """
        if self._socket is None:
            return
        if is_abrupt:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        self._socket = None

    def _receive(self, length: int, timeout: float) -> bytes:
        held = bytearray(length)
        view = memoryview(held)
        while view:
            got = self._receive_into(view, timeout)
            if not got:
                self.close()
                return b""
            view = view[got:]
        return bytes(held)

    def _receive_into(self, view: memoryview, timeout: float) -> int:
        if not self.connected or self._socket is None:
            return 0
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        if not waiting.poll(timeout * 1000):
            raise TimeoutError("nothing was received")
        try:
            got = self._socket.recv_into(view)
        except OSError:
            return 0
        self.heard_at = time.monotonic()
        return got
