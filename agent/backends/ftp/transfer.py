"""What goes over a data connection: a file up, a file down, a listing down."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress

from agent.backends.ftp.channels import ended, failed, opened
from agent.backends.ftp.connection import Connection
from agent.backends.ftp.faults import DATA
from agent.faults import Fault

# The socket's timeout counts for all of one sendall: a whole chunk at once would fail on a slow uplink.
_SLICE_BYTES = 64 << 10
_BUFFER_BYTES = 256 << 10
_LONGEST_LINE_BYTES = 16 << 10


class FtpWriter:
    """A file on its way up. The server says only at the end that it has it all."""

    def __init__(self, connection: Connection, data: socket.socket):
        self._connection = connection
        self._data: socket.socket | None = data

    def write(self, chunk: memoryview) -> None:
        if self._data is None:
            raise ValueError("the writer is closed")
        try:
            for start in range(0, len(chunk), _SLICE_BYTES):
                self._data.sendall(chunk[start : start + _SLICE_BYTES])
        except (OSError, ValueError) as error:
            data, self._data = self._data, None
            raise failed(self._connection, data, error, DATA) from error

    def finish(self) -> None:
        if self._data is None:
            raise ValueError("the writer is closed")
        data, self._data = self._data, None
        ended(data)
        reply = self._connection.hear(DATA)
        if reply.code >= 300:
            raise self._connection.refused(DATA, reply)

    def close(self) -> None:
        if self._data is not None:
            with suppress(Fault):
                self.finish()


def received(connection: Connection, data: socket.socket, command: str) -> Iterator[memoryview]:
    """Yield what the server sends in answer to `command`; each piece is valid until the next is asked for.

    Closed early, it ends the connection: what servers say to a transfer that was broken off differs too much.
    """
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    is_whole = False
    try:
        while count := data.recv_into(buffer):
            yield buffer[:count]
        if isinstance(data, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                data.unwrap()
        is_whole = True
    except (OSError, ValueError) as error:
        raise failed(connection, data, error, command) from error
    finally:
        data.close()
        if not is_whole:
            connection.hang_up()
    reply = connection.hear(DATA)
    if reply.code >= 300:
        raise connection.refused(command, reply)


def received_lines(connection: Connection, command: str, argument: str = "") -> Iterator[str]:
    """Yield the lines of a listing. What is no UTF-8 in them is replaced; an endless line ends the listing."""
    rest = b""
    for piece in received(connection, opened(connection, command, argument), command):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r").decode("utf-8", "replace")
        if len(rest) > _LONGEST_LINE_BYTES:
            return
    if rest:
        yield rest.decode("utf-8", "replace")
