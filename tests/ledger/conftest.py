from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.ledger import Ledger
from tests.ledger.given import behind_the_back, opened


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = await opened(tmp_path)
    yield ledger
    await ledger.close()


@pytest.fixture
def db(ledger: Ledger, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the same file."""
    db = behind_the_back(tmp_path)
    yield db
    db.close()
