"""One socket of a PTP/IP link without the socket: bytes in, packets out, and what order is legal.

After h11: the caller's verbs are `receive_data`, `next_event` and `send`. What is legal says
`agent.ptp.states`: our packets are refused (LocalProtocolError) exactly as the peer's are
(RemoteProtocolError). Nothing else is ever raised for anything a peer sends, and after an error the
connection is in ERROR for good: a session is dropped, never repaired.

The payload of a data phase is handed on as it arrives, as views of the caller's own buffer, and is never
collected; what is kept between two segments is at most one packet of `max_packet_bytes`. There is no clock
and no logging here, and operations, datasets and timeouts mean nothing to this module.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, NoReturn

from agent.ptp.packets import (
    DATA_HEADER,
    DATA_PHASE_OUT,
    HEADER,
    TYPE_OF,
    Cancel,
    EndData,
    LocalProtocolError,
    OperationRequest,
    OperationResponse,
    Packet,
    PacketType,
    ProtocolError,
    RemoteProtocolError,
    StartData,
    decode,
    encode,
    encode_data_header,
    known_total,
)
from agent.ptp.states import LEGAL, TRANSACTION_STATES, Channel, Role, State

__all__ = [
    "CLOSED",
    "NEED_DATA",
    "Channel",
    "Connection",
    "LocalProtocolError",
    "Payload",
    "ProtocolError",
    "RemoteProtocolError",
    "Role",
    "Signal",
    "State",
]


class Signal(Enum):
    NEED_DATA = "need_data"
    CLOSED = "closed"


NEED_DATA: Final = Signal.NEED_DATA  # all received bytes are used up
CLOSED: Final = Signal.CLOSED  # the peer closed its side between two packets


class Payload(NamedTuple):
    """Some bytes of the running data phase, in order. The view is valid until the next `receive_data`."""

    transaction_id: int
    data: memoryview


_NOTHING = memoryview(b"")
_DATA = int(PacketType.DATA)
_PAYLOAD_TYPES = frozenset({PacketType.DATA, PacketType.END_DATA})
_PACKET_TYPES = frozenset(PacketType)


class Connection:
    """The state of one socket, as seen by `role`.

    `max_packet_bytes` bounds every packet but Data and EndData, whose payload is streamed (an InitCommandAck
    with a long name has some hundred bytes, all others less than forty). Packets that belong to another
    transaction than the outstanding one are the late answer to a request somebody gave up: they are skipped,
    at most `max_stale_packets` and `max_stale_bytes` of payload per transaction.
    """

    def __init__(
        self,
        role: Role,
        channel: Channel,
        *,
        max_packet_bytes: int = 4096,
        max_stale_packets: int = 64,
        max_stale_bytes: int = 16 << 20,
    ) -> None:
        self.role = role
        self.channel = channel
        self.state = State.START
        self.stale_packets = 0  # skipped in the connection's life
        self.received_bytes = 0  # payload of the current or last data phase, whoever sent it
        self.announced_bytes: int | None = None  # what its StartData promised; None: unknown
        self._max_packet_bytes = max_packet_bytes
        self._max_stale_packets = max_stale_packets
        self._max_stale_bytes = max_stale_bytes
        self._peer = Role.RESPONDER if role is Role.INITIATOR else Role.INITIATOR
        self._transaction_id: int | None = None  # the outstanding one
        self._allowed_bytes: int | None = None  # of its data phase: as announced, or as the request allows
        self._data_state = next(  # in which the peer's Data packets are legal
            (
                state
                for (on, state, kind), (sender, _) in LEGAL.items()
                if (on, kind, sender) == (channel, _DATA, self._peer)
            ),
            None,
        )
        self._stale_packets_left = max_stale_packets
        self._stale_bytes_left = max_stale_bytes
        self._segment = _NOTHING
        self._at = 0  # read so far of _segment
        self._head = bytearray()  # the beginning of a packet that is not complete yet
        self._payload_left = 0  # of the Data or EndData packet being handed on
        self._payload_id = 0
        self._is_payload_stale = False
        self._is_ending = False  # that packet is the EndData of the running data phase
        self._is_eof = False
        self._error: ProtocolError | None = None

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take one segment from the socket; ``b""`` says that the peer closed its side.

        Must be followed by `next_event` until it returns NEED_DATA or CLOSED before the next call: payload is
        handed out as views of `data`.
        """
        self._check_error()
        if self._at < len(self._segment) or self._is_eof:
            self._fail(
                LocalProtocolError("data before the events of the last segment were taken, or after the end")
            )
        if data:
            self._segment, self._at = memoryview(data), 0
        else:
            self._is_eof = True

    def next_event(self) -> Packet | Payload | Signal:
        """Return the next packet or piece of payload, NEED_DATA, or CLOSED after a clean end of the stream."""
        self._check_error()
        try:
            return self._next_event()
        except ProtocolError as error:
            self._fail(error)

    def send(self, packet: Packet, *, data_limit: int | None = None) -> bytes:
        """Return the bytes of `packet`, to be written as they are.

        With an OperationRequest, `data_limit` is the most bytes its data phase may bring (None: no limit);
        more is a RemoteProtocolError of the peer.
        """
        self._check_error()
        try:
            data = encode(packet)
            if isinstance(packet, EndData):
                self._begin_payload(self.role, PacketType.END_DATA, packet.transaction_id, 0)
            else:
                self._apply(self.role, packet)
            if isinstance(packet, OperationRequest):
                self._allowed_bytes = data_limit
        except ProtocolError as error:
            self._fail(error)
        return data

    def send_payload(self, transaction_id: int, size: int, *, last: bool) -> bytes:
        """Return the header of a Data (or, when `last`, EndData) packet; the caller writes `size` bytes behind it."""
        self._check_error()
        try:
            header = encode_data_header(transaction_id, size, last=last)
            kind = PacketType.END_DATA if last else PacketType.DATA
            self._begin_payload(self.role, kind, transaction_id, size)
        except ProtocolError as error:
            self._fail(error)
        self.received_bytes += size
        return header

    def _next_event(self) -> Packet | Payload | Signal:
        while True:
            if self._payload_left:
                view = self._take_payload()
                if view is None:
                    return self._starved()
                if not self._is_payload_stale:
                    return Payload(self._payload_id, view)
            elif self._is_ending:
                self._is_ending = False
                return EndData(self._payload_id)
            elif self._enter_data():
                pass
            elif not self._gather(HEADER.size):
                return self._starved()
            else:
                length, kind = HEADER.unpack_from(self._head)
                self._check_header(length, kind)
                if not self._gather(DATA_HEADER.size if kind in _PAYLOAD_TYPES else length):
                    return self._starved()
                packet = self._finish_head(length, PacketType(kind))
                if packet is not None:
                    return packet

    def _take_payload(self) -> memoryview | None:
        """Cut the next piece of payload out of the segment."""
        at = self._at
        size = min(self._payload_left, len(self._segment) - at)
        if not size:
            return None
        self._at = at + size
        self._payload_left -= size
        if not self._is_payload_stale:
            self.received_bytes += size
        return self._segment[at : at + size]

    def _enter_data(self) -> bool:
        """Take the head of a Data packet where it stands, if it is whole and of the running data phase.

        Only a faster way for what `_finish_head` does as well: a camera may cut an object into packets of a
        few KiB, and then this is what a byte costs.
        """
        at = self._at
        if self._head or self.state is not self._data_state or len(self._segment) - at < DATA_HEADER.size:
            return False
        length, kind, transaction_id = DATA_HEADER.unpack_from(self._segment, at)
        size = length - DATA_HEADER.size
        if kind != _DATA or transaction_id != self._transaction_id or size < 0:
            return False
        self._check_size(self._peer, self.received_bytes + size)
        self._at = at + DATA_HEADER.size
        self._payload_id, self._payload_left, self._is_payload_stale = transaction_id, size, False
        return True

    def _gather(self, size: int) -> bool:
        """Bring the head of the packet to `size` bytes; False when the segment ends before."""
        missing = size - len(self._head)
        if missing > 0:
            piece = self._segment[self._at : self._at + missing]
            self._head += piece
            self._at += len(piece)
        return len(self._head) >= size

    def _starved(self) -> Signal:
        self._segment, self._at = _NOTHING, 0
        if not self._is_eof:
            return NEED_DATA
        if self._head or self._payload_left:
            raise RemoteProtocolError("the stream ended inside a packet")
        self.state = State.CLOSED
        return CLOSED

    def _check_header(self, length: int, kind: int) -> None:
        if kind not in _PACKET_TYPES:
            raise RemoteProtocolError(f"unknown packet type {kind}")
        if length < (DATA_HEADER.size if kind in _PAYLOAD_TYPES else HEADER.size):
            raise RemoteProtocolError(f"a packet of type {kind} cannot have {length} bytes")
        if kind not in _PAYLOAD_TYPES and length > self._max_packet_bytes:
            raise RemoteProtocolError(
                f"a packet of type {kind} with {length} bytes, limit {self._max_packet_bytes}"
            )

    def _finish_head(self, length: int, kind: PacketType) -> Packet | None:
        """Act upon a complete control packet, or on what precedes the payload of a data packet."""
        if kind in _PAYLOAD_TYPES:
            transaction_id = DATA_HEADER.unpack_from(self._head)[2]
            self._head.clear()
            size = length - DATA_HEADER.size
            self._is_payload_stale = self._is_stale(transaction_id)
            if self._is_payload_stale:
                self._skip(size)
            else:
                self._begin_payload(self._peer, kind, transaction_id, size)
                self._is_ending = kind is PacketType.END_DATA
            self._payload_id = transaction_id
            self._payload_left = size
            return None
        packet = decode(kind, self._head[HEADER.size :])
        self._head.clear()
        if isinstance(packet, OperationResponse | StartData | Cancel) and self._is_stale(
            packet.transaction_id
        ):
            self._skip(0)
            return None
        self._apply(self._peer, packet)
        return packet

    def _is_stale(self, transaction_id: int) -> bool:
        in_transactions = self.channel is Channel.COMMAND and self.state in TRANSACTION_STATES
        return in_transactions and transaction_id != self._transaction_id

    def _skip(self, payload_bytes: int) -> None:
        self.stale_packets += 1
        self._stale_packets_left -= 1
        self._stale_bytes_left -= payload_bytes
        if self._stale_packets_left < 0 or self._stale_bytes_left < 0:
            raise RemoteProtocolError("too many packets of other transactions")

    def _apply(self, sender: Role, packet: Packet) -> None:
        """Move on for one packet without payload; who is wrong when it is illegal depends on the sender alone."""
        if isinstance(packet, OperationResponse | StartData | Cancel):
            self._check_transaction(sender, packet.transaction_id)
        state = self._step(sender, TYPE_OF[type(packet)])
        if isinstance(packet, OperationRequest):
            self._transaction_id = packet.transaction_id
            self._stale_packets_left = self._max_stale_packets
            self._stale_bytes_left = self._max_stale_bytes
            self._allowed_bytes = self.announced_bytes = None
            self.received_bytes = 0
            if packet.data_phase == DATA_PHASE_OUT:
                state = State.REQUESTED_OUT
        elif isinstance(packet, StartData):
            self.announced_bytes = known_total(packet.total_length)
            if self.announced_bytes is not None:
                self._check_size(sender, self.announced_bytes)
                self._allowed_bytes = self.announced_bytes
        elif isinstance(packet, OperationResponse):
            self._transaction_id = None
            # A responder that answers inside a Data packet has no use for the rest of it.
            self._is_payload_stale, self._is_ending = True, False
        self.state = state

    def _begin_payload(self, sender: Role, kind: PacketType, transaction_id: int, size: int) -> None:
        self._check_transaction(sender, transaction_id)
        state = self._step(sender, kind)
        self._check_size(sender, self.received_bytes + size)
        self.state = state

    def _step(self, sender: Role, kind: PacketType) -> State:
        rule = LEGAL.get((self.channel, self.state, kind))
        if rule is None or rule[0] not in (None, sender):
            raise self._blame(sender, f"{kind.name} from the {sender.value} while {self.state.value}")
        return rule[1]

    def _check_transaction(self, sender: Role, transaction_id: int) -> None:
        in_transactions = self.channel is Channel.COMMAND and self.state in TRANSACTION_STATES
        if in_transactions and transaction_id != self._transaction_id:
            raise self._blame(sender, f"transaction {transaction_id}, not {self._transaction_id}")

    def _check_size(self, sender: Role, total_bytes: int) -> None:
        """Refuse a data phase longer than announced or than the request allows; a short one is the caller's to judge."""
        if self._allowed_bytes is not None and total_bytes > self._allowed_bytes:
            raise self._blame(sender, f"{total_bytes} bytes of data, {self._allowed_bytes} are allowed")

    def _blame(self, sender: Role, text: str) -> ProtocolError:
        return LocalProtocolError(text) if sender is self.role else RemoteProtocolError(text)

    def _check_error(self) -> None:
        if self._error is not None:
            raise type(self._error)(f"the connection is dead: {self._error}")

    def _fail(self, error: ProtocolError) -> NoReturn:
        self.state = State.ERROR
        self._segment, self._at = _NOTHING, 0
        self._error = error
        raise error
