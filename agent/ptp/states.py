"""What may be sent when, and by whom: the whole order of PTP/IP as one table.

The table is keyed by (channel, state, packet) and does not know which side we are, so it cannot be more
lenient to us than to the peer. Sources: CIPA DC-X005; libgphoto2 ``ptpip.c`` for a response in place of data.
Transaction ids, sizes and bytes are the business of `agent.ptp.connection`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from agent.ptp.packets import PacketType


class Role(Enum):
    INITIATOR = "initiator"
    RESPONDER = "responder"


class Channel(Enum):
    COMMAND = "command"
    EVENT = "event"


class State(Enum):
    """Where one channel stands; both sides of a link go through the same states."""

    START = "start"
    GREETED = "greeted"  # the initiator has introduced itself; a pairing dialog may be open on the responder
    IDLE = "idle"  # command channel: no transaction outstanding
    REQUESTED = "requested"  # a response, or data of the responder, comes next
    REQUESTED_OUT = "requested_out"  # data of the initiator comes next
    DATA_IN = "data_in"
    DATA_OUT = "data_out"
    CANCELLED = "cancelled"  # the sender of data gave up; a last EndData may follow
    RESPONDING = "responding"  # nothing but the response is missing
    OPEN = "open"  # event channel: events and probes
    REFUSED = "refused"  # InitFail
    CLOSED = "closed"
    ERROR = "error"


_I, _R = Role.INITIATOR, Role.RESPONDER

# (channel, state, packet) -> (who may send it; None is either, the state it leads to).
# The one exception: an OperationRequest that announces data of the initiator leads to REQUESTED_OUT.
LEGAL: Final[dict[tuple[Channel, State, PacketType], tuple[Role | None, State]]] = {
    (Channel.COMMAND, State.START, PacketType.INIT_COMMAND_REQUEST): (_I, State.GREETED),
    (Channel.COMMAND, State.GREETED, PacketType.INIT_COMMAND_ACK): (_R, State.IDLE),
    (Channel.COMMAND, State.GREETED, PacketType.INIT_FAIL): (_R, State.REFUSED),
    (Channel.COMMAND, State.IDLE, PacketType.OPERATION_REQUEST): (_I, State.REQUESTED),
    (Channel.COMMAND, State.REQUESTED, PacketType.START_DATA): (_R, State.DATA_IN),
    # An error, or an operation without data: the response comes at once, even where data was expected.
    (Channel.COMMAND, State.REQUESTED, PacketType.OPERATION_RESPONSE): (_R, State.IDLE),
    (Channel.COMMAND, State.DATA_IN, PacketType.DATA): (_R, State.DATA_IN),
    (Channel.COMMAND, State.DATA_IN, PacketType.END_DATA): (_R, State.RESPONDING),
    (Channel.COMMAND, State.DATA_IN, PacketType.CANCEL): (_R, State.CANCELLED),
    (Channel.COMMAND, State.REQUESTED_OUT, PacketType.START_DATA): (_I, State.DATA_OUT),
    (Channel.COMMAND, State.REQUESTED_OUT, PacketType.OPERATION_RESPONSE): (_R, State.IDLE),
    (Channel.COMMAND, State.DATA_OUT, PacketType.DATA): (_I, State.DATA_OUT),
    (Channel.COMMAND, State.DATA_OUT, PacketType.END_DATA): (_I, State.RESPONDING),
    (Channel.COMMAND, State.DATA_OUT, PacketType.CANCEL): (_I, State.CANCELLED),
    # A responder may refuse before it has seen all data; the rest then counts as stale on its side.
    (Channel.COMMAND, State.DATA_OUT, PacketType.OPERATION_RESPONSE): (_R, State.IDLE),
    (Channel.COMMAND, State.CANCELLED, PacketType.END_DATA): (None, State.RESPONDING),
    (Channel.COMMAND, State.CANCELLED, PacketType.OPERATION_RESPONSE): (_R, State.IDLE),
    (Channel.COMMAND, State.RESPONDING, PacketType.OPERATION_RESPONSE): (_R, State.IDLE),
    (Channel.EVENT, State.START, PacketType.INIT_EVENT_REQUEST): (_I, State.GREETED),
    (Channel.EVENT, State.GREETED, PacketType.INIT_EVENT_ACK): (_R, State.OPEN),
    (Channel.EVENT, State.GREETED, PacketType.INIT_FAIL): (_R, State.REFUSED),
    (Channel.EVENT, State.OPEN, PacketType.EVENT): (_R, State.OPEN),
    (Channel.EVENT, State.OPEN, PacketType.CANCEL): (_I, State.OPEN),
}

TRANSACTION_STATES = frozenset(
    {
        State.IDLE,
        State.REQUESTED,
        State.REQUESTED_OUT,
        State.DATA_IN,
        State.DATA_OUT,
        State.CANCELLED,
        State.RESPONDING,
    }
)

# The standard puts probes on the event channel; canon-proxy answers them on the command channel too. Either side may
# ask, and the answer may come between any two packets.
LEGAL.update(
    {
        (channel, state, probe): (None, state)
        for channel, states in (
            (Channel.COMMAND, TRANSACTION_STATES | {State.GREETED}),
            (Channel.EVENT, {State.GREETED, State.OPEN}),
        )
        for state in states
        for probe in (PacketType.PROBE_REQUEST, PacketType.PROBE_RESPONSE)
    }
)
