"""The agent's only durable memory: one SQLite file, and every SQL statement of the agent.

One process owns the file (a lock on ``ledger.lock`` beside it); others open it to read. States are CHECKed and
their legal changes enforced by triggers (schema/0001_ledger.sql, table ``transition``). Every change gives its
row a new change number, `seq`, and wakes whoever waits in `wait_for_change`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from agent.ledger.cameras import CameraRow, Cameras, Subject
from agent.ledger.deliveries import Deliveries
from agent.ledger.files import Files, Known, NewDelivery, NewFile
from agent.ledger.jobs import Job, Outcome
from agent.ledger.journal import Journal, Proven
from agent.ledger.store import LedgerLocked, LedgerUnusable, Row, Store, as_text, explained, utc_now
from agent.ledger.views import Orders, Views

__all__ = [
    "CameraRow",
    "Job",
    "Known",
    "Ledger",
    "LedgerLocked",
    "LedgerUnusable",
    "NewDelivery",
    "NewFile",
    "Outcome",
    "Proven",
    "Row",
    "Subject",
    "as_text",
    "utc_now",
]


class Ledger:
    """Open with `Ledger.open` (owner) or `Ledger.open_to_read`; close with `close`."""

    def __init__(self, store: Store, epoch: str, owner: str):
        self._store = store
        self.epoch = epoch  # random, made with the ledger
        self.owner = owner  # names what this installation leaves at a destination while it works
        self.cameras = Cameras(store)
        self.files = Files(store)
        self.deliveries = Deliveries(store)
        self.journal = Journal(store)
        self.views = Views(store)
        self.orders = Orders(store)

    @classmethod
    async def open(cls, folder: Path) -> Ledger:
        """Open or make the ledger in `folder` and own it, once its disk lets us. Raises LedgerLocked, LedgerUnusable."""
        store = await Store.open(folder)
        try:
            await store.begin_run()
            return cls(store, await store.agent_value("epoch") or "", await store.agent_value("owner") or "")
        except sqlite3.DatabaseError as error:
            await store.close()
            raise LedgerUnusable(explained(folder, error)) from error
        except BaseException:
            await store.close()
            raise

    @classmethod
    async def open_to_read(cls, folder: Path) -> Ledger:
        """Open beside a running agent, or after it. Raises LedgerUnusable when there is none."""
        store = await Store.open_to_read(folder)
        return cls(store, await store.agent_value("epoch") or "", await store.agent_value("owner") or "")

    async def close(self) -> None:
        await self._store.close()

    async def last_boot_id(self) -> str | None:
        """The id of the boot of the machine during which the last run began; None on the first."""
        return await self._store.agent_value("boot_id")

    async def keep_boot_id(self, boot_id: str) -> None:
        """Only after the spool has cut what a power loss made doubtful."""
        await self._store.set_agent_value("boot_id", boot_id)

    @property
    def changes(self) -> int:
        """How many commits there were: what `wait_for_change` compares."""
        return self._store.changes

    @property
    def offers(self) -> int:
        """How many commits there were by which a delivery may have become ready to go."""
        return self._store.offers

    @property
    def statements(self) -> int:
        """How many SQL statements were given, for tests of the bound per file."""
        return self._store.statements

    async def wait_for_change(self, seen: int) -> int:
        """Return `changes` once it is above `seen`. The caller bounds the wait."""
        return await self._store.wait_for_change(seen)

    def wake(self) -> None:
        """Wake everybody in `wait_for_change`: something outside the ledger has changed."""
        self._store.wake()
