"""The fourteen packets against literal bytes, as reader and as writer, with a stranger as witness."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.ptp.packets import (
    HEADER,
    TYPE_OF,
    UNKNOWN_TOTAL,
    Cancel,
    EndData,
    Event,
    InitCommandAck,
    InitCommandRequest,
    InitEventRequest,
    InitFail,
    LocalProtocolError,
    OperationRequest,
    OperationResponse,
    Packet,
    PacketType,
    RemoteProtocolError,
    StartData,
    decode,
    encode,
    encode_data_header,
)
from tests.ptp.vectors import VECTORS, DataPacket, Vector

GUID = bytes(16)


def test_every_packet_type_has_a_vector_and_a_class() -> None:
    assert {vector.kind for vector in VECTORS} == set(PacketType)
    assert set(TYPE_OF.values()) == set(PacketType) - {PacketType.DATA}
    assert len(set(TYPE_OF.values())) == len(TYPE_OF)
    assert all(vector.source for vector in VECTORS)
    assert sorted(PacketType) == list(range(1, 15))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector.kind.name}-{vector.data.hex()[:60]}")
def test_vector_is_read_and_written(vector: Vector) -> None:
    length, kind = HEADER.unpack_from(vector.data)
    assert (length, kind) == (len(vector.data), vector.kind)
    if isinstance(vector.value, DataPacket):
        value = vector.value
        header = encode_data_header(value.transaction_id, len(value.payload), last=value.last)
        assert header + value.payload == vector.data
    else:
        assert decode(kind, vector.data[8:]) == vector.value
        assert decode(kind, memoryview(vector.data)[8:]) == vector.value
        if vector.is_written:
            assert encode(vector.value) == vector.data


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if not isinstance(v.value, DataPacket)], ids=lambda v: v.kind.name
)
def test_a_shorter_or_longer_body_is_refused(vector: Vector) -> None:
    body = vector.data[8:]
    for wrong in (body[:-1], body + b"\1"):
        if vector.kind is PacketType.INIT_COMMAND_ACK and len(wrong) >= 20:
            continue  # its tail is read leniently
        if wrong != body:
            with pytest.raises(RemoteProtocolError):
                decode(vector.kind, wrong)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (0, b""),
        (15, b""),
        (0xFFFFFFFF, b""),
        (PacketType.DATA, bytes(4)),
        (PacketType.INIT_COMMAND_REQUEST, GUID + "edge".encode("utf-16-le")),  # no NUL, no version
        (PacketType.INIT_COMMAND_REQUEST, GUID + b"\0\0" + bytes(2)),
        (PacketType.INIT_COMMAND_ACK, bytes(19)),
        (PacketType.OPERATION_REQUEST, bytes(10 + 24)),
        (PacketType.OPERATION_RESPONSE, bytes(6 + 24)),
        (PacketType.EVENT, bytes(6 + 3)),
    ],
)
def test_what_is_no_packet_is_the_peers_error(kind: int, body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(kind, body)


def test_a_name_that_is_no_text_is_still_read() -> None:
    body = struct.pack("<I", 1) + GUID + b"\x00\xd8A\0\0\0" + struct.pack("<I", 0x00010000)
    assert decode(PacketType.INIT_COMMAND_ACK, body) == InitCommandAck(1, GUID, "\ufffdA", 0x00010000)


@pytest.mark.parametrize(
    "packet",
    [
        InitCommandRequest(bytes(15), "edge"),
        InitCommandRequest(GUID, "ed\0ge"),
        InitCommandRequest(GUID, "\ud800"),
        InitCommandRequest(GUID, "edge", 1 << 32),
        InitCommandAck(1, bytes(17), "edge"),
        InitEventRequest(-1),
        InitFail(1 << 32),
        OperationRequest(0x10000, 1),
        OperationRequest(0x1001, 1 << 32),
        OperationRequest(0x1001, 1, (1, 2, 3, 4, 5, 6)),
        OperationRequest(0x1001, 1, (-1,)),
        OperationResponse(0x2001, 1, (0,) * 6),
        Event(0x4002, 1, (1 << 32,)),
        StartData(1, 1 << 64),
        EndData(-1),
        Cancel(1 << 32),
    ],
)
def test_a_value_that_does_not_fit_is_our_error(packet: Packet) -> None:
    with pytest.raises(LocalProtocolError):
        encode(packet)


@pytest.mark.parametrize(("transaction_id", "size"), [(1 << 32, 0), (1, (1 << 32) - 12), (1, -13)])
def test_a_payload_that_does_not_fit_is_our_error(transaction_id: int, size: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode_data_header(transaction_id, size, last=False)


def test_all_ones_is_written_for_an_unknown_total() -> None:
    assert encode(StartData(1, None))[-8:] == struct.pack("<Q", UNKNOWN_TOTAL)


@pytest.mark.stranger
@pytest.mark.skipif(
    not (shutil.which("tshark") and shutil.which("text2pcap")), reason="tshark is not installed"
)
def test_wireshark_reads_the_vectors_as_we_do(tmp_path: Path) -> None:
    dump = "\n".join(f"000000 {vector.data.hex(' ')}\n" for vector in VECTORS)
    (tmp_path / "vectors.txt").write_text(dump)
    subprocess.run(
        ["text2pcap", "-q", "-T", "15740,15740", tmp_path / "vectors.txt", tmp_path / "vectors.pcap"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    answer = subprocess.run(
        [
            "tshark",
            "-r",
            tmp_path / "vectors.pcap",
            "-d",
            "tcp.port==15740,ptpip",
            "-T",
            "json",
            "-J",
            "ptpip",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    read = [packet["_source"]["layers"]["ptpip"] for packet in json.loads(answer.stdout)]
    assert len(read) == len(VECTORS)
    for vector, found in zip(VECTORS, read, strict=True):
        assert (int(found["ptpip.len"]), int(found["ptpip.pktType"], 16)) == (len(vector.data), vector.kind)
        for field, value in _wireshark_fields(vector.value).items():
            if isinstance(value, int):
                assert int(found[f"ptpip.{field}"], 0) == value, (vector, field)
            else:
                assert found[f"ptpip.{field}"] == value, (vector, field)


def _wireshark_fields(value: Packet | DataPacket) -> Mapping[str, object]:
    """What Wireshark 4.0 packet-ptpip.c says of a packet. It shows no fields of a Cancel and no reason of an InitFail."""
    match value:
        case InitCommandRequest(guid, name, _):
            return {"guid": guid.hex(":"), "name": name}
        case InitCommandAck(number, guid, name, _):
            return {"connection": number, "guid": guid.hex(":")} | ({"name": name} if len(name) > 2 else {})
        case InitEventRequest(number):
            return {"connection": number}
        case OperationRequest(code, transaction_id, _, data_phase):
            return {"opcode": code, "transactionID": transaction_id, "phaseinfo": data_phase}
        case OperationResponse(code, transaction_id, _):  # it files the response code under "opcode"
            return {"opcode": code, "transactionID": transaction_id}
        case Event(code, transaction_id, _):
            return {"eventcode": code, "transactionID": transaction_id}
        case StartData(transaction_id, total):
            return {"transactionID": transaction_id} | ({} if total is None else {"datalen": total})
        case EndData(transaction_id) | DataPacket(transaction_id):
            return {"transactionID": transaction_id}
    return {}
