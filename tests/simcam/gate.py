"""The places where the server asks whether something goes wrong here. Everything is calm until `Trouble` says so."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator

from tests.simcam.hooks import Hooks, Point, Transaction
from tests.simcam.operations import Answer
from tests.simcam.wire import Wire


def _calm(*_: object) -> None:
    """Nothing happens."""


class Gate:
    """`hooks` strike within transactions; the rest are accidents of the two connections and of framing."""

    def __init__(self, struck: Counter[str]) -> None:
        self.struck = struck
        self.hooks = Hooks(struck)
        self.calm()

    def calm(self) -> None:
        """Heal everything that is not a hook."""
        self.on_accept: Callable[[socket.socket], None] = _calm  # a TCP connection came in
        self.on_ack: Callable[[], None] = _calm  # an initiator is about to be let in
        self.on_event_request: Callable[[Wire], None] = _calm
        self.on_description: Callable[[], None] = _calm  # somebody fetched the UPnP description
        self.honours_cancel = False
        self.ignores_odd_phases = False
        self.linger_seconds = 0.0  # how long the seat stays taken when an initiator has gone
        self.stalls_on_unread_events = False
        self.packet_sizes: Callable[[], Iterator[int]] | None = None  # payload of each Data packet
        self.has_empty_end_data = False
        self.is_total_unknown = False
        self._bytes_left: int | None = None
        self._accident: Callable[[Wire], None] = _calm

    def accident_after(self, size: int, accident: Callable[[Wire], None]) -> None:
        """Let `size` more bytes out on the command socket, then call `accident`; what is left goes out if it returns."""
        self._accident = accident
        self._bytes_left = size

    def before(self, transaction: Transaction) -> Answer | None:
        return self.hooks.run(Point.BEFORE, transaction, None)

    def after(self, transaction: Transaction, answer: Answer) -> Answer:
        return self.hooks.run(Point.AFTER, transaction, answer) or answer

    def allow(self, size: int) -> int:
        left = self._bytes_left
        if left is None:
            return size
        self._bytes_left = max(0, left - size)
        return min(size, left)

    def strike(self, wire: Wire) -> None:
        self._bytes_left = None
        self._accident(wire)
