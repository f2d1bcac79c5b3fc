"""From settings to a connection to the share."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from smbprotocol.exceptions import SMBConnectionClosed, SMBException, SMBResponseException
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from agent.backends.smb.address import Address
from agent.backends.smb.config import SmbConfig
from agent.backends.smb.faults import FAULTS, NotGenuine, translated
from agent.backends.smb.wire import Wire
from agent.faults import fault

_NOT_SUPPORTED = 0xC00000BB
_SMB1_NEGOTIATE = (  # [MS-CIFS] 2.2.4.52: one dialect on offer
    b"\xffSMB\x72" + bytes(4) + b"\x18\x01\x48" + bytes(20) + b"\x00\x0c\x00\x02NT LM 0.12\x00"
)


def logged_in(config: SmbConfig) -> tuple[Wire, TreeConnect]:
    """Return a connection and the share on it. Raises Fault; nothing of a failed attempt is left."""
    address = config.place()
    wire = Wire(
        address,
        connect_seconds=config.connect_timeout_seconds,
        silence_seconds=config.read_timeout_seconds,
        require_signing=config.signing == "required",
    )
    try:
        with translated(str(address)):
            _negotiate(wire, address, config)
            session = _session(wire, config)
            share = TreeConnect(session, rf"\\{address.host}\{address.share}")
            share.connect()
    except BaseException:
        wire.end(is_abrupt=True)
        raise
    # Paths are sent as they are, below this share; a link of a DFS root to another server then is a fault.
    share.is_dfs_share = False
    return wire, share


def _negotiate(wire: Wire, address: Address, config: SmbConfig) -> None:
    try:
        wire.connect(timeout=config.read_timeout_seconds)
    except NotGenuine as error:
        raise fault(FAULTS, "smb.no_smb2", str(error)) from error
    except SMBResponseException as error:
        if error.status == _NOT_SUPPORTED:  # none of our dialects
            raise fault(FAULTS, "smb.no_smb2", str(address)) from error
        raise
    except (SMBConnectionClosed, ConnectionError):
        # Servers of SMB 1 hang up on SMB 2, as does any server that is about to stop.
        if wire.server_guid is None and _speaks_smb1(address, config.connect_timeout_seconds):
            raise fault(FAULTS, "smb.no_smb2", "it speaks SMB 1") from None
        raise
    if config.encryption == "required" and not wire.supports_encryption:
        raise fault(FAULTS, "smb.no_encryption", str(address))


def _session(wire: Wire, config: SmbConfig) -> Session:
    session = Session(
        wire,
        config.account(),
        config.password.get_secret_value(),
        require_encryption=config.encryption == "required",
    )
    try:
        session.connect()
    except SMBException:
        _refuse_guest(session)
        raise
    finally:
        session.password = None  # needed for nothing more
    _refuse_guest(session)
    return session


def _refuse_guest(session: Session) -> None:
    """A guest's session has keys no more, so nothing in it could be signed or encrypted."""
    if session.full_session_key is not None and session.signing_key is None:
        raise fault(FAULTS, "smb.guest")


def _speaks_smb1(address: Address, seconds: float) -> bool:
    with (
        suppress(OSError),
        socket.create_connection((address.host, address.port), timeout=seconds) as asked,
    ):
        asked.sendall(struct.pack(">L", len(_SMB1_NEGOTIATE)) + _SMB1_NEGOTIATE)
        return asked.recv(8)[4:] == b"\xffSMB"
    return False
