"""An agent at work in the test's own loop, impatient, with its socket open; and the command line beside it.

What it says, it says to people: `Living.told` is every log line, and `hotshoe` the command line as a person calls it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from agent.camera import Timing, faults
from agent.cli import door, main
from agent.cli.agent import Agent
from agent.collector import collector, room
from agent.ledger import store
from agent.settings import load
from agent.uploader import uploader
from tests.simcam.card import OnDisk, Synthetic
from tests.simcam.simcam import SimCamera

QUICK = Timing(
    connect=0.7,
    pairing=1.0,
    silence=1.0,
    greeting=1.0,
    settle=2.0,
    settle_pause=0.05,
    poll_listing=0.3,
    object=1.0,
    busy=2.0,
)
LONGEST_SECONDS = 20.0

Log = list[MutableMapping[str, Any]]
Tables = Mapping[str, Mapping[str, object]]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait after a failure is short. How often a card is read by the clock stays as it is."""
    monkeypatch.setattr(collector, "_timing", lambda settings: QUICK)
    monkeypatch.setattr(collector, "_LONGEST_PAUSE_SECONDS", 0.5)
    monkeypatch.setitem(faults._INIT_FAIL, 1, ("camera.not_paired", 0.3))
    monkeypatch.setattr(room, "_LOOK_AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(uploader, "backoff_seconds", lambda tries, first, cap: 0.2)
    monkeypatch.setattr(store, "RETRY_SECONDS", 0.1)


def configuration(
    folder: Path,
    cameras: Mapping[str, SimCamera | tuple[str, int]],
    destinations: Tables,
    *,
    more: Tables | None = None,
    camera_settings: Tables | None = None,
    name: str = "hotshoe.toml",
) -> Path:
    """Write a configuration that sends everything everywhere; `more` are tables such as `spool`."""
    tables: dict[str, Any] = {"": {"state_dir": "state"}, **(more or {})}
    text = "\n".join(_table(f"[{title}]" if title else "", table) for title, table in tables.items())
    for camera_name, camera in cameras.items():
        host, port = (camera.host, camera.port) if isinstance(camera, SimCamera) else camera
        more_of_it = (camera_settings or {}).get(camera_name, {})
        text += _table("[[cameras]]", {"name": camera_name, "host": host, "port": port, **more_of_it})
    for destination, table in destinations.items():
        text += _table(f"[destinations.{destination}]", {"template": "{camera}/{folder}/{name}", **table})
    text += _table("[[routes]]", {"destinations": list(destinations)})
    path = folder / name
    path.write_text(text)
    return path


def _table(title: str, values: Mapping[str, object]) -> str:
    return f"{title}\n" + "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _value(value: object) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)


class Living:
    def __init__(self, agent: Agent, config: Path, told: Log):
        self.agent = agent
        self.config = config
        self.told = told

    async def until(
        self, holds: Callable[[], Awaitable[bool]], what: str, seconds: float = LONGEST_SECONDS
    ) -> None:
        """Wait until `holds`, looking again after each change of the ledger."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    seen = self.agent.ledger.changes
                    if await holds():
                        return
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.3):  # some of what is waited for is no row
                            await self.agent.ledger.wait_for_change(seen)
        except TimeoutError:
            pytest.fail(f"never: {what}\n{self.story()}")

    def story(self) -> str:
        return "\n".join(map(str, self.told[-25:]))

    def codes(self, **of: str) -> set[str]:
        """Every fault code that was named in a line that has these fields, each with its sentence."""
        found = [
            entry
            for entry in self.told
            if entry.get("code") and all(entry.get(key) == value for key, value in of.items())
        ]
        return {entry["code"] for entry in found if entry.get("hint")}

    async def files(self) -> dict[str, dict[str, Any]]:
        """Every file with its deliveries, by name."""
        return {row["name"]: row for row in await self.agent.ledger.views.files()}

    async def subject(self, kind: str, name: str) -> tuple[str, str | None]:
        """State and code of a camera or destination."""
        found = await self.agent.ledger.cameras.subject(kind, name)
        return (found.state, found.fault_code) if found else ("", None)

    async def is_everything_delivered(self) -> bool:
        return self.agent.is_at_rest and not await self.agent.undelivered()

    async def delivered(self) -> None:
        await self.until(self.is_everything_delivered, "everything delivered")

    async def hotshoe(self, *words: object) -> Said:
        return await hotshoe(*words, "--config", self.config)


class Said(msgspec.Struct, frozen=True):
    code: int
    text: str  # stdout and stderr, with the folded lines put together

    def has(self, sentence: str) -> bool:
        return " ".join(sentence.split()) in self.text


async def hotshoe(*words: object) -> Said:
    """Call the command line beside the agent in this process; an agent of its own gets a process of its own."""
    if words[0] != "run":
        return await asyncio.to_thread(_called, [str(word) for word in words])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent",
        *map(str, words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            out, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Said(process.returncode or 0, " ".join(out.decode().split()))


def _called(words: list[str]) -> Said:
    with redirect_stdout(StringIO()) as out, redirect_stderr(out):
        code = main(words)
    return Said(code, " ".join(out.getvalue().split()))


@asynccontextmanager
async def living(config: Path) -> AsyncIterator[Living]:
    structlog.reset_defaults()
    with capture_logs() as told:
        agent = await Agent.open(load(config))
        try:
            async with door.serve(agent, config):
                work = asyncio.create_task(agent.run())
                try:
                    yield Living(agent, config, told)
                finally:
                    work.cancel()
                    with suppress(asyncio.CancelledError):
                        await work
        finally:
            await agent.close()
        assert not [entry for entry in told if "unclassified" in str(entry)], told
        assert not [entry for entry in told if entry.get("exc_info")], told


def held(folder: Path) -> Counter[str]:
    """SHA-256 of what stands under final names."""
    found = [(path, path.stat()) for path in published(folder)]
    return Counter(_digest(path, status.st_ino, status.st_size, status.st_mtime_ns) for path, status in found)


@cache  # asked after every change, in the loop that the agent works in
def _digest(path: Path, *_: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def published(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def on_card(*cameras: SimCamera, but: frozenset[str] = frozenset()) -> Counter[str]:
    """SHA-256 of what is on the cards, but for files of these names."""
    return Counter(
        _digest_of(item.source)
        for camera in cameras
        for item in camera.files()
        if isinstance(item.source, Synthetic | OnDisk) and item.name not in but
    )


@cache
def _digest_of(source: Synthetic | OnDisk) -> str:
    return source.sha256()
