"""The fourteen PTP/IP packets as values, and their bytes in both directions.

Layouts: CIPA DC-X005 as read by libgphoto2 ``camlibs/ptp2/ptpip.c`` and Wireshark ``packet-ptpip.c``. Every
packet is ``u32 length (of the whole packet) · u32 type · body``, little-endian throughout. Lengths are exact,
save where real responders are known to differ (the version of an InitCommandAck may be missing).

The payload of a data phase is never part of a value: `agent.ptp.connection` hands it on as it arrives. Which
packet may come when is not decided here either.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import assert_never

HEADER = struct.Struct("<II")  # length, type
DATA_HEADER = struct.Struct(
    "<III"
)  # length, type, transaction id: what precedes the payload of Data and EndData
PROTOCOL_VERSION = 0x00010000
UNKNOWN_TOTAL = 0xFFFFFFFFFFFFFFFF
MAX_PARAMS = 5  # of a PTP request or response; events have at most three, two more do no harm
DATA_PHASE_NONE_OR_IN = 1
DATA_PHASE_OUT = 2


class ProtocolError(Exception):
    """The conversation cannot go on. The subclass says who is wrong."""


class LocalProtocolError(ProtocolError):
    """Our side asked for something that the protocol does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow."""


class PacketType(IntEnum):
    INIT_COMMAND_REQUEST = 1
    INIT_COMMAND_ACK = 2
    INIT_EVENT_REQUEST = 3
    INIT_EVENT_ACK = 4
    INIT_FAIL = 5
    OPERATION_REQUEST = 6
    OPERATION_RESPONSE = 7
    EVENT = 8
    START_DATA = 9
    DATA = 10
    CANCEL = 11
    END_DATA = 12
    PROBE_REQUEST = 13
    PROBE_RESPONSE = 14


@dataclass(frozen=True, slots=True)
class InitCommandRequest:
    guid: bytes  # 16, in the order in which they are printed
    name: str
    version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class InitCommandAck:
    connection_number: int
    guid: bytes
    name: str  # may end in rubbish: an EOS 1300D says "EOST6{"
    version: int | None = PROTOCOL_VERSION  # None: the responder sent none


@dataclass(frozen=True, slots=True)
class InitEventRequest:
    connection_number: int


@dataclass(frozen=True, slots=True)
class InitEventAck:
    pass


@dataclass(frozen=True, slots=True)
class InitFail:
    reason: int  # 1 rejected initiator, 2 busy, 3 unspecified


@dataclass(frozen=True, slots=True)
class OperationRequest:
    code: int
    transaction_id: int
    params: tuple[int, ...] = ()
    data_phase: int = DATA_PHASE_NONE_OR_IN


@dataclass(frozen=True, slots=True)
class OperationResponse:
    code: int
    transaction_id: int
    params: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    code: int
    transaction_id: int  # 0xFFFFFFFF or 0 when it belongs to none
    params: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StartData:
    transaction_id: int
    total_length: int | None  # bytes; None: unknown, read until EndData


@dataclass(frozen=True, slots=True)
class EndData:
    transaction_id: int


@dataclass(frozen=True, slots=True)
class Cancel:
    transaction_id: int


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    pass


@dataclass(frozen=True, slots=True)
class ProbeResponse:
    pass


Packet = (
    InitCommandRequest
    | InitCommandAck
    | InitEventRequest
    | InitEventAck
    | InitFail
    | OperationRequest
    | OperationResponse
    | Event
    | StartData
    | EndData
    | Cancel
    | ProbeRequest
    | ProbeResponse
)

TYPE_OF: dict[type[Packet], PacketType] = {
    InitCommandRequest: PacketType.INIT_COMMAND_REQUEST,
    InitCommandAck: PacketType.INIT_COMMAND_ACK,
    InitEventRequest: PacketType.INIT_EVENT_REQUEST,
    InitEventAck: PacketType.INIT_EVENT_ACK,
    InitFail: PacketType.INIT_FAIL,
    OperationRequest: PacketType.OPERATION_REQUEST,
    OperationResponse: PacketType.OPERATION_RESPONSE,
    Event: PacketType.EVENT,
    StartData: PacketType.START_DATA,
    EndData: PacketType.END_DATA,
    Cancel: PacketType.CANCEL,
    ProbeRequest: PacketType.PROBE_REQUEST,
    ProbeResponse: PacketType.PROBE_RESPONSE,
}


def known_total(total_length: int | None) -> int | None:
    """Return the announced bytes of a data phase, or None for every way of saying "unknown".

    All ones is the standard's form (CIPA DC-X005 §2.3.9, cited by Wireshark); a low word of ones with a high
    word of zeros is what 32-bit responders make of it.
    """
    return None if total_length in (None, 0xFFFFFFFF, UNKNOWN_TOTAL) else total_length


def encode(packet: Packet) -> bytes:
    """Return the whole packet as bytes. LocalProtocolError for a value that does not fit its field."""
    try:
        body = _body(packet)
    except (struct.error, UnicodeEncodeError) as error:
        raise LocalProtocolError(f"{packet} cannot be written: {error}") from error
    return HEADER.pack(HEADER.size + len(body), TYPE_OF[type(packet)]) + body


def encode_data_header(transaction_id: int, size: int, *, last: bool) -> bytes:
    """Return the twelve bytes before the `size` payload bytes of one Data (or, when `last`, EndData) packet."""
    kind = PacketType.END_DATA if last else PacketType.DATA
    try:
        return DATA_HEADER.pack(DATA_HEADER.size + size, kind, transaction_id)
    except struct.error as error:
        raise LocalProtocolError(
            f"{size} bytes do not fit one packet of transaction {transaction_id}"
        ) from error


def decode(type: int, body: bytes | bytearray | memoryview) -> Packet:
    """Return the packet of `type` whose bytes after the 8-byte header are `body`.

    RemoteProtocolError for an unknown type and for a body of the wrong length. Data is not decoded here, and
    EndData only without payload.
    """
    data = bytes(body)
    match type:
        case PacketType.INIT_COMMAND_REQUEST:
            return _init_command_request(data)
        case PacketType.INIT_COMMAND_ACK:
            return _init_command_ack(data)
        case PacketType.INIT_EVENT_REQUEST:
            return InitEventRequest(*_fields("<I", data))
        case PacketType.INIT_EVENT_ACK:
            return InitEventAck(*_fields("<", data))
        case PacketType.INIT_FAIL:
            return InitFail(*_fields("<I", data))
        case PacketType.OPERATION_REQUEST:
            data_phase, code, transaction_id = _fields("<IHI", data[:10])
            return OperationRequest(code, transaction_id, _params(data[10:]), data_phase)
        case PacketType.OPERATION_RESPONSE:
            code, transaction_id = _fields("<HI", data[:6])
            return OperationResponse(code, transaction_id, _params(data[6:]))
        case PacketType.EVENT:
            code, transaction_id = _fields("<HI", data[:6])
            return Event(code, transaction_id, _params(data[6:]))
        case PacketType.START_DATA:
            transaction_id, total = _fields("<IQ", data)
            return StartData(transaction_id, known_total(total))
        case PacketType.END_DATA:
            return EndData(*_fields("<I", data))
        case PacketType.CANCEL:
            return Cancel(*_fields("<I", data))
        case PacketType.PROBE_REQUEST:
            return ProbeRequest(*_fields("<", data))
        case PacketType.PROBE_RESPONSE:
            return ProbeResponse(*_fields("<", data))
    raise RemoteProtocolError(f"packet type {type} cannot be decoded")


def _body(packet: Packet) -> bytes:
    match packet:
        case InitCommandRequest(guid, name, version):
            return _guid(guid) + _name(name) + struct.pack("<I", version)
        case InitCommandAck(number, guid, name, version):
            tail = b"" if version is None else struct.pack("<I", version)
            return struct.pack("<I", number) + _guid(guid) + _name(name) + tail
        case InitEventRequest(word) | InitFail(word) | EndData(word) | Cancel(word):
            return struct.pack("<I", word)
        case InitEventAck() | ProbeRequest() | ProbeResponse():
            return b""
        case OperationRequest(code, transaction_id, params, data_phase):
            return struct.pack("<IHI", data_phase, code, transaction_id) + _pack_params(params)
        case OperationResponse(code, transaction_id, params) | Event(code, transaction_id, params):
            return struct.pack("<HI", code, transaction_id) + _pack_params(params)
        case StartData(transaction_id, total):
            return struct.pack("<IQ", transaction_id, UNKNOWN_TOTAL if total is None else total)
        case _:
            assert_never(packet)


def _guid(guid: bytes) -> bytes:
    if len(guid) != 16:
        raise LocalProtocolError(f"a GUID has 16 bytes, not {len(guid)}")
    return guid


def _name(name: str) -> bytes:
    if "\0" in name:
        raise LocalProtocolError("a name ends at its first NUL")
    return name.encode("utf-16-le") + b"\0\0"


def _pack_params(params: tuple[int, ...]) -> bytes:
    if len(params) > MAX_PARAMS:
        raise LocalProtocolError(f"{len(params)} parameters, at most {MAX_PARAMS} fit")
    return struct.pack(f"<{len(params)}I", *params)


def _fields(layout: str, data: bytes) -> tuple[int, ...]:
    if len(data) != struct.calcsize(layout):
        raise RemoteProtocolError(f"{len(data)} bytes where {struct.calcsize(layout)} belong")
    return struct.unpack(layout, data)


def _params(data: bytes) -> tuple[int, ...]:
    """Parameters fill the rest of a packet; responders may pad with zeros up to the full five."""
    if len(data) % 4 or len(data) > 4 * MAX_PARAMS:
        raise RemoteProtocolError(f"{len(data)} bytes of parameters")
    return struct.unpack(f"<{len(data) // 4}I", data)


def _split_name(data: bytes) -> tuple[str, bytes]:
    """Read UTF-16 up to its NUL unit or the end of the packet; return it and what follows."""
    end = next((at for at in range(0, len(data) - 1, 2) if data[at : at + 2] == b"\0\0"), len(data))
    return data[:end].decode("utf-16-le", "replace"), data[end + 2 :]


def _init_command_request(data: bytes) -> InitCommandRequest:
    name, rest = _split_name(data[16:])
    if len(rest) != 4:
        raise RemoteProtocolError("an InitCommandRequest ends with NUL and a version")
    return InitCommandRequest(data[:16], name, *_fields("<I", rest))


def _init_command_ack(data: bytes) -> InitCommandAck:
    if len(data) < 20:
        raise RemoteProtocolError(f"an InitCommandAck has at least 28 bytes, not {8 + len(data)}")
    name, rest = _split_name(data[20:])
    version = struct.unpack_from("<I", rest)[0] if len(rest) >= 4 else None
    return InitCommandAck(struct.unpack_from("<I", data)[0], data[4:20], name, version)
