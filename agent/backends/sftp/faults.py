"""What can go wrong with an SFTP server: by exception class, disconnect reason and status code, never by text."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from agent.faults import Advice, Fault, Kind, Scope, fault

FAULTS: dict[str, Advice] = {
    "sftp.unreachable": Advice(
        Kind.RETRYABLE,
        "The server cannot be reached: check that it is on and in the network, and its address and port.",
    ),
    "sftp.no_such_host": Advice(
        Kind.RETRYABLE, "The server's name is not known here: check the network and the name."
    ),
    "sftp.timeout": Advice(Kind.RETRYABLE, "The server does not answer in time: check it and the network."),
    "sftp.lost": Advice(Kind.RETRYABLE, "The connection broke: check the network."),
    "sftp.hung_up": Advice(
        Kind.RETRYABLE,
        "The server hangs up before the login: it has too many connections, or blocks this address for a while.",
    ),
    "sftp.too_many": Advice(
        Kind.RETRYABLE, "The server has too many connections: lower 'Uploads at once', or raise its limit."
    ),
    "sftp.full": Advice(Kind.RETRYABLE, "The server's disk is full: free some space."),
    "sftp.quota": Advice(
        Kind.RETRYABLE,
        "The server takes no more data although its disk has room: check the quota of this account.",
    ),
    "sftp.failure": Advice(
        Kind.RETRYABLE, "The server failed without saying why: look into its log, and check its disk."
    ),
    "sftp.busy": Advice(
        Kind.RETRYABLE, "Another attempt is still writing this file: nothing to do.", Scope.ITEM
    ),
    "sftp.damaged": Advice(
        Kind.RETRYABLE, "The copy on the server differs from the file: it is sent again.", Scope.ITEM
    ),
    "sftp.gone": Advice(
        Kind.RETRYABLE, "The file or its folder was moved away on the server: it is sent again.", Scope.ITEM
    ),
    "sftp.unclassified": Advice(
        Kind.RETRYABLE, "The server refused for a reason that is not known here: see the details."
    ),
    "sftp.unknown_host_key": Advice(
        Kind.NEEDS_USER,
        "The server is not known yet: compare the fingerprint in the details with the server's own, and enter it.",
    ),
    "sftp.host_key_changed": Advice(
        Kind.NEEDS_USER,
        "The server shows another key than before: if nobody has set it up anew, somebody may stand in between. "
        "If it is right, enter the new fingerprint.",
    ),
    "sftp.known_hosts": Advice(
        Kind.NEEDS_USER, "The file of known hosts cannot be read: correct its path, or enter a fingerprint."
    ),
    "sftp.wrong_password": Advice(
        Kind.NEEDS_USER, "The server does not accept user and password: correct them."
    ),
    "sftp.key_refused": Advice(
        Kind.NEEDS_USER,
        "The server does not accept the key: add its public half to the user's authorized keys there.",
    ),
    "sftp.login_kind": Advice(
        Kind.NEEDS_USER,
        "The server does not offer this kind of login: use a key instead of a password, or the other way round.",
    ),
    "sftp.key_unreadable": Advice(
        Kind.NEEDS_USER, "The key file cannot be read: correct its path, its rights, or its content."
    ),
    "sftp.wrong_passphrase": Advice(
        Kind.NEEDS_USER, "The key file is encrypted and the passphrase does not open it: correct it."
    ),
    "sftp.no_common_algorithm": Advice(
        Kind.NEEDS_USER,
        "Server and agent have no encryption in common: update the server, or enter its fingerprint anew.",
    ),
    "sftp.not_ssh": Advice(
        Kind.NEEDS_USER, "What answers there is no SSH server: correct server name and port."
    ),
    "sftp.no_sftp": Advice(
        Kind.NEEDS_USER, "This account cannot use SFTP: switch SFTP on for it at the server."
    ),
    "sftp.missing": Advice(
        Kind.NEEDS_USER, "The folder does not exist at the server: create it, or correct its path."
    ),
    "sftp.no_permission": Advice(
        Kind.NEEDS_USER, "The user may not do this there: give it the right to write to the folder."
    ),
    "sftp.read_only": Advice(
        Kind.NEEDS_USER, "The server's disk is read-only: unlock it, or mount it writable."
    ),
    "sftp.exists": Advice(Kind.PERMANENT, "Another file has this name.", Scope.ITEM),
    "sftp.blocked": Advice(
        Kind.PERMANENT,
        "A file or a link stands where a folder is needed: move it away, or change the template.",
        Scope.ITEM,
    ),
    "sftp.bad_key": Advice(Kind.PERMANENT, "This name cannot be used here: change the template.", Scope.ITEM),
    "sftp.refused_name": Advice(
        Kind.PERMANENT, "The server cannot store this name: change the template.", Scope.ITEM
    ),
    "sftp.too_large": Advice(
        Kind.PERMANENT,
        "The server's disk cannot hold a file of this size: format it as exFAT or ext4.",
        Scope.ITEM,
    ),
}

LOSES_CONNECTION = {"sftp.timeout", "sftp.lost", "sftp.unreachable", "sftp.too_many", "sftp.not_ssh"}
"""After these nothing more can be asked on the same connection."""

# asyncssh's exceptions by the names of their classes, so that this module does not load asyncssh.
_BY_CLASS = {
    # Statuses; servers of protocol 3, such as OpenSSH, only ever say the first six.
    "SFTPNoSuchFile": "sftp.missing",
    "SFTPPermissionDenied": "sftp.no_permission",
    "SFTPFailure": "sftp.failure",
    "SFTPBadMessage": "sftp.refused_name",  # OpenSSH says so for EINVAL and ENAMETOOLONG
    "SFTPNoConnection": "sftp.lost",
    "SFTPConnectionLost": "sftp.lost",
    "SFTPNoSuchPath": "sftp.missing",
    "SFTPFileAlreadyExists": "sftp.exists",
    "SFTPWriteProtect": "sftp.read_only",
    "SFTPNoSpaceOnFilesystem": "sftp.full",
    "SFTPQuotaExceeded": "sftp.quota",
    "SFTPLockConflict": "sftp.busy",
    "SFTPByteRangeLockConflict": "sftp.busy",
    "SFTPByteRangeLockRefused": "sftp.busy",
    "SFTPDeletePending": "sftp.busy",
    "SFTPInvalidFilename": "sftp.refused_name",
    "SFTPNotADirectory": "sftp.blocked",
    "SFTPLinkLoop": "sftp.blocked",
    "SFTPFileIsADirectory": "sftp.blocked",
    "SFTPCannotDelete": "sftp.no_permission",
    # The connection.
    "KeyExchangeFailed": "sftp.no_common_algorithm",
    "HostKeyNotVerifiable": "sftp.host_key_changed",
    "ProtocolError": "sftp.not_ssh",
    "ProtocolNotSupported": "sftp.not_ssh",
    "IllegalUserName": "sftp.wrong_password",
    "MACError": "sftp.lost",
    "ConnectionLost": "sftp.lost",
    "ServiceNotAvailable": "sftp.hung_up",
    "ChannelOpenError": "sftp.no_sftp",
}
_BY_DISCONNECT = {1: "sftp.hung_up", 2: "sftp.hung_up", 10: "sftp.lost", 11: "sftp.lost", 12: "sftp.too_many"}
_RESOURCE_SHORTAGE = 4  # RFC 4254 §5.1

_LONGEST_DETAIL = 300


@contextmanager
def translated(secrets: tuple[str, ...] = (), about: str = "") -> Iterator[None]:
    """Let no exception of asyncssh or of the sockets below it out, and no secret into a detail."""
    try:
        yield
    except Fault:
        raise
    except Exception as error:
        said = f"{about}: {error}" if about else str(error)
        raise fault(FAULTS, code_of(error), _clean(f"{type(error).__name__}: {said}", secrets)) from error


def code_of(error: Exception) -> str:
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, socket.gaierror):
        return "sftp.no_such_host"
    if isinstance(error, TimeoutError):
        return "sftp.timeout"
    if isinstance(error, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
        return "sftp.lost"  # asyncio makes some of them without an errno
    if isinstance(error, OSError):
        return "sftp.unreachable"
    code = getattr(error, "code", None)
    if "ChannelOpenError" in names and code == _RESOURCE_SHORTAGE:
        return "sftp.too_many"
    for name in names & _BY_CLASS.keys():
        return _BY_CLASS[name]
    if "DisconnectError" in names and isinstance(code, int):
        return _BY_DISCONNECT.get(code, "sftp.unclassified")
    return "sftp.unclassified"


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text[:_LONGEST_DETAIL]
