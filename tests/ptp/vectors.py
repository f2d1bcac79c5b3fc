"""Literal bytes of every packet type, with what they mean and who vouches for them.

``real`` bytes are recordings; the others were laid out by hand from the named source, never by our own
encoder. tshark's PTP/IP dissector, which is nobody's of ours, reads all of them too (`test_packets.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.ptp.packets import (
    Cancel,
    EndData,
    Event,
    InitCommandAck,
    InitCommandRequest,
    InitEventAck,
    InitEventRequest,
    InitFail,
    OperationRequest,
    OperationResponse,
    Packet,
    PacketType,
    ProbeRequest,
    ProbeResponse,
    StartData,
)


@dataclass(frozen=True, slots=True)
class DataPacket:
    """Data or EndData with its payload, which the library never holds as one value."""

    transaction_id: int
    payload: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Vector:
    kind: PacketType
    value: Packet | DataPacket
    data: bytes
    source: str
    is_written: bool = True  # False: a form that is read, and written in another way


def _vector(
    kind: PacketType, value: Packet | DataPacket, data: str, source: str, *, is_written: bool = True
) -> Vector:
    return Vector(kind, value, bytes.fromhex(data), source, is_written)


T6_GUID = bytes.fromhex("0000000000000000000100bbc1859fab")

VECTORS = (
    _vector(
        PacketType.INIT_COMMAND_REQUEST,
        InitCommandRequest(bytes.fromhex("cc6bb64e4e6fd9ab08ed9efca484213a"), "rpi1-test"),
        "30000000 01000000 cc6bb64e4e6fd9ab08ed9efca484213a 7200700069003100 2d0074006500730074000000 00000100",
        "real: gphoto2 issue 384, gphoto2 to a Nikon Z 5",
    ),
    _vector(
        PacketType.INIT_COMMAND_ACK,
        InitCommandAck(1, T6_GUID, "EOST6{"),
        "2e000000 02000000 01000000 0000000000000000000100bbc1859fab 45004f005300540036007b000000 00000100",
        "real: petabyt/vcam src/ptpip.c, EOS Rebel T6",
    ),
    _vector(
        PacketType.INIT_COMMAND_ACK,
        InitCommandAck(1, T6_GUID, "EOST6{", None),
        "2a000000 02000000 01000000 0000000000000000000100bbc1859fab 45004f005300540036007b000000",
        "libgphoto2 PTPIP.TXT, which knows no version here",
    ),
    _vector(
        PacketType.INIT_COMMAND_ACK,
        InitCommandAck(1, T6_GUID, "EO", None),
        "20000000 02000000 01000000 0000000000000000000100bbc1859fab 45004f00",
        "the name may run to the end of the packet (its NUL is lost in nickname rubbish)",
        is_written=False,
    ),
    _vector(
        PacketType.INIT_EVENT_REQUEST,
        InitEventRequest(1),
        "0c000000 03000000 01000000",
        "libgphoto2 ptpip.c ptp_ptpip_init_event_request",
    ),
    _vector(
        PacketType.INIT_EVENT_ACK,
        InitEventAck(),
        "08000000 04000000",
        "libgphoto2 ptpip.c ptp_ptpip_init_event_ack",
    ),
    _vector(
        PacketType.INIT_FAIL, InitFail(1), "0c000000 05000000 01000000", "real: gphoto2 issue 384, Nikon Z 5"
    ),
    _vector(
        PacketType.OPERATION_REQUEST,
        OperationRequest(0x1002, 0, (1,)),
        "16000000 06000000 01000000 0210 00000000 01000000",
        "OpenSession, libgphoto2 ptpip.c ptp_ptpip_sendreq",
    ),
    _vector(
        PacketType.OPERATION_REQUEST,
        OperationRequest(0x101B, 4, (0x9191D602, 0, 0x100000)),
        "1e000000 06000000 01000000 1b10 04000000 02d69191 00000000 00001000",
        "GetPartialObject, libgphoto2 ptpip.c ptp_ptpip_sendreq",
    ),
    _vector(
        PacketType.OPERATION_REQUEST,
        OperationRequest(0x9110, 7, (), 2),
        "12000000 06000000 02000000 1091 07000000",
        "SetDevicePropValueEx with data of the initiator, libgphoto2 ptpip.c ptp_ptpip_sendreq",
    ),
    _vector(
        PacketType.OPERATION_RESPONSE,
        OperationResponse(0x2001, 0),
        "0e000000 07000000 0120 00000000",
        "libgphoto2 ptpip.c ptp_ptpip_getresp",
    ),
    _vector(
        PacketType.OPERATION_RESPONSE,
        OperationResponse(0x2001, 18, (0, 0x3C)),
        "16000000 07000000 0120 12000000 00000000 3c000000",
        "parameters of the 0x9109 answer in libgphoto2 ptp.h, in the layout of ptp_ptpip_getresp",
    ),
    _vector(
        PacketType.OPERATION_RESPONSE,
        OperationResponse(0x2019, 6, (0, 0, 0, 0, 0)),
        "22000000 07000000 1920 06000000 0000000000000000000000000000000000000000",
        "DeviceBusy, padded to five parameters",
    ),
    _vector(
        PacketType.EVENT,
        Event(0x4002, 0xFFFFFFFF, (0x9191D602,)),
        "12000000 08000000 0240 ffffffff 02d69191",
        "ObjectAdded, libgphoto2 ptpip.c ptp_ptpip_event",
    ),
    _vector(
        PacketType.EVENT,
        Event(0xC101, 0),
        "0e000000 08000000 01c1 00000000",
        "Canon RequestGetEvent, libgphoto2 ptpip.c ptp_ptpip_event",
    ),
    _vector(
        PacketType.START_DATA,
        StartData(3, 8),
        "14000000 09000000 03000000 0800000000000000",
        "libgphoto2 ptpip.c ptp_ptpip_senddata",
    ),
    _vector(
        PacketType.START_DATA,
        StartData(3, 0x1_2340_0000),
        "14000000 09000000 03000000 0000402301000000",
        "Wireshark packet-ptpip.c dissect_ptpIP_start_data: all 64 bits count",
    ),
    _vector(
        PacketType.START_DATA,
        StartData(3, None),
        "14000000 09000000 03000000 ffffffffffffffff",
        "CIPA DC-X005 2.3.9 as cited by Wireshark packet-ptpip.c: length unknown",
    ),
    _vector(
        PacketType.START_DATA,
        StartData(3, None),
        "14000000 09000000 03000000 ffffffff00000000",
        "length unknown as a 32-bit responder says it",
        is_written=False,
    ),
    _vector(
        PacketType.DATA,
        DataPacket(3, bytes.fromhex("0800000000000000"), last=False),
        "14000000 0a000000 03000000 0800000000000000",
        "libgphoto2 ptpip.c ptp_ptpip_senddata",
    ),
    _vector(
        PacketType.DATA,
        DataPacket(3, b"", last=False),
        "0c000000 0a000000 03000000",
        "a Data packet without bytes",
    ),
    _vector(
        PacketType.END_DATA,
        DataPacket(3, bytes.fromhex("0800000000000000"), last=True),
        "14000000 0c000000 03000000 0800000000000000",
        "the empty event list of an EOS 60D in the layout of libgphoto2 ptpip.c ptp_ptpip_senddata",
    ),
    _vector(
        PacketType.END_DATA,
        DataPacket(7, bytes.fromhex("0c0000001cd1000002000000"), last=True),
        "18000000 0c000000 07000000 0c0000001cd1000002000000",
        "SetDevicePropValueEx of the 60D log, capture destination 2",
    ),
    _vector(PacketType.END_DATA, EndData(3), "0c000000 0c000000 03000000", "an EndData without bytes"),
    _vector(
        PacketType.CANCEL,
        Cancel(4),
        "0c000000 0b000000 04000000",
        "Wireshark packet-ptpip.c dissect_ptpIP_cancel",
    ),
    _vector(PacketType.PROBE_REQUEST, ProbeRequest(), "08000000 0d000000", "airnef mtpwifi.py"),
    _vector(PacketType.PROBE_RESPONSE, ProbeResponse(), "08000000 0e000000", "airnef mtpwifi.py"),
)
