"""Order, sizes, stale answers and ends of a connection, in both roles; literal bytes where bytes matter."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable

import pytest

from agent.ptp.connection import (
    CLOSED,
    NEED_DATA,
    Channel,
    Connection,
    LocalProtocolError,
    Payload,
    ProtocolError,
    RemoteProtocolError,
    Role,
    State,
)
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
    encode,
    encode_data_header,
)
from tests.ptp.conversation import GUID, Bytes, Pair, Shown, feed
from tests.ptp.vectors import T6_GUID

I, R = Role.INITIATOR, Role.RESPONDER  # noqa: E741
OK = 0x2001


def data_packet(transaction_id: int, payload: bytes, *, last: bool = False) -> bytes:
    return encode_data_header(transaction_id, len(payload), last=last) + payload


def waiting_initiator(*, data_limit: int | None = None, transaction_id: int = 1) -> Connection:
    """A connection that has sent a request, and whose responder only exists in the test's bytes."""
    connection = Pair().initiator
    connection.send(OperationRequest(0x1009, transaction_id), data_limit=data_limit)
    return connection


# -- whole conversations in literal bytes ---------------------------------------------------------------------------

Turn = tuple[Role, str, list[Shown]]

COMMAND_TURNS: list[Turn] = [
    (
        I,
        "26000000 01000000 00112233445566778899aabbccddeeff 65006400670065000000 00000100",
        [InitCommandRequest(bytes.fromhex("00112233445566778899aabbccddeeff"), "edge")],
    ),
    (
        R,
        "2e000000 02000000 01000000 0000000000000000000100bbc1859fab 45004f005300540036007b000000 00000100",
        [InitCommandAck(1, T6_GUID, "EOST6{")],
    ),
    (I, "16000000 06000000 01000000 0210 00000000 01000000", [OperationRequest(0x1002, 0, (1,))]),
    (R, "0e000000 07000000 0120 00000000", [OperationResponse(OK, 0)]),
    (I, "12000000 06000000 01000000 1691 03000000", [OperationRequest(0x9116, 3)]),
    (
        R,
        "14000000 09000000 03000000 0800000000000000"
        "14000000 0c000000 03000000 0800000000000000"
        "0e000000 07000000 0120 03000000",
        [StartData(3, 8), Bytes(3, bytes.fromhex("0800000000000000")), EndData(3), OperationResponse(OK, 3)],
    ),
    (
        I,
        "1e000000 06000000 01000000 1b10 04000000 02d69191 00000000 00001000",
        [OperationRequest(0x101B, 4, (0x9191D602, 0, 0x100000))],
    ),
    (
        R,
        "14000000 09000000 04000000 0700000000000000"
        "0f000000 0a000000 04000000 ffd8ff"
        "0c000000 0a000000 04000000"
        "10000000 0a000000 04000000 e1001234"
        "0c000000 0c000000 04000000"
        "22000000 07000000 0120 04000000 07000000 00000000000000000000000000000000",
        [
            StartData(4, 7),
            Bytes(4, bytes.fromhex("ffd8ffe1001234")),
            EndData(4),
            OperationResponse(OK, 4, (7, 0, 0, 0, 0)),
        ],
    ),
    (
        I,
        "12000000 06000000 02000000 1091 07000000"
        "14000000 09000000 07000000 0c00000000000000"
        "18000000 0c000000 07000000 0c0000001cd1000002000000",
        [
            OperationRequest(0x9110, 7, (), 2),
            StartData(7, 12),
            Bytes(7, bytes.fromhex("0c0000001cd1000002000000")),
            EndData(7),
        ],
    ),
    (R, "0e000000 07000000 0120 07000000", [OperationResponse(OK, 7)]),
    (I, "12000000 06000000 01000000 0410 08000000", [OperationRequest(0x1004, 8)]),
    (R, "0e000000 07000000 1320 08000000", [OperationResponse(0x2013, 8)]),
]
EVENT_TURNS: list[Turn] = [
    (I, "0c000000 03000000 01000000", [InitEventRequest(1)]),
    (R, "08000000 04000000", [InitEventAck()]),
    (
        R,
        "12000000 08000000 0240 ffffffff 02d69191 08000000 0d000000 0e000000 08000000 01c1 00000000",
        [Event(0x4002, 0xFFFFFFFF, (0x9191D602,)), ProbeRequest(), Event(0xC101, 0)],
    ),
    (I, "08000000 0e000000 08000000 0d000000", [ProbeResponse(), ProbeRequest()]),
    (R, "08000000 0e000000", [ProbeResponse()]),
    (I, "0c000000 0b000000 04000000", [Cancel(4)]),
]


@pytest.mark.parametrize(
    "cuts_of",
    [
        lambda size: (),
        lambda size: range(size),
        lambda size: range(0, size, 3),
        lambda size: (size - 1,),
    ],
    ids=["whole", "byte by byte", "threes", "the last byte alone"],
)
@pytest.mark.parametrize(
    ("channel", "turns"), [(Channel.COMMAND, COMMAND_TURNS), (Channel.EVENT, EVENT_TURNS)]
)
def test_conversation(channel: Channel, turns: list[Turn], cuts_of: Callable[[int], tuple[int, ...]]) -> None:
    """Each turn is read by the listener, and written by the speaker byte for byte."""
    pair = Pair(channel, greeted=False)
    for speaker, text, expected in turns:
        here, there = pair.sides(speaker)
        data = bytes.fromhex(text)
        assert feed(there, data, cuts_of(len(data))) == expected
        if "0c000000 0a000000" not in text:  # an empty Data packet is legal to read, and nothing to write
            assert b"".join(written(here, event) for event in expected) == data
        else:
            for event in expected:
                written(here, event)
    assert pair.initiator.state is pair.responder.state
    assert feed(pair.initiator, b"") == feed(pair.responder, b"") == ["closed"]


def written(connection: Connection, event: Shown) -> bytes:
    """Write an event as the turns above do: payload rides in the EndData packet."""
    if isinstance(event, Bytes):
        return connection.send_payload(event.transaction_id, len(event.data), last=True) + event.data
    if isinstance(event, EndData):
        return b""
    assert not isinstance(event, str)
    return connection.send(event)


# -- what is legal --------------------------------------------------------------------------------------------------

# An independent reading of the order: per channel and state, who may send which packet type.
ORDER = {
    (Channel.COMMAND, State.START): "I1",
    (Channel.COMMAND, State.GREETED): "R2 R5 I13 R13 I14 R14",
    (Channel.COMMAND, State.IDLE): "I6 I13 R13 I14 R14",
    (Channel.COMMAND, State.REQUESTED): "R7 R9 I13 R13 I14 R14",
    (Channel.COMMAND, State.REQUESTED_OUT): "R7 I9 I13 R13 I14 R14",
    (Channel.COMMAND, State.DATA_IN): "R10 R11 R12 I13 R13 I14 R14",
    (Channel.COMMAND, State.DATA_OUT): "R7 I10 I11 I12 I13 R13 I14 R14",
    (Channel.COMMAND, State.CANCELLED): "R7 R12 I12 I13 R13 I14 R14",
    (Channel.COMMAND, State.RESPONDING): "R7 I13 R13 I14 R14",
    (Channel.COMMAND, State.REFUSED): "",
    (Channel.EVENT, State.START): "I3",
    (Channel.EVENT, State.GREETED): "R4 R5 I13 R13 I14 R14",
    (Channel.EVENT, State.OPEN): "R8 I11 I13 R13 I14 R14",
    (Channel.EVENT, State.REFUSED): "",
}
REQUEST_IN, REQUEST_OUT = OperationRequest(0x1004, 9), OperationRequest(0x1016, 9, (), 2)
HELLO, ACK = InitCommandRequest(GUID, "edge"), InitCommandAck(1, GUID, "camera")
WAY: dict[tuple[Channel, State], list[tuple[Role, Packet]]] = {
    (Channel.COMMAND, State.START): [],
    (Channel.COMMAND, State.GREETED): [(I, HELLO)],
    (Channel.COMMAND, State.REFUSED): [(I, HELLO), (R, InitFail(2))],
    (Channel.COMMAND, State.IDLE): [(I, HELLO), (R, ACK)],
    (Channel.COMMAND, State.REQUESTED): [(I, HELLO), (R, ACK), (I, REQUEST_IN)],
    (Channel.COMMAND, State.REQUESTED_OUT): [(I, HELLO), (R, ACK), (I, REQUEST_OUT)],
    (Channel.COMMAND, State.DATA_IN): [(I, HELLO), (R, ACK), (I, REQUEST_IN), (R, StartData(9, 4))],
    (Channel.COMMAND, State.DATA_OUT): [(I, HELLO), (R, ACK), (I, REQUEST_OUT), (I, StartData(9, 4))],
    (Channel.COMMAND, State.CANCELLED): [
        (I, HELLO),
        (R, ACK),
        (I, REQUEST_OUT),
        (I, StartData(9, 4)),
        (I, Cancel(9)),
    ],
    (Channel.COMMAND, State.RESPONDING): [
        (I, HELLO),
        (R, ACK),
        (I, REQUEST_OUT),
        (I, StartData(9, 4)),
        (I, EndData(9)),
    ],
    (Channel.EVENT, State.START): [],
    (Channel.EVENT, State.GREETED): [(I, InitEventRequest(1))],
    (Channel.EVENT, State.REFUSED): [(I, InitEventRequest(1)), (R, InitFail(2))],
    (Channel.EVENT, State.OPEN): [(I, InitEventRequest(1)), (R, InitEventAck())],
}
SAMPLES: dict[PacketType, Packet | None] = {
    PacketType.INIT_COMMAND_REQUEST: HELLO,
    PacketType.INIT_COMMAND_ACK: ACK,
    PacketType.INIT_EVENT_REQUEST: InitEventRequest(1),
    PacketType.INIT_EVENT_ACK: InitEventAck(),
    PacketType.INIT_FAIL: InitFail(1),
    PacketType.OPERATION_REQUEST: REQUEST_IN,
    PacketType.OPERATION_RESPONSE: OperationResponse(OK, 9),
    PacketType.EVENT: Event(0x4002, 9),
    PacketType.START_DATA: StartData(9, 4),
    PacketType.DATA: None,
    PacketType.CANCEL: Cancel(9),
    PacketType.END_DATA: EndData(9),
    PacketType.PROBE_REQUEST: ProbeRequest(),
    PacketType.PROBE_RESPONSE: ProbeResponse(),
}


def at(channel: Channel, state: State) -> Pair:
    pair = Pair(channel, greeted=False)
    for speaker, packet in WAY[channel, state]:
        pair.say(speaker, packet)
    assert pair.initiator.state is pair.responder.state is state
    return pair


def test_every_state_is_in_the_order() -> None:
    states = {state for _, state in ORDER}
    assert states == set(State) - {State.CLOSED, State.ERROR}
    assert set(WAY) == set(ORDER)
    assert set(SAMPLES) == set(PacketType)


@pytest.mark.parametrize("kind", PacketType)
@pytest.mark.parametrize("speaker", Role)
@pytest.mark.parametrize(("channel", "state"), ORDER)
def test_order_is_the_same_for_sender_and_receiver(
    channel: Channel, state: State, speaker: Role, kind: PacketType
) -> None:
    here, there = at(channel, state).sides(speaker)
    packet = SAMPLES[kind]
    data = encode(packet) if packet else data_packet(9, b"")
    if f"{'I' if speaker is I else 'R'}{kind}" in ORDER[channel, state].split():
        assert (here.send(packet) if packet else here.send_payload(9, 0, last=False)) == data
        feed(there, data)
        assert here.state is there.state is not State.ERROR
        return
    with pytest.raises(LocalProtocolError):
        here.send(packet) if packet else here.send_payload(9, 0, last=False)
    assert here.state is State.ERROR
    if state is State.IDLE and kind in (7, 9, 10, 11, 12):  # of a transaction that is over: a late answer
        assert (feed(there, data), there.stale_packets, there.state) == ([], 1, State.IDLE)
    else:
        with pytest.raises(RemoteProtocolError):
            feed(there, data)
        assert there.state is State.ERROR


def test_data_out_is_the_one_exception_of_the_table() -> None:
    pair = Pair()
    for number, (data_phase, state) in enumerate(
        [(1, State.REQUESTED), (2, State.REQUESTED_OUT), (0, State.REQUESTED)]
    ):
        pair.say(I, OperationRequest(0x1001, number, (), data_phase))
        assert pair.initiator.state is pair.responder.state is state
        pair.say(R, OperationResponse(OK, number))


def test_probes_may_come_between_the_packets_of_a_data_phase() -> None:
    connection = waiting_initiator()
    stream = [encode(StartData(1, 4)), encode(ProbeRequest()), data_packet(1, b"ab"), encode(ProbeRequest())]
    shown = feed(
        connection, b"".join([*stream, data_packet(1, b"cd", last=True), encode(OperationResponse(OK, 1))])
    )
    assert shown[1] == shown[3] == ProbeRequest()
    assert (shown[2], shown[4]) == (Bytes(1, b"ab"), Bytes(1, b"cd"))
    assert connection.send(ProbeResponse()) == bytes.fromhex("080000000e000000")


def test_a_cancelled_upload_ends_with_end_data_and_a_response() -> None:
    pair = Pair()
    pair.say(I, OperationRequest(0x100D, 1, (), 2), StartData(1, 100))
    pair.pay(I, 1, b"1234", last=False)
    assert pair.say(I, Cancel(1), EndData(1)) == [Cancel(1), EndData(1)]
    assert pair.say(R, OperationResponse(0x201F, 1)) == [OperationResponse(0x201F, 1)]
    assert pair.initiator.state is pair.responder.state is State.IDLE


def test_a_responder_may_refuse_an_upload_in_its_middle() -> None:
    """What was under way counts as stale; the next request goes through."""
    pair = Pair()
    upload = pair.initiator.send(OperationRequest(0x100D, 1, (), 2)) + pair.initiator.send(StartData(1, 8))
    upload += pair.initiator.send_payload(1, 8, last=True) + b"12345678"
    assert feed(pair.responder, upload[:-5])[-1] == Bytes(1, b"123")
    assert pair.say(R, OperationResponse(0x200C, 1)) == [OperationResponse(0x200C, 1)]
    assert feed(pair.responder, upload[-5:]) == []
    assert pair.say(I, OperationRequest(0x1001, 2)) == [OperationRequest(0x1001, 2)]


# -- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", ["ffffffffffffffff", "ffffffff00000000"])
def test_an_unknown_total_is_read_until_end_data(total: str) -> None:
    connection = waiting_initiator(data_limit=10)
    head = bytes.fromhex("1400000009000000 01000000" + total)
    assert feed(connection, head + data_packet(1, b"12345") + data_packet(1, b"67890", last=True)) == [
        StartData(1, None),
        Bytes(1, b"1234567890"),
        EndData(1),
    ]
    assert (connection.announced_bytes, connection.received_bytes) == (None, 10)


def test_a_total_beyond_32_bits_counts_in_full() -> None:
    connection = waiting_initiator()
    assert feed(connection, encode(StartData(1, 5 << 30))) == [StartData(1, 5 << 30)]
    # one packet cannot hold that much; the second one is counted on top of the first
    size = 3 << 30
    assert feed(connection, encode_data_header(1, size, last=False) + b"abc") == [Bytes(1, b"abc")]
    segment = bytes(1 << 20)
    for _ in range(size // len(segment) - 1):
        feed(connection, segment)
    feed(connection, segment[3:])
    assert connection.received_bytes == size
    with pytest.raises(RemoteProtocolError, match="are allowed"):
        feed(connection, encode_data_header(1, size, last=True))


def test_one_byte_more_than_announced_ends_the_session() -> None:
    for last in (False, True):
        connection = waiting_initiator()
        feed(connection, encode(StartData(1, 5)) + data_packet(1, b"123"))
        with pytest.raises(RemoteProtocolError):
            feed(connection, data_packet(1, b"456", last=last))


def test_a_short_data_phase_is_left_to_the_caller() -> None:
    connection = waiting_initiator()
    shown = feed(
        connection,
        encode(StartData(1, 5)) + data_packet(1, b"123", last=True) + encode(OperationResponse(OK, 1)),
    )
    assert shown == [StartData(1, 5), Bytes(1, b"123"), EndData(1), OperationResponse(OK, 1)]
    assert (connection.received_bytes, connection.announced_bytes) == (3, 5)


def test_the_limit_of_a_request_holds_before_its_bytes_are_taken() -> None:
    connection = waiting_initiator(data_limit=8)
    with pytest.raises(RemoteProtocolError):
        feed(connection, encode(StartData(1, 9)))
    connection = waiting_initiator(data_limit=8)
    assert feed(connection, encode(StartData(1, 8)))
    connection = waiting_initiator(data_limit=8)
    feed(connection, encode(StartData(1, None)) + data_packet(1, b"12345678"))
    with pytest.raises(RemoteProtocolError):
        feed(connection, encode_data_header(1, 1, last=True))
    connection = waiting_initiator(data_limit=8)
    with pytest.raises(RemoteProtocolError):
        feed(connection, encode(StartData(1, None)) + encode_data_header(1, 0xFFFFFFF0, last=False))


def test_the_limit_is_that_of_the_outstanding_request() -> None:
    connection = waiting_initiator(data_limit=1)
    feed(connection, encode(OperationResponse(OK, 1)))
    connection.send(OperationRequest(0x1009, 2))
    assert feed(connection, encode(StartData(2, 100)) + data_packet(2, b"1234")) == [
        StartData(2, 100),
        Bytes(2, b"1234"),
    ]


def test_we_do_not_send_more_than_we_announced() -> None:
    pair = Pair()
    pair.say(I, OperationRequest(0x1009, 1))
    pair.say(R, StartData(1, 4))
    with pytest.raises(LocalProtocolError):
        pair.responder.send_payload(1, 5, last=True)


def test_an_empty_dataset_is_legal() -> None:
    connection = waiting_initiator(data_limit=0)
    assert feed(
        connection, encode(StartData(1, 0)) + encode(EndData(1)) + encode(OperationResponse(OK, 1))
    ) == [
        StartData(1, 0),
        EndData(1),
        OperationResponse(OK, 1),
    ]


# -- packets of other transactions ----------------------------------------------------------------------------------


def test_a_late_answer_is_skipped_with_its_payload() -> None:
    connection = waiting_initiator(transaction_id=2)
    late = encode(StartData(1, 6)) + data_packet(1, b"late") + data_packet(1, b"!!", last=True)
    late += encode(OperationResponse(OK, 1))
    answer = encode(StartData(2, 2)) + data_packet(2, b"ok", last=True) + encode(OperationResponse(OK, 2))
    for cuts in ((), range(len(late + answer))):
        connection = waiting_initiator(transaction_id=2)
        assert feed(connection, late + answer, cuts) == [
            StartData(2, 2),
            Bytes(2, b"ok"),
            EndData(2),
            OperationResponse(OK, 2),
        ]
        assert (connection.stale_packets, connection.received_bytes) == (4, 2)


def test_stale_packets_have_a_limit_per_transaction() -> None:
    stale = encode(OperationResponse(OK, 7))
    connection = Connection(I, Channel.COMMAND, max_stale_packets=3)
    connection.send(HELLO)
    feed(connection, encode(ACK))
    for transaction_id in (1, 2):
        connection.send(OperationRequest(0x1004, transaction_id))
        assert feed(connection, 3 * stale) == []
        feed(connection, encode(OperationResponse(OK, transaction_id)))
    assert connection.stale_packets == 6
    connection.send(OperationRequest(0x1004, 3))
    with pytest.raises(RemoteProtocolError, match="other transactions"):
        feed(connection, 4 * stale)


def test_stale_payload_has_a_limit() -> None:
    connection = Connection(I, Channel.COMMAND, max_stale_bytes=10)
    connection.send(HELLO)
    feed(connection, encode(ACK))
    assert feed(connection, data_packet(7, bytes(10))) == []
    with pytest.raises(RemoteProtocolError, match="other transactions"):
        feed(connection, encode_data_header(7, 1, last=True))


def test_we_never_send_for_another_transaction() -> None:
    for packet in (StartData(8, 1), OperationResponse(OK, 8)):
        pair = Pair()
        pair.say(I, OperationRequest(0x1009, 9))
        with pytest.raises(LocalProtocolError):
            pair.responder.send(packet)
    pair = Pair()
    pair.say(I, OperationRequest(0x1009, 9))
    pair.say(R, StartData(9, 1))
    with pytest.raises(LocalProtocolError):
        pair.responder.send_payload(8, 1, last=True)


# -- malformed packets, ends, errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        "00000000 07000000",
        "07000000 07000000",
        "0e000000 00000000",
        "0e000000 0f000000",
        "0e000000 07000001",
        "01100000 07000000",  # 4097 bytes
        "ffffffff 09000000",
        "0b000000 0a000000",  # no room for the transaction id
        "08000000 0c000000",
        "474554202f20485454502f312e310d0a",  # GET / HTTP/1.1
    ],
)
def test_a_header_that_cannot_be_is_refused_at_once(head: str) -> None:
    data = bytes.fromhex(head)
    for cuts in ((), range(len(data))):
        with pytest.raises(RemoteProtocolError):
            feed(waiting_initiator(), data, cuts)


def test_the_event_channel_takes_no_packet_above_4_kib() -> None:
    for kind in PacketType:
        with pytest.raises(RemoteProtocolError):
            feed(at(Channel.EVENT, State.OPEN).initiator, struct.pack("<III", 4097, kind, 0))


def test_what_is_kept_of_a_packet_is_limited() -> None:
    connection = Connection(R, Channel.COMMAND)
    name = "x" * 2026
    hello = encode(InitCommandRequest(GUID, name))
    assert (len(hello), feed(connection, hello)) == (4082, [InitCommandRequest(GUID, name)])
    with pytest.raises(RemoteProtocolError, match="limit 100"):
        feed(Connection(R, Channel.COMMAND, max_packet_bytes=100), hello)


def test_a_clean_end() -> None:
    connection = waiting_initiator()
    assert feed(connection, b"") == ["closed"]
    assert connection.next_event() is CLOSED
    assert connection.state is State.CLOSED
    with pytest.raises(LocalProtocolError):
        connection.send(ProbeRequest())


@pytest.mark.parametrize("size", [1, 7, 8, 11, 12, 13, 15])
def test_an_end_inside_a_packet_is_the_peers_error(size: int) -> None:
    connection = waiting_initiator()
    feed(connection, encode(StartData(1, None)) + data_packet(1, b"1234", last=True)[:size])
    connection.receive_data(b"")
    with pytest.raises(RemoteProtocolError, match="inside a packet"):
        connection.next_event()


def test_nothing_follows_the_end() -> None:
    connection = waiting_initiator()
    feed(connection, b"")
    with pytest.raises(LocalProtocolError):
        connection.receive_data(b"x")


def test_events_are_taken_before_more_is_received() -> None:
    connection = waiting_initiator()
    connection.receive_data(encode(OperationResponse(OK, 1)))
    with pytest.raises(LocalProtocolError):
        connection.receive_data(b"x")


@pytest.mark.parametrize("wrong", ["ours", "theirs"])
def test_an_error_is_final(wrong: str) -> None:
    connection = waiting_initiator()
    expected: type[ProtocolError] = LocalProtocolError if wrong == "ours" else RemoteProtocolError
    with pytest.raises(expected):
        connection.send(InitEventAck()) if wrong == "ours" else feed(connection, bytes(8))
    for verb in (
        lambda: connection.send(ProbeRequest()),
        lambda: connection.send_payload(1, 1, last=True),
        lambda: connection.receive_data(encode(ProbeRequest())),
        connection.next_event,
    ):
        with pytest.raises(expected, match="dead"):
            verb()
    assert connection.state is State.ERROR


# -- what a byte costs ----------------------------------------------------------------------------------------------


def test_payload_is_handed_on_without_a_copy() -> None:
    connection = waiting_initiator()
    segment = bytearray(
        encode(StartData(1, 1 << 20)) + encode_data_header(1, 1 << 20, last=True) + bytes(5000)
    )
    connection.receive_data(segment)
    assert connection.next_event() == StartData(1, 1 << 20)
    payload = connection.next_event()
    assert isinstance(payload, Payload)
    assert payload.data.obj is segment
    segment[-1] = 7  # the caller's own buffer, seen through the view
    assert payload.data[-1] == 7
    assert connection.next_event() is NEED_DATA
    payload.data.release()
    segment.append(1)  # and given back: nothing holds it any longer


def test_a_segment_of_payload_is_one_event_and_nothing_is_kept() -> None:
    connection = waiting_initiator()
    total = 256 << 20
    feed(connection, encode(StartData(1, total)) + encode_data_header(1, total, last=True))
    segment = memoryview(bytearray(256 << 10))
    tracemalloc.start()
    try:
        for _ in range(total // len(segment)):
            connection.receive_data(segment)
            payload = connection.next_event()
            assert isinstance(payload, Payload)
            assert len(payload.data) == len(segment)
            following = connection.next_event()
        assert following == EndData(1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 10


def test_a_packet_that_never_ends_keeps_little() -> None:
    """4 KiB are announced and dripped; nothing more than that is ever held."""
    connection = Connection(R, Channel.COMMAND)
    head = struct.pack("<II", 4096, PacketType.INIT_COMMAND_REQUEST)
    drip = random.Random(1).randbytes(4096 - 8 - 1)
    tracemalloc.start()
    try:
        feed(connection, head + drip, range(len(head + drip)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 512 << 10  # most of it the test's own list of cuts
