"""A configured destination at work: its backend, its threads, its limits, and whether it answers."""

from __future__ import annotations

import asyncio
import time

from agent.backends.base import Backend, Exclusive, Proof
from agent.keys import Media
from agent.schedule import Schedule
from agent.uploader.calls import Calls
from agent.uploader.pace import Pace


class Target:
    """A configured destination at work."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        *,
        workers: int,
        minimum_proof: Proof,
        fingerprint: str,
        algorithms: tuple[str, ...] = ("sha256",),
        limit: Schedule | None = None,
    ):
        self.name = name
        self.backend = backend
        self.workers = workers
        self.minimum_proof = minimum_proof
        self.fingerprint = fingerprint  # of the settings: a check is repeated when they change
        self.algorithms = algorithms  # what `commit` and `find` compare
        self.pace = Pace(limit)
        self.call = Calls(f"to {name}", workers + 1)  # one for the sweep
        self.exclusive: Exclusive | None = None
        self.paused = False
        self.failures = 0  # in a row, of the destination as a whole
        self.retry_at = 0.0  # monotonic
        self.started_at = 0.0  # monotonic: when it last got a worker
        self.tasks: set[asyncio.Task[None]] = set()
        self.dry_at: tuple[int, int] | None = None  # when we looked last, if there was nothing for it
        self.dry_growing: frozenset[int] = frozenset()  # and what grew then
        self.held: set[Media] = set()  # kinds of which something waits for its hours
        self.overtaken: set[int] = set()  # deliveries that give their place to what goes first
        self.seen_changes = -1  # of the ledger, when we looked last for what goes first
        self.sweeping: asyncio.Task[None] | None = None
        self.is_awaited = False  # a look for a delivery met the sweep
        self.sweep_at = 0.0  # monotonic: not before
        self.swept_changes = -1  # of the ledger, when it was swept last
        self.left: dict[
            int, float
        ] = {}  # deliveries with leftovers that are held: monotonic, when to ask again

    @property
    def is_dry(self) -> bool:
        return self.dry_at is not None

    @property
    def room(self) -> int:
        """How many more deliveries may start now; one at a time until it is checked and while it may be down."""
        if self.paused or self.sweeping or time.monotonic() < self.retry_at:
            return 0
        return (self.workers if self.exclusive and not self.failures else 1) - len(self.tasks)
