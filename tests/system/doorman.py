"""A TCP forwarder in front of a server that may be down."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

from tests.backends.servers.process import free_port


class Door:
    """In front of a server: counts who knocks, and sends them away while nobody is in."""

    def __init__(self, port: int):
        self._inside = port
        self.port = free_port()
        self.knocks: list[float] = []  # monotonic
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                guest, _ = self._listener.accept()
            except OSError:
                return
            self.knocks.append(time.monotonic())
            try:
                host = socket.create_connection(("127.0.0.1", self._inside), timeout=5)
            except OSError:
                guest.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                guest.close()
                continue
            host.settimeout(None)
            for source, sink in ((guest, host), (host, guest)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    source.close()
