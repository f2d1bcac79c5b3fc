"""The files that one connected camera still has to give: who is next, and what comes of each fetch.

The camera gives one file at a time, except that a small one overtakes a large one between two chunks. When it has
given all bytes, the disk's part of the work (fsync, rename, ledger) goes on beside the next fetch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import structlog

from agent.camera import Body
from agent.collector.fetch import FAULTS, Fetcher
from agent.collector.learning import Learning
from agent.collector.queue import Item, Queue
from agent.collector.room import RoomMaker
from agent.collector.surroundings import Surroundings
from agent.faults import Fault, Kind, Scope, backoff_seconds, fault
from agent.ledger import Known, as_text

log = structlog.get_logger("collector")

_NO_ROOM_SECONDS = 1.0
_MOST_UNFINISHED = 4  # fetches that the disk is still busy with, the one under way included
_LONGEST_SPOOL_PAUSE_SECONDS = 30.0
_LAST_SECONDS = 10.0  # for the disk and the ledger, when the visit ends: a file that is whole is worth it


class Fetching:
    """`comparing` is held by whoever compares a listing with the ledger; `read_cards_again` asks for a full scan."""

    def __init__(
        self,
        body: Body,
        camera: str,
        around: Surroundings,
        room: RoomMaker,
        learning: Learning,
        comparing: asyncio.Lock,
        read_cards_again: Callable[[], None],
    ):
        self._camera = camera
        self._around = around
        self._room = room
        self._learning = learning
        self._comparing = comparing
        self._read_cards_again = read_cards_again
        self._fetcher = Fetcher(body, around.ledger, around.spool, around.progress, room, around)
        self._queue = Queue()
        self._fetching: dict[int, asyncio.Task[None]] = {}
        self._given_up: set[int] = set()  # of those
        self._again: dict[int, Item] = {}  # of those: to be looked at once more afterwards
        self._concluding: set[asyncio.Task[None]] = set()
        self._concluding_in: asyncio.TaskGroup

    @property
    def is_idle(self) -> bool:
        return not (len(self._queue) or self._fetching)

    @property
    def waiting(self) -> int:
        """How many files are queued."""
        return len(self._queue)

    def __contains__(self, file_id: object) -> bool:
        """Whether the file is being fetched right now."""
        return file_id in self._fetching

    def put(self, item: Item) -> None:
        """Fetch this file in its turn, unless that is under way."""
        if item.file_id not in self._fetching:
            self._queue.put(item)

    def put_again(self, item: Item) -> None:
        """Something that routes ask for has changed: decide anew, at once, or after the fetch that is under way."""
        if item.file_id in self._fetching:
            self._again[item.file_id] = item
        else:
            self._queue.drop(item.file_id)
            self._queue.put(item)

    def hurry(self) -> None:
        self._queue.hurry()

    def forget(self, file_id: int) -> None:
        """The file is not to be fetched (any more); one that is under way ends by itself."""
        self._queue.drop(file_id)
        self._again.pop(file_id, None)

    def give_up(self, file_ids: Iterable[int]) -> None:
        """These are not wanted any more. What is being fetched of them ends, and what the spool has of it goes."""
        for file_id in file_ids:
            self.forget(file_id)
            if file_id in self._fetching and file_id not in self._given_up:
                self._given_up.add(file_id)
                self._fetching[file_id].cancel()

    async def run(self, concluding_in: asyncio.TaskGroup) -> None:
        """Serve the queue until cancelled. Faults of the whole link end the task group."""
        self._concluding_in = concluding_in
        while True:
            if len(self._fetching) >= _MOST_UNFINISHED:
                await asyncio.wait(self._concluding, return_when=asyncio.FIRST_COMPLETED)
                continue
            item = self._queue.take()
            if item is None:
                await self._queue.wait()
                continue
            await self._fetch(item)

    async def _overtake(self, rank: int) -> bool:
        """Fetch whatever is wanted sooner than `rank`; say whether there was anything.

        Not if it would have to wait for room: the file that it holds up may have to end first.
        """
        did = False
        while (item := self._queue.take(better_than=rank)) is not None:
            if not await self._room.is_ready(item.file_id, item.facts.size):
                self._queue.put_later(item, _NO_ROOM_SECONDS)
                break
            await self._fetch(item)
            did = True
        return did

    async def _fetch(self, item: Item) -> None:
        """Return when the camera is free for the next file; the disk may still be busy with this one."""
        # A listing may have queued it again while we looked for room: two fetches of one file would be in each other's way.
        queued = self._queue.drop(item.file_id)
        if queued is not None and queued.is_again:
            self._again[item.file_id] = queued
        released = asyncio.Event()
        work = asyncio.create_task(self._decide_and_fetch(item, released), name="fetch one")
        self._fetching[item.file_id] = work
        concluding = self._concluding_in.create_task(
            self._conclude(item, work, released), name="conclude one"
        )
        self._concluding.add(concluding)
        concluding.add_done_callback(self._concluding.discard)
        freed = asyncio.create_task(released.wait())
        try:
            await asyncio.wait([concluding, freed], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the file that it overtook was given up, or we all end
            if not released.is_set():
                work.cancel()
            await asyncio.wait([concluding])
            raise
        finally:
            freed.cancel()

    async def _decide_and_fetch(self, item: Item, released: asyncio.Event) -> None:
        """Fetch the file if it is owed anywhere. One that is fetched already may turn out to be owed elsewhere as well."""
        owed = await self._learning.decide(item)
        if isinstance(owed, float):
            self._queue.put_later(item, owed)
            return
        if item.is_again:
            known = await self._known(item)
            if owed and known is not None and known.state in ("fetched", "evicted"):
                await self._around.ledger.files.owe(item.file_id, owed)
                known = await self._known(item)
            if known is None or not (known.state in ("discovered", "fetching") or known.is_owed_again):
                return
        if owed or item.file_id in self._around.promised:
            await self._fetcher.fetch(item, owed, self._overtake, released.set)

    async def _known(self, item: Item) -> Known | None:
        facts = item.facts
        rows = await self._around.ledger.files.known(facts.serial, facts.storage, facts.folder, facts.name)
        return next((row for row in rows if row.id == item.file_id), None)

    async def _conclude(self, item: Item, work: asyncio.Task[None], released: asyncio.Event) -> None:
        """See one fetch to its end and settle what came of it. Raises the faults of the whole link."""
        try:
            await self._end_of(work, released)
            async with (
                self._comparing
            ):  # a comparison that began before the end must still see it in our hands
                pass
            if work.cancelled():
                await self._settle_cancelled(item)
            elif isinstance(error := work.exception(), Fault):
                await self._settle_fault(item, error)
            elif error is not None:  # a bug must cost one file its turn, not the camera its visit
                log.error(
                    "unclassified",
                    file=item.file_id,
                    name=item.facts.name,
                    camera=self._camera,
                    exc_info=error,
                )
                await self._settle_fault(item, fault(FAULTS, "camera.file_unclassified"))
        finally:
            del self._fetching[item.file_id]
            self._given_up.discard(item.file_id)
            if (again := self._again.pop(item.file_id, None)) is not None:
                self.put_again(again)
            self._around.ledger.wake()

    async def _end_of(self, work: asyncio.Task[None], released: asyncio.Event) -> None:
        """Wait for the end of `work`; when the visit ends first, only what the camera has given whole is finished."""
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            if released.is_set():
                await asyncio.wait([work], timeout=_LAST_SECONDS)
            work.cancel()
            await asyncio.wait([work])
            raise

    async def _settle_cancelled(self, item: Item) -> None:
        if item.file_id not in self._given_up:
            self._queue.put(item)  # it had overtaken a file that was given up
            return
        await self._around.spool.forget(item.file_id)
        log.info("given up", file=item.file_id, name=item.facts.name, camera=self._camera)

    async def _settle_fault(self, item: Item, caught: Fault) -> None:
        is_spool = caught.code.startswith("spool.")
        if caught.scope is Scope.WHOLE and not is_spool:
            raise caught
        events = log.bind(file=item.file_id, name=item.facts.name, camera=self._camera, code=caught.code)
        if caught.kind is not Kind.RETRYABLE and caught.scope is Scope.ITEM:
            is_news = await self._around.ledger.files.hold_file(
                item.file_id, "person", caught.code, caught.detail, None
            )
            if is_news:  # it is met again whenever the card is read
                events.error("needs you", hint=caught.hint, detail=caught.detail)
            return
        tries = item.tries + 1
        wait = caught.retry_after_seconds or backoff_seconds(tries, cap=120.0)
        next_try = as_text(datetime.now(UTC) + timedelta(seconds=wait))
        await self._around.ledger.files.hold_file(
            item.file_id, "spool" if is_spool else "camera", caught.code, caught.detail, next_try
        )
        events.warning("waiting", hint=caught.hint, next_try_at=next_try, detail=caught.detail)
        self._queue.put_later(Item(item.file_id, item.object, item.facts, tries), wait)
        if caught.code == "camera.file_changed":
            self._read_cards_again()
        if caught.scope is Scope.WHOLE:
            await asyncio.sleep(
                min(wait, _LONGEST_SPOOL_PAUSE_SECONDS)
            )  # the spool is at fault: the next file would meet the same
