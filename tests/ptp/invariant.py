"""One sentence: whatever bytes a peer sends, they come out as events and values or as a RemoteProtocolError,
the same ones however they are cut, and little of them is kept.

`check` takes one byte that chooses what is tried, and the bytes. The fuzz target and the property tests share
it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sized

from agent.ptp import canon, datasets
from agent.ptp.connection import (
    CLOSED,
    NEED_DATA,
    Channel,
    Connection,
    Payload,
    RemoteProtocolError,
    Role,
    State,
)
from agent.ptp.packets import (
    EndData,
    InitCommandAck,
    InitCommandRequest,
    InitEventAck,
    InitEventRequest,
    OperationRequest,
    OperationResponse,
    Packet,
    ProbeRequest,
    ProbeResponse,
    StartData,
)
from tests.ptp.conversation import GUID, Bytes

MAX_PACKET_BYTES = 256  # small, so that the limit is met
OK = 0x2001


class Side:
    """One connection under test, and our own moves on it: after each packet, never after a piece of payload,
    so that they do not depend on how the stream was cut.
    """

    def __init__(self, role: Role, channel: Channel, choices: int) -> None:
        self.connection = Connection(
            role, channel, max_packet_bytes=MAX_PACKET_BYTES, max_stale_packets=3, max_stale_bytes=64
        )
        self.choices = choices
        self.transactions = 0
        self.seen: list[Packet | Bytes | str] = []
        if role is Role.INITIATOR:
            greeting = InitCommandRequest(GUID, "edge") if channel is Channel.COMMAND else InitEventRequest(1)
            self.connection.send(greeting)

    def choose(self) -> bool:
        return bool(self.choices >> self.transactions % 8 & 1)

    def move(self, event: Packet) -> None:
        if isinstance(event, ProbeRequest):
            self.connection.send(ProbeResponse())
        if self.connection.role is Role.RESPONDER:
            self.respond(event)
        elif self.connection.state is State.IDLE:
            self.request()

    def request(self) -> None:
        send = self.connection.send
        transaction_id, self.transactions = self.transactions, self.transactions + 1
        if self.choose():
            send(
                OperationRequest(0x1009, transaction_id, (1,)), data_limit=None if transaction_id % 2 else 100
            )
        else:
            send(OperationRequest(0x1016, transaction_id, (), 2))
            send(StartData(transaction_id, 4))
            self.connection.send_payload(transaction_id, 4, last=True)

    def respond(self, event: Packet) -> None:
        send = self.connection.send
        match event:
            case InitCommandRequest():
                send(InitCommandAck(1, GUID, "camera"))
            case InitEventRequest():
                send(InitEventAck())
            case OperationRequest(_, transaction_id):
                self.transactions += 1
                if self.choose() and self.connection.state is State.REQUESTED:
                    send(StartData(transaction_id, None))
                    send(EndData(transaction_id))
                    send(OperationResponse(OK, transaction_id))
                elif self.choose() or self.connection.state is State.REQUESTED:
                    send(OperationResponse(0x2005, transaction_id))
            case EndData(transaction_id):
                send(OperationResponse(OK, transaction_id))

    def receive(self, segment: bytes) -> bool:
        """Take a segment and note what comes of it; False when this was the end."""
        connection = self.connection
        try:
            connection.receive_data(segment)
            while (event := connection.next_event()) is not NEED_DATA:
                if event is CLOSED:
                    self.seen.append("closed")
                    return False
                if isinstance(event, Payload):
                    self.note_payload(event)
                else:
                    assert not isinstance(event, type(CLOSED))
                    self.seen.append(event)
                    self.move(event)
        except RemoteProtocolError as error:
            self.seen.append(str(error))
            assert connection.state is State.ERROR
            return False
        # Behind the library's back: what it holds between two segments.
        assert len(connection._head) < MAX_PACKET_BYTES
        assert not len(connection._segment)
        return True

    def note_payload(self, event: Payload) -> None:
        assert len(event.data)
        before = self.seen[-1] if self.seen else None
        if isinstance(before, Bytes) and before.transaction_id == event.transaction_id:
            self.seen[-1] = Bytes(event.transaction_id, before.data + event.data)
        else:
            self.seen.append(Bytes(event.transaction_id, bytes(event.data)))


def check_connection(role: Role, channel: Channel, data: bytes) -> None:
    """The first two bytes choose our moves and where the stream is cut."""
    choices, seed = (data[0], data[1]) if len(data) > 1 else (0, 0)
    stream = data[2:]
    whole, cut = Side(role, channel, choices), Side(role, channel, choices)
    for side, segments in ((whole, [stream]), (cut, segments_of(stream, seed))):
        if all(side.receive(segment) for segment in segments if segment):
            assert not side.receive(b"")
    assert whole.seen == cut.seen
    for name in ("state", "stale_packets", "received_bytes", "announced_bytes"):
        if whole.connection.state is not State.ERROR:
            assert getattr(whole.connection, name) == getattr(cut.connection, name), name


def segments_of(stream: bytes, seed: int) -> list[bytes]:
    """Cut evenly for a small seed (1: byte by byte, while the stream is short), at random for a large one."""
    if seed < 16:
        size = max(seed, len(stream) // 64, 1)
        return [stream[at : at + size] for at in range(0, len(stream), size)]
    chance = random.Random(seed)
    edges = sorted({chance.randrange(len(stream) + 1) for _ in range(seed % 8 + 1)} | {0, len(stream)})
    return [stream[start:end] for start, end in zip(edges, edges[1:], strict=False)]


def check_decoder(decode: Callable[[datasets.Buffer], object], smallest: int, data: bytes) -> None:
    """No decoder raises anything else, and none makes more elements than there are bytes for."""
    try:
        value = decode(data)
    except RemoteProtocolError:
        return
    if isinstance(value, Sized):
        assert len(value) * smallest <= len(data)
    assert decode(memoryview(data)) == value


def check_events(data: bytes) -> None:
    """GetEvent answers are read by consuming them, so this decoder does not even raise RemoteProtocolError."""
    found = canon.event_records(data)
    assert 8 * (len(found.records) + found.terminated) + found.surplus_bytes <= len(data)
    assert len(found.properties()) <= len(found.records)


def check_date(data: bytes) -> None:
    datasets.ptp_date(data.decode("utf-16-le", "replace"))
    datasets.ptp_date(data.decode("latin-1"))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "initiator command": lambda data: check_connection(Role.INITIATOR, Channel.COMMAND, data),
    "initiator event": lambda data: check_connection(Role.INITIATOR, Channel.EVENT, data),
    "responder command": lambda data: check_connection(Role.RESPONDER, Channel.COMMAND, data),
    "responder event": lambda data: check_connection(Role.RESPONDER, Channel.EVENT, data),
    "device_info": lambda data: check_decoder(datasets.device_info, 1, data),
    "storage_info": lambda data: check_decoder(datasets.storage_info, 1, data),
    "object_info": lambda data: check_decoder(datasets.object_info, 1, data),
    "uint32_array": lambda data: check_decoder(datasets.uint32_array, 4, data),
    "ptp_string": lambda data: check_decoder(datasets.ptp_string, 2, data),
    "device_prop_desc": lambda data: check_decoder(datasets.device_prop_desc, 1, data),
    "ptp_date": check_date,
    "event_records": check_events,
    "listing": lambda data: check_decoder(canon.listing, 14, data),
    "device_info_ex": lambda data: check_decoder(canon.device_info_ex, 1, data),
}


def check(data: bytes) -> None:
    if data:
        names = list(TARGETS)
        TARGETS[names[data[0] % len(names)]](data[1:])


def addressed(target: str, data: bytes) -> bytes:
    """The input of `check` that tries `data` on `target`."""
    return bytes([list(TARGETS).index(target)]) + data
