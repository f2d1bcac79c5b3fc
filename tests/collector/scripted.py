"""A camera's body without a camera: cards of files, and a script of what goes wrong at which moment.

It behaves as `agent.camera.Body` promises: content is served by handle, whatever file that means by now; `lookup`
finds a file by place, name, size and time, and a fault of the link ends everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count

import msgspec

from agent.camera import FAULTS, Deletion, Folder, Handle, Identity, Look, Object, Status, Storage
from agent.camera.objects import are_same_time, is_same_name
from agent.faults import Fault, fault

SERIAL = "0123456789"
Sink = Callable[[memoryview], None | Awaitable[None]]
JPEG, RAW, VIDEO = b"\xff\xd8", b"II*\0", b"\0\0\0\x18ftypmp42"
_HEADERS = {"JPG": JPEG, "CR3": VIDEO, "CR2": RAW, "MP4": VIDEO}
_handles = count(0x9190_0001)


@dataclass
class File:
    object: Object
    data: bytes


def content(name: str, size: int) -> bytes:
    """Bytes that begin as a file of that type does, and differ from every other name's."""
    header = _HEADERS.get(name.rpartition(".")[2], b"")
    pattern = f"{name}|{size}|".encode()
    return (header + pattern * (size // len(pattern) + 1))[:size]


def made(
    name: str = "IMG_0001.JPG",
    size: int = 1000,
    *,
    storage: int = 1,
    folder: str = "100CANON",
    captured: str = "2024-05-01T10:00:00",
    data: bytes | None = None,
    handle: int | None = None,
    is_just_written: bool = False,
) -> File:
    data = content(name, size) if data is None else data
    number = next(_handles) if handle is None else handle
    seen = Object(Handle(number), storage, folder, name, len(data), captured, 0, number, is_just_written)
    return File(seen, data)


def lost() -> Fault:
    return fault(FAULTS, "camera.link_lost")


class Body:
    """Give it to a Visit. `files` may be changed at any time, as cards may."""

    def __init__(self, *files: File, serial: str = SERIAL, resumes: bool = True, chunk: int = 1 << 20):
        self.identity = Identity(serial, "Canon EOS R7", "1.0", "Canon", True)
        self.files = list(files)
        self.cards = [1]
        self.incomplete: set[str] = set()  # folders that are listed in part
        self.resumes = resumes
        self.chunk = chunk
        self.link: Fault | None = None
        self.looks: asyncio.Queue[Look] = asyncio.Queue()
        self.reads: list[tuple[str, int]] = []  # (name that was meant, offset)
        self.lookups: list[str] = []
        self.asked_to_delete: list[str] = []
        self.scans = 0
        self.reconciles = 0
        self.measured: dict[str, int] = {}
        self.on_read: Callable[[Object, int], Awaitable[None] | None] = lambda item, offset: None
        self.on_delete: Callable[[Object], Deletion | None] = lambda item: None
        self.locked: set[int] = set()  # cards with their switch on
        self.on_lookup: Callable[[Object], None] = lambda item: None
        self.on_listed: Callable[[str], Awaitable[None] | None] = lambda folder: None
        self.is_closed = False
        self.settles_longer = False
        self.broke_over_a_description = False
        self.on_close: Callable[[], None] = lambda: None
        self.memory: dict[str, str] = {}
        self.clock_ahead_seconds: float | None = None

    @property
    def status(self) -> Status:
        return Status()

    def _check(self) -> None:
        if self.link is not None:
            raise self.link

    async def close(self) -> None:
        self.is_closed = True
        self.on_close()

    def settle_longer(self) -> None:
        self.settles_longer = True

    # -- the script

    def shoot(self, *files: File, announced: bool = True) -> None:
        self.files += files
        if announced:
            self.looks.put_nowait(Look(added=tuple(file.object for file in files)))

    def lose(self, name: str) -> None:
        self.files = [file for file in self.files if file.object.name != name]

    def delete_file(self, item: Object) -> None:
        self.files = [file for file in self.files if file.object.handle != item.handle]

    # -- what the agent asks

    async def storages(self) -> list[Storage]:
        self._check()
        return [
            Storage(card, "card", 1 << 30, 1 << 29, None, True, card not in self.locked)
            for card in self.cards
        ]

    async def scan(self, known: object = None) -> AsyncIterator[Folder]:
        self._check()
        self.scans += 1
        places = dict.fromkeys((file.object.storage, file.object.folder) for file in self.files)
        for storage, name in places:
            folder = self._folder(storage, name)
            if (waiting := self.on_listed(name)) is not None:
                await waiting
            self._check()
            yield folder

    def _folder(self, storage: int, name: str) -> Folder:
        listed = tuple(
            file.object for file in self.files if (file.object.storage, file.object.folder) == (storage, name)
        )
        return Folder(storage, name, listed, is_complete=name not in self.incomplete)

    async def reconcile(self) -> list[Folder]:
        self._check()
        self.reconciles += 1
        places = dict.fromkeys((file.object.storage, file.object.folder) for file in self.files)
        return [self._folder(*place) for place in places]

    async def look(self) -> Look:
        look = await self.looks.get()
        self._check()
        return look

    async def pause(self) -> None:
        await asyncio.sleep(0)

    async def lookup(self, item: Object) -> Object | None:
        await asyncio.sleep(0)
        self._check()
        self.lookups.append(item.name)
        self.on_lookup(item)
        self._check()
        for file in sorted(self.files, key=lambda file: file.object.handle != item.handle):
            seen = file.object
            is_size = item.is_just_written or item.size in (None, seen.size) or seen.size is None
            if is_same_name(item, seen) and is_size and are_same_time(item.captured, seen.captured):
                return msgspec.structs.replace(seen, captured=item.captured, is_just_written=False)
        return None

    async def delete(self, item: Object) -> Deletion:
        """As a camera does: by handle, but only what the handle still means."""
        await asyncio.sleep(0)
        self._check()
        self.asked_to_delete.append(item.name)
        if (outcome := self.on_delete(item)) is not None:
            return outcome
        if item not in [file.object for file in self.files]:
            return Deletion(False, fault(FAULTS, "camera.another_file"))
        self.files = [file for file in self.files if file.object != item]
        return Deletion(True)

    async def measure(self, item: Object) -> int:
        return self.measured[item.name]

    def can_resume(self, item: Object) -> bool:
        return self.resumes

    def _by_handle(self, item: Object) -> bytes:
        for file in self.files:
            if file.object.handle == item.handle:
                return file.data
        raise fault(FAULTS, "camera.bad_dataset", f"handle {item.handle:x}")

    async def read(self, item: Object, offset: int, buffer: memoryview) -> int:
        assert self.resumes
        await asyncio.sleep(0)
        self._check()
        self.reads.append((item.name, offset))
        if (waiting := self.on_read(item, offset)) is not None:
            await waiting
        self._check()
        piece = self._by_handle(item)[offset : offset + min(len(buffer), self.chunk)]
        if not piece:
            raise fault(FAULTS, "camera.short_read", f"nothing at {offset}")
        buffer[: len(piece)] = piece
        return len(piece)

    async def stream_whole(self, item: Object, sink: Sink) -> int:
        self._check()
        data = self._by_handle(item)
        for offset in range(0, len(data), self.chunk):
            self.reads.append((item.name, offset))
            if (waiting := self.on_read(item, offset)) is not None:
                await waiting
            self._check()
            taken = sink(memoryview(data[offset : offset + self.chunk]))
            if taken is not None:
                await taken
        return len(data)
