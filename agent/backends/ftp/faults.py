"""What can go wrong with an FTP server, by reply code and exception class; never by message text.

A reply code alone says little: 550 is "no such file" to SIZE and "you may not" to STOR. So the table of codes is
read together with the command that was answered; `DATA` stands for the second answer of an upload, when the data
has been sent.
"""

from __future__ import annotations

import ssl
from typing import NamedTuple

from agent.faults import Advice, Fault, Kind, Scope, fault

FAULTS: dict[str, Advice] = {
    "ftp.unreachable": Advice(
        Kind.RETRYABLE, "The server cannot be reached: check the network, and the server's name and port."
    ),
    "ftp.timeout": Advice(
        Kind.RETRYABLE,
        "The server does not answer in time: check the network, and whether port and encryption fit together.",
    ),
    "ftp.closed": Advice(Kind.RETRYABLE, "The connection broke: nothing to do, it goes on where it stopped."),
    "ftp.cut": Advice(
        Kind.RETRYABLE,
        "The server broke a transfer off: its disk may be full, else nothing to do, it goes on where it stopped.",
    ),
    "ftp.too_many": Advice(
        Kind.RETRYABLE,
        "The server takes no more connections: wait, or lower 'Uploads at once' for this destination.",
    ),
    "ftp.no_data_connection": Advice(
        Kind.RETRYABLE,
        "The server answers but files cannot be sent: open its passive ports in the firewall, or switch between passive and active.",
    ),
    "ftp.full": Advice(
        Kind.RETRYABLE,
        "The server has no room for the file: free some space there, or have the quota raised.",
    ),
    "ftp.server_error": Advice(
        Kind.RETRYABLE, "The server has a problem of its own: show the details to whoever runs it."
    ),
    "ftp.garbled": Advice(
        Kind.RETRYABLE,
        "The server's answers make no sense: check that no firewall changes the connection, see the details.",
    ),
    "ftp.clock": Advice(Kind.RETRYABLE, "This machine's clock is wrong: switch on its time synchronisation."),
    "ftp.unclassified": Advice(
        Kind.RETRYABLE, "The server refused for a reason that is not known here: see the details."
    ),
    "ftp.busy": Advice(
        Kind.RETRYABLE,
        "An earlier connection still holds this file on the server: nothing to do.",
        Scope.ITEM,
    ),
    "ftp.damaged": Advice(
        Kind.RETRYABLE, "The server's copy differs from the file: it is sent again.", Scope.ITEM
    ),
    "ftp.upload_gone": Advice(
        Kind.RETRYABLE, "The unfinished file has vanished from the server: it is sent again.", Scope.ITEM
    ),
    "ftp.no_resume": Advice(
        Kind.RETRYABLE,
        "The server cannot go on with half a file: it is sent again from the start.",
        Scope.ITEM,
    ),
    "ftp.wrong_password": Advice(
        Kind.NEEDS_USER, "The server does not accept the login: correct user and password."
    ),
    "ftp.account": Advice(
        Kind.NEEDS_USER,
        "The server wants an account beside user and password: ask whoever runs it for a login without.",
    ),
    "ftp.forbidden": Advice(
        Kind.NEEDS_USER,
        "The login may not write there: have it given the rights to upload, rename, delete and make folders.",
    ),
    "ftp.not_readable": Advice(
        Kind.NEEDS_USER,
        "The login may not read what it wrote: have it given the right to download, or set the wanted proof to size.",
    ),
    "ftp.missing": Advice(
        Kind.NEEDS_USER, "The folder does not exist on the server: create it there, or correct its path."
    ),
    "ftp.unsupported": Advice(
        Kind.NEEDS_USER, "The server lacks something that is needed: choose another server, see the details."
    ),
    "ftp.not_ftp": Advice(
        Kind.NEEDS_USER, "What answers there is no FTP server: correct the server's name or port."
    ),
    "ftp.no_tls": Advice(
        Kind.NEEDS_USER,
        "The server does not encrypt in this way: try the other kind of encryption, or have it switched on there.",
    ),
    "ftp.tls": Advice(
        Kind.NEEDS_USER,
        "No encryption could be agreed on: the server needs TLS 1.2 or newer, have it updated.",
    ),
    "ftp.tls_required": Advice(
        Kind.NEEDS_USER, "The server accepts encrypted logins only: set encryption to explicit."
    ),
    "ftp.certificate_unknown": Advice(
        Kind.NEEDS_USER,
        "Nobody this machine trusts vouches for the server's certificate: name its file of certificates, or its fingerprint.",
    ),
    "ftp.certificate_expired": Advice(
        Kind.NEEDS_USER, "The server's certificate has expired: have it renewed by whoever runs the server."
    ),
    "ftp.wrong_host": Advice(
        Kind.NEEDS_USER, "The certificate is for another name: write the server's name as in its certificate."
    ),
    "ftp.wrong_fingerprint": Advice(
        Kind.NEEDS_USER,
        "The server shows another certificate than the one you named: ask whoever runs it before you change the fingerprint.",
    ),
    "ftp.bad_settings": Advice(
        Kind.NEEDS_USER, "The server cannot be used with these settings: see the details."
    ),
    "ftp.exists": Advice(Kind.PERMANENT, "Another file has this name.", Scope.ITEM),
    "ftp.blocked": Advice(
        Kind.PERMANENT,
        "A file stands where a folder is needed: move it away, or change the template.",
        Scope.ITEM,
    ),
    "ftp.bad_key": Advice(Kind.PERMANENT, "This name cannot be used here: change the template.", Scope.ITEM),
    "ftp.refused_name": Advice(
        Kind.PERMANENT, "The server cannot store this name: change the template.", Scope.ITEM
    ),
}

GREETING = "greeting"
DATA = "data"


class Reply(NamedTuple):
    code: int
    text: str


_BY_CODE = {
    120: "ftp.too_many",
    332: "ftp.account",
    421: "ftp.closed",
    425: "ftp.no_data_connection",
    426: "ftp.cut",
    430: "ftp.wrong_password",
    431: "ftp.no_tls",
    450: "ftp.busy",
    451: "ftp.server_error",
    452: "ftp.full",
    500: "ftp.unsupported",
    501: "ftp.unsupported",
    502: "ftp.unsupported",
    503: "ftp.unsupported",
    504: "ftp.unsupported",
    521: "ftp.tls_required",  # RFC 4217: no data connection with this protection
    522: "ftp.no_data_connection",  # vsftpd, where the TLS session was not taken up again
    530: "ftp.wrong_password",
    532: "ftp.account",
    533: "ftp.tls_required",
    534: "ftp.tls_required",
    535: "ftp.tls",
    536: "ftp.no_tls",
    550: "ftp.forbidden",
    551: "ftp.server_error",
    552: "ftp.full",
    553: "ftp.forbidden",  # vsftpd, where STOR cannot create a file
}

_BY_COMMAND = {
    (GREETING, 421): "ftp.too_many",
    ("USER", 421): "ftp.too_many",
    ("PASS", 421): "ftp.too_many",
    ("PASS", 500): "ftp.server_error",  # vsftpd says "500 OOPS" for its own wrong settings
    # vsftpd says 451 and IIS 550 when the disk takes no more; pyftpdlib 426, as for every transfer that ends badly.
    (DATA, 451): "ftp.full",
    (DATA, 550): "ftp.full",
    (DATA, 553): "ftp.full",
    (DATA, 500): "ftp.closed",  # vsftpd's "500 OOPS", as one of its processes dies
    ("RETR", 550): "ftp.not_readable",
    ("RETR", 553): "ftp.not_readable",
    ("PORT", 500): "ftp.no_data_connection",
    ("PORT", 501): "ftp.no_data_connection",
    ("EPSV", 500): "ftp.no_data_connection",
    ("EPSV", 502): "ftp.no_data_connection",
    ("PASV", 500): "ftp.no_data_connection",
    ("PASV", 502): "ftp.no_data_connection",
}

# OpenSSL's X509_V_ERR_…; everything else is a chain that ends nowhere.
_BY_VERDICT = {
    9: "ftp.clock",  # not yet valid: a clock that was not set since power-on
    10: "ftp.certificate_expired",
    62: "ftp.wrong_host",
    64: "ftp.wrong_host",  # by address
}

_LONGEST_DETAIL = 300


def of_reply(command: str, reply: Reply, secrets: tuple[str, ...] = ()) -> Fault:
    """Return what a refusal of `command` means."""
    code = _BY_COMMAND.get((command, reply.code)) or _BY_CODE.get(reply.code, "ftp.unclassified")
    return fault(FAULTS, code, cleaned(f"{command}: {reply.text}", secrets))


def of_exception(error: Exception, secrets: tuple[str, ...] = ()) -> Fault:
    """Return what a connection that failed under us means."""
    return fault(FAULTS, _code_of(error), cleaned(f"{type(error).__name__}: {error}", secrets))


def _code_of(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return _BY_VERDICT.get(error.verify_code, "ftp.certificate_unknown")
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return "ftp.closed"
        case ssl.SSLError():
            return "ftp.no_tls" if error.reason == "WRONG_VERSION_NUMBER" else "ftp.tls"
        case TimeoutError():
            return "ftp.timeout"
        case OSError() | EOFError():
            return "ftp.closed"
    return "ftp.garbled"


def cleaned(text: str, secrets: tuple[str, ...]) -> str:
    """Return `text` fit for a log: without a secret, in one line that is not too long."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    text = text.encode("utf-8", "replace").decode()
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:_LONGEST_DETAIL]
