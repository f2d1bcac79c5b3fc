"""The spool folder as a whole: what is in it, who may have space, and the doors to one file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agent.spool.digests import Digester
from agent.spool.disk import Threads, cut, open_part, prepare, remove, translated, trusted_bytes
from agent.spool.growth import Gone, Growth, Suspended
from agent.spool.reader import Reader
from agent.spool.space import Change, Room, Space, Verdict
from agent.spool.writer import Writer

_NAME = re.compile(r"([0-9]{1,19})(\.part)?", re.ASCII)
_REHASH_BUFFER_BYTES = 1 << 20

Budget = Callable[[int], int]
"""What the spool may hold, in bytes, given how much of its disk is free or its own."""


class Recovered(msgspec.Struct, frozen=True):
    """What the folder held at start, in bytes by file id: `parts` to their trusted length, `finished` ones."""

    parts: dict[int, int]
    finished: dict[int, int]


class Spool:
    """One folder, owned by one process. All methods belong to the event loop's thread.

    `recover` comes first; and the caller keeps `boot_id` for the next run only after it, since the tails that
    cannot be trusted are cut there. An unknown or different `last_boot_id` means that power may have been lost.
    """

    def __init__(
        self,
        folder: Path,
        *,
        budget_bytes: int | None,
        boot_id: str,
        last_boot_id: str | None,
        margin_bytes: int = 64 << 20,
    ) -> None:
        self.folder = folder
        self._is_power_loss = boot_id != last_boot_id
        self._space = Space(budget_bytes, margin_bytes)
        self._budget: Budget | None = None
        self._growths: dict[int, Growth] = {}
        self._threads = Threads()

    async def recover(self) -> Recovered:
        """Make the folder, read it, and cut what a power loss made doubtful.

        Files with other names are left alone. A part beside its finished file is removed: the file is whole.
        Finished files count as announced: before anybody asks, the caller makes the ledger agree.
        """
        sizes = await self._threads.run(self._look)
        recovered = Recovered({}, {})
        for (file_id, is_part), (size, last_read) in sizes.items():
            (recovered.parts if is_part else recovered.finished)[file_id] = size
            growth = self._growth(file_id)
            growth.last_read = last_read
            growth.show(size)
            if not is_part:
                growth.complete()
                growth.announce({})
        return recovered

    def _look(self) -> dict[tuple[int, bool], tuple[int, float]]:
        prepare(self.folder)
        found: dict[tuple[int, bool], tuple[int, float]] = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if (match := _NAME.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    key = int(match[1]), bool(match[2])
                    found[key] = status.st_size, max(status.st_atime, status.st_mtime)
        for file_id, is_part in list(found):
            if is_part and (file_id, False) in found:
                remove(self._part(file_id))
                del found[file_id, True]
            elif is_part and self._is_power_loss:
                size, last_read = found[file_id, True]
                found[file_id, True] = trusted_bytes(size), last_read
                self._cut(file_id, trusted_bytes(size))
        return found

    def _cut(self, file_id: int, length: int) -> None:
        descriptor = open_part(self._part(file_id))
        try:
            cut(descriptor, length)
        finally:
            os.close(descriptor)

    @property
    def used_bytes(self) -> int:
        return self._space.used_bytes

    @property
    def reserved_bytes(self) -> int:
        """Promised to fetches and not yet stored."""
        return self._space.reserved_bytes

    @property
    def budget_bytes(self) -> int | None:
        return self._space.budget_bytes

    @budget_bytes.setter
    def budget_bytes(self, value: int | None) -> None:
        self._budget = None
        self._space.budget_bytes = value
        self._space.freed.signal()

    def set_budget(self, budget: Budget) -> None:
        """Let the budget follow the disk. Raises Fault."""
        with translated():
            disk = os.statvfs(self.folder)
        self.budget_bytes = budget(self._available(disk))
        self._budget = budget

    def _available(self, disk: os.statvfs_result) -> int:
        return disk.f_bavail * disk.f_frsize + self._space.used_bytes

    @property
    def space_changed(self) -> Change:
        """Signals whenever the spool gave something back: ``await space_changed.after(verdict.seen)``."""
        return self._space.freed

    def reserve(self, file_id: int, size: int) -> Verdict:
        """Promise space for all `size` bytes of a file, what is stored of it included. May be repeated.

        Anything but GRANTED changes nothing. A finished file needs no promise. Raises Fault.
        """
        if self.is_finished(file_id):
            return Verdict(Room.GRANTED, seen=self._space.freed.count)
        with translated():
            disk = os.statvfs(self.folder)
        limit = (disk_bytes := disk.f_blocks * disk.f_frsize) - self._space.margin_bytes
        if self._budget is not None:
            self._space.budget_bytes = self._budget(self._available(disk))
            limit = min(limit, self._budget(disk_bytes))
        elif self.budget_bytes is not None:
            limit = min(limit, self.budget_bytes)
        verdict = self._space.judge(
            file_id, size, limit_bytes=limit, free_bytes=disk.f_bavail * disk.f_frsize
        )
        if verdict.is_granted:
            self._space.promise(file_id, size)
        return verdict

    def release(self, file_id: int) -> None:
        """Take a promise back; a part stays, and counts with what it holds. Harmless when there is none."""
        self._space.promise(file_id, 0)

    async def writer(self, file_id: int, size: int, algorithms: tuple[str, ...] = ("sha256",)) -> Writer:
        """Open the one writer of a file that has its reservation; an existing part is digested and gone on with.

        `algorithms`: ``sha256``, ``crc32c``, ``md5``. Raises Fault. ValueError for a caller's mistake: no
        reservation of this size, finished already, or another writer at work.
        """
        growth = self._growth(file_id)
        if growth.is_complete or growth.is_held:
            raise ValueError(f"file {file_id} is finished or has a writer")
        if self._space.promised(file_id) != size:
            raise ValueError(f"file {file_id} has no reservation of {size} bytes")
        writer = Writer(growth, size, algorithms, self._part(file_id), self._whole(file_id), self._threads)
        await writer.open()
        return writer

    def follow(self, file_id: int, size: int) -> Reader:
        """Read a file of `size` bytes: finished, growing, suspended, or not begun. Close the reader. Raises Gone."""
        growth = self._growth(file_id)
        if growth.is_gone:
            raise Gone
        if growth.is_complete and growth.length != size:
            raise ValueError(f"file {file_id} has {growth.length} bytes, not {size}")
        return Reader(growth, size, self._part(file_id), self._whole(file_id), self._threads, self._tidy)

    @property
    def growing(self) -> tuple[int, ...]:
        """The files that have a writer now: their bytes can be followed without waiting for nobody."""
        return tuple(i for i, growth in self._growths.items() if growth.is_held and not growth.is_gone)

    @property
    def idle_parts(self) -> dict[int, int]:
        """Bytes by file of the parts that nobody writes to now."""
        return {
            file_id: growth.length
            for file_id, growth in self._growths.items()
            if growth.length and not (growth.is_complete or growth.is_held or growth.is_gone)
        }

    def is_finished(self, file_id: int) -> bool:
        return (growth := self._growths.get(file_id)) is not None and growth.is_complete

    def announce(self, file_id: int, digests: dict[str, str]) -> None:
        """Tell who waits in `fetched`: the digests of a finished file are in the ledger, durably."""
        self._finished(file_id).announce(digests)

    async def fetched(
        self, file_id: int, algorithms: tuple[str, ...] = ("sha256",), *, read_by: Reader | None = None
    ) -> dict[str, str]:
        """Wait until a file is announced; return its SHA-256 and `algorithms`, digested again for a new one.

        Raises Suspended, Restarted, Gone, Fault. Who has sent bytes of a growing file passes the reader, open or
        closed, that gave them: by now there may be another fetch, whose digests are not of these bytes.
        """
        growth = self._growths.get(file_id) if read_by is None else read_by.growth
        if growth is None:
            raise Suspended
        generation = growth.generation if read_by is None else read_by.generation
        await growth.until(lambda: growth.is_announced, generation)
        wanted = {"sha256", *algorithms}
        if missing := wanted - growth.digests.keys():
            growth.digests.update(await self.rehash(file_id, tuple(missing)))
        return {algorithm: growth.digests[algorithm] for algorithm in wanted}

    async def rehash(self, file_id: int, algorithms: tuple[str, ...] = ("sha256",)) -> dict[str, str]:
        """Digest a finished file again, as `Writer.finish` would return it. Raises Fault, Gone."""
        digester = Digester(algorithms)
        with self.follow(file_id, self._finished(file_id).length) as reader:
            buffer = memoryview(bytearray(_REHASH_BUFFER_BYTES))
            offset = 0
            while got := await reader.read_into(offset, buffer):
                await self._threads.run(digester.update, buffer[:got])
                offset += got
        return digester.hexdigests()

    async def evict(self, file_id: int) -> bool:
        """Remove a finished file. False, and nothing happened, while a reader has it open.

        True when it is not there. ValueError for one that is still being fetched.
        """
        if file_id not in self._growths:
            return True
        growth = self._finished(file_id)
        if growth.readers or growth.is_held:
            return False
        await self.forget(file_id)
        return True

    async def forget(self, file_id: int) -> None:
        """Remove all there is of a file; its readers get Gone. ValueError while it has a writer. Raises Fault."""
        growth = self._growth(file_id)
        if growth.is_held:
            raise ValueError(f"file {file_id} has a writer, or is being removed")
        growth.is_held = growth.is_gone = True
        growth.changed.signal()
        is_removed = False

        def remove_both() -> None:
            nonlocal is_removed
            remove(self._part(file_id), self._whole(file_id))
            is_removed = True

        try:
            await self._threads.run(remove_both)
        finally:
            if is_removed:
                del self._growths[file_id]
                self._space.drop(file_id)
            else:
                growth.is_held = growth.is_gone = False

    def path(self, file_id: int) -> Path:
        """Where the file is: finished or part. It may be renamed or removed any time: to look at, not to keep."""
        return self._whole(file_id) if self.is_finished(file_id) else self._part(file_id)

    def last_read_at(self, file_id: int) -> datetime:
        """When a reader last got bytes of it (UTC); after a restart as the filesystem remembers it. KeyError."""
        return datetime.fromtimestamp(self._growths[file_id].last_read, UTC)

    def close(self) -> None:
        """After every writer and reader."""
        self._threads.close()

    def _growth(self, file_id: int) -> Growth:
        return self._growths.setdefault(file_id, Growth(file_id, self._space))

    def _finished(self, file_id: int) -> Growth:
        growth = self._growths.get(file_id)
        if growth is None or not growth.is_complete:
            raise ValueError(f"file {file_id} is not finished")
        return growth

    def _tidy(self, growth: Growth) -> None:
        """Forget a file that was followed but never begun."""
        is_known = self._growths.get(growth.file_id) is growth
        if is_known and not (growth.readers or growth.is_held or growth.is_complete or growth.length):
            del self._growths[growth.file_id]

    def _part(self, file_id: int) -> Path:
        return self.folder / f"{file_id}.part"

    def _whole(self, file_id: int) -> Path:
        return self.folder / str(file_id)
