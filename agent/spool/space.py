"""Who holds how much of the spool: arithmetic in memory, without I/O.

A file holds what is stored of it, or what it was promised if that is more. Stored bytes already lack on the disk;
of the promises only the rest is still to be kept free.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum

import msgspec


class Change:
    """Something to wait on that cannot be missed: note `count`, look, then wait for what came `after` it."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def signal(self) -> None:
        self.count += 1
        self._event.set()
        self._event = asyncio.Event()

    async def after(self, count: int) -> None:
        """Return as soon as there was a signal since `count` was noted: at once, if there was one already."""
        while self.count == count:
            await self._event.wait()


class Room(StrEnum):
    GRANTED = "granted"
    TOO_LARGE = "too_large"  # larger than the whole budget, or than the disk: needs a person
    BUDGET_FULL = "budget_full"
    DISK_FULL = (
        "disk_full"  # others may free it too: look again now and then, not only after `Spool.space_changed`
    )


class Verdict(msgspec.Struct, frozen=True):
    """The answer to a reservation. `missing_bytes` is what must be freed (TOO_LARGE: what can never be)."""

    room: Room
    missing_bytes: int = 0
    seen: int = 0  # for `Spool.space_changed.after`

    @property
    def is_granted(self) -> bool:
        return self.room is Room.GRANTED


class _Share(msgspec.Struct):
    stored: int = 0
    promised: int = 0

    @property
    def held(self) -> int:
        return max(self.stored, self.promised)


class Space:
    """Totals over all files. `freed` tells of every change by which somebody else might now be granted space."""

    def __init__(self, budget_bytes: int | None, margin_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.margin_bytes = margin_bytes
        self.used_bytes = 0
        self.reserved_bytes = 0
        self.freed = Change()
        self._shares: dict[int, _Share] = {}

    def judge(self, file_id: int, size: int, *, limit_bytes: int, free_bytes: int) -> Verdict:
        """Say whether `file_id` can hold `size` bytes, given a disk with `free_bytes` left. `limit_bytes`: what the
        budget would be, and the disk could hold, were there nothing else on it."""
        share = self._shares.get(file_id, _Share())
        if size > limit_bytes:
            return self._refuse(Room.TOO_LARGE, size - limit_bytes)
        if self.budget_bytes is not None:
            others = self.used_bytes + self.reserved_bytes - share.held
            if others + size > self.budget_bytes:
                is_shrunk = size > self.budget_bytes  # a share of a disk that others have filled
                room = Room.DISK_FULL if is_shrunk else Room.BUDGET_FULL
                return self._refuse(room, others + size - self.budget_bytes)
        promised_to_others = self.reserved_bytes - (share.held - share.stored)
        needed = size - share.stored + promised_to_others + self.margin_bytes
        if needed > free_bytes:
            return self._refuse(Room.DISK_FULL, needed - free_bytes)
        return Verdict(Room.GRANTED, seen=self.freed.count)

    def _refuse(self, room: Room, missing_bytes: int) -> Verdict:
        return Verdict(room, missing_bytes, self.freed.count)

    def promised(self, file_id: int) -> int:
        return self._shares.get(file_id, _Share()).promised

    def promise(self, file_id: int, size: int) -> None:
        """Promise `size` bytes in all; 0 takes a promise back."""
        self._set(file_id, self._shares.get(file_id, _Share()).stored, size)

    def store(self, file_id: int, length: int) -> None:
        self._set(file_id, length, self.promised(file_id))

    def drop(self, file_id: int) -> None:
        self._set(file_id, 0, 0)

    def _set(self, file_id: int, stored: int, promised: int) -> None:
        old = self._shares.pop(file_id, _Share())
        new = _Share(stored, promised)
        if new.held:
            self._shares[file_id] = new
        self.used_bytes += new.stored - old.stored
        self.reserved_bytes += (new.held - new.stored) - (old.held - old.stored)
        if new.held < old.held:
            self.freed.signal()
