"""A visit whose ledger waits for its disk, or whose comparisons take long."""

from __future__ import annotations

import asyncio
from typing import Any

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


async def test_files_that_wait_for_a_long_comparison_cost_nothing(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = Body(*[made(f"IMG_{number:04}.JPG", 250) for number in range(8)])
    async with bench.visiting(body) as visiting:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await visiting.scanned.wait()
        async with visiting.visit._taking:
            await bench.until(lambda: are_fetched(bench, 4))
            rounds, loop = 0, asyncio.get_running_loop()
            call_soon = loop.call_soon

            def counted(*args: Any, **more: Any) -> asyncio.Handle:
                nonlocal rounds
                rounds += 1
                return call_soon(*args, **more)

            monkeypatch.setattr(loop, "call_soon", counted)
            await asyncio.sleep(0.1)
            monkeypatch.undo()
            assert rounds < 100, "it asks again and again"
        await visiting.idle()


async def are_fetched(bench: Workbench, count: int) -> bool:
    return list((await bench.states()).values()).count("fetched") >= count
