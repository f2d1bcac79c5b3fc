"""A real ledger, a real spool and a running uploader; files that grow as a camera gives them."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from agent.backends.base import Backend, Proof
from agent.collector.queue import RANKS
from agent.keys import Media
from agent.ledger import Ledger, NewDelivery, NewFile, Subject
from agent.progress import Progress
from agent.schedule import Schedule
from agent.spool import Spool, Writer
from agent.uploader import Target, Uploader
from tests.ledger.given import SERIAL, delivery_of, keys_of, shot
from tests.uploader.scripted import Destination

TIMEOUT_SECONDS = 15


def content(name: str, size: int) -> bytes:
    pattern = f"{name}|{size}|".encode()
    return (pattern * (size // len(pattern) + 1))[:size]


class Growing:
    """One file on its way from a camera."""

    def __init__(self, bench: Workbench, file: NewFile, file_id: int, data: bytes, to: Sequence[str]):
        self.bench = bench
        self.file = file
        self.id = file_id
        self.data = data
        self._to = to
        self._writer: Writer | None = None

    @property
    def key(self) -> str:
        return keys_of(self.file)[0]

    @property
    def suffixed(self) -> str:
        return keys_of(self.file)[1]

    async def begin(self) -> Growing:
        assert self.bench.spool.reserve(self.id, len(self.data)).is_granted
        self._writer = await self.bench.spool.writer(self.id, len(self.data))
        owed = [NewDelivery(each, keys_of(self.file)) for each in self._to]
        from_zero = self._writer.offset == 0
        assert await self.bench.ledger.files.begin_fetch(self.id, 1, from_zero=from_zero, owed=owed)
        return self

    async def grow_to(self, end: int) -> None:
        assert self._writer is not None
        await self._writer.write(memoryview(self.data)[self._writer.offset : end])

    async def suspend(self) -> None:
        assert self._writer is not None
        await self._writer.suspend()
        self.bench.ledger.wake()

    async def start_over(self) -> None:
        """The camera gave something else so far: from 0."""
        assert self._writer is not None
        await self._writer.discard()

    async def store(self) -> dict[str, str]:
        """All bytes, durable; the ledger does not know yet."""
        assert self._writer is not None
        await self.grow_to(len(self.data))
        return await self._writer.finish()

    async def finish(self) -> None:
        digests = await self.store()
        assert await self.bench.ledger.files.finish_fetch(self.id, digests["sha256"], None)
        self.bench.spool.announce(self.id, digests)


class Workbench:
    def __init__(self, ledger: Ledger, spool: Spool, workers: int):
        self.ledger = ledger
        self.spool = spool
        self.progress = Progress()
        self.uploader = Uploader(ledger, spool, self.progress, workers=workers)
        self._running: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def at(cls, folder: Path, *, workers: int = 4) -> AsyncIterator[Workbench]:
        ledger = await Ledger.open(folder / "state")
        await ledger.cameras.meet_camera(SERIAL, True, "main", ("Canon", "R7", "1"), ("host", 1))
        spool = Spool(folder / "spool", budget_bytes=None, boot_id="b", last_boot_id="b", margin_bytes=0)
        await spool.recover()
        bench = cls(ledger, spool, workers)
        try:
            yield bench
        finally:
            await bench.stop()
            spool.close()
            await ledger.close()

    def run(self) -> None:
        self._running = asyncio.create_task(self.uploader.run())

    async def stop(self) -> None:
        if self._running:
            self._running.cancel()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await asyncio.wait([self._running])
            running, self._running = self._running, None
            assert running.cancelled() or running.exception() is None

    @property
    def is_running(self) -> bool:
        return self._running is not None and not self._running.done()

    async def add(
        self,
        backend: Backend,
        name: str = "archive",
        *,
        workers: int = 4,
        minimum_proof: Proof = Proof.READBACK,
        fingerprint: str = "settings",
        limit: Sequence[str] = (),
    ) -> Target:
        target = Target(
            name,
            backend,
            workers=workers,
            minimum_proof=minimum_proof,
            fingerprint=fingerprint,
            limit=Schedule.of(limit),
        )
        await self.uploader.add(target)
        return target

    async def checked(self, destination: Destination, name: str = "archive", **how: object) -> Target:
        """A destination whose check is behind it."""
        await self.ledger.cameras.set_subject("destination", name, "ready")
        await self.ledger.cameras.note_check(name, "settings", "atomic")
        return await self.add(destination, name, **how)  # type: ignore[arg-type]

    # -- files

    async def growing(
        self,
        name: str = "A.JPG",
        size: int = 950,
        to: Sequence[str] = ("archive",),
        *,
        storage: int = 1,
        captured: str = "2024-05-01T10:00:00",
        data: bytes | None = None,
        kind: Media = Media.JPEG,
    ) -> Growing:
        data = content(name, size) if data is None else data
        file = shot(
            name, size=len(data), storage=storage, captured=captured, kind=kind.value, rank=RANKS[kind]
        )
        (file_id,) = await self.ledger.files.discover(SERIAL, [file])
        return await Growing(self, file, file_id, data, to).begin()

    async def fetched(
        self,
        name: str = "A.JPG",
        size: int = 950,
        to: Sequence[str] = ("archive",),
        *,
        storage: int = 1,
        captured: str = "2024-05-01T10:00:00",
        data: bytes | None = None,
        kind: Media = Media.JPEG,
    ) -> Growing:
        file = await self.growing(name, size, to, storage=storage, captured=captured, data=data, kind=kind)
        await file.finish()
        return file

    # -- what becomes of them

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = TIMEOUT_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while True:
                seen = self.ledger.changes
                if await condition():
                    return
                await self.ledger.wait_for_change(seen)

    async def delivery(self, file: Growing, destination: str = "archive") -> dict[str, object]:
        return await delivery_of(self.ledger, file.id, destination)

    async def until_delivery(
        self, file: Growing, state: str, code: str | None = None, destination: str = "archive", **more: object
    ) -> dict[str, object]:
        wanted = {"state": state, "fault_code": code, **more}

        async def reached() -> bool:
            delivery = await self.delivery(file, destination)
            return {name: delivery[name] for name in wanted} == wanted

        try:
            await self.until(reached)
        except TimeoutError:
            raise AssertionError(f"{await self.delivery(file, destination)} instead of {wanted}") from None
        return await self.delivery(file, destination)

    async def until_done(self, *files: Growing, destination: str = "archive") -> None:
        for file in files:
            await self.until_delivery(file, "done", destination=destination)

    async def until_subject(self, state: str, code: str | None = None, name: str = "archive") -> Subject:
        async def reached() -> bool:
            found = await self.ledger.cameras.subject("destination", name)
            return found is not None and (found.state, found.fault_code) == (state, code)

        await self.until(reached)
        found = await self.ledger.cameras.subject("destination", name)
        assert found is not None
        return found

    async def until_calls(self, destination: Destination, verb: str, times: int = 1) -> None:
        assert await asyncio.to_thread(destination.wait_until, lambda: destination.count(verb) >= times)

    async def until_sent(self, destination: Destination, size: int) -> None:
        assert await asyncio.to_thread(destination.wait_until, lambda: destination.sent >= size)


async def until_set(event: threading.Event) -> None:
    """Wait for an event of another thread."""
    assert await asyncio.to_thread(event.wait, TIMEOUT_SECONDS)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
