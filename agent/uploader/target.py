"""A configured destination at work: its backend, its limits, and whether it answers."""

from __future__ import annotations

import asyncio
import time

from agent.backends.base import Backend, Exclusive, Proof


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
    ):
        self.name = name
        self.backend = backend
        self.workers = workers
        self.minimum_proof = minimum_proof
        self.fingerprint = fingerprint  # of the settings: a check is repeated when they change
        self.algorithms = algorithms  # what `commit` and `find` compare
        self.exclusive: Exclusive | None = None
        self.paused = False
        self.failures = 0  # in a row, of the destination as a whole
        self.retry_at = 0.0  # monotonic
        self.started_at = 0.0  # monotonic: when it last got a worker
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_dry = False  # there was nothing for it when we looked last
        self.sweeping: asyncio.Task[None] | None = None
        self.is_awaited = False  # a look for a delivery met the sweep
        self.sweep_at = 0.0  # monotonic: not before
        self.swept_changes = -1  # of the ledger, when it was swept last

    @property
    def room(self) -> int:
        """How many more deliveries may start now; one at a time until it is checked and while it may be down."""
        if self.paused or self.sweeping or time.monotonic() < self.retry_at:
            return 0
        return (self.workers if self.exclusive and not self.failures else 1) - len(self.tasks)
