"""Walks the table of troubles with the real agent, in process so that its patience can be shortened."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from agent.camera import Timing, faults
from agent.cli.agent import Agent
from agent.collector import collector, visit
from agent.settings import load
from tests.simcam.simcam import SimCamera
from tests.system.troubles import TROUBLES, Row

pytestmark = pytest.mark.system

QUICK = Timing(
    silence=1.0, greeting=3.0, settle=2.0, settle_pause=0.05, poll_listing=0.3, object=2.0, busy=3.0
)
LONGEST_SECONDS = 40.0
QUIET_SECONDS = 2.0  # when so long nothing moved, what has not come will not come


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_timing", lambda settings: QUICK)
    monkeypatch.setattr(collector, "_LONGEST_PAUSE_SECONDS", 0.5)
    monkeypatch.setitem(faults._INIT_FAIL, 2, ("camera.busy_elsewhere", 0.3))
    monkeypatch.setattr(visit, "RECONCILE_SECONDS", 0.7)
    monkeypatch.setattr(visit, "FULL_SCAN_SECONDS", 3.0)


@contextlib.asynccontextmanager
async def running(folder: Path, camera: SimCamera) -> AsyncIterator[Agent]:
    config = folder / "hotshoe.toml"
    config.write_text(
        f'state_dir = "state"\n[[cameras]]\nname = "main"\nhost = "{camera.host}"\nport = {camera.port}\n'
        '[destinations.archive]\nkind = "folder"\npath = "photos"\ntemplate = "{folder}/{name}"\n'
        '[[routes]]\ndestinations = ["archive"]\n'
    )
    (folder / "photos").mkdir()
    agent = await Agent.open(load(config))
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await agent.close()


def held(folder: Path) -> Counter[str]:
    """What stands under final names."""
    return Counter(
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "photos").rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )


async def no_partials(folder: Path) -> None:
    """What was begun and given up is swept away."""
    async with asyncio.timeout(5):
        while list((folder / "photos").rglob(".hotshoe-*.part")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # a folder has no event to wait for


async def until(agent: Agent, row: Row, camera: SimCamera, folder: Path, ever: set[str]) -> None:
    """Wait for what the row asks for, or until nothing has moved for long; whoever calls then looks."""
    deadline = asyncio.get_running_loop().time() + LONGEST_SECONDS
    later = row.later
    quiet_since = asyncio.get_running_loop().time()
    last = None
    while asyncio.get_running_loop().time() < deadline:
        seen = agent.ledger.changes
        if later and (camera.stats.object_bytes or row.holds == "none"):
            ever.update(camera.contents().values())
            await asyncio.to_thread(later, camera)
            ever.update(camera.contents().values())
            later, quiet_since = None, asyncio.get_running_loop().time()
        state = (camera.stats.object_bytes, sum(held(folder).values()))
        if state != last:
            last, quiet_since = state, asyncio.get_running_loop().time()
        if not later and wanted(row, camera) == held(folder) and agent.is_at_rest and row.holds == "all":
            return
        if not later and asyncio.get_running_loop().time() - quiet_since > QUIET_SECONDS * (
            3 if row.codes else 2
        ):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await agent.ledger.wait_for_change(seen)


def wanted(row: Row, camera: SimCamera) -> Counter[str]:
    return Counter(
        digest for path, digest in camera.contents().items() if path.rsplit("/", 1)[1] not in row.excepted
    )


@pytest.mark.parametrize("row", TROUBLES, ids=lambda row: row.name)
async def test_trouble(row: Row, tmp_path: Path) -> None:
    structlog.reset_defaults()
    with SimCamera(row.body, row.card) as camera, capture_logs() as logs:
        row.make(camera)
        ever = set(camera.contents().values())
        async with running(tmp_path, camera) as agent:
            await until(agent, row, camera, tmp_path, ever)
            subject = await agent.ledger.cameras.subject("camera", "main")
            if not row.excepted:
                await no_partials(tmp_path)
        ever.update(camera.contents().values())
        story = "\n".join(map(str, logs[-40:]))
        found = held(tmp_path)
        assert found.keys() <= ever, story
        assert subject is not None and subject.state == row.state, story
        if row.holds == "all":
            assert found == wanted(row, camera), story
        elif row.holds == "none":
            assert not found, story
        named = {entry["code"] for entry in logs if "code" in entry}
        assert row.codes <= named, f"{named}\n{story}"
        assert not [entry for entry in logs if "unclassified" in str(entry)], story
