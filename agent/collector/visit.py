"""One connection's worth of a camera: three loops over one body, ended together by the first failure of the link.

Scanning and looking put what is wanted into the queue; fetching empties it. Handles live and die with the visit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog

from agent.camera import FAULTS as CAMERA_FAULTS
from agent.camera import Body, Folder, Look, Object, Unreadable
from agent.collector.deletion import Deleting
from agent.collector.fetching import Fetching
from agent.collector.learning import Learning
from agent.collector.news import is_old, news
from agent.collector.queue import RANKS, Item
from agent.collector.room import RoomMaker
from agent.collector.settling import Settling, Unsettled
from agent.collector.surroundings import Surroundings
from agent.faults import backoff_seconds
from agent.ledger import CameraRow, Known, NewFile, Row
from agent.routing import identity_of, kind_of
from agent.settings import CameraSettings

log = structlog.get_logger("collector")

RECONCILE_SECONDS = 60.0
FULL_SCAN_SECONDS = 600.0
UNREADABLE_SECONDS = 5.0  # until the first scan after one that could not read everything; then ever longer


class Visit:
    def __init__(self, body: Body, settings: CameraSettings, row: CameraRow, around: Surroundings):
        self.body = body
        self._settings = settings
        self._row = row
        self._around = around
        self._ledger = around.ledger
        self._serial = body.identity.serial
        self._learning = Learning(body, settings.name, around)
        self._unsettled = Unsettled()
        self._settling = Settling(
            body,
            settings.name,
            self._ledger,
            self._unsettled,
            self._give_identity,
            lambda: self._request_scan(full=False),
        )
        self._since_scan: set[int] = set()  # seen by looks since the running scan began: not missing from it
        self._taking = asyncio.Lock()
        self._scan_soon = asyncio.Event()
        self._wants_full_scan = False
        self._scans = 0
        self._partial_scans = 0  # in a row
        self.unreadable: tuple[Unreadable, ...] = ()  # what the cards hold, or may hold, and nobody can list
        self._is_scanning = True
        self._cards = asyncio.Lock()  # held while a card is listed, or changed by us
        sparing = asyncio.Lock()
        self.deleting = Deleting(body, settings.name, around, self._cards, sparing)
        room = RoomMaker(self._ledger, around.spool, self._serial, self._still_on_card, sparing)
        self._fetching = Fetching(
            body,
            settings.name,
            around,
            room,
            self._learning,
            self._taking,
            lambda: self._request_scan(full=True),
        )

    @property
    def is_idle(self) -> bool:
        is_looked_at = not (self._is_scanning or self._taking.locked() or self.unreadable)
        return is_looked_at and not len(self._unsettled) and self._fetching.is_idle

    def hurry(self) -> None:
        self._fetching.hurry()
        self.deleting.hurry()
        self._request_scan(full=True)

    def drop(self, file_ids: Iterable[int]) -> None:
        """These are not wanted any more. What is being fetched of them ends, and what the spool has of it goes."""
        for file_id in (given_up := list(file_ids)):
            self._unsettled.drop(file_id)
        self._fetching.give_up(given_up)

    async def run(self, on_scanned: Callable[[], None]) -> None:
        """Serve the body until the link fails (an ExceptionGroup with the Fault) or we are cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._scan_loop(on_scanned), name="scan")
            tasks.create_task(self._look_loop(), name="look")
            tasks.create_task(self._settling.run(), name="settle")
            tasks.create_task(self._fetching.run(tasks), name="fetch")
            tasks.create_task(self.deleting.run(), name="delete")

    # -- scanning and looking ----------------------------------------------------------------------------

    def _request_scan(self, *, full: bool) -> None:
        self._wants_full_scan = self._wants_full_scan or full
        self._scan_soon.set()

    async def _scan_loop(self, on_scanned: Callable[[], None]) -> None:
        await self._scan()
        on_scanned()
        self.deleting.begin()
        full_at = self._next_full_scan()
        while True:
            try:
                async with asyncio.timeout(min(RECONCILE_SECONDS, full_at - time.monotonic())):
                    await self._scan_soon.wait()
            except TimeoutError:
                pass
            self._scan_soon.clear()
            is_full, self._wants_full_scan = self._wants_full_scan, False
            if is_full or time.monotonic() >= full_at:
                await self._scan()
                full_at = self._next_full_scan()
            else:
                self._since_scan.clear()
                unreadable: list[Unreadable] = []
                async with self._cards:
                    for folder in await self.body.reconcile():
                        unreadable += folder.unreadable
                        await self._take(folder, "scan")
                if unreadable and not self.unreadable:
                    self._note_unreadable(unreadable)
                    full_at = self._next_full_scan()

    def _next_full_scan(self) -> float:
        if not self.unreadable:
            return time.monotonic() + FULL_SCAN_SECONDS
        return time.monotonic() + backoff_seconds(
            self._partial_scans, first=UNREADABLE_SECONDS, cap=FULL_SCAN_SECONDS
        )

    def _note_unreadable(self, found: Sequence[Unreadable]) -> None:
        """What could not be listed is told once, and looked for again; until then not everything is fetched."""
        if found and set(found) != set(self.unreadable):
            first = found[0]
            log.warning(
                "cannot be listed",
                camera=self._settings.name,
                objects=len(found),
                code=first.code,
                hint=CAMERA_FAULTS[first.code].hint if first.code in CAMERA_FAULTS else "",
                detail=first.detail,
            )
        self._partial_scans = self._partial_scans + 1 if found else 0
        self.unreadable = tuple(found)

    async def _scan(self) -> None:
        async with self._cards:
            await self._read_cards()

    async def _read_cards(self) -> None:
        """Every folder of every card; then what lay in folders that are no longer there is gone."""
        self._is_scanning = True
        self._since_scan.clear()
        began = time.monotonic()
        listed: dict[int, set[str]] = {storage.id: set() for storage in await self.body.storages()}
        folders, files = 0, 0
        partly: set[tuple[int, str]] = set()
        unreadable: list[Unreadable] = []
        unlisted: set[int] = set()  # storages
        is_none = self._settings.backlog == "none"
        held: list[Folder] = []
        async for folder in self.body.scan():
            listed.setdefault(folder.storage, set()).add(folder.name)
            folders, files = folders + 1, files + len(folder.objects)
            unreadable += folder.unreadable
            if any(each.handle == 0 for each in folder.unreadable):
                unlisted.add(folder.storage)
            (partly.discard if folder.is_complete else partly.add)((folder.storage, folder.name))
            if is_none:
                held.append(folder)
            else:
                await self._take(folder, "scan")
        is_met = bool(listed.keys() - unlisted)  # else nobody knows yet what lay there at first contact
        if is_none:
            await self._take_without_backlog(held, is_met=is_met)
        if is_met and self._row.first_scan_at is None:
            await self._ledger.cameras.note_first_scan(self._serial)
        if not partly:
            for storage, names in listed.items():
                for missing in await self._ledger.files.known_folders(self._serial, storage) - names:
                    await self._take(Folder(storage, missing, ()), "scan")
        self._note_unreadable(unreadable)
        self._is_scanning = False
        self._scans += 1
        if self._scans == 1:
            seconds = round(time.monotonic() - began, 3)
            log.info(
                "scanned",
                camera=self._settings.name,
                folders=folders,
                files=files,
                wanted=self._fetching.waiting,
                seconds=seconds,
            )
        self._ledger.wake()

    async def _take_without_backlog(self, folders: list[Folder], *, is_met: bool) -> None:
        """The rule "none": what is old on a new card is skipped, and which card is new shows only in all of it."""
        if is_met and self._row.first_scan_at is None and self._row.backlog_since is None:
            since = max((each.captured for folder in folders for each in folder.objects), default="")
            await self._ledger.cameras.set_backlog(self._serial, since)
            self._row = msgspec.structs.replace(self._row, backlog_since=since)
        met: set[int] = set()
        for folder in folders:
            if folder.storage not in met and self._row.first_scan_at is not None:
                known = await self._ledger.files.known(self._serial, folder.storage, folder.name)
                wanted_once = [row for row in known if row.skipped_by != "backlog"]
                if len(news(folder.objects, wanted_once, is_complete=False).new) < len(folder.objects):
                    met.add(folder.storage)
        for folder in folders:
            await self._take(folder, "scan", is_card_new=folder.storage not in met)

    async def _look_loop(self) -> None:
        while True:
            await self._take_look(await self.body.look())
            await self.body.pause()

    async def _take_look(self, look: Look) -> None:
        for seen in (*look.added, *look.changed):
            one = Folder(seen.storage, seen.folder, (seen,), is_complete=False)
            await self._take(one, "event", is_shot=seen in look.added, is_change=seen in look.changed)
        if look.removed_handles or look.is_incomplete:
            self._request_scan(full=False)
        if look.storages_changed:
            self._request_scan(full=True)

    # -- what is new -------------------------------------------------------------------------------------

    async def _take(
        self,
        folder: Folder,
        seen_by: str,
        *,
        is_card_new: bool = False,
        is_shot: bool = False,
        is_change: bool = False,
    ) -> None:
        """Compare what was listed with the ledger and note what follows, in this order: rows, then the queue."""
        async with self._taking:
            only = folder.objects[0].name if seen_by == "event" else None
            known = await self._ledger.files.known(self._serial, folder.storage, folder.name, only)
            found = news(folder.objects, known, is_complete=folder.is_complete, is_shot=is_shot)
            is_change = is_change or (seen_by == "event" and bool(known))
            new, wanted_now = await self._discover(found.new, seen_by, is_card_new)
            if found.returned:
                await self._ledger.files.bring_back(found.returned)
            for item in self._learning.take_note(folder, new, known, self._since_scan, is_change=is_change):
                if item.file_id not in self._unsettled:
                    self._fetching.put_again(item)
            for file_id, seen in wanted_now:
                self._want(file_id, seen)
            rows = {row.id: row for row in known} if found.wanted and not is_change else {}
            for wanted in found.wanted:
                self._want(wanted.file_id, wanted.object, rows.get(wanted.file_id))
            for wanted in found.unsettled:
                self._unsettled.put(wanted.file_id, wanted.object)
            if seen_by == "event":
                self._since_scan.update(wanted.file_id for wanted in (*found.wanted, *found.unsettled))
            await self._note_gone(
                [each for each in found.gone if each not in self._since_scan and each not in self._fetching]
            )

    async def _note_gone(self, file_ids: list[int]) -> None:
        for file_id in file_ids:  # first: what is taken from the queue from here on must be on the card
            self._fetching.forget(file_id)
            self._unsettled.drop(file_id)
        self._learning.forget(file_ids)
        for file_id in await self._ledger.files.mark_gone(file_ids):
            await self._around.spool.forget(file_id)
            log.info("gone", file=file_id, camera=self._settings.name)

    async def _discover(
        self, objects: Sequence[Object], seen_by: str, is_card_new: bool
    ) -> tuple[list[tuple[int, Object]], list[tuple[int, Object]]]:
        """Note files that were never seen; return them, and those of them that can be fetched."""
        met: list[tuple[int, Object]] = []
        wanted: list[tuple[int, Object]] = []
        if not objects:
            return met, wanted
        files = [self._new_file(each, seen_by, is_card_new) for each in objects]
        ids = await self._ledger.files.discover(self._serial, files)
        for file_id, file, seen in zip(ids, files, objects, strict=True):
            met.append((file_id, seen if file.identity else msgspec.structs.replace(seen, size=None)))
            if file.skipped_by:
                continue
            log.info(
                "discovered",
                file=file_id,
                name=file.name,
                folder=file.folder,
                size=file.size,
                camera=self._settings.name,
                by=seen_by,
            )
            if seen_by == "event":
                self._since_scan.add(file_id)
            if file.identity is None:
                self._unsettled.put(file_id, seen)
            else:
                wanted.append((file_id, seen))
        self._around.progress.moved()
        return met, wanted

    def _new_file(self, seen: Object, seen_by: str, is_card_new: bool) -> NewFile:
        kind = kind_of(seen.name, seen.format)
        is_skipped = seen_by == "scan" and is_old(
            seen.captured, self._settings.backlog, self._row.backlog_since, is_card_new=is_card_new
        )
        is_final = bool(seen.size) and not seen.is_just_written
        return NewFile(
            storage=seen.storage,
            folder=seen.folder,
            name=seen.name,
            captured=seen.captured,
            size=seen.size if is_final else None,
            identity=self._identity(seen) if is_final else None,
            kind=kind,
            rank=RANKS[kind],
            shot=seen.group,
            handle=seen.handle,
            is_protected=seen.is_protected,
            seen_by=seen_by,
            skipped_by="backlog" if is_skipped else None,
            skip_reason="was on the card at first contact" if is_skipped else None,
            clock_ahead_seconds=self._learning.clock_ahead_seconds,
        )

    def _identity(self, seen: Object) -> str:
        return identity_of(self._serial, seen.storage, seen.folder, seen.name, seen.size or 0, seen.captured)

    def _want(self, file_id: int, seen: Object, row: Known | None = None) -> None:
        """Queue the file if a route asks for it, or may, or a person did."""
        if seen.size is None:
            return
        facts = self._learning.facts(seen, row)
        if file_id in self._around.promised or self._learning.is_wanted(file_id, facts):
            self._fetching.put(Item(file_id, seen, facts))

    async def _give_identity(self, file_id: int, final: Object) -> None:
        if await self._ledger.files.settle(file_id, final.size or 0, final.captured, self._identity(final)):
            self._learning.meet(file_id, final, self._learning.facts(final), is_written_now=True)
            self._want(file_id, final)
        else:
            self._learning.forget([file_id])
        self._unsettled.drop(file_id)  # last: it is in one place or the other, or the visit would look idle

    async def _still_on_card(self, row: Row) -> Object | None:
        """The object that a ledger row describes, if it is on its card now."""
        described = Object(
            handle=row["handle"],
            storage=row["storage"],
            folder=row["folder"],
            name=row["name"],
            size=row["size_bytes"],
            captured=row["captured"],
            format=0,
            group=row["shot"],
        )
        return await self.body.lookup(described)
