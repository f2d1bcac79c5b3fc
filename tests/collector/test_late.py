"""A visit that ends while the ledger waits for its disk."""

from __future__ import annotations

import asyncio

import pytest

from agent.collector import fetching
from agent.ledger.store import shielded
from tests.collector.scripted import Body, made
from tests.collector.workbench import TIMEOUT_SECONDS, Workbench


async def test_an_upload_is_told_of_a_file_that_was_fetched_after_its_visit(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_LAST_SECONDS", 0.01)
    is_asked, has_room = asyncio.Event(), asyncio.Event()
    finish = bench.ledger.files.finish_fetch

    async def finish_later(file_id: int, sha256: str, crc32c: str | None) -> bool:
        is_asked.set()
        await has_room.wait()
        return await finish(file_id, sha256, crc32c)

    monkeypatch.setattr(bench.ledger.files, "finish_fetch", shielded(finish_later))
    file = made("IMG_0001.JPG", 250)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        async with bench.visiting(Body(file)):
            await is_asked.wait()
            waiting = asyncio.create_task(bench.spool.fetched(1))
        has_room.set()
        await waiting
    await bench.assert_fetched("IMG_0001.JPG", file.data)
