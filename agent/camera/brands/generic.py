"""A camera that speaks PTP and nothing else, and what all brands have in common.

`Generic` is the surface that the rest of the agent sees: every method goes through the link, one bounded transaction per
turn. Events of the event socket only make the next look happen sooner; the listing is the truth. What a brand does
differently it overrides, and it may always fall back to what is here.

One unreadable object is reported and skipped; a fault of the whole camera ends the session and is raised.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC
from typing import ClassVar

import msgspec
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from agent.camera.deleting import Deleting, Deletion
from agent.camera.faults import FAULTS
from agent.camera.inventory import Inventory, Known
from agent.camera.link import Urgency
from agent.camera.objects import (
    Folder,
    Handle,
    Look,
    Object,
    Status,
    Storage,
    Unreadable,
    identity_of,
    is_continued,
    storage_of,
)
from agent.camera.preview import embedded_jpeg
from agent.camera.reading import Methods, Reading
from agent.camera.session import Session, Sink
from agent.camera.transactions import Transactions
from agent.faults import Fault, Scope, fault
from agent.ptp.codes import EventCode, Operation, Property
from agent.ptp.datasets import DeviceInfo, ptp_date, ptp_string, storage_info, uint32_array
from agent.ptp.packets import RemoteProtocolError

PREVIEW_BYTES = (64 << 10, 256 << 10)
_SETTLING = "settling seconds"
STORAGE_EVENTS = frozenset(
    {
        EventCode.STORE_ADDED,
        EventCode.STORE_REMOVED,
        EventCode.DEVICE_RESET,
        EventCode.STORAGE_INFO_CHANGED,
    }
)


class Generic:
    methods: ClassVar[Methods] = Methods()
    storage_operations: ClassVar[tuple[int, int]] = (Operation.GET_STORAGE_IDS, Operation.GET_STORAGE_INFO)
    info_operations: ClassVar[Sequence[int]] = (Operation.GET_OBJECT_INFO,)
    delete_operations: ClassVar[Sequence[int]] = (Operation.DELETE_OBJECT,)

    @classmethod
    def claims(cls, info: DeviceInfo) -> bool:
        return True

    def __init__(self, session: Session, facts: dict[str, str]) -> None:
        self.session = session
        self.transactions = Transactions(session, facts)
        self.link = self.transactions.link
        self.timing = session.timing
        self.inventory = Inventory(self.transactions, self.info_operations)
        self.reading = Reading(self.transactions, self.methods)
        self.identity = identity_of(session.info, session.responder_guid)
        self._deleting = Deleting(
            self.transactions, self.inventory, self.info_operations, self.delete_operations
        )
        self._deleted: set[int] = set()  # handles of what we deleted: their removal is no news
        self._slots: list[int] = []  # as the camera listed them last
        self._storage_ids: list[int] = []  # those with a usable card
        self._loop = asyncio.get_running_loop()
        self._looked_at = 0.0
        self.clock_ahead_seconds: float | None = (
            None  # its wall clock minus UTC, when it was connected, if it tells
        )

    # --- life

    async def begin(self) -> None:
        """Return when the camera is ready to be asked: it has a usable card, or took its time without one."""
        patience = AsyncRetrying(
            retry=retry_if_result(lambda storages: not storages),
            stop=stop_after_delay(self.timing.settle),
            wait=wait_fixed(self.timing.settle_pause),
            retry_error_callback=lambda state: None,
        )
        await patience(self.storages)
        self.clock_ahead_seconds = await self._read_clock()

    async def close(self) -> None:
        self.session.close()
        await self.session.wait_closed()

    def settle_longer(self) -> None:
        """The camera broke the link again soon after it had seemed ready: its model gets more time from now on."""
        before = self.settling_seconds
        self.transactions.memory.note(_SETTLING, f"{min(self.timing.settle, max(1.0, 2 * before)):g}")

    async def _read_clock(self) -> float | None:
        """Ask for the time (property 0x5011). None: the camera does not tell, or not in a way that can be read."""
        is_listed = Property.DATE_TIME in self.session.info.properties
        if not is_listed or not self.transactions.can(Operation.GET_DEVICE_PROP_VALUE):
            return None
        reply = await self.transactions.ask(Operation.GET_DEVICE_PROP_VALUE, Property.DATE_TIME)
        try:
            moment = ptp_date(ptp_string(reply.data)) if reply.is_ok else None
        except RemoteProtocolError:
            moment = None
        return None if moment is None else moment.replace(tzinfo=UTC).timestamp() - time.time()

    @property
    def broke_over_a_description(self) -> bool:
        """The link was lost while an object's description was asked for: what a body that is not ready does."""
        return self.session.lost_in in self.info_operations

    @property
    def settling_seconds(self) -> float:
        """How long this model must be left alone after OpenSession, whatever it answers (2000D: 5 s, protocol.md §7.4)."""
        return float(self.transactions.memory.recall(_SETTLING) or 0)

    async def keep_awake(self) -> None:
        """Reset the camera's auto power off; does nothing where there is no way to, or when it was done just before."""

    @property
    def status(self) -> Status:
        """What the camera last said about itself."""
        return Status()

    @property
    def poll_seconds(self) -> float:
        """How long to wait before the next look."""
        return self.timing.poll_listing

    async def pause(self) -> None:
        """Wait until the next look is due, or the event socket hints at something; raises if the link is lost."""
        hinted = self.session.hinted
        try:
            async with asyncio.timeout(self.poll_seconds):
                await hinted.wait()
        except TimeoutError:
            pass
        hinted.clear()
        self.session.check_open()
        await asyncio.sleep(self._looked_at + self.timing.poll_least - self._loop.time())

    # --- cards

    async def storages(self) -> list[Storage]:
        """List the slots that hold a usable card."""
        self._slots = await self._ids()
        found = [await self._storage(storage) for storage in self._slots]
        usable = [storage for storage in found if storage is not None]
        self._storage_ids = [storage.id for storage in usable]
        return usable

    async def scan(self, known: Known | None = None) -> AsyncIterator[Folder]:
        """List every card completely. What of it is worth keeping should be saved after each item.

        `known` may spare round trips on bodies that describe objects one by one: it must answer for handles of this session
        alone. A folder may come in parts (not `is_complete`), the last time as a whole.
        """
        self.inventory.retry_unreadable()
        for storage in await self.storages():
            try:
                async for folder in self._scan_storage(storage.id, known):
                    for item in folder.objects:
                        self.reading.consider(item)
                    yield folder
                    await self._tend()
            except Fault as failure:
                yield _trouble(storage.id, failure)

    async def look(self) -> Look:
        """Say what is new, as cheaply as this body can."""
        self._looked_at = self._loop.time()
        return await self._look_at_listing()

    async def reconcile(self) -> list[Folder]:
        """Compare cheaply with what the session knows: the folders where something changed, or may have."""
        self.inventory.retry_unreadable()
        found: list[Folder] = []
        for storage in await self.storages():
            try:
                found += await self._reconcile_storage(storage.id)
            except Fault as failure:
                found.append(_trouble(storage.id, failure))
        return found

    async def lookup(self, item: Object) -> Object | None:
        """Return what the camera says of the same file now; None when it is gone from its card.

        The handle is believed only if what it means has the same place, name and time, and the same size unless that was not
        final; otherwise the file is searched for. The time stays as `item` has it when the difference is rounding, and
        so does `is_just_written`: whether two looks agree is the caller's to say.
        """
        fresh, means_another = await self._by_handle(item)
        if fresh is None:
            fresh = await self._by_name(item, means_another)
        elif fresh.size is None:
            fresh = await self._by_name(item, means_another) or fresh
        if fresh is None:
            return None
        size = fresh.size
        if size is None and not item.is_just_written:
            size = item.size  # the camera's field cannot say more than what was found out before, if it was
        is_open = item.is_just_written or item.size is None
        return msgspec.structs.replace(fresh, size=size, captured=item.captured, is_just_written=is_open)

    # --- content

    def can_resume(self, item: Object) -> bool:
        """Return whether the object can be read in chunks; if not, `stream_whole` is the way."""
        return self.reading.can_resume(item)

    async def read(self, item: Object, offset: int, buffer: memoryview) -> int:
        """Read one chunk into the beginning of `buffer`; see `Reading.read`."""
        return await self.reading.read(item, offset, buffer)

    async def stream_whole(self, item: Object, sink: Sink) -> int:
        """Read all of the object in one transaction that nothing can interrupt; see `Reading.stream_whole`."""
        return await self.reading.stream_whole(item, sink)

    async def measure(self, item: Object) -> int:
        """Find out a size that no listing tells. The session ends with it; see `Reading.measure`."""
        return await self.reading.measure(item)

    async def thumbnail(self, item: Object, urgency: Urgency = Urgency.PERSON) -> bytes | None:
        """Return a small JPEG of the object, None if there is no way to one. `item` must be of this session."""
        for operation, *params in self._thumb_requests(item):
            if self.transactions.can(operation):
                reply = await self.transactions.ask(operation, *params, urgency=urgency)
                if reply.is_ok and reply.data.startswith(b"\xff\xd8"):
                    return reply.data
        try:
            return await self._preview(item, urgency)
        except Fault as failure:
            if failure.scope is Scope.WHOLE:
                raise
            return None

    async def delete(self, item: Object) -> Deletion:
        """Delete one object, as a listing of this session described it; see `Deleting.delete`."""
        self._deleted.add(item.handle)
        outcome = await self._deleting.delete(item)
        if outcome.fault is not None:
            self._deleted.discard(item.handle)
        return outcome

    def _thumb_requests(self, item: Object) -> list[tuple[int, ...]]:
        return [(Operation.GET_THUMB, item.handle)]

    async def _preview(self, item: Object, urgency: Urgency) -> bytes | None:
        """Look for the small picture in the first bytes of the file."""
        if not self.can_resume(item) or item.size is None:
            return None
        head = bytearray()
        for wanted in PREVIEW_BYTES:
            while len(head) < min(wanted, item.size):
                piece = bytearray(min(wanted, item.size) - len(head))
                count = await self.reading.read(item, len(head), memoryview(piece), urgency)
                head += piece[:count]
            if (found := embedded_jpeg(bytes(head))) is not None:
                return found
        return None

    # --- how

    async def _tend(self) -> None:
        """What has to happen now and then during long work."""

    async def _ids(self) -> list[int]:
        """List the storage ids of slots that may hold a card: their low half is not 0."""
        reply = await self.transactions.get(self._storage_operation(0))
        try:
            return [storage for storage in uint32_array(reply.data) if storage & 0xFFFF]
        except RemoteProtocolError as error:
            raise fault(FAULTS, "camera.bad_dataset", f"StorageIDs: {error}") from error

    def _storage_operation(self, which: int) -> int:
        own, standard = self.storage_operations[which], Generic.storage_operations[which]
        return own if self.transactions.can(own) else standard

    async def _storage(self, storage: int) -> Storage | None:
        reply = await self.transactions.ask(self._storage_operation(1), storage)
        if not reply.is_ok:
            return None
        try:
            info = storage_info(reply.data)
        except RemoteProtocolError:
            return None
        return storage_of(storage, info) if info.max_capacity_bytes else None

    def _scan_storage(self, storage: int, known: Known | None) -> AsyncIterator[Folder]:
        return self.inventory.survey(storage, known)

    async def _reconcile_storage(self, storage: int) -> list[Folder]:
        difference = await self.inventory.compare(storage)
        is_complete = not difference.unreadable
        found = [
            self.inventory.folder(storage, name, is_complete=is_complete)
            for name in sorted(difference.folders)
        ]
        if difference.unreadable:
            found.append(Folder(storage, "", (), False, tuple(difference.unreadable)))
        return found

    async def _look_at_listing(self) -> Look:
        """Compare the handles; a storage that no scan has listed yet is left to a scan."""
        changed = self._take_hints()
        if changed or self._slots != await self._ids():
            before = set(self._slots)
            await self.storages()
            for storage in before ^ set(self._slots):
                self.inventory.forget_storage(storage)
            changed = True
        storages = self._storage_ids
        added: list[Object] = []
        removed: list[Handle] = []
        unreadable: list[Unreadable] = []
        for storage in filter(self.inventory.is_known, storages):
            difference = await self.inventory.compare(storage)
            added += difference.added
            removed += difference.removed
            unreadable += difference.unreadable
        return Look(
            added=tuple(added),
            removed_handles=tuple(removed),
            storages_changed=changed,
            is_active=bool(added),
            is_incomplete=bool(unreadable) or not all(map(self.inventory.is_known, storages)),
            unreadable=tuple(unreadable),
        )

    def _take_hints(self) -> bool:
        """Let the event socket's news invalidate what is known; True if cards may have changed."""
        changed = False
        while self.session.events:
            event = self.session.events.popleft()
            if event.code in STORAGE_EVENTS:
                changed = True
                for storage in self._storage_ids:
                    self.inventory.forget_storage(storage)
            elif event.code in (EventCode.OBJECT_REMOVED, EventCode.OBJECT_INFO_CHANGED) and event.params:
                self.inventory.forget(event.params[0])
        return changed

    async def _by_handle(self, item: Object) -> tuple[Object | None, bool]:
        """Return the same file by its handle, and whether the handle means another file."""
        try:
            fresh = await self.inventory.inspect(item.storage, item.handle, is_new=item.is_just_written)
        except Fault as failure:
            if failure.scope is Scope.WHOLE:
                raise
            return None, False
        if fresh is None or not is_continued(item, fresh):
            return None, True
        return msgspec.structs.replace(fresh, group=item.group), False

    async def _by_name(self, item: Object, means_another: bool) -> Object | None:
        """Search for the same file under another handle; a refusal to list means that it is not there."""
        try:
            return await self._find(item, means_another)
        except Fault as failure:
            if failure.scope is Scope.WHOLE:
                raise
            return None

    async def _find(self, item: Object, means_another: bool) -> Object | None:
        if means_another:
            self.inventory.forget_storage(item.storage)  # handles were given out anew
        return await self.inventory.search(item)


def _trouble(storage: int, failure: Fault) -> Folder:
    """Report a storage that cannot be listed; what concerns the whole camera is raised."""
    if failure.scope is Scope.WHOLE:
        raise failure
    return Folder(storage, "", (), False, (Unreadable(Handle(0), failure.code, failure.detail),))
