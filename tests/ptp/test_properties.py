"""Properties of any conversation and of any bytes; the invariant itself is `tests.ptp.invariant`."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.ptp import canon
from agent.ptp.codes import CanonEvent
from agent.ptp.connection import Channel, Role, State
from agent.ptp.datasets import ptp_date
from agent.ptp.packets import (
    HEADER,
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
    ProbeRequest,
    ProbeResponse,
    StartData,
    decode,
    encode,
    encode_data_header,
    known_total,
)
from tests.ptp import invariant
from tests.ptp.conversation import Bytes, Pair, Shown, feed
from tests.ptp.vectors import VECTORS

RECORDINGS = [path.read_bytes() for path in sorted((Path(__file__).parent.parent / "cameras").rglob("*.bin"))]
HANDSHAKE_BYTES = {
    "initiator command": encode(InitCommandAck(1, bytes(16), "camera")),
    "initiator event": encode(InitEventAck()),
    "responder command": encode(InitCommandRequest(bytes(16), "edge")),
    "responder event": encode(InitEventRequest(1)),
}

u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
words = st.lists(u32, max_size=5).map(tuple)
guids = st.binary(min_size=16, max_size=16)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
totals = st.none() | u64.filter(lambda total: known_total(total) is not None)

PACKETS: st.SearchStrategy[Packet] = st.one_of(
    st.builds(InitCommandRequest, guids, names, u32),
    st.builds(InitCommandAck, u32, guids, names, st.none() | u32),
    st.builds(InitEventRequest, u32),
    st.builds(InitEventAck),
    st.builds(InitFail, u32),
    st.builds(OperationRequest, u16, u32, words, u32),
    st.builds(OperationResponse, u16, u32, words),
    st.builds(Event, u16, u32, words),
    st.builds(StartData, u32, totals),
    st.builds(EndData, u32),
    st.builds(Cancel, u32),
    st.builds(ProbeRequest),
    st.builds(ProbeResponse),
)

few = settings(max_examples=30)  # per target; the fuzz target takes the same way a hundred thousand times


@given(PACKETS)
def test_a_packet_that_was_written_reads_the_same(packet: Packet) -> None:
    data = encode(packet)
    length, kind = HEADER.unpack_from(data)
    assert length == len(data)
    assert decode(kind, data[8:]) == packet


# -- conversations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transaction:
    """One legal exchange; whoever sends the data, it is cut into `pieces`, the last of which may ride in EndData."""

    transaction_id: int
    shape: str  # "none", "in", "out", "refused out"
    code: int
    params: tuple[int, ...]
    pieces: tuple[bytes, ...]
    rides_in_end: bool
    is_total_known: bool
    answer: tuple[int, ...]
    late: tuple[bytes, ...]  # payloads of data that belongs to another transaction
    has_probe: bool


transactions = st.builds(
    Transaction,
    st.integers(1, 1 << 31),
    st.sampled_from(["none", "in", "out", "refused out"]),
    u16,
    words,
    st.lists(st.binary(max_size=40), max_size=4).map(tuple),
    st.booleans(),
    st.booleans(),
    words,
    st.lists(st.binary(max_size=20), max_size=2).map(tuple),
    st.booleans(),
)


def turns_of(pair: Pair, deal: Transaction) -> Iterator[tuple[Role, bytes, list[Shown]]]:
    """The bytes each side sends in its turn, and what the other must see."""
    initiator, responder = pair.initiator, pair.responder
    phase = 2 if "out" in deal.shape else 1
    request = OperationRequest(deal.code, deal.transaction_id, deal.params, phase)
    asked, seen = initiator.send(request), [request]
    if deal.shape == "out":
        data, events = data_of(pair, Role.INITIATOR, deal)
        yield Role.INITIATOR, asked + data, [*seen, *events]
    else:
        yield Role.INITIATOR, asked, [*seen]
    answered, heard = b"", list[Shown]()
    for payload in deal.late:
        answered += encode_data_header(deal.transaction_id + 1, len(payload), last=True) + payload
    if deal.shape == "in":
        data, heard = data_of(pair, Role.RESPONDER, deal)
        answered += data
    response = OperationResponse(0x2001, deal.transaction_id, deal.answer)
    yield Role.RESPONDER, answered + responder.send(response), [*heard, response]


def data_of(pair: Pair, sender: Role, deal: Transaction) -> tuple[bytes, list[Shown]]:
    here, _ = pair.sides(sender)
    whole = b"".join(deal.pieces)
    start = StartData(deal.transaction_id, len(whole) if deal.is_total_known else None)
    data, events = here.send(start), list[Shown]([start])
    if deal.has_probe:
        data += here.send(ProbeRequest())
        events.append(ProbeRequest())
    last = len(deal.pieces) - 1 if deal.rides_in_end else None
    for number, piece in enumerate(deal.pieces):
        data += here.send_payload(deal.transaction_id, len(piece), last=number == last) + piece
    if last is None or last < 0:
        data += here.send(EndData(deal.transaction_id))
    if whole:
        events.append(Bytes(deal.transaction_id, whole))
    return data, [*events, EndData(deal.transaction_id)]


@given(st.lists(transactions, max_size=4), st.randoms(use_true_random=False))
def test_any_split_of_a_conversation_gives_the_same_events(
    deals: list[Transaction], chance: random.Random
) -> None:
    """Both roles, whole sessions; the events expected come from what was meant, not from another run."""
    pair = Pair()
    for deal in deals:
        for speaker, data, expected in turns_of(pair, deal):
            _, there = pair.sides(speaker)
            cuts = [chance.randrange(len(data)) for _ in range(chance.choice([0, 1, 5, len(data)]))]
            assert feed(there, data, cuts) == expected
        assert pair.initiator.state is pair.responder.state is State.IDLE
    assert feed(pair.initiator, b"") == feed(pair.responder, b"") == ["closed"]


@given(
    st.lists(st.builds(Event, u16, u32, words) | st.builds(ProbeRequest), min_size=1, max_size=6),
    st.sets(st.integers(0, 200)),
)
def test_any_split_of_the_event_channel_gives_the_same_events(packets: list[Packet], cuts: set[int]) -> None:
    pair = Pair(Channel.EVENT)
    data = b"".join(pair.responder.send(packet) for packet in packets)
    assert feed(pair.initiator, data, cuts) == packets


# -- any bytes ------------------------------------------------------------------------------------------------------


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A recording with some bytes changed, and perhaps cut or extended."""
    data = bytearray(draw(st.sampled_from(originals))[:600])
    for _ in range(draw(st.integers(0, 4))):
        if data:
            at = draw(st.integers(0, len(data) - 1))
            data[at] = draw(st.sampled_from([0, 1, 7, 8, 0x7F, 0xFF]) | st.integers(0, 255))
    keep = draw(st.integers(0, len(data)) | st.just(len(data)))
    return bytes(data[:keep]) + draw(st.binary(max_size=16))


PACKET_BYTES = [vector.data for vector in VECTORS]


@pytest.mark.parametrize("target", [name for name in invariant.TARGETS if " " in name])
@few
@given(data=st.data())
def test_any_bytes_give_events_or_a_protocol_error(target: str, data: st.DataObject) -> None:
    packets = data.draw(st.lists(mutated(PACKET_BYTES) | st.binary(max_size=40), max_size=5))
    choices = data.draw(st.binary(min_size=2, max_size=2))
    greeting = data.draw(st.sampled_from([b"", HANDSHAKE_BYTES[target]]))
    invariant.TARGETS[target](choices + greeting + b"".join(packets))


@pytest.mark.parametrize("target", [name for name in invariant.TARGETS if " " not in name])
@few
@given(data=st.data())
def test_any_bytes_give_a_value_or_a_protocol_error(target: str, data: st.DataObject) -> None:
    invariant.TARGETS[target](data.draw(mutated(RECORDINGS) | st.binary(max_size=200)))


event_codes = st.sampled_from([int(code) for code in CanonEvent]) | u32
enumerations = st.builds(  # what the list of a property's values looks like, and nearly
    lambda code, form, count, values: struct.pack(f"<III{len(values)}I", code, form, count, *values),
    u32,
    st.just(3) | st.integers(1, 7),
    st.integers(0, 5) | u32,
    st.lists(u32, max_size=5),
)
event_bodies = st.tuples(event_codes, st.binary(max_size=70)) | st.tuples(
    st.just(int(CanonEvent.AVAIL_LIST_CHANGED)), enumerations
)
lies = st.sampled_from([0, 0, 0, 0, -1, 1, -9, 1 << 20])


@given(st.lists(st.tuples(event_bodies, lies)))
def test_any_records_are_read_or_passed_over(records: list[tuple[tuple[int, bytes], int]]) -> None:
    blob = b"".join(
        struct.pack("<II", max(0, 8 + len(body) + lie), code) + body for (code, body), lie in records
    )
    invariant.check_events(blob)
    if all(code != 0 and lie == 0 for (code, _), lie in records):
        assert len(canon.event_records(blob).records) == len(records)


@given(st.lists(st.binary(max_size=70)), st.integers(-1, 1) | u32, st.sampled_from([0, 0, 0, -1, 1, 1 << 20]))
def test_any_listing_is_read_whole_or_refused(bodies: list[bytes], miscount: int, lie: int) -> None:
    entries = b"".join(struct.pack("<I", max(0, 4 + len(body) + lie)) + body for body in bodies)
    data = struct.pack("<I", max(0, len(bodies) + miscount) & 0xFFFFFFFF) + entries
    invariant.TARGETS["listing"](data)
    if miscount == lie == 0 and all(len(body) >= 10 for body in bodies):
        assert len(canon.listing(data)) == len(bodies)


@given(st.from_regex(r"[0-9]{8}T[0-9]{6}(\.[0-9]{1,9})?(Z|[+-][0-9]{4})?", fullmatch=True))
def test_anything_that_looks_like_a_date_is_one_or_none(text: str) -> None:
    found = ptp_date(text)
    if found is not None:
        assert found.strftime("%m%dT%H%M%S") == text[4:15]


@pytest.mark.parametrize("target", invariant.TARGETS)
def test_every_recording_keeps_the_invariant_everywhere(target: str) -> None:
    for data in RECORDINGS + PACKET_BYTES:
        invariant.TARGETS[target](data[:1500])


@given(st.binary(max_size=100))
@example(b"")
def test_the_fuzz_target_takes_anything(data: bytes) -> None:
    invariant.check(data)
