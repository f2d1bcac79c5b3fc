"""Two connections with nothing but bytes between them, and a way to feed one that shows events as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from agent.ptp.connection import CLOSED, NEED_DATA, Channel, Connection, Payload, Role
from agent.ptp.packets import InitCommandAck, InitCommandRequest, InitEventAck, InitEventRequest, Packet

GUID = bytes(range(16))


class Bytes(NamedTuple):
    """Payload that arrived in a row, however it was cut."""

    transaction_id: int
    data: bytes


Shown = Packet | Bytes | str


def feed(connection: Connection, data: bytes, cuts: Iterable[int] = ()) -> list[Shown]:
    """Receive `data` in pieces that end at `cuts`; return the events, payload put together. b"" is the end."""
    shown: list[Shown] = []
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    for start, end in zip(edges, edges[1:], strict=False):
        take(connection, data[start:end], shown)
    return shown


def take(connection: Connection, segment: bytes, shown: list[Shown]) -> None:
    connection.receive_data(segment)
    while (event := connection.next_event()) is not NEED_DATA:
        if isinstance(event, Payload):
            before = shown[-1] if shown else None
            if isinstance(before, Bytes) and before.transaction_id == event.transaction_id:
                shown[-1] = Bytes(event.transaction_id, before.data + event.data)
            else:
                shown.append(Bytes(event.transaction_id, bytes(event.data)))
        elif event is CLOSED:
            shown.append("closed")
            return
        else:
            shown.append(event)


class Pair:
    """An initiator and a responder; `say` carries packets across, checks nothing, returns what the other side saw."""

    def __init__(self, channel: Channel = Channel.COMMAND, *, greeted: bool = True) -> None:
        self.initiator = Connection(Role.INITIATOR, channel)
        self.responder = Connection(Role.RESPONDER, channel)
        if greeted and channel is Channel.COMMAND:
            self.say(Role.INITIATOR, InitCommandRequest(GUID, "edge"))
            self.say(Role.RESPONDER, InitCommandAck(1, GUID, "camera"))
        elif greeted:
            self.say(Role.INITIATOR, InitEventRequest(1))
            self.say(Role.RESPONDER, InitEventAck())

    def sides(self, speaker: Role) -> tuple[Connection, Connection]:
        """Speaker and listener."""
        pair = (self.initiator, self.responder)
        return pair if speaker is Role.INITIATOR else (pair[1], pair[0])

    def say(self, speaker: Role, *packets: Packet) -> list[Shown]:
        here, there = self.sides(speaker)
        return feed(there, b"".join(here.send(packet) for packet in packets))

    def pay(self, speaker: Role, transaction_id: int, data: bytes, *, last: bool) -> list[Shown]:
        here, there = self.sides(speaker)
        return feed(there, here.send_payload(transaction_id, len(data), last=last) + data)
