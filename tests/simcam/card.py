"""What is on a card: folders, files, and the numbers the camera gives them.

A `Card` is the content of one slot. On EOS, handles are computed from slot, folder number, file number and kind
(protocol.md §2.7), so they come back after a power cycle and are reused after a format; other bodies count. A file is
an `Item` with a `Source` behind it: a formula (`Synthetic`) or a file on this machine (`OnDisk`). `listed_size`
is what the camera says, `source.size` what a read really yields: the two differ only where a trouble wants it.

Not thread-safe: `camera.Camera` holds one lock around everything.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from tests.simcam import synthetic, thumbnail
from tests.simcam.codes import FOLDER, FORMATS

_DCF_FOLDER = re.compile(r"[1-9]\d\d\w{5}$", re.ASCII)
_DCF_FILE = re.compile(r"\w{4}(\d{4})\.\w{3}$", re.ASCII)
_KINDS = {"CR2": 1, "CR3": 1, "JPG": 2, "HIF": 3, "MOV": 0xB, "MP4": 0xB, "WAV": 0xC}


class Source(Protocol):
    """Where the bytes of a file come from."""

    @property
    def size(self) -> int: ...

    def views(self, offset: int, length: int) -> Iterator[memoryview | bytes]: ...

    def sha256(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A file that exists only as a formula; `key` and `size` decide every byte."""

    key: str
    size: int

    def views(self, offset: int, length: int) -> Iterator[memoryview]:
        return synthetic.views(self.key, self.size, offset, length)

    def sha256(self) -> str:
        return synthetic.sha256_of(self.key, self.size)


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A file on this machine, of the size it had when it was put on the card."""

    path: Path
    size: int

    def views(self, offset: int, length: int) -> Iterator[bytes]:
        end = min(self.size, offset + length)
        with self.path.open("rb", buffering=0) as file:
            while offset < end:
                data = os.pread(file.fileno(), min(1 << 20, end - offset), offset)
                if not data:
                    return
                yield data
                offset += len(data)

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(slots=True, eq=False)
class Item:
    """One object of the card: a file, or a folder (association)."""

    handle: int
    storage: int
    parent: int
    name: str
    format: int
    group: int
    captured_at: datetime
    modified_at: datetime
    path: str
    source: Source | None = None
    listed_size: int = 0
    thumbnail: bytes | None = None
    pixels: tuple[int, int] = (6000, 4000)
    is_protected: bool = False
    is_new: bool = False
    recorded_info: bytes | None = None

    @property
    def is_folder(self) -> bool:
        return self.format == FOLDER


class Card:
    """The content of one slot. `salt` tells the synthetic content of two cards with the same names apart."""

    def __init__(
        self, storage: int, *, capacity_bytes: int = 64 * 10**9, salt: str = "", is_eos: bool = True
    ):
        self.storage = storage
        self.capacity_bytes = capacity_bytes
        self.salt = salt
        self.is_eos = is_eos
        self.is_read_only = False
        self.folder_path: Path | None = None
        self._counter = 0
        self.clear()

    def clear(self) -> None:
        """An empty card with a DCIM folder, as after formatting in the camera."""
        self.items: dict[int, Item] = {}
        self._children: dict[int, dict[int, Item]] = {self.root: {}}
        self.used_bytes = 0
        self.changes = 0
        self.file_number = 0
        self.dcim = self._add_folder("DCIM", self.root, self._slot_base + 0x10000000, datetime(2024, 1, 1))
        self.current = self.dcim

    @property
    def _slot_base(self) -> int:
        """0x80000000 for slot 2, 0x40000000 for slot 1 [D]."""
        return (self.storage >> 16) << 30 & 0xFFFFFFFF

    @property
    def root(self) -> int:
        """What listings name as the parent of DCIM; ObjectInfo says 0 instead."""
        return self._slot_base if self.is_eos else 0

    # --- reading

    def children(self, parent: int) -> list[Item]:
        return sorted(self._children.get(parent, {}).values(), key=lambda item: item.handle)

    def has_folder(self, handle: int) -> bool:
        return handle in self._children

    def all(self) -> list[Item]:
        """Depth first by handle, folders before what is in them, as a 60D answers."""
        found: list[Item] = []
        waiting = self.children(self.root)[::-1]
        while waiting:
            item = waiting.pop()
            found.append(item)
            if item.is_folder:
                waiting.extend(self.children(item.handle)[::-1])
        return found

    def files(self) -> list[Item]:
        return [item for item in self.all() if not item.is_folder]

    def find(self, name: str) -> Item:
        """The newest file whose path ends in `name`. KeyError when there is none."""
        for item in reversed(self.items.values()):
            if not item.is_folder and (item.path == name or item.path.endswith("/" + name)):
                return item
        raise KeyError(name)

    # --- changing

    def add_root_folder(self, name: str, moment: datetime) -> Item:
        """A folder beside DCIM, such as MISC (0xA0080000 in slot 2)."""
        rank = len(self._children[self.root])
        return self._add_folder(name, self.root, self._slot_base + 0x20000000 + 0x80000 * rank, moment)

    def add_folder(self, name: str, moment: datetime) -> Item:
        """A folder in DCIM; new pictures go to the one with the highest number."""
        number = int(name[:3]) if _DCF_FOLDER.match(name) else 900 + len(self._children[self.dcim.handle])
        item = self._add_folder(name, self.dcim.handle, self.dcim.handle + (number << 18), moment)
        if self.current is self.dcim or item.handle > self.current.handle:
            self.current = item
        return item

    def _add_folder(self, name: str, parent: int, handle: int, moment: datetime) -> Item:
        handle = self._free(handle, step=1 << 18)
        above = self.items.get(parent)
        path = f"{above.path}/{name}" if above else name
        item = Item(handle, self.storage, parent, name, FOLDER, handle, moment, moment, path)
        self._children[handle] = {}
        self._insert(item)
        return item

    def add(self, folder: Item, name: str, source: Source, moment: datetime) -> Item:
        """A file in `folder`, complete at once. `moment` is the camera's wall clock."""
        extension = synthetic.extension(name)
        match = _DCF_FILE.match(name)
        number = int(match.group(1)) if match else 10_000
        handle = self._free(folder.handle + (number << 4) + _KINDS.get(extension, 4), step=1)
        has_picture = extension in _KINDS and extension != "WAV"
        item = Item(
            handle,
            self.storage,
            folder.handle,
            name,
            FORMATS.get(extension, 0x3000),
            handle & ~0xF if self.is_eos else 0,
            moment,
            _even(moment),
            f"{folder.path}/{name}",
            source=source,
            listed_size=source.size,
            thumbnail=thumbnail.of(name) if has_picture else None,
            is_new=True,
        )
        self._insert(item)
        if match:
            self.file_number = number
        return item

    def _free(self, handle: int, step: int) -> int:
        if not self.is_eos:
            self._counter += 1
            return self._counter
        while handle in self.items:
            handle += step
        return handle

    def _insert(self, item: Item) -> None:
        self.items[item.handle] = item
        self._children[item.parent][item.handle] = item
        self.used_bytes += item.listed_size
        self.changes += 1

    def remove(self, item: Item) -> None:
        del self.items[item.handle]
        del self._children[item.parent][item.handle]
        self.used_bytes -= item.listed_size
        self.changes += 1

    def next_name(self, moment: datetime) -> tuple[Item, int]:
        """Folder and number of the next shot: after 9999 comes 0001 in a new folder (DCF)."""
        if self.current is self.dcim:
            self.add_folder("100CANON", moment)
        elif self.file_number >= 9999:
            self.add_folder(f"{int(self.current.name[:3]) + 1}{self.current.name[3:]}", moment)
            self.file_number = 0
        return self.current, self.file_number + 1

    def rotate_handles(self) -> None:
        """Give every file the handle of its neighbour in the same folder: each number now means another file."""
        for folder in [item for item in self.items.values() if item.is_folder]:
            files = [item for item in self.children(folder.handle) if not item.is_folder]
            handles = [item.handle for item in files]
            for item, handle in zip(files, handles[1:] + handles[:1], strict=True):
                item.handle = handle
                self.items[handle] = self._children[folder.handle][handle] = item
        self.changes += 1


def _even(moment: datetime) -> datetime:
    """FAT keeps modification times to two seconds, so they may lie before the capture time."""
    return moment.replace(microsecond=0) - timedelta(seconds=moment.second % 2)
