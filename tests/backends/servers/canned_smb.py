"""Two that stand where an SMB server should: one with a prepared refusal, and one in between that meddles."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")  # [MS-SMB2] 2.2.1.2
_NEGOTIATE, _SESSION_SETUP = 0, 1
_FROM_SERVER = 1


def _answer(request: bytes, status: int) -> bytes:
    """Return a NEGOTIATE response (2.2.4) of dialect 2.0.2, or an error response (2.2.2) with `status`."""
    command, message_id = struct.unpack_from("<H", request, 12)[0], struct.unpack_from("<Q", request, 24)[0]
    if command == _NEGOTIATE:
        status = 0
        sizes = (65536, 65536, 65536)
        body = struct.pack(
            "<HHHH16sIIIIQQHHI", 65, 1, 0x0202, 0, b"canned".ljust(16), 0, *sizes, 0, 0, 128, 0, 0
        )
    else:
        body = struct.pack("<HBBIB", 9, 0, 0, 0, 0)
    head = _HEADER.pack(
        b"\xfeSMB", 64, 0, status, command, 1, _FROM_SERVER, 0, message_id, 0, 0, 1, bytes(16)
    )
    return head + body


def _message(connection: socket.socket) -> bytes:
    """Receive one message; b"" at the end."""
    head = _exactly(connection, 4)
    return _exactly(connection, struct.unpack(">L", head)[0]) if head else b""


def _exactly(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        piece = connection.recv(length - len(received))
        if not piece:
            return b""
        received += piece
    return received


def _framed(message: bytes) -> bytes:
    return struct.pack(">L", len(message)) + message


@contextmanager
def _serving(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                handle(self.request)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def refusing(status: int) -> Iterator[int]:
    """Yield the port of a server that refuses every login with `status`."""

    def handle(connection: socket.socket) -> None:
        while request := _message(connection):
            connection.sendall(_framed(_answer(request, status)))

    with _serving(handle) as port:
        yield port


@contextmanager
def saying(answer: bytes) -> Iterator[int]:
    """Yield the port of something that says `answer`, and hangs up when that is all."""

    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    with _serving(handle) as port:
        yield port


@contextmanager
def meddling(port: int, change: Callable[[bytes], bytes]) -> Iterator[int]:
    """Yield the port of a way to the server at `port` on which `change` sees, and may change, each answer."""

    def handle(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:

            def forward() -> None:
                with suppress(OSError):
                    while request := _message(client):
                        server.sendall(_framed(request))
                    server.shutdown(socket.SHUT_RDWR)

            forwarding = threading.Thread(target=forward)
            forwarding.start()
            while answer := _message(server):
                client.sendall(_framed(change(answer)))
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            forwarding.join()

    with _serving(handle) as way:
        yield way
