"""One control connection, and the data connections that it opens: ftplib, with what it lacks.

ftplib knows neither implicit TLS nor the TLS session that a server may want to see again on the data connection
(vsftpd: require_ssl_reuse), waits for an answer anew with each byte, and collects answers of any length.

The address in an answer to PASV is never used: behind a router it is nonsense more often than not, and a server
could send us anywhere with it.
"""

from __future__ import annotations

import ftplib
import select
import socket
import ssl
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
_SESSION_SECONDS = (
    240.0  # of a TLS session that has no lifetime of its own: servers keep them for five minutes
)


class Connection(ftplib.FTP):
    """Every call raises Fault alone. Once `is_usable` is false, nothing more can be asked."""

    def __init__(self, config: FtpConfig):
        super().__init__(timeout=config.io_timeout_seconds)
        self.is_usable = True
        self.features: set[str] = set()
        self.context = context_of(config)
        self._config = config
        self._control: socket.socket | None = None
        self._unread = bytearray()
        self._deadline = 0.0
        self._has_epsv = True
        self._protects_data = False
        self._secured_at = 0.0

    def dial(self) -> Reply:
        """Connect and return the greeting."""
        config = self._config
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
            self._socket.settimeout(self._config.io_timeout_seconds)
            secured = self.context.wrap_socket(self._socket, server_hostname=self._config.host)
            self._control = secured
            check_pin(self._config, secured)
            self._secured_at = time.monotonic()

    def protect_data(self) -> None:
        """Encrypt data connections from now on."""
        self._protects_data = True

    def say(self, command: str, argument: str = "") -> Reply:
        """Ask and return the answer, a refusal as well. Names go as UTF-8 (RFC 2640)."""
        with self.guarded():
            self._socket.settimeout(self._config.io_timeout_seconds)
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
        self._deadline = time.monotonic() + (seconds or self._config.io_timeout_seconds)
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

    def refused(self, command: str, reply: Reply) -> Fault:
        return faults.of_reply(command, reply, self._config.secrets())

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
            raise faults.of_exception(error, self._config.secrets()) from error

    def hang_up(self) -> None:
        """Close without a word. Harmless when repeated."""
        self.is_usable = False
        if self._control is not None:
            self._control.close()
            self._control = None

    def leave(self) -> None:
        """Close politely, without waiting for the answer."""
        if self._control is not None:
            with suppress(OSError, ValueError):
                self._control.settimeout(1.0)
                self._control.sendall(b"QUIT\r\n")
        self.hang_up()

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

    def begin(self, command: str, argument: str = "", offset: int = 0) -> socket.socket:
        """Ask for a transfer, and return the open data connection. `offset` goes before the command as REST."""
        waiting = self._listen() if self._config.mode == "active" else self._reach()
        try:
            if offset and (reply := self.say("REST", str(offset))).code != 350:
                raise fault(FAULTS, "ftp.no_resume", faults.cleaned(reply.text, self._config.secrets()))
            reply = self.say(command, argument)
            if reply.code >= 400:
                raise self.refused(command, reply)
            if reply.code >= 200:
                raise self._senseless(reply)
            data = self._accepted(waiting) if self._config.mode == "active" else waiting
        except BaseException:
            waiting.close()
            raise
        data.settimeout(self._config.io_timeout_seconds)
        return self._encrypted(data) if self._protects_data else data

    def end(self, data: socket.socket) -> None:
        """Close a data connection so that the server knows it to be the end. Bounded by the timeout."""
        with suppress(OSError, ValueError):
            if isinstance(data, ssl.SSLSocket):
                # Waits for the server's own farewell: closing with a TLS 1.3 ticket unread would be a reset, which
                # takes data with it that the server has not read yet.
                data.unwrap()
        data.close()

    def failed(self, data: socket.socket, error: Exception, command: str) -> Fault:
        """Return why a data connection failed: the server may have said so on the control connection."""
        data.close()
        if not self.is_usable:
            return faults.of_exception(error, self._config.secrets())
        try:
            reply = self.hear(command, min(2.0, self._config.io_timeout_seconds))
        except Fault as silence:
            return (
                silence
                if silence.code == "ftp.closed"
                else faults.of_exception(error, self._config.secrets())
            )
        if reply.code >= 400:
            return self.refused(command, reply)
        self.hang_up()
        return faults.of_exception(error, self._config.secrets())

    def _reach(self) -> socket.socket:
        """Connect to the port that the server opens for us: EPSV, or else PASV."""
        if self._has_epsv:
            reply = self.say("EPSV")
            if reply.code < 300:
                try:
                    return self._connected(reply)
                except OSError as error:  # there are firewalls that know PASV alone
                    if self.af == socket.AF_INET6:
                        raise fault(FAULTS, "ftp.no_data_connection", str(error)) from error
            elif self.af == socket.AF_INET6 or not self.is_usable:
                raise self.refused("EPSV", reply)
            self._has_epsv = False
        reply = self.must("PASV")
        try:
            return self._connected(reply)
        except OSError as error:
            raise fault(FAULTS, "ftp.no_data_connection", str(error)) from error

    def _connected(self, reply: Reply) -> socket.socket:
        peer = self._socket.getpeername()
        with self.guarded():
            parse = ftplib.parse229(reply.text, peer) if reply.code == 229 else ftplib.parse227(reply.text)
            port = parse[1]
            if not 0 < port < 65536:
                raise ftplib.error_proto(reply.text)
        sock = socket.socket(self.af, socket.SOCK_STREAM)
        try:
            sock.settimeout(self._config.connect_timeout_seconds)
            sock.connect((peer[0], port, *peer[2:]))
        except BaseException:
            sock.close()
            raise
        return sock

    def _listen(self) -> socket.socket:
        own = self._socket.getsockname()
        listener = socket.socket(self.af, socket.SOCK_STREAM)
        try:
            listener.bind((own[0], 0, *own[2:]))
            listener.listen(1)
            port = listener.getsockname()[1]
            if self.af == socket.AF_INET6:
                self.must("EPRT", f"|2|{own[0].partition('%')[0]}|{port}|")
            else:
                self.must("PORT", ",".join([*own[0].split("."), str(port >> 8), str(port & 255)]))
        except BaseException:
            listener.close()
            raise
        return listener

    def _accepted(self, listener: socket.socket) -> socket.socket:
        """Take the server's connection, and nobody else's."""
        until = time.monotonic() + self._config.connect_timeout_seconds
        with listener:
            while True:
                listener.settimeout(max(0.001, until - time.monotonic()))
                try:
                    data, peer = listener.accept()
                except OSError as error:
                    self.hang_up()
                    raise fault(
                        FAULTS, "ftp.no_data_connection", "the server does not connect to us"
                    ) from error
                if peer[0] == self._socket.getpeername()[0]:
                    return data
                data.close()

    def _encrypted(self, data: socket.socket) -> socket.socket:
        assert self.context is not None and isinstance(self._control, ssl.SSLSocket)
        try:
            secured = self.context.wrap_socket(
                data, server_hostname=self._config.host, session=self._control.session
            )
        except (OSError, ValueError) as error:
            raise self.failed(data, error, faults.DATA) from error
        try:
            check_pin(self._config, secured)
        except Fault:
            secured.close()
            self.hang_up()
            raise
        return secured

    def _senseless(self, reply: Reply) -> Fault:
        self.hang_up()
        return fault(FAULTS, "ftp.garbled", faults.cleaned(reply.text, self._config.secrets()))

    @property
    def _socket(self) -> socket.socket:
        if self._control is None:
            raise EOFError("the connection is closed")
        return self._control

    # What ftplib calls for each line.

    def putline(self, line: str) -> None:
        if "\r" in line or "\n" in line:
            raise ftplib.error_proto("a line break in a command")
        self._socket.sendall(line.encode("utf-8", "surrogateescape") + b"\r\n")

    def getline(self) -> str:
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > _LONGEST_LINE_BYTES:
                raise ftplib.error_proto("an endless line")
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer did not end in time")
            self._socket.settimeout(left)
            piece = self._socket.recv(4096)
            if not piece:
                raise EOFError("the server hung up")
            self._unread += piece
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    def getmultiline(self) -> str:
        lines = [self.getline()]
        if lines[0][3:4] == "-":
            length = 0
            while len(lines) == 1 or not lines[-1].startswith(lines[0][:3] + " "):
                lines.append(self.getline())
                length += len(lines[-1]) + 1
                if length > _LONGEST_ANSWER_BYTES:
                    raise ftplib.error_proto("an endless answer")
        return "\n".join(lines)
