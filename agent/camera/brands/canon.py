"""What differs on Canon EOS bodies: a session that is set up and kept awake, GetEvent, and bulk listings.

A first scan costs two round trips for a card and one per folder. New objects are announced by GetEvent on the command
channel. Where either fails, `Generic` takes over: events are hints, and a listing is believed only where it holds
what the handles say is there.

Never sent, because the photographer would feel it or lose by it: SetUILock, the OLC subscription, PCHDDCapacity, another
capture destination, CloseSession, Cancel (protocol.md §9.a).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

from agent.camera.brands.canon_events import Inbox, News
from agent.camera.brands.canon_listing import Listings, object_of
from agent.camera.brands.generic import Generic
from agent.camera.faults import FAULTS
from agent.camera.inventory import MAX_OBJECTS, Known
from agent.camera.link import Urgency
from agent.camera.objects import Folder, Handle, Look, Object, Status, Unreadable, is_continued
from agent.camera.patience import BUSY
from agent.camera.reading import Methods
from agent.camera.session import Session
from agent.faults import Fault, Scope, fault
from agent.ptp.canon import ObjectAdded, ObjectRecord, ObjectRemoved, event_records
from agent.ptp.codes import Operation
from agent.ptp.datasets import DeviceInfo

EVENTS_LIMIT_BYTES = 4 << 20
QUIET_ANSWERS = 2
THUMB_MAX_BYTES = 0x32000

# libgphoto2 config.c (camera_prepare_canon_eos_capture): 0x15 for the EOS M class, 0x11 for PowerShots; an EOS M6
# Mark II takes 1 like the DSLRs.
_TAKES_15_OR_11 = re.compile(r"EOS M(?!6 ?(Mark II|m2))\d*\b|PowerShot")


class Canon(Generic):
    methods = Methods(
        partial=(Operation.GET_PARTIAL_OBJECT, Operation.EOS_GET_PARTIAL_OBJECT),
        partial_wide=(Operation.EOS_GET_PARTIAL_OBJECT_64, Operation.EOS_GET_PARTIAL_OBJECT_EX_64),
        whole=(Operation.GET_OBJECT, Operation.EOS_GET_OBJECT),
        whole_wide=(Operation.EOS_GET_OBJECT_64,),
    )
    storage_operations = (Operation.EOS_GET_STORAGE_IDS, Operation.EOS_GET_STORAGE_INFO)
    info_operations = (Operation.GET_OBJECT_INFO, Operation.EOS_GET_OBJECT_INFO)
    delete_operations = (Operation.DELETE_OBJECT, Operation.EOS_DELETE_OBJECT)

    @classmethod
    def claims(cls, info: DeviceInfo) -> bool:
        """Tell by manufacturer and operations: the vendor extension id of most bodies says Microsoft."""
        wanted = {Operation.EOS_SET_EVENT_MODE, Operation.EOS_GET_EVENT}
        return info.manufacturer.startswith("Canon") and wanted <= info.operations

    def __init__(self, session: Session, facts: dict[str, str]) -> None:
        super().__init__(session, facts)
        self.transactions.meanwhile = self._tend
        self._inbox = Inbox()
        self._listings = Listings(self.transactions, self.inventory)
        self._is_listening = False  # event mode is on
        self._kept_awake_at = self._loop.time()

    # --- life

    async def begin(self) -> None:
        """Switch remote and event mode on, and wait until the flood of first events is over (§7.4)."""
        for mode in (0x15, 0x11) if _TAKES_15_OR_11.search(self.identity.model) else (1,):
            if (await self.transactions.ask(Operation.EOS_SET_REMOTE_MODE, mode)).is_ok:
                break
        self._is_listening = (await self.transactions.ask(Operation.EOS_SET_EVENT_MODE, 1)).is_ok
        async with self.link.turn(Urgency.LOOK) as session:
            await session.identify()  # what it can do may have changed with the mode
        await self._settle()
        await super().begin()

    async def _settle(self) -> None:
        """Fetch events until two answers in a row, a pause apart, are empty (new bodies say "empty" too early: libgphoto2),
        and for as long as this model has been found to need.
        """
        quiet = 0
        began = self._loop.time()
        while True:
            quiet = 0 if await self._take_events() else quiet + 1
            passed = self._loop.time() - began
            if (quiet >= QUIET_ANSWERS and passed >= self.settling_seconds) or passed >= self.timing.settle:
                return
            await asyncio.sleep(self.timing.settle_pause if quiet else self.timing.settle_pause / 5)

    async def keep_awake(self) -> None:
        now = self._loop.time()
        if self._inbox.wants_to_sleep or now - self._kept_awake_at >= self.timing.keep_awake:
            self._inbox.wants_to_sleep = False
            self._kept_awake_at = now
            if self.transactions.can(Operation.EOS_KEEP_DEVICE_ON):
                await self.transactions.ask_once(Operation.EOS_KEEP_DEVICE_ON)

    @property
    def status(self) -> Status:
        return self._inbox.status

    async def _read_clock(self) -> float | None:
        if self._inbox.clock is None:
            return await super()._read_clock()
        seconds, told_at = self._inbox.clock
        return seconds - (time.time() - (self._loop.time() - told_at))

    @property
    def poll_seconds(self) -> float:
        if not self._has_events:
            return self.timing.poll_listing
        return self.timing.poll_active if self._is_active else self.timing.poll_idle

    @property
    def _has_events(self) -> bool:
        return self._is_listening and self.transactions.can(Operation.EOS_GET_EVENT)

    @property
    def _is_active(self) -> bool:
        return self._loop.time() - self._inbox.acted_at < self.timing.active

    async def _tend(self) -> None:
        await self._take_events()
        await self.keep_awake()

    # --- events

    async def look(self) -> Look:
        if not self._has_events:
            await self.keep_awake()
            return await super().look()
        self._looked_at = self._loop.time()
        self.session.events.clear()  # hints, and this is the look they hinted at
        await self._tend()
        news = self._inbox.take()
        try:
            return await self._resolve(news)
        except BaseException:
            self._inbox.put_back(news)
            raise

    async def _take_events(self) -> bool:
        """Fetch what the camera has to tell, and keep it; return whether there was anything."""
        if not self._has_events:
            return False
        reply = await self.transactions.ask_once(Operation.EOS_GET_EVENT, limit=EVENTS_LIMIT_BYTES)
        if not reply.is_ok:
            return reply.code in BUSY
        records = event_records(reply.data).records
        for storage in self._inbox.put(records, self._loop.time()):
            self.inventory.forget_storage(storage)
            self._listings.forget_storage(storage)
        return bool(records)

    async def _resolve(self, news: list[News]) -> Look:
        """Turn records into objects; what the last record of an object says counts."""
        added: dict[int, Object] = {}
        changed: dict[int, Object] = {}
        removed: list[Handle] = []
        unreadable: list[Unreadable] = []
        for record in news:
            handle = record.handle if not isinstance(record, ObjectAdded) else record.object.handle
            if isinstance(record, ObjectRemoved):
                self.inventory.forget(handle)
                added.pop(handle, None)
                changed.pop(handle, None)
                if handle not in self._deleted:
                    removed.append(Handle(handle))
                self._deleted.discard(handle)
                continue
            try:
                item = await self._announced(record.object)
            except Fault as failure:
                if failure.scope is Scope.WHOLE:
                    raise
                unreadable.append(Unreadable(Handle(handle), failure.code, failure.detail))
                continue
            if item is not None:
                is_addition = isinstance(record, ObjectAdded) or handle in added
                (added if is_addition else changed)[handle] = item
        look = Look(
            added=tuple(added.values()),
            changed=tuple(changed.values()),
            removed_handles=tuple(removed),
            storages_changed=self._inbox.have_storages_changed,
            is_active=self._is_active,
            is_incomplete=bool(unreadable) or self._inbox.is_overrun,
            unreadable=tuple(unreadable),
        )
        self._inbox.have_storages_changed = self._inbox.is_overrun = False
        return look

    async def _announced(self, record: ObjectRecord | int) -> Object | None:
        """Believe a record as far as its layout is known; ask for ObjectInfo for the rest (§5.3)."""
        if isinstance(record, int):
            return await self.inventory.inspect(None, record, is_new=True)
        if record.is_folder:
            return None
        storage, parent = record.storage_id, record.parent
        self._listings.saw(storage, {record.handle})
        if parent is not None and not self.inventory.knows_folder(parent):
            await self._listings.folders(storage)
        if record.size is None or parent is None or not record.name:
            return await self.inventory.inspect(storage, record.handle, is_new=True)
        folder = await self.inventory.place(storage, parent)
        return None if folder is None else object_of(record, storage, folder, is_new=True)

    # --- listings

    async def _scan_storage(self, storage: int, known: Known | None) -> AsyncIterator[Folder]:
        folders = await self._listings.folders(storage)
        seen: set[int] = set()
        for handle, name in (folders or {}).items():
            found = await self._listings.folder(storage, handle, name)
            if found is None:
                folders = None
                break
            seen.update(item.handle for item in found.objects)
            if len(seen) > MAX_OBJECTS:
                raise fault(FAULTS, "camera.too_many_objects", f"{len(seen)} on 0x{storage:08x}")
            yield found
        if folders is not None:
            self._listings.saw(storage, seen, is_all=True)
            return
        async for found in super()._scan_storage(storage, known):
            yield found

    async def _reconcile_storage(self, storage: int) -> list[Folder]:
        """List the folders that new files go to: the newest, and the one that the camera names."""
        folders = await self._listings.folders(storage)
        found: list[Folder] = []
        for handle in _in_use(folders or {}, self._inbox.current_folder):
            listed = await self._listings.folder(storage, handle, (folders or {})[handle])
            if listed is None:
                folders = None
                break
            self._listings.saw(storage, {item.handle for item in listed.objects})
            found.append(listed)
        return found if folders is not None else await super()._reconcile_storage(storage)

    async def _find(self, item: Object, means_another: bool) -> Object | None:
        folders = await self._listings.folders(item.storage)
        for handle, name in (folders or {}).items():
            if name == item.folder:
                listed = await self._listings.folder(item.storage, handle, name)
                if listed is not None:
                    return next((found for found in listed.objects if is_continued(item, found)), None)
                folders = None
                break
        return None if folders is not None else await super()._find(item, means_another)

    def _thumb_requests(self, item: Object) -> list[tuple[int, ...]]:
        better = (Operation.EOS_GET_THUMB_EX, item.handle, THUMB_MAX_BYTES)
        return [*super()._thumb_requests(item), better]


def _in_use(folders: dict[int, str], current: int) -> set[int]:
    newest = sorted(folders, key=lambda handle: folders[handle])[-1:]
    return {*newest, *({current} & folders.keys())}
