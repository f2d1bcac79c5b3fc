"""The agent put together: settings → ledger → spool → tasks. Any one camera or destination can be replaced alone.

At start the spool and the ledger are made to agree: whatever the last run was doing when it was killed, every
file of the spool belongs to a row, and every row that claims a spool file has it or is fetched again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Iterable

import structlog

from agent.backends import open_backend
from agent.backends.base import DestinationConfig
from agent.cli import guid as guids
from agent.collector import Collector, Surroundings
from agent.ledger import Ledger, Row
from agent.progress import Progress
from agent.schedule import Schedule
from agent.settings import Settings, differences
from agent.settings.place import place_of
from agent.spool import Recovered, Spool, boot_id, prepare
from agent.uploader import Target, Uploader

log = structlog.get_logger("agent")

_CANCEL_AGAIN_SECONDS = 1.0


class Agent:
    """Made by `Agent.open`; `run` serves until cancelled; `close` afterwards."""

    def __init__(
        self, settings: Settings, ledger: Ledger, spool: Spool, guid: bytes, model_memory: dict[str, str]
    ):
        self.settings = settings
        self.ledger = ledger
        self.spool = spool
        self.guid = guid
        self.progress = Progress()
        self.around = Surroundings(
            ledger,
            spool,
            self.progress,
            guid=guid,
            initiator_name=guids.INITIATOR_NAME,
            routes=settings.routes,
            destinations=settings.destinations,
            algorithms=_algorithms(settings),
            model_memory=model_memory,
            delete=settings.delete,
            site=settings.site,
            zone=settings.zone,
        )
        self.uploader = Uploader(ledger, spool, self.progress, workers=settings.upload.workers)
        self.uploader.on_back = self.look_again
        self.uploader.hours.every.schedule = Schedule.of(settings.upload.limit)
        self.uploader.set_zone(settings.zone)
        self.collectors: dict[str, Collector] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._has_begun = False
        self._changing = asyncio.Lock()

    @classmethod
    async def open(cls, settings: Settings) -> Agent:
        """Raises LedgerLocked, LedgerUnusable, Fault ``spool.*``."""
        ledger = await Ledger.open(settings.state_dir)
        try:
            guid = guids.load_or_make(settings.state_dir)
            prepare(settings.spool_path)
            boot = boot_id(settings.spool_path)
            spool = Spool(
                settings.spool_path, budget_bytes=None, boot_id=boot, last_boot_id=await ledger.last_boot_id()
            )
            await _agree(ledger, spool, await spool.recover(), _algorithms(settings))
            await ledger.keep_boot_id(boot)
            spool.set_budget(settings.spool.budget_bytes)
            agent = cls(settings, ledger, spool, guid, await ledger.cameras.model_memory())
            agent.around.promised.update(await ledger.files.promised())
            return agent
        except BaseException:
            await ledger.close()
            raise

    async def run(self) -> None:
        """Serve cameras and destinations until cancelled."""
        try:
            async with self._changing:
                for name in self.settings.destinations:
                    await self._add_destination(name)
                await self.uploader.retire()
                self._start("uploader", self.uploader.run())
                for camera in self.settings.cameras:
                    await self._add_camera(camera.name)
                self._has_begun = True
            await self._stopping.wait()
        finally:
            await self._stop(list(self._tasks))

    async def close(self) -> None:
        for target in self.uploader.targets.values():
            await asyncio.to_thread(target.backend.close)
        self.spool.close()
        await self.ledger.close()

    def look_again(self) -> None:
        """Let every camera look and try at once."""
        for collector in self.collectors.values():
            collector.hurry()

    def want(self, file_id: int) -> None:
        """Fetch this file at the next look, whatever the routes say: its deliveries stand already."""
        self.around.promised.add(file_id)

    async def apply(self, new: Settings) -> list[str]:
        """Take over changed settings; return, in words, what needs a restart. What did not change goes on."""
        async with self._changing:
            return await self._apply(new)

    async def _apply(self, new: Settings) -> list[str]:
        changes = differences(self.settings, new)
        later = sorted(changes.others & {"state_dir", "log"})
        if new.spool_path != self.settings.spool_path:
            later.append("spool.path")
        for name in _moved(
            self.settings, new
        ):  # first: from here on nothing is deleted for what is proven elsewhere
            await self.ledger.cameras.note_place(name, "moving")
        old, self.settings = self.settings, new
        self.around.destinations, self.around.routes = new.destinations, new.routes
        self.around.algorithms = _algorithms(new)
        self.around.delete = new.delete
        self.around.site, self.around.zone = new.site, new.zone
        self.uploader.workers = new.upload.workers
        self.spool.set_budget(new.spool.budget_bytes)
        self.uploader.set_zone(new.zone)
        if new.upload.limit != old.upload.limit:
            await self.uploader.limit(Schedule.of(new.upload.limit))
        for name in changes.destinations:
            if _is_only_limit(old.destinations.get(name), new.destinations.get(name)):
                await self.uploader.limit(Schedule.of(new.destinations[name].limit), name)
                continue
            if name in self.uploader.targets:
                await self.uploader.remove(name)
            if name in new.destinations:
                await self._add_destination(name)
        for name in changes.cameras:
            await self._stop([f"camera {name}"])
            self.collectors.pop(name, None)
            if any(camera.name == name for camera in new.cameras):
                await self._add_camera(name)
        if changes.routes or changes.destinations or changes.others & {"spool", "delete"}:
            self.look_again()
        log.info(
            "settings applied", cameras=sorted(changes.cameras), destinations=sorted(changes.destinations)
        )
        return later

    async def _add_destination(self, name: str) -> None:
        config = self.settings.destinations[name]
        await self.ledger.cameras.note_place(name, place_of(config))
        backend = open_backend(config, owner=self.ledger.owner)
        await self.uploader.add(
            Target(
                name,
                backend,
                workers=config.workers or self.settings.upload.workers,
                minimum_proof=config.minimum_proof,
                fingerprint=hashlib.sha256(config.model_dump_json(exclude={"limit"}).encode()).hexdigest()[
                    :16
                ],
                algorithms=tuple(config.wanted_digests),
                limit=Schedule.of(config.limit),
            )
        )

    async def _add_camera(self, name: str) -> None:
        settings = next(camera for camera in self.settings.cameras if camera.name == name)
        subject = await self.ledger.cameras.subject("camera", name)
        is_paused = subject is not None and subject.state == "paused" and subject.paused_by != "agent"
        if not settings.enabled:
            await self.ledger.cameras.set_subject(
                "camera", name, "off", reason="switched off in the settings"
            )
        elif not is_paused:
            self.resume_camera(name)

    def resume_camera(self, name: str) -> None:
        """Begin to serve a configured camera. Harmless if it is served already."""
        if f"camera {name}" not in self._tasks:
            settings = next(camera for camera in self.settings.cameras if camera.name == name)
            self.collectors[name] = Collector(settings, self.around)
            self._start(f"camera {name}", self.collectors[name].run())

    async def pause_camera(self, name: str, by: str) -> None:
        """Let go of a camera until a person resumes it."""
        self.collectors.pop(name, None)
        await self._stop([f"camera {name}"])
        await self.ledger.cameras.set_subject("camera", name, "paused", reason=f"paused by {by}", by=by)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing moves and nothing is left to look at: every camera was scanned and is fetched empty."""
        return (
            self._has_begun
            and all(collector.has_scanned and collector.is_idle for collector in self.collectors.values())
            and self.uploader.is_idle
        )

    async def undelivered(self) -> list[Row]:
        """What is owed and not delivered, with what it waits for; at most 1,000 rows."""
        return await self.ledger.views.undelivered()

    def _start(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """These tasks end by cancellation alone; anything else is a bug, told loudly, and ends the agent."""
        if not task.cancelled() and (error := task.exception()):
            log.error("task failed", task=task.get_name(), exc_info=error)
            self._stopping.set()

    async def _stop(self, names: Iterable[str]) -> None:
        """Cancel until they have ended: a TaskGroup that is just failing swallows a cancellation (Python 3.11)."""
        tasks = {task for name in names if (task := self._tasks.pop(name, None))}
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=_CANCEL_AGAIN_SECONDS)


def _moved(old: Settings, new: Settings) -> list[str]:
    """The destinations of which files go to another place by the new settings."""
    both = old.destinations.keys() & new.destinations.keys()
    return [name for name in both if place_of(old.destinations[name]) != place_of(new.destinations[name])]


def _is_only_limit(old: DestinationConfig | None, new: DestinationConfig | None) -> bool:
    return old is not None and new is not None and old == new.model_copy(update={"limit": old.limit})


def _algorithms(settings: Settings) -> tuple[str, ...]:
    needed = {"sha256"}.union(*(config.wanted_digests for config in settings.destinations.values()))
    return tuple(sorted(needed, reverse=True))


async def _agree(ledger: Ledger, spool: Spool, found: Recovered, algorithms: tuple[str, ...]) -> None:
    """Make the spool's folder and the ledger tell the same story."""
    rows = {row["id"]: row for row in await ledger.files.spooled()}
    lost: list[int] = []
    for file_id, row in rows.items():
        is_whole = found.finished.get(file_id) == row["size_bytes"]
        if file_id in found.finished and not is_whole:
            await spool.forget(file_id)
        if row["state"] == "fetching" and is_whole:  # killed between the rename and the ledger
            digests = await spool.rehash(file_id, algorithms)
            await ledger.files.finish_fetch(file_id, digests["sha256"], digests.get("crc32c"))
            log.info("fetched", file=file_id, sha256=digests["sha256"], by="recovery")
        elif row["state"] == "fetched" and not is_whole:
            if row["owed"]:
                lost.append(file_id)
            else:
                await ledger.files.mark_evicted(file_id)
    await ledger.files.fetch_again(lost)
    for file_id in (found.parts.keys() | found.finished.keys()) - rows.keys():
        await spool.forget(file_id)
    if lost:
        log.warning("the spool has lost files; they are fetched again", files=len(lost))
