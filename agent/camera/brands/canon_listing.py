"""Canon's bulk listings: one round trip for a folder of any length, with names, sizes and times (0x9109, 0x9173).

A listing is doubted when it is empty, and not believed when it may have been cut off: an answer longer than the number that
was asked for comes back empty on some bodies (protocol.md §7.10). None means that listings do not tell the truth
about this place, and that objects have to be asked for one by one.
"""

from __future__ import annotations

import msgspec

from agent.camera.faults import expect_ok
from agent.camera.inventory import ROOT, Inventory
from agent.camera.objects import Folder, Handle, Object, Unreadable, captured_text, is_dcf_folder
from agent.camera.patience import BUSY
from agent.camera.transactions import Transactions
from agent.faults import Fault, Scope
from agent.ptp.canon import ObjectRecord, camera_time, listing
from agent.ptp.codes import Operation, ResponseCode, name_of
from agent.ptp.packets import RemoteProtocolError

LISTING_LIMIT_BYTES = 8 << 20
WIDE = Operation.EOS_GET_OBJECT_INFO_EX_64
WIDE_MAX_BYTES = 0x200000

WAYS = (
    (Operation.EOS_GET_OBJECT_INFO_EX, 0x100000),
    (Operation.EOS_GET_OBJECT_INFO_EX, 0x200000),
    (WIDE, WIDE_MAX_BYTES),
)
"""Operations, and the bytes that their answer may have."""

LONGEST_ENTRY_BYTES = 64

_ABOUT_THE_PLACE = frozenset(
    {
        ResponseCode.INVALID_STORAGE_ID,
        ResponseCode.INVALID_OBJECT_HANDLE,
        ResponseCode.INVALID_PARENT_OBJECT,
        ResponseCode.STORE_NOT_AVAILABLE,
    }
)
"""Answers about what was asked for, not about the way of asking."""


class Listings:
    def __init__(self, transactions: Transactions, inventory: Inventory) -> None:
        self._transactions = transactions
        self._inventory = inventory
        self._seen: dict[int, set[int]] = {}  # handles by storage
        self._listed: set[int] = set()  # storages that were listed as a whole once

    def saw(self, storage: int, handles: set[int], *, is_all: bool = False) -> None:
        """Remember that these files are there. Once it was all of them, what a listing shows besides was written since."""
        self._seen.setdefault(storage, set()).update(handles)
        if is_all:
            self._listed.add(storage)

    def forget_storage(self, storage: int) -> None:
        self._seen.pop(storage, None)
        self._listed.discard(storage)

    async def folders(self, storage: int) -> dict[int, str] | None:
        """List the DCF folders of a card: names by handle."""
        top = await self._list(storage, ROOT)
        if top is None:
            return None
        found: dict[int, str] = {}
        for dcim in top:
            if dcim.is_folder and (dcim.name or "").upper() == "DCIM":
                inside = await self._list(storage, dcim.handle)
                if inside is None:
                    return None
                for record in inside:
                    if record.is_folder and record.name and is_dcf_folder(record.name):
                        found[record.handle] = record.name
                        self._inventory.learn_folder(record.handle, record.name)
        return found

    async def folder(self, storage: int, handle: int, name: str) -> Folder | None:
        """List one folder as a whole."""
        records = await self._list(storage, handle)
        if records is None:
            return None
        sizes = await self._wide_sizes(storage, handle, records)
        objects: list[Object] = []
        unreadable: list[Unreadable] = []
        for record in records:
            try:
                item = None if record.is_folder else await self._describe(record, storage, name)
            except Fault as failure:
                if failure.scope is Scope.WHOLE:
                    raise
                unreadable.append(Unreadable(Handle(record.handle), failure.code, failure.detail))
                continue
            if item is not None and record.handle in sizes:
                item = msgspec.structs.replace(item, size=sizes[record.handle])
            if item is not None:
                objects.append(item)
        return Folder(storage, name, tuple(objects), not unreadable, tuple(unreadable))

    async def _describe(self, record: ObjectRecord, storage: int, folder: str) -> Object | None:
        """Turn an entry into an object; one of an unknown layout costs a round trip, once a session."""
        is_new = storage in self._listed and record.handle not in self._seen[storage]
        if record.size is not None and record.name:
            return object_of(record, storage, folder, is_new=is_new)
        known = self._inventory.objects(storage).get(Handle(record.handle))
        return known or await self._inventory.inspect(storage, record.handle, is_new=is_new)

    async def _wide_sizes(
        self, storage: int, handle: int, records: tuple[ObjectRecord, ...]
    ) -> dict[int, int]:
        """Ask once for the sizes that 32 bits cannot say, and for those that a movie's entry leaves 0."""
        if all(record.is_folder or _size(record) for record in records) or not self._transactions.can(WIDE):
            return {}
        answer = await self._ask(WIDE, storage, handle, WIDE_MAX_BYTES)
        return {record.handle: size for record in answer or () if (size := _size(record)) is not None}

    async def _list(self, storage: int, parent: int) -> tuple[ObjectRecord, ...] | None:
        """List a folder in the first way that gives what the handles say is there."""
        is_doubted = False
        refused: set[int] = set()
        for operation, max_bytes in WAYS:
            if operation in refused or not self._transactions.can(operation):
                continue
            records = await self._ask(operation, storage, parent, max_bytes)
            if records:
                return records
            if records is None:
                refused.add(operation)
            elif not is_doubted:
                if not await self._inventory.children(storage, parent):
                    return ()
                is_doubted = True
        return None

    async def _ask(
        self, operation: int, storage: int, parent: int, max_bytes: int
    ) -> tuple[ObjectRecord, ...] | None:
        """Ask in one way; None when it is refused or cannot be read, nothing when it may have been cut off."""
        params = (storage, parent, max_bytes)
        reply = await self._transactions.ask(operation, *params, limit=LISTING_LIMIT_BYTES)
        if reply.code in _ABOUT_THE_PLACE or reply.code in BUSY:
            expect_ok(reply, name_of(operation))
        try:
            records = listing(reply.data) if reply.is_ok else None
        except RemoteProtocolError:
            records = None
        if records is None:
            self._transactions.note_failed(operation)
            return None
        return records if len(reply.data) + LONGEST_ENTRY_BYTES <= max_bytes else ()


def object_of(record: ObjectRecord, storage: int, folder: str, *, is_new: bool) -> Object:
    """Describe a file by a record whose layout is known."""
    handle = Handle(record.handle)
    return Object(
        handle=handle,
        storage=storage,
        folder=folder,
        name=record.name or "",
        size=_size(record),
        captured=captured_text(camera_time(record.time)) if record.time else "",
        format=record.object_format,
        group=record.group or handle,
        is_just_written=is_new,
    )


def _size(record: ObjectRecord) -> int | None:
    """The size if it is one: neither 0, nor all ones, nor of an unknown layout."""
    return record.size if record.is_size_known and record.size else None
