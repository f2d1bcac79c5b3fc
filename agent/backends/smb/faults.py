"""What can go wrong with an SMB server, by NT status, errno and exception class; never by message text."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from agent.faults import Advice, Fault, Kind, Scope, fault

FAULTS: dict[str, Advice] = {
    "smb.unknown_host": Advice(
        Kind.RETRYABLE, "No computer of this name is found: check the address, or write its number instead."
    ),
    "smb.unreachable": Advice(
        Kind.RETRYABLE, "The server cannot be reached: check that it is on, and the network."
    ),
    "smb.refused": Advice(
        Kind.RETRYABLE,
        "The computer is there but shares nothing: switch its file sharing on, or correct the port.",
    ),
    "smb.connection_lost": Advice(
        Kind.RETRYABLE, "The server ended the connection: nothing to do, unless this keeps happening."
    ),
    "smb.stalled": Advice(
        Kind.RETRYABLE, "The server does not answer in time: check the server and the network."
    ),
    "smb.tampered": Advice(
        Kind.RETRYABLE,
        "An answer of the server was changed on its way: check the network for what might do that.",
    ),
    "smb.server_error": Advice(Kind.RETRYABLE, "The server has a problem of its own: look at the server."),
    "smb.too_many_users": Advice(
        Kind.RETRYABLE, "The server takes no more connections: close others, or upload fewer files at once."
    ),
    "smb.disk": Advice(Kind.RETRYABLE, "The server's disk reports errors: check the disk."),
    "smb.full": Advice(Kind.RETRYABLE, "The share is full or a quota is used up: free some space."),
    "smb.no_logon_server": Advice(
        Kind.RETRYABLE, "The server cannot ask its domain about the account: check the domain controller."
    ),
    "smb.clock": Advice(
        Kind.RETRYABLE, "The clocks of this machine and the server differ: switch on time synchronisation."
    ),
    "smb.busy": Advice(
        Kind.RETRYABLE, "The server still has this file open for somebody: nothing to do.", Scope.ITEM
    ),
    "smb.gone": Advice(
        Kind.RETRYABLE, "The file or its folder was moved away on the server: it is sent again.", Scope.ITEM
    ),
    "smb.damaged": Advice(
        Kind.RETRYABLE, "The copy on the server differs from the file: it is sent again.", Scope.ITEM
    ),
    "smb.unclassified": Advice(
        Kind.RETRYABLE, "The server refused for a reason that is not known here: see the details."
    ),
    "smb.wrong_login": Advice(Kind.NEEDS_USER, "The server does not accept user and password: correct them."),
    "smb.account_locked": Advice(
        Kind.NEEDS_USER,
        "The account is locked after wrong passwords: unlock it on the server, or wait and resume.",
    ),
    "smb.account_disabled": Advice(
        Kind.NEEDS_USER,
        "The account is switched off or has expired: enable it on the server, or use another.",
    ),
    "smb.password_expired": Advice(
        Kind.NEEDS_USER, "The account's password has to be changed: set a new one, then enter it here."
    ),
    "smb.account_restricted": Advice(
        Kind.NEEDS_USER, "The account may not log in from here or at this hour: lift that, or use another."
    ),
    "smb.guest": Advice(
        Kind.NEEDS_USER,
        "The server knows no such account and offers a guest's: enter an account of the server.",
    ),
    "smb.no_common_login": Advice(
        Kind.NEEDS_USER,
        "The server wants another way to log in than a password (NTLM): allow NTLM for this account.",
    ),
    "smb.no_smb2": Advice(
        Kind.NEEDS_USER,
        "What answers there does not speak SMB 2 or 3: switch that on, or correct address and port.",
    ),
    "smb.no_encryption": Advice(
        Kind.NEEDS_USER,
        "The server cannot encrypt: switch SMB 3 encryption on there, or do not require it here.",
    ),
    "smb.no_permission": Advice(
        Kind.NEEDS_USER, "The account may not do this: give it the right to write to the shared folder."
    ),
    "smb.read_only": Advice(
        Kind.NEEDS_USER, "The share's disk is read-only: unlock it, or use another share."
    ),
    "smb.no_share": Advice(
        Kind.NEEDS_USER, "The server has no share of this name: share the folder, or correct the name."
    ),
    "smb.missing": Advice(
        Kind.NEEDS_USER, "The folder is not in the share: make it, or correct the address."
    ),
    "smb.elsewhere": Advice(
        Kind.NEEDS_USER, "The folder lies on another server (DFS): enter that server's own address."
    ),
    "smb.exists": Advice(Kind.PERMANENT, "Another file has this name.", Scope.ITEM),
    "smb.blocked": Advice(
        Kind.PERMANENT,
        "A file, folder or link stands where another is needed: move it away, or change the template.",
        Scope.ITEM,
    ),
    "smb.bad_key": Advice(Kind.PERMANENT, "This name cannot be used here: change the template.", Scope.ITEM),
    "smb.refused_name": Advice(
        Kind.PERMANENT, "Windows and SMB cannot store this name: change the template.", Scope.ITEM
    ),
    "smb.too_large": Advice(
        Kind.PERMANENT,
        "The server's disk cannot hold a file of this size: format it as NTFS or exFAT.",
        Scope.ITEM,
    ),
}

STATUSES: dict[int, tuple[str, str]] = {  # [MS-ERREF] 2.3.1
    0xC000006D: ("LOGON_FAILURE", "smb.wrong_login"),
    0xC000006A: ("WRONG_PASSWORD", "smb.wrong_login"),
    0xC0000064: ("NO_SUCH_USER", "smb.wrong_login"),
    0xC0000234: ("ACCOUNT_LOCKED_OUT", "smb.account_locked"),
    0xC0000072: ("ACCOUNT_DISABLED", "smb.account_disabled"),
    0xC0000193: ("ACCOUNT_EXPIRED", "smb.account_disabled"),
    0xC0000071: ("PASSWORD_EXPIRED", "smb.password_expired"),
    0xC0000224: ("PASSWORD_MUST_CHANGE", "smb.password_expired"),
    0xC000006E: ("ACCOUNT_RESTRICTION", "smb.account_restricted"),
    0xC000006F: ("INVALID_LOGON_HOURS", "smb.account_restricted"),
    0xC0000070: ("INVALID_WORKSTATION", "smb.account_restricted"),
    0xC000015B: ("LOGON_TYPE_NOT_GRANTED", "smb.account_restricted"),
    0xC0000413: ("AUTHENTICATION_FIREWALL_FAILED", "smb.account_restricted"),
    0xC0000418: ("NTLM_BLOCKED", "smb.no_common_login"),
    0xC000005E: ("NO_LOGON_SERVERS", "smb.no_logon_server"),
    0xC000018C: ("TRUSTED_DOMAIN_FAILURE", "smb.no_logon_server"),
    0xC000018D: ("TRUSTED_RELATIONSHIP_FAILURE", "smb.no_logon_server"),
    0xC0000192: ("NETLOGON_NOT_STARTED", "smb.no_logon_server"),
    0xC0000133: ("TIME_DIFFERENCE_AT_DC", "smb.clock"),
    0xC0000022: ("ACCESS_DENIED", "smb.no_permission"),
    0xC00000CA: ("NETWORK_ACCESS_DENIED", "smb.no_permission"),
    0xC0000061: ("PRIVILEGE_NOT_HELD", "smb.no_permission"),
    0xC0000121: ("CANNOT_DELETE", "smb.no_permission"),
    0xC00000A2: ("MEDIA_WRITE_PROTECTED", "smb.read_only"),
    0xC00000CC: ("BAD_NETWORK_NAME", "smb.no_share"),
    0xC00000CB: ("BAD_DEVICE_TYPE", "smb.no_share"),
    0xC0000257: ("PATH_NOT_COVERED", "smb.elsewhere"),
    0xC000026D: ("DFS_UNAVAILABLE", "smb.elsewhere"),
    0xC000007F: ("DISK_FULL", "smb.full"),
    0xC0000044: ("QUOTA_EXCEEDED", "smb.full"),
    0xC0000904: ("FILE_TOO_LARGE", "smb.too_large"),
    0xC0000427: ("FILE_SYSTEM_LIMITATION", "smb.too_large"),
    0xC0000043: ("SHARING_VIOLATION", "smb.busy"),
    0xC0000056: ("DELETE_PENDING", "smb.busy"),
    0xC0000054: ("FILE_LOCK_CONFLICT", "smb.busy"),
    0xC0000035: ("OBJECT_NAME_COLLISION", "smb.exists"),
    0xC0000034: ("OBJECT_NAME_NOT_FOUND", "smb.gone"),
    0xC000003A: ("OBJECT_PATH_NOT_FOUND", "smb.gone"),
    0xC000000F: ("NO_SUCH_FILE", "smb.gone"),
    0xC0000225: ("NOT_FOUND", "smb.gone"),
    0xC00000BA: ("FILE_IS_A_DIRECTORY", "smb.blocked"),
    0xC0000103: ("NOT_A_DIRECTORY", "smb.blocked"),
    0x8000002D: ("STOPPED_ON_SYMLINK", "smb.blocked"),
    0xC0000033: ("OBJECT_NAME_INVALID", "smb.refused_name"),
    0xC0000039: ("OBJECT_PATH_INVALID", "smb.refused_name"),
    0xC000003B: ("OBJECT_PATH_SYNTAX_BAD", "smb.refused_name"),
    0xC0000106: ("NAME_TOO_LONG", "smb.refused_name"),
    0xC00000D0: ("REQUEST_NOT_ACCEPTED", "smb.too_many_users"),
    0xC0000185: ("IO_DEVICE_ERROR", "smb.disk"),
    0xC00000E9: ("UNEXPECTED_IO_ERROR", "smb.disk"),
    0xC0000032: ("DISK_CORRUPT_ERROR", "smb.disk"),
    0xC0000102: ("FILE_CORRUPT_ERROR", "smb.disk"),
    0xC000009C: ("DEVICE_DATA_ERROR", "smb.disk"),
    0xC000009D: ("DEVICE_NOT_CONNECTED", "smb.disk"),
    0xC000026E: ("VOLUME_DISMOUNTED", "smb.disk"),
    0xC000009A: ("INSUFFICIENT_RESOURCES", "smb.server_error"),
    0xC0000205: ("INSUFF_SERVER_RESOURCES", "smb.server_error"),
    0xC00000E5: ("INTERNAL_ERROR", "smb.server_error"),
    0xC00000B5: ("IO_TIMEOUT", "smb.server_error"),
    0xC0000466: ("SERVER_UNAVAILABLE", "smb.server_error"),
    0xC0000203: ("USER_SESSION_DELETED", "smb.connection_lost"),
    0xC000035C: ("NETWORK_SESSION_EXPIRED", "smb.connection_lost"),
    0xC00000C9: ("NETWORK_NAME_DELETED", "smb.connection_lost"),
    0xC000020C: ("CONNECTION_DISCONNECTED", "smb.connection_lost"),
    0xC0000128: ("FILE_CLOSED", "smb.connection_lost"),
    0xC0000008: ("INVALID_HANDLE", "smb.connection_lost"),
}
"""NT status → its name and our code. What means something else in one place alone is decided there."""

LOST = frozenset(
    {"smb.connection_lost", "smb.stalled", "smb.tampered", "smb.unreachable", "smb.unclassified"}
)
"""Codes after which a connection is not used again."""

_ERRNOS = {
    errno.ECONNREFUSED: "smb.refused",
    errno.EPIPE: "smb.connection_lost",
    errno.ECONNRESET: "smb.connection_lost",
    errno.ECONNABORTED: "smb.connection_lost",
    errno.ENOTCONN: "smb.connection_lost",
    errno.EBADF: "smb.connection_lost",
}
_LONGEST_DETAIL = 300


class NoAnswer(Exception):
    """The server was silent for too long."""


class NotGenuine(Exception):
    """An answer is no SMB, or lacks the signature or encryption that was agreed."""


@contextmanager
def translated(about: str = "") -> Iterator[None]:
    """Let no exception of smbprotocol, spnego or the socket out. `about`: what was asked for, no secret."""
    from smbprotocol.exceptions import (
        SMBAuthenticationError,
        SMBConnectionClosed,
        SMBException,
        SMBResponseException,
    )

    try:
        yield
    except SMBResponseException as error:
        raise of_status(error.status, about) from error
    except NoAnswer as error:
        raise _fault("smb.stalled", str(error), about) from error
    except NotGenuine as error:
        raise _fault("smb.tampered", str(error), about) from error
    except SMBAuthenticationError as error:
        raise _fault("smb.no_common_login", type(error.__cause__ or error).__name__, about) from error
    except SMBConnectionClosed as error:
        raise _fault("smb.connection_lost", "", about) from error
    except socket.gaierror as error:
        raise _fault("smb.unknown_host", error.strerror or "", about) from error
    except OSError as error:
        code = _ERRNOS.get(error.errno or 0, "smb.unreachable")
        raise _fault(code, error.strerror or str(error), about) from error
    except (ValueError, struct.error) as error:  # smbprotocol, of an answer that it cannot take apart
        raise _fault("smb.tampered", f"{type(error).__name__}: {error}", about) from error
    except SMBException as error:
        raise _fault("smb.unclassified", f"{type(error).__name__}: {error}", about) from error


def of_status(status: int, about: str = "") -> Fault:
    name, code = STATUSES.get(status, ("", "smb.unclassified"))
    return _fault(code, f"{name} 0x{status:08X}".strip(), about)


def _fault(code: str, said: str, about: str) -> Fault:
    return fault(FAULTS, code, ": ".join(part for part in (about, said) if part)[:_LONGEST_DETAIL])
