"""A ledger whose disk is full for some transactions in a row."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.ledger import Ledger, store


class Failing:
    """From transaction number `begin` up to `end`, counted in `count`, every commit fails as on a full disk."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(store, "RETRY_SECONDS", 0.001)
        self._transaction = ledger._store.transaction
        monkeypatch.setattr(ledger._store, "transaction", self.transaction)
        self.begin = self.end = self.count = 0
        self.met = asyncio.Event()

    @asynccontextmanager
    async def transaction(self, **how: bool) -> AsyncIterator[None]:
        self.count += 1
        async with self._transaction(**how):
            yield
            if self.begin <= self.count < self.end:
                self.met.set()
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
