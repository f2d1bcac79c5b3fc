"""A camera for a command: through the running agent if that holds it, else by a connection of our own.

Most cameras take one initiator at a time, so a camera of a running agent is never connected to beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from agent import camera
from agent.camera import Body
from agent.cli import lines, orders
from agent.cli.guid import INITIATOR_NAME, load_or_make
from agent.cli.stop import Stop
from agent.cli.text import hint
from agent.commands import cards

_SILENT_SECONDS = 4.0

Fields = dict[str, Any]
Begin = Callable[[Fields], Awaitable[None]]
Take = Callable[[memoryview], Awaitable[None]]


@asynccontextmanager
async def connected(state_dir: Path, host: str, port: int) -> AsyncIterator[Body]:
    """Hold a connection of our own, with the GUID of the installation. Raises Fault."""
    guid = load_or_make(state_dir)
    asking = asyncio.create_task(_ask_for_patience())
    try:
        body = await camera.connect(host, port, guid=guid, name=INITIATOR_NAME, pairing=True, memory={})
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
    try:
        yield body
    finally:
        await body.close()


async def _ask_for_patience() -> None:
    await asyncio.sleep(_SILENT_SECONDS)
    hint(f"No answer yet. If the camera shows “{INITIATOR_NAME}”, press OK there; it has 90 seconds.")


async def describe(state_dir: Path, host: str, port: int) -> tuple[Fields, bool]:
    """Return `cards.Cards` as plain fields, and whether the running agent told them."""
    answer = await _through_agent(state_dir, lines.Card(host, port))
    if answer is not None:
        return answer, True
    async with connected(state_dir, host, port) as body:
        found: Fields = msgspec.to_builtins(await cards.describe(body))
        return found, False


async def listing(state_dir: Path, host: str, port: int) -> AsyncIterator[tuple[str, Fields]]:
    """Give ("card", cards.Cards) and then ("item", camera.Object) for each file, as plain fields."""
    try:
        async with orders.asked(state_dir, lines.Ls(host, port)) as answer:
            async for message in answer:
                yield message
            return
    except Stop as stop:
        _unless_ours(stop)
    async with connected(state_dir, host, port) as body:
        yield "card", msgspec.to_builtins(await cards.describe(body))
        async for folder in body.scan():
            for item in folder.objects:
                yield "item", msgspec.to_builtins(item)


async def fetch(
    state_dir: Path, address: tuple[str, int], name: str, *, thumb: bool, begin: Begin, take: Take
) -> int:
    """Give the file's fields to `begin`, then its content, or its thumbnail, to `take`; return how many bytes it has.

    Raises Fault or Stop; what was taken is then to be thrown away.
    """
    try:
        async with orders.asked(state_dir, lines.Get(*address, name, thumb)) as answer:
            async for kind, value in answer:
                await (begin(value) if kind == "item" else take(memoryview(value)))
            return int(answer.result["size_bytes"])
    except Stop as stop:
        _unless_ours(stop)
    async with connected(state_dir, *address) as body:
        item = await cards.find(body, name)
        await begin(msgspec.to_builtins(item))
        if not thumb:
            return await cards.read(body, item, take)
        small = await cards.thumbnail(body, item)
        await take(memoryview(small))
        return len(small)


async def _through_agent(state_dir: Path, request: lines.Request) -> Fields | None:
    try:
        return await orders.give(state_dir, request)
    except Stop as stop:
        _unless_ours(stop)
        return None


def _unless_ours(stop: Stop) -> None:
    """Go on by ourselves if nobody else holds the camera; raise anything else again."""
    is_free = isinstance(stop, orders.NotRunning) or (
        isinstance(stop, orders.Refused) and stop.fault_code == "order.not_ours"
    )
    if not is_free:
        raise stop
