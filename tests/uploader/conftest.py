from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tenacity import wait_none

from agent.uploader import attempt, sweeping, uploader
from tests.uploader.scripted import Destination
from tests.uploader.workbench import Workbench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    async with Workbench.at(tmp_path) as bench:
        yield bench


@pytest.fixture
def memory() -> Iterator[Destination]:
    destination = Destination()
    yield destination
    assert destination.misuse == [], "the contract was broken"
    assert not destination.open, "uploads were left open"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for the clock are as short as can be; what they are for stays."""
    monkeypatch.setattr(attempt, "wait_random_exponential", lambda **how: wait_none())
    monkeypatch.setattr(uploader, "backoff_seconds", lambda tries, first, cap: 0.005)
    monkeypatch.setattr(uploader, "_PROBE_SECONDS", 0.005)
    monkeypatch.setattr(sweeping, "SWEEP_SECONDS", 0.01)
