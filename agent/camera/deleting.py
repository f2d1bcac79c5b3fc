"""Deleting one object from a card, after a last look at what its handle means.

Description and deletion are two transactions of one turn of the link: nothing of ours comes between them, and a handle
that means another file by now is noticed before anything is sent. What is not described well enough to be sure is kept.
Never sent: a folder's handle, and 0xFFFFFFFF, which is every object of every card (protocol.md §3).

An answer is believed only after asking for the object once more: some bodies say GeneralError about what is gone.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent.camera.faults import FAULTS, refusal
from agent.camera.inventory import Inventory
from agent.camera.link import Urgency
from agent.camera.objects import Object, are_same_time, captured_text
from agent.camera.patience import is_not_now
from agent.camera.session import Reply, Session
from agent.camera.transactions import UNSUPPORTED, Transactions
from agent.faults import Fault, fault
from agent.ptp.codes import ObjectFormat, Operation, ResponseCode, name_of
from agent.ptp.datasets import SIZE_ELSEWHERE, ObjectInfo, object_info, ptp_date
from agent.ptp.packets import RemoteProtocolError

ALL_OBJECTS = 0xFFFFFFFF


class Deletion(msgspec.Struct, frozen=True):
    """What came of it. Without a `fault` the object is gone; `was_asked`: the camera was told to delete it."""

    was_asked: bool
    fault: Fault | None = None


class Deleting:
    def __init__(
        self,
        transactions: Transactions,
        inventory: Inventory,
        info_operations: Sequence[int],
        delete_operations: Sequence[int],
    ) -> None:
        self._transactions = transactions
        self._inventory = inventory
        self._info_operations = info_operations
        self._delete_operations = delete_operations

    async def delete(self, item: Object) -> Deletion:
        """Delete `item`, as listed in this session, if its handle still means exactly that and it is not protected.

        Faults of the whole link are raised; whether the object is gone is then unknown.
        """
        if not any(map(self._transactions.can, self._delete_operations)):
            return Deletion(False, fault(FAULTS, "camera.cannot_delete", "no such operation is listed"))
        if (
            item.size is None
            or not item.captured
            or item.is_just_written
            or not 0 < item.handle < ALL_OBJECTS
        ):
            return Deletion(False, fault(FAULTS, "camera.another_file", "it is not described well enough"))
        found = await self._attempt(item)
        if isinstance(found, ObjectInfo):  # in a folder that this session has not met: it has a name now
            await self._inventory.place(item.storage, found.parent)
            found = await self._attempt(item)
        if isinstance(found, Deletion):
            return found
        if isinstance(found, ObjectInfo):
            return Deletion(False, fault(FAULTS, "camera.another_file", "its folder has no name"))
        return await self._judged(item, found)

    async def _attempt(self, item: Object) -> ObjectInfo | Deletion | Reply:
        """One turn: look, then delete. ObjectInfo: the folder must be asked for first. Deletion: nothing was sent."""
        async with self._transactions.link.turn(Urgency.BULK) as session:
            info = await self._describe(session, item)
            if isinstance(info, Fault):
                return Deletion(False, info)
            if not self._inventory.knows_folder(info.parent):
                return info
            if not self._is_same(item, info):
                return Deletion(False, fault(FAULTS, "camera.another_file", info.filename))
            if info.protection_status:
                return Deletion(False, fault(FAULTS, "ptp.object_write_protected", "by its description"))
            return await self._send(session, item)

    async def _describe(self, session: Session, item: Object) -> ObjectInfo | Fault:
        operation = self._transactions.first(self._info_operations) or Operation.GET_OBJECT_INFO
        reply = self._transactions.learnt(operation, await session.operate(operation, item.handle))
        if is_not_now(reply.code):
            return fault(FAULTS, "camera.delete_later", name_of(reply.code))
        if not reply.is_ok:
            return refusal(reply, name_of(operation))
        try:
            return object_info(reply.data)
        except RemoteProtocolError as error:
            return fault(FAULTS, "camera.bad_dataset", f"ObjectInfo of 0x{item.handle:08x}: {error}")

    async def _send(self, session: Session, item: Object) -> Reply | Deletion:
        reply: Reply | None = None
        for operation in filter(self._transactions.can, self._delete_operations):
            # DeleteObject's second parameter is a format, and must be 0; Canon's twin has none (protocol.md §4.1).
            params = (item.handle, 0) if operation == Operation.DELETE_OBJECT else (item.handle,)
            reply = self._transactions.learnt(operation, await session.operate(operation, *params))
            if reply.code not in UNSUPPORTED:
                return reply
        if reply is None:
            return Deletion(False, fault(FAULTS, "camera.cannot_delete", "no operation is left"))
        return reply

    def _is_same(self, item: Object, info: ObjectInfo) -> bool:
        return (
            info.object_format != ObjectFormat.ASSOCIATION
            and info.storage_id == item.storage
            and self._inventory.folder_name(info.parent) == item.folder
            and info.filename == item.name
            and info.compressed_size == min(item.size or 0, SIZE_ELSEWHERE)
            and are_same_time(captured_text(ptp_date(info.capture_date)), item.captured)
        )

    async def _judged(self, item: Object, reply: Reply) -> Deletion:
        """Ask for the object again: it decides, not the answer."""
        if is_not_now(reply.code):
            return Deletion(True, fault(FAULTS, "camera.delete_later", name_of(reply.code)))
        operation = self._transactions.first(self._info_operations) or Operation.GET_OBJECT_INFO
        after = await self._transactions.ask(operation, item.handle, urgency=Urgency.BULK)
        is_gone = after.code == ResponseCode.INVALID_OBJECT_HANDLE
        if reply.is_ok and after.is_ok and self._means(item, after):
            return Deletion(True, fault(FAULTS, "camera.not_deleted", name_of(reply.code)))
        if not reply.is_ok and not is_gone:
            return Deletion(True, refusal(reply, name_of(Operation.DELETE_OBJECT)))
        self._inventory.forget(item.handle)
        return Deletion(True)

    def _means(self, item: Object, reply: Reply) -> bool:
        try:
            return self._is_same(item, object_info(reply.data))
        except RemoteProtocolError:
            return False
