from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.collector import fetch, settling
from tests.collector.workbench import Workbench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    async with Workbench.at(tmp_path) as bench:
        yield bench


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 100 bytes, and second looks at once."""
    monkeypatch.setattr(fetch, "CHUNK_BYTES", 100)
    monkeypatch.setattr(settling, "SECOND_LOOK_SECONDS", 0.001)
