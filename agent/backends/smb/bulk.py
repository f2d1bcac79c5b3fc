"""WRITE requests, and the proofs of READ answers, without copies.

smbprotocol copies a chunk about ten times on its way to the socket, which is most of what an upload costs on a small
computer. This lays the same message out once ([MS-SMB2] 2.2.1.2, 2.2.21, 2.2.41) and signs or encrypts the chunk
where it lies. SMB 2.0.2 and AES-CCM go the long way.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from typing import Any

from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from smbprotocol import Dialects
from smbprotocol.connection import Ciphers, SigningAlgorithms
from smbprotocol.header import Commands, Smb2Flags
from smbprotocol.open import Open

_HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")
_WRITE = struct.Struct("<HHIQ16sIIHHI")
_TRANSFORM = struct.Struct("<16sIHHQ")  # behind "\xfdSMB" and the signature
_DATA_AT = _HEADER.size + _WRITE.size
_NO_SIGNATURE = bytes(16)


def can_make(file: Open) -> bool:
    wire = file.connection
    if not wire.supports_multi_credit:
        return False
    is_encrypted = file.tree_connect.session.encrypt_data or file.tree_connect.encrypt_data
    gcm = (Ciphers.AES_128_GCM, Ciphers.AES_256_GCM)
    return not is_encrypted or (wire.dialect >= Dialects.SMB_3_1_1 and wire.cipher_id in gcm)


def pieces(
    file: Open, message_id: int, credits: int, offset: int, data: memoryview
) -> list[bytes | memoryview]:
    """Return one WRITE of `data` as it goes to the socket. Only where `can_make` says so."""
    share = file.tree_connect
    session = share.session
    wire = session.connection
    is_encrypted = bool(session.encrypt_data or share.encrypt_data)
    is_signed = bool(session.signing_required and session.signing_key) and not is_encrypted
    body = _WRITE.pack(49, _DATA_AT, len(data), offset, file.file_id, 0, 0, 0, 0, 0)

    def head(signature: bytes) -> bytes:
        flags = Smb2Flags.SMB2_FLAGS_SIGNED if is_signed else 0
        fixed = (b"\xfeSMB", 64, credits, 0, Commands.SMB2_WRITE, credits, flags, 0, message_id, 0)
        return _HEADER.pack(*fixed, share.tree_connect_id, session.session_id, signature)

    if is_encrypted:
        return _encrypted(session, head(_NO_SIGNATURE) + body, data)
    if not is_signed:
        return [head(_NO_SIGNATURE) + body, data]
    signature = _signature(wire, session.signing_key, message_id, head(_NO_SIGNATURE) + body, data)
    return [head(signature) + body, data]


def is_genuine(wire: Any, key: bytes, answer: bytes) -> bool:
    """Say whether a signed answer carries the right signature."""
    front = answer[:48] + _NO_SIGNATURE
    message_id = struct.unpack_from("<Q", answer, 24)[0]
    wanted = _signature(wire, key, message_id, front, memoryview(answer)[64:], is_answer=True)
    return hmac.compare_digest(wanted, answer[48:64])


def _signature(
    wire: Any, key: bytes, message_id: int, front: bytes, data: memoryview, *, is_answer: bool = False
) -> bytes:
    algorithm = _signing_algorithm(wire)
    if algorithm == SigningAlgorithms.AES_GMAC:
        nonce = struct.pack("<QI", message_id, is_answer)
        sealing = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
        sealing.authenticate_additional_data(front)
        sealing.authenticate_additional_data(data)
        sealing.finalize()
        return sealing.tag
    if algorithm == SigningAlgorithms.AES_CMAC:
        chained = cmac.CMAC(algorithms.AES(key))
        chained.update(front)
        chained.update(bytes(data))
        return chained.finalize()
    keyed = hmac.new(key, front, hashlib.sha256)
    keyed.update(data)
    return keyed.digest()[:16]


def _signing_algorithm(wire: Any) -> int:
    """Return what was negotiated, or what belongs to the dialect ([MS-SMB2] 3.1.4.1)."""
    if wire.dialect >= Dialects.SMB_3_1_1 and wire.signing_algorithm_id is not None:
        return int(wire.signing_algorithm_id)
    is_smb3 = wire.dialect >= Dialects.SMB_3_0_0
    return int(SigningAlgorithms.AES_CMAC if is_smb3 else SigningAlgorithms.HMAC_SHA256)


def _encrypted(session: Any, front: bytes, data: memoryview) -> list[bytes | memoryview]:
    nonce = os.urandom(12)
    covered = _TRANSFORM.pack(nonce.ljust(16, b"\0"), len(front) + len(data), 0, 1, session.session_id)
    sealing = Cipher(algorithms.AES(session.encryption_key), modes.GCM(nonce)).encryptor()
    sealing.authenticate_additional_data(covered)
    sealed = [sealing.update(front), sealing.update(data), sealing.finalize()]
    return [b"\xfdSMB" + sealing.tag + covered, *sealed]
