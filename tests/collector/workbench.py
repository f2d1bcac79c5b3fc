"""A real ledger and a real spool around a scripted body."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from agent import camera
from agent.backends.folder import FolderConfig
from agent.collector import Surroundings
from agent.collector.visit import Visit
from agent.ledger import Ledger, Row
from agent.progress import Progress
from agent.settings import CameraSettings, Route
from agent.spool import Spool
from tests.collector.scripted import Body

TIMEOUT_SECONDS = 15


class Workbench:
    def __init__(self, ledger: Ledger, spool: Spool, folder: Path):
        self.ledger = ledger
        self.spool = spool
        self.progress = Progress()
        self.around = Surroundings(
            ledger,
            spool,
            self.progress,
            guid=bytes(16),
            initiator_name="hotshoe",
            routes=(Route(destinations=("archive",)),),
            destinations={
                "archive": FolderConfig.model_validate({"path": folder / "photos", "template": "{name}"})
            },
            algorithms=("sha256",),
            model_memory={},
        )

    @classmethod
    @asynccontextmanager
    async def at(cls, folder: Path, *, budget_bytes: int | None = None) -> AsyncIterator[Workbench]:
        ledger = await Ledger.open(folder / "state")
        spool = Spool(
            folder / "spool", budget_bytes=budget_bytes, boot_id="b", last_boot_id="b", margin_bytes=0
        )
        await spool.recover()
        try:
            yield cls(ledger, spool, folder)
        finally:
            spool.close()
            await ledger.close()

    @asynccontextmanager
    async def visiting(self, body: Body, *, backlog: str = "all") -> AsyncIterator[Visiting]:
        settings = CameraSettings.model_validate({"name": "main", "host": "camera", "backlog": backlog})
        row = await self.ledger.cameras.meet_camera(
            body.identity.serial, True, "main", ("Canon", "EOS R7", "1.0"), ("camera", 15740)
        )
        visit = Visit(cast(camera.Body, body), settings, row, self.around)
        scanned = asyncio.Event()
        task = asyncio.create_task(visit.run(scanned.set))
        try:
            yield Visiting(self, visit, task, scanned)
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()

    # -- what has become of the files

    async def files(self) -> dict[str, Row]:
        """Every file by its name, and for those with one name the latest."""
        return {row["name"]: row for row in await self.ledger.views.files()}

    async def states(self) -> dict[str, str]:
        return {name: row["state"] for name, row in (await self.files()).items()}

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                seen = self.ledger.changes
                if await condition():
                    return
                await self.ledger.wait_for_change(seen)

    async def until_states(self, **states: str) -> None:
        """Names without their dot: ``IMG_0001_JPG="fetched"``."""
        wanted = {".".join(name.rsplit("_", 1)): state for name, state in states.items()}

        async def reached() -> bool:
            found = await self.states()
            return all(found.get(name) == state for name, state in wanted.items())

        try:
            await self.until(reached)
        except TimeoutError:
            raise AssertionError(f"{await self.states()} instead of {wanted}") from None

    async def until_waiting(self, name: str, code: str) -> Row:
        found: list[Row] = []

        async def reached() -> bool:
            row = (await self.files()).get(name)
            if row is not None and row["fault_code"] == code:
                found.append(row)
            return bool(found)

        await self.until(reached)
        return found[0]

    def stored(self, row: Row) -> bytes:
        """What the spool's folder holds of a finished file."""
        return (self.spool.folder / str(row["id"])).read_bytes()

    async def assert_fetched(self, name: str, data: bytes) -> None:
        row = (await self.files())[name]
        assert row["state"] == "fetched"
        assert self.stored(row) == data
        assert row["sha256"] == hashlib.sha256(data).hexdigest()

    def in_spool(self) -> set[str]:
        return {path.name for path in self.spool.folder.iterdir()}


class Visiting:
    def __init__(self, bench: Workbench, visit: Visit, task: asyncio.Task[None], scanned: asyncio.Event):
        self.bench = bench
        self.visit = visit
        self.task = task
        self.scanned = scanned

    async def ended(self) -> Sequence[BaseException]:
        """Wait until the link fails; what it failed with."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await asyncio.wait([self.task])
        error = self.task.exception()
        assert isinstance(error, BaseExceptionGroup)
        return error.exceptions

    async def idle(self) -> None:
        """Wait until everything on the cards that should be is fetched."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self.scanned.wait()

        async def is_idle() -> bool:
            return self.visit.is_idle

        await self.bench.until(is_idle)
