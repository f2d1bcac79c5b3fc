"""How far each transfer is, in memory: for the terminal and, at most once a second, for status.

Never a row in the ledger; lost with the process, and nobody minds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Transfer:
    """One transfer under way. `stage` is 'camera' for a fetch, else the destination's name."""

    def __init__(self, file_id: int, name: str, stage: str, total_bytes: int, done_bytes: int):
        self.file_id = file_id
        self.name = name
        self.stage = stage
        self.total_bytes = total_bytes
        self.done_bytes = done_bytes
        self.moved_bytes = 0  # in this attempt, for the rate
        self.began = time.monotonic()

    def advance_to(self, done_bytes: int) -> None:
        self.moved_bytes += max(0, done_bytes - self.done_bytes)
        self.done_bytes = done_bytes

    @property
    def bytes_per_second(self) -> float:
        return self.moved_bytes / max(time.monotonic() - self.began, 0.001)


class Progress:
    """Everything under way, and totals since the start."""

    def __init__(self) -> None:
        self.transfers: list[Transfer] = []
        self.last_moved = time.monotonic()  # when a byte or a state last moved: what --patience looks at
        self.fetched_files = 0
        self.fetched_bytes = 0
        self.delivered_files = 0
        self.delivered_bytes = 0

    def moved(self) -> None:
        self.last_moved = time.monotonic()

    @contextmanager
    def transfer(
        self, file_id: int, name: str, stage: str, total_bytes: int, done_bytes: int = 0
    ) -> Iterator[Transfer]:
        transfer = Transfer(file_id, name, stage, total_bytes, done_bytes)
        self.transfers.append(transfer)
        try:
            yield transfer
        finally:
            self.transfers.remove(transfer)
