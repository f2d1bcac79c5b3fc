"""The control connection: ftplib, with what it lacks.

ftplib knows no implicit TLS, waits for an answer anew with each byte of it, and collects answers of any length. The
data connections are made in channels.py.
"""

from __future__ import annotations

import ftplib
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from agent.backends.ftp import faults
from agent.backends.ftp.config import FtpConfig
from agent.backends.ftp.faults import FAULTS, GREETING, Reply
from agent.backends.ftp.tls import check_pin, context_of
from agent.faults import Fault, fault

_LONGEST_LINE_BYTES = 8 << 10
_LONGEST_ANSWER_BYTES = 64 << 10
_KEEPALIVE_SECONDS = 60  # routers forget a connection that is silent for a few minutes
_SESSION_SECONDS = 240.0  # of a TLS session without a lifetime of its own: servers keep them for five minutes


class Connection(ftplib.FTP):
    """Every call raises Fault alone. Once `is_usable` is false, nothing more can be asked."""

    def __init__(self, config: FtpConfig):
        super().__init__(timeout=config.read_timeout_seconds)
        self.is_usable = True
        self.features: set[str] = set()
        self.context = context_of(config)
        self.config = config
        self._control: socket.socket | None = None
        self._unread = bytearray()
        self._deadline = 0.0
        self.has_epsv = True
        self.protects_data = False
        self._secured_at = 0.0

    def dial(self) -> Reply:
        """Connect and return the greeting."""
        config = self.config
        try:
            self._control = socket.create_connection(
                (config.host, config.effective_port()), config.connect_timeout_seconds
            )
        except (OSError, UnicodeError) as error:
            self.hang_up()
            raise fault(FAULTS, "ftp.unreachable", str(error)) from error
        self.af = self._control.family
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            self._control.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
        if config.security == "implicit":
            self.secure()
        return self.hear(GREETING)

    def secure(self) -> None:
        """Encrypt the control connection."""
        assert self.context is not None
        with self.guarded():
            if self._unread:  # said in the clear, and would count as said under TLS
                raise ftplib.error_proto("more than an answer before the encryption")
            self.control.settimeout(self.config.read_timeout_seconds)
            secured = self.context.wrap_socket(self.control, server_hostname=self.config.host)
            self._control = secured
            check_pin(self.config, secured)
            self._secured_at = time.monotonic()

    def say(self, command: str, argument: str = "") -> Reply:
        """Ask and return the answer, a refusal as well. Names go as UTF-8 (RFC 2640)."""
        with self.guarded():
            self.control.settimeout(self.config.read_timeout_seconds)
            self.putcmd(f"{command} {argument}" if argument else command)
        return self.hear(command)

    def must(self, command: str, argument: str = "") -> Reply:
        """Ask and return the answer; a refusal is a Fault."""
        reply = self.say(command, argument)
        if reply.code >= 400:
            raise self.refused(command, reply)
        return reply

    def hear(self, command: str, seconds: float | None = None) -> Reply:
        """Return the next answer. `seconds`: wait no longer than this."""
        self._deadline = time.monotonic() + (seconds or self.config.read_timeout_seconds)
        with self.guarded():
            text = self.getmultiline()
            if not (text[:3].isascii() and text[:3].isdigit() and 100 <= int(text[:3]) < 600):
                if command == GREETING:
                    raise fault(FAULTS, "ftp.not_ftp", faults.cleaned(text, ()))
                raise ftplib.error_proto(text)
        reply = Reply(int(text[:3]), text)
        if reply.code == 421:  # the server hangs up
            self.is_usable = False
        return reply

    def cleaned(self, reply: Reply) -> str:
        return faults.cleaned(reply.text, self.config.secrets())

    def refused(self, command: str, reply: Reply) -> Fault:
        refusal = faults.of_reply(command, reply, self.config.secrets())
        if refusal.code == "ftp.closed":
            self.hang_up()
        return refusal

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Whatever goes wrong inside ends the connection, and comes out as a Fault."""
        try:
            yield
        except Fault:
            self.hang_up()
            raise
        except (OSError, EOFError, ftplib.Error, ValueError) as error:
            self.hang_up()
            raise faults.of_exception(error, self.config.secrets()) from error

    def hang_up(self) -> None:
        """Close without a word: what was not sent yet is never sent. Harmless when repeated."""
        self.is_usable = False
        if self._control is not None:
            cut(self._control)
            self._control = None

    def leave(self) -> None:
        """Close politely, without waiting for the answer."""
        if self._control is not None:
            with suppress(OSError, ValueError):
                self._control.settimeout(1.0)
                self._control.sendall(b"QUIT\r\n")
            self._control.close()
            self._control = None
        self.is_usable = False

    def is_stale(self) -> bool:
        """Say whether the server has hung up while nothing was asked, or has forgotten our TLS session by now."""
        sock = self._control
        if sock is None:
            return True
        if isinstance(sock, ssl.SSLSocket) and sock.session is not None:
            lifetime = sock.session.ticket_lifetime_hint * 0.8 or _SESSION_SECONDS
            if time.monotonic() - self._secured_at > lifetime:
                return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def control(self) -> socket.socket:
        if self._control is None:
            raise EOFError("the connection is closed")
        return self._control

    # What ftplib calls for each line.

    def putline(self, line: str) -> None:
        if "\r" in line or "\n" in line:
            raise ftplib.error_proto("a line break in a command")
        self.control.sendall(line.encode("utf-8", "surrogateescape") + b"\r\n")

    def getline(self) -> str:
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > _LONGEST_LINE_BYTES:
                raise ftplib.error_proto("an endless line")
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer did not end in time")
            self.control.settimeout(left)
            piece = self.control.recv(4096)
            if not piece:
                raise EOFError("the server hung up")
            self._unread += piece
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    def getmultiline(self) -> str:
        lines = [self.getline()]
        if lines[0][:3].isdigit() and lines[0][3:4] == "-":
            length = 0
            while len(lines) == 1 or not lines[-1].startswith(lines[0][:3] + " "):
                lines.append(self.getline())
                length += len(lines[-1]) + 1
                if length > _LONGEST_ANSWER_BYTES:
                    raise ftplib.error_proto("an endless answer")
        return "\n".join(lines)


def cut(sock: socket.socket) -> None:
    """Close by a reset: what waits in the kernel for a server that was given up must not arrive later, when another
    connection has gone on."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
