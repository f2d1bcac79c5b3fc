"""What a session learns of the cards by asking for objects one by one: handles (0x1007), then ObjectInfo (0x1008).

Every PTP camera can do that. It costs one round trip per object, so what was learnt is kept for the session, which is
as long as handles mean anything; a card change or a removed object is forgotten at once. Nothing here outlives the session.

Only what lies in DCIM/NNNxxxxx counts. Folders are objects too (associations), and are looked up as files need them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from agent.camera.faults import FAULTS, expect_ok
from agent.camera.link import Urgency
from agent.camera.objects import (
    Folder,
    Handle,
    Object,
    Unreadable,
    captured_text,
    is_continued,
    is_dcf_folder,
)
from agent.camera.transactions import Transactions
from agent.faults import Fault, Scope, fault
from agent.ptp.codes import ObjectFormat, Operation, ResponseCode, name_of
from agent.ptp.datasets import SIZE_ELSEWHERE, ObjectInfo, object_info, ptp_date, uint32_array
from agent.ptp.packets import RemoteProtocolError

MAX_OBJECTS = 200_000
HANDLES_LIMIT_BYTES = 4 << 20
BATCH_OBJECTS = 250
"""Objects that are handed on before their folder is complete, since each costs a round trip."""

ANY_FORMAT, EVERYTHING, ROOT = 0, 0, 0xFFFFFFFF

NOT_FLAT = frozenset(
    {
        ResponseCode.PARAMETER_NOT_SUPPORTED,
        ResponseCode.INVALID_PARENT_OBJECT,
        ResponseCode.INVALID_PARAMETER,
        ResponseCode.SPECIFICATION_OF_DESTINATION_UNSUPPORTED,
    }
)
"""Answers to "everything, flat" that call for a walk from folder to folder instead."""

Known = Callable[[int, int], Object | None]
"""What the caller knows of (storage, handle) from earlier in this same session; None: ask the camera."""


class Difference(NamedTuple):
    """A storage against what the session knew of it."""

    added: list[Object]
    removed: list[Handle]
    folders: set[str]  # that have changed
    unreadable: list[Unreadable]


class Inventory:
    def __init__(self, transactions: Transactions, info_operations: Sequence[int]) -> None:
        self._transactions = transactions
        self._info_operations = info_operations
        self._objects: dict[int, dict[Handle, Object | None]] = {}  # None: a folder, or not ours
        self._listed: set[int] = set()  # storages that were described as a whole once
        self._places: dict[Handle, str | None] = {}  # DCF folders by handle; None: another place
        self._must_walk: set[int] = set()
        self._given_up: set[Handle] = set()  # unreadable

    # --- what is known

    def objects(self, storage: int) -> dict[Handle, Object | None]:
        return self._objects.get(storage, {})

    def is_known(self, storage: int) -> bool:
        """Return whether `storage` was described as a whole before, so that what is new can be told."""
        return storage in self._listed

    def folder(self, storage: int, name: str, *, is_complete: bool = True) -> Folder:
        found = (item for item in self.objects(storage).values() if item is not None and item.folder == name)
        return Folder(storage, name, tuple(found), is_complete)

    def learn(self, storage: int, handle: Handle, item: Object | None) -> None:
        self._objects.setdefault(storage, {})[handle] = item

    def knows_folder(self, handle: int) -> bool:
        return Handle(handle) in self._places

    def folder_name(self, handle: int) -> str | None:
        """Return the name of a DCF folder that this session has met; None for any other place."""
        return self._places.get(Handle(handle))

    def learn_folder(self, handle: int, name: str | None) -> None:
        self._places[Handle(handle)] = name

    def forget(self, handle: int) -> None:
        for objects in self._objects.values():
            objects.pop(Handle(handle), None)
        self._places.pop(Handle(handle), None)

    def forget_storage(self, storage: int) -> None:
        """Forget one card; folders of all, since their handles do not say whose they are."""
        self._objects.pop(storage, None)
        self._listed.discard(storage)
        self._places.clear()

    def retry_unreadable(self) -> None:
        """Ask again for what was given up, at the next listing."""
        self._given_up.clear()

    # --- whole storages

    async def survey(self, storage: int, known: Known | None = None) -> AsyncIterator[Folder]:
        """Describe all of `storage`: parts of folders as they become known, at the end every folder as a whole."""
        handles = await self.handles(storage)
        self._drop_missing(storage, handles)
        if not await self._is_still_true(storage):
            self.forget_storage(storage)
        batch: list[Object] = []
        unreadable: list[Unreadable] = []
        for handle in handles:
            if handle in self.objects(storage):
                continue
            item = known(storage, handle) if known is not None else None
            if item is not None:
                self.learn(storage, handle, item)
            else:
                item = await self._try_to_inspect(storage, handle, unreadable)
            if item is not None:
                batch.append(item)
            if len(batch) >= BATCH_OBJECTS:
                for folder in _in_folders(storage, batch):
                    yield folder
                batch = []
        self._listed.add(storage)
        for name in sorted({item.folder for item in self.objects(storage).values() if item is not None}):
            yield self.folder(storage, name, is_complete=not unreadable)
        if unreadable:
            yield Folder(storage, "", (), False, tuple(unreadable))

    async def compare(self, storage: int) -> Difference:
        """List `storage` and describe what the session has not seen yet; new is what came after the first listing."""
        is_new = self.is_known(storage)
        handles = await self.handles(storage)
        gone = self._drop_missing(storage, handles)
        difference = Difference([], list(gone), {item.folder for item in gone.values() if item}, [])
        for handle in handles:
            if handle in self.objects(storage) or handle in self._given_up:
                continue
            item = await self._try_to_inspect(storage, handle, difference.unreadable, is_new=is_new)
            if item is not None:
                difference.added.append(item)
                difference.folders.add(item.folder)
        self._listed.add(storage)
        return difference

    async def search(self, item: Object) -> Object | None:
        """Find the same file under another handle than `item` has."""
        unreadable: list[Unreadable] = []
        for handle in await self.handles(item.storage):
            if handle not in self.objects(item.storage):
                await self._try_to_inspect(item.storage, handle, unreadable)
            found = self.objects(item.storage).get(handle)
            if found is not None and handle != item.handle and is_continued(item, found):
                return found
        return None

    # --- asking

    async def handles(self, storage: int) -> list[Handle]:
        """List `storage`: in one round trip, unless the camera wants a walk."""
        found = None if storage in self._must_walk else await self._children(storage, EVERYTHING)
        if found is None:
            self._must_walk.add(storage)
            found = await self._walk(storage)
        return found

    async def children(self, storage: int, parent: int) -> list[Handle]:
        """List one folder, or the root (`ROOT`)."""
        found = await self._children(storage, parent)
        if found is None:
            raise fault(FAULTS, "camera.bad_dataset", f"no list of what is in 0x{parent:08x}")
        return found

    async def describe(
        self, handle: int, *, is_new: bool = False, urgency: Urgency = Urgency.LOOK
    ) -> ObjectInfo:
        """Ask for ObjectInfo; refusals and descriptions that cannot be read raise."""
        operation = self._transactions.first(self._info_operations) or Operation.GET_OBJECT_INFO
        reply = await self._transactions.ask(operation, handle, urgency=urgency, is_new=is_new)
        expect_ok(reply, f"{name_of(operation)} 0x{handle:08x}")
        try:
            return object_info(reply.data)
        except RemoteProtocolError as error:
            raise fault(FAULTS, "camera.bad_dataset", f"ObjectInfo of 0x{handle:08x}: {error}") from error

    async def inspect(self, storage: int | None, handle: int, *, is_new: bool = False) -> Object | None:
        """Ask what `handle` is; None for a folder and for what lies outside of DCIM/NNNxxxxx. Remembered.

        `storage`: where it was listed; None: where it says it is.
        """
        info = await self.describe(handle, is_new=is_new)
        storage = info.storage_id if storage is None else storage
        item = None
        if info.object_format == ObjectFormat.ASSOCIATION:
            self.learn_folder(handle, await self._place_of(info, storage))
        elif (folder := await self.place(storage, info.parent)) is not None:
            item = _object(info, storage, Handle(handle), folder, is_new)
        self.learn(storage, Handle(handle), item)
        return item

    async def place(self, storage: int, folder: int) -> str | None:
        """Return the name of the DCF folder behind a handle; None for any other place."""
        if folder in (0, ROOT):
            return None
        if Handle(folder) not in self._places:
            self.learn_folder(folder, await self._place_of(await self.describe(folder), storage))
        return self._places[Handle(folder)]

    async def _place_of(self, info: ObjectInfo, storage: int) -> str | None:
        if not is_dcf_folder(info.filename) or info.parent in (0, ROOT):
            return None
        above = await self.describe(info.parent)
        return info.filename if above.filename.upper() == "DCIM" else None

    async def _children(self, storage: int, parent: int) -> list[Handle] | None:
        """None when the camera does not answer this form of the question."""
        reply = await self._transactions.ask(
            Operation.GET_OBJECT_HANDLES, storage, ANY_FORMAT, parent, limit=HANDLES_LIMIT_BYTES
        )
        if reply.code in NOT_FLAT:
            return None
        expect_ok(reply, "GetObjectHandles")
        try:
            handles = uint32_array(reply.data)
        except RemoteProtocolError as error:
            raise fault(FAULTS, "camera.bad_dataset", f"GetObjectHandles: {error}") from error
        if len(handles) > MAX_OBJECTS:
            raise fault(FAULTS, "camera.too_many_objects", f"{len(handles)} on 0x{storage:08x}")
        return [Handle(handle) for handle in handles]

    async def _walk(self, storage: int) -> list[Handle]:
        """From the root to DCIM to its folders to their files."""
        found: list[Handle] = []
        for top in await self.children(storage, ROOT):
            if (await self._name(top)).upper() != "DCIM":
                continue
            for handle in await self.children(storage, top):
                if is_dcf_folder(name := await self._name(handle)):
                    self.learn_folder(handle, name)
                    found += await self.children(storage, handle)
                    if len(found) > MAX_OBJECTS:
                        raise fault(FAULTS, "camera.too_many_objects", f"{len(found)} on 0x{storage:08x}")
        return found

    async def _is_still_true(self, storage: int) -> bool:
        """Ask again for two files, the first and the last: a format gives all handles to other ones, and not every body
        tells of it.
        """
        known = [item for item in self.objects(storage).values() if item is not None]
        for item in {known[0].handle: known[0], known[-1].handle: known[-1]}.values() if known else ():
            fresh = await self._try_to_inspect(storage, item.handle, [])
            if fresh is None or not is_continued(item, fresh):
                return False
        return True

    async def _try_to_inspect(
        self, storage: int, handle: Handle, unreadable: list[Unreadable], *, is_new: bool = False
    ) -> Object | None:
        """Inspect, or take note that it was not possible."""
        try:
            return await self.inspect(storage, handle, is_new=is_new)
        except Fault as failure:
            if failure.scope is Scope.WHOLE:
                raise
            self._given_up.add(handle)
            unreadable.append(Unreadable(handle, failure.code, failure.detail))
            return None

    def _drop_missing(self, storage: int, handles: list[Handle]) -> dict[Handle, Object | None]:
        """Forget and return what is not listed any more."""
        there = set(handles)
        objects = self.objects(storage)
        return {handle: objects.pop(handle) for handle in list(objects) if handle not in there}

    async def _name(self, handle: Handle) -> str:
        if (name := self._places.get(handle)) is not None:
            return name
        return (await self.describe(handle)).filename


def _object(info: ObjectInfo, storage: int, handle: Handle, folder: str, is_new: bool) -> Object:
    return Object(
        handle=handle,
        storage=storage,
        folder=folder,
        name=info.filename,
        size=None if info.compressed_size in (0, SIZE_ELSEWHERE) else info.compressed_size,
        captured=captured_text(ptp_date(info.capture_date)),
        format=info.object_format,
        group=handle,
        is_just_written=is_new,
        is_protected=info.protection_status != 0,
    )


def _in_folders(storage: int, objects: list[Object]) -> list[Folder]:
    names = sorted({item.folder for item in objects})
    return [
        Folder(storage, name, tuple(item for item in objects if item.folder == name), False) for name in names
    ]
