"""The data connections: opened for one transfer each, passively or actively, and encrypted like the control.

Servers may want to see the control connection's TLS session again on a data connection (vsftpd: require_ssl_reuse),
so that nobody else can make it; ftplib does not show it.

The address in an answer to PASV is never used: behind a router it is nonsense more often than not, and a server
could send us anywhere with it.
"""

from __future__ import annotations

import ftplib
import socket
import ssl
import time
from contextlib import suppress

from agent.backends.ftp import faults
from agent.backends.ftp.connection import Connection, cut
from agent.backends.ftp.faults import DATA, FAULTS, Reply
from agent.backends.ftp.tls import check_pin
from agent.faults import Fault, fault

_LAST_WORD_SECONDS = 2.0


def opened(connection: Connection, command: str, argument: str = "", offset: int = 0) -> socket.socket:
    """Ask for a transfer, and return the open data connection. `offset` goes before the command as REST."""
    is_active = connection.config.mode == "active"
    waiting = _listening(connection) if is_active else _reached(connection)
    try:
        if offset and (reply := connection.say("REST", str(offset))).code != 350:
            raise fault(FAULTS, "ftp.no_resume", connection.cleaned(reply))
        reply = connection.say(command, argument)
        if reply.code >= 400:
            raise connection.refused(command, reply)
        if reply.code >= 200:
            connection.hang_up()
            raise fault(FAULTS, "ftp.garbled", connection.cleaned(reply))
        data = _accepted(connection, waiting) if is_active else waiting
    except BaseException:
        waiting.close()
        raise
    data.settimeout(connection.config.read_timeout_seconds)
    return _encrypted(connection, data) if connection.protects_data else data


def ended(data: socket.socket) -> None:
    """Close a data connection so that the server knows it to be the end. Bounded by the timeout."""
    with suppress(OSError, ValueError):
        if isinstance(data, ssl.SSLSocket):
            # Waits for the server's own farewell: closing with a TLS 1.3 ticket unread would be a reset, which takes
            # data with it that the server has not read yet.
            data.unwrap()
    data.close()


def failed(connection: Connection, data: socket.socket, error: Exception, command: str) -> Fault:
    """Return why a data connection failed: the server may have said so on the control connection."""
    cut(data)
    reason = faults.of_exception(error, connection.config.secrets())
    if not connection.is_usable:
        return reason
    try:
        reply = connection.hear(command, min(_LAST_WORD_SECONDS, connection.config.read_timeout_seconds))
    except Fault as silence:
        return silence if silence.code == "ftp.closed" else reason
    if reply.code >= 400:
        return connection.refused(command, reply)
    connection.hang_up()
    return reason


def _reached(connection: Connection) -> socket.socket:
    """Connect to the port that the server opens for us: EPSV, or else PASV."""
    if connection.has_epsv:
        reply = connection.say("EPSV")
        if reply.code < 300:
            try:
                return _connected(connection, reply)
            except OSError as error:  # there are firewalls that know PASV alone
                if connection.af == socket.AF_INET6:
                    raise fault(FAULTS, "ftp.no_data_connection", str(error)) from error
        elif connection.af == socket.AF_INET6 or not connection.is_usable:
            raise connection.refused("EPSV", reply)
        connection.has_epsv = False
    reply = connection.must("PASV")
    try:
        return _connected(connection, reply)
    except OSError as error:
        raise fault(FAULTS, "ftp.no_data_connection", str(error)) from error


def _connected(connection: Connection, reply: Reply) -> socket.socket:
    with connection.guarded():
        peer = connection.control.getpeername()
        port = (ftplib.parse229(reply.text, peer) if reply.code == 229 else ftplib.parse227(reply.text))[1]
        if not 0 < port < 65536:
            raise ftplib.error_proto(reply.text)
    sock = socket.socket(connection.af, socket.SOCK_STREAM)
    try:
        sock.settimeout(connection.config.connect_timeout_seconds)
        sock.connect((peer[0], port, *peer[2:]))
    except BaseException:
        sock.close()
        raise
    return sock


def _listening(connection: Connection) -> socket.socket:
    with connection.guarded():
        own = connection.control.getsockname()
        listener = socket.socket(connection.af, socket.SOCK_STREAM)
        listener.bind((own[0], 0, *own[2:]))
        listener.listen(1)
    port = listener.getsockname()[1]
    try:
        if connection.af == socket.AF_INET6:
            connection.must("EPRT", f"|2|{own[0].partition('%')[0]}|{port}|")
        else:
            connection.must("PORT", ",".join([*own[0].split("."), str(port >> 8), str(port & 255)]))
    except BaseException:
        listener.close()
        raise
    return listener


def _accepted(connection: Connection, listener: socket.socket) -> socket.socket:
    """Take the server's connection, and nobody else's."""
    until = time.monotonic() + connection.config.connect_timeout_seconds
    with listener:
        while True:
            listener.settimeout(max(0.001, until - time.monotonic()))
            try:
                data, peer = listener.accept()
            except OSError as error:
                connection.hang_up()
                raise fault(FAULTS, "ftp.no_data_connection", "the server does not connect to us") from error
            if peer[0] == connection.control.getpeername()[0]:
                return data
            data.close()


def _encrypted(connection: Connection, data: socket.socket) -> socket.socket:
    control = connection.control
    assert connection.context is not None and isinstance(control, ssl.SSLSocket)
    try:
        secured = connection.context.wrap_socket(
            data, server_hostname=connection.config.host, session=control.session
        )
    except (OSError, ValueError) as error:
        raise failed(connection, data, error, DATA) from error
    try:
        check_pin(connection.config, secured)
    except Fault:
        secured.close()
        connection.hang_up()
        raise
    return secured
