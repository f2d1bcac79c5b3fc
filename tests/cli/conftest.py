"""A configuration, an agent that runs in the test's own loop, and the command line called as a person calls it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from agent.cli import door, main
from agent.cli.agent import Agent
from agent.settings import load


class Said(msgspec.Struct, frozen=True):
    code: int
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


Hotshoe = Callable[..., Awaitable[Said]]

CONFIG = """
state_dir = "state"
{cameras}
[destinations.archive]
kind = "folder"
path = "photos"
[destinations.drawer]
kind = "folder"
path = "drawer"
[[routes]]
destinations = ["archive"]
"""
CAMERA = """
[[cameras]]
name = "main"
host = "127.0.0.1"
port = {port}
"""


def write_config(folder: Path, *ports: int, more: str = "") -> Path:
    cameras = "".join(
        CAMERA.format(port=port).replace("main", "main" if not index else f"cam{index}")
        for index, port in enumerate(ports)
    )
    path = folder / "hotshoe.toml"
    path.write_text(CONFIG.format(cameras=cameras) + more)
    return path


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOTSHOE_CONFIG", "HOTSHOE_STATE_DIR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home-state"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What the agent in this process logs, which would else stand between the lines of the command."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture
def hotshoe(capsys: pytest.CaptureFixture[str]) -> Hotshoe:
    """Call the command line; its own event loop runs in a thread, beside that of the test."""

    async def call(*words: object) -> Said:
        def run() -> int:
            try:
                return main([str(word) for word in words])
            except SystemExit as end:  # argparse
                return int(end.code or 0)

        capsys.readouterr()
        code = await asyncio.to_thread(run)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call


@asynccontextmanager
async def running(config: Path) -> AsyncIterator[Agent]:
    """An agent at work with its socket open."""
    agent = await Agent.open(load(config))
    try:
        async with door.serve(agent, config):
            work = asyncio.create_task(agent.run())
            try:
                yield agent
            finally:
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await work
    finally:
        await agent.close()


async def until(agent: Agent, holds: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until `holds`, looking again after each change of the ledger."""
    async with asyncio.timeout(seconds):
        while True:
            seen = agent.ledger.changes
            if await holds():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):  # some of what is waited for is no row
                    await agent.ledger.wait_for_change(seen)
