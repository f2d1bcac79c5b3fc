"""From nothing to a connection that is logged in, encrypted as the settings say, and binary."""

from __future__ import annotations

import ftplib

from agent.backends.ftp.config import FtpConfig
from agent.backends.ftp.connection import Connection
from agent.backends.ftp.faults import FAULTS, GREETING, cleaned
from agent.faults import fault


def logged_in(config: FtpConfig) -> Connection:
    """Connect and log in. Nothing is sent in the clear that the settings want encrypted."""
    connection = Connection(config)
    try:
        greeting = connection.dial()
        if greeting.code != 220:
            raise connection.refused(GREETING, greeting)
        if config.security == "explicit":
            reply = connection.say("AUTH", "TLS")
            if reply.code != 234:
                raise fault(FAULTS, "ftp.no_tls", cleaned(reply.text, ()))
            connection.secure()
        _log_in(connection, config)
        if config.security != "none":
            _protect(connection, config)
        reply = connection.say("FEAT")
        connection.features = {
            line.split()[0].upper() for line in reply.text.split("\n")[1:-1] if line.strip()
        }
        if "UTF8" in connection.features:
            connection.say("OPTS", "UTF8 ON")  # refused by servers that know nothing else
        connection.must("TYPE", "I")
    except BaseException:
        connection.hang_up()
        raise
    return connection


def home_of(connection: Connection) -> str:
    """Return the folder that the login ended up in, without a slash at the end."""
    reply = connection.say("PWD")
    return ftplib.parse257(reply.text).rstrip("/") if reply.code == 257 else ""


def _log_in(connection: Connection, config: FtpConfig) -> None:
    secrets = config.secrets()
    reply = connection.say("USER", config.user)
    if config.security == "none" and reply.code in (530, 550):
        # Before any password: vsftpd and pyftpdlib, where plain logins are forbidden.
        raise fault(FAULTS, "ftp.tls_required", cleaned(reply.text, secrets))
    command = "USER"
    if reply.code == 331:
        command = "PASS"
        # The space stays when there is no password: some servers want it.
        reply = connection.say("PASS", config.password.get_secret_value() if config.password else " ")
    if reply.code not in (202, 230, 232):
        raise connection.refused(command, reply)


def _protect(connection: Connection, config: FtpConfig) -> None:
    connection.say("PBSZ", "0")
    reply = connection.say("PROT", "P")
    if reply.code >= 300:
        raise fault(
            FAULTS, "ftp.no_tls", "data would go unencrypted: " + cleaned(reply.text, config.secrets())
        )
    connection.protects_data = True
