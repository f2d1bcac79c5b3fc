"""What can go wrong, as named verbs."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simcam.camera import Camera
from tests.simcam.hooks import Hooks, Point, Transaction
from tests.simcam.operations import Answer
from tests.simcam.wire import Reset, Wire


class Trouble:
    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.hooks = Hooks(camera.stats.troubles)
        self.packet_sizes: Iterator[int] | None = None
        self._bytes_left: int | None = None

    # --- asked by the server

    def before(self, transaction: Transaction) -> Answer | None:
        return self.hooks.run(Point.BEFORE, transaction, None)

    def after(self, transaction: Transaction, answer: Answer) -> Answer:
        return self.hooks.run(Point.AFTER, transaction, answer) or answer

    def allow(self, size: int) -> int:
        if self._bytes_left is None:
            return size
        allowed = min(size, self._bytes_left)
        self._bytes_left -= allowed
        return allowed

    def strike(self, wire: Wire) -> None:
        self._bytes_left = None
        raise Reset("cut")

    def accepted(self) -> None:
        """A TCP connection came in; Reset throws it out."""

    def event_connected(self, wire: Wire) -> None:
        """An InitEventRequest came in."""

    # --- verbs

    def cut_after(self, size: int) -> None:
        """Reset both sockets after `size` more bytes on the command socket."""
        self._bytes_left = size
