"""The folder as a destination."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from agent.backends import probe
from agent.backends.base import (
    Check,
    Digests,
    Entry,
    Exclusive,
    Found,
    Presence,
    Proof,
    Receipt,
    split_key,
)
from agent.backends.folder.config import FolderConfig
from agent.backends.folder.faults import FAULTS, translated
from agent.backends.folder.tree import Maker, descend, opened
from agent.backends.folder.upload import FolderUpload, partial_name, sha256_of_disk
from agent.faults import Fault, fault

_MOST_ENTRIES = 1000


class FolderBackend:
    """Holds no descriptor between calls, so a drive can be unplugged and come back."""

    exclusive: Exclusive | None = None

    def __init__(self, config: FolderConfig, *, owner: str):
        self._config = config
        self._owner = owner
        self._path = os.path.abspath(config.path)
        self._maker = Maker()

    def start(self, key: str, size: int, token: str) -> FolderUpload:
        return self._start(_segments(key), size, token)

    def find(self, key: str, size: int, digests: Digests | None) -> Found:
        return self._find(_segments(key), size, digests)

    def drop(self, key: str, token: str) -> None:
        segments = _segments(key)
        with (
            translated(),
            suppress(FileNotFoundError),
            self._root() as root,
            opened(descend(root, segments[:-1])) as folder,
        ):
            os.unlink(partial_name(token), dir_fd=folder)

    def check(self) -> Check:
        found = probe.run(_Lent(self), self._owner)
        if found.proof:
            self.exclusive = found.exclusive
        free_bytes = None
        with suppress(Fault, OSError), self._root() as root:
            disk = os.fstatvfs(root)
            free_bytes = disk.f_bavail * disk.f_frsize
        return msgspec.structs.replace(found, free_bytes=free_bytes)

    def browse(self, path: str) -> Sequence[Entry]:
        folders = _segments(path.strip("/")) if path.strip("/") else ()
        entries: list[Entry] = []
        with (
            translated(),
            self._root() as root,
            opened(descend(root, folders)) as folder,
            os.scandir(folder) as names,
        ):
            for entry in names:
                if entry.name.startswith("."):
                    continue
                is_folder = entry.is_dir(follow_symlinks=False)
                size = None if is_folder else entry.stat(follow_symlinks=False).st_size
                entries.append(Entry(name=entry.name, is_folder=is_folder, size=size))
                if len(entries) == _MOST_ENTRIES:
                    break
        return sorted(entries, key=lambda entry: (not entry.is_folder, entry.name))

    def close(self) -> None:
        pass

    def _start(self, segments: tuple[str, ...], size: int, token: str) -> FolderUpload:
        with translated(), self._root(make=True) as root:
            folder = self._maker.descend(root, segments[:-1])
        location = os.path.join(self._path, *segments)
        return FolderUpload(folder, segments[-1], size, token, location, self._config.minimum_proof)

    def _find(self, segments: tuple[str, ...], size: int, digests: Digests | None) -> Found:
        with translated():
            try:
                with self._root(make=True) as root, opened(descend(root, segments[:-1])) as folder:
                    presence = _compare(folder, segments[-1], size, digests)
            except FileNotFoundError:
                return Found(presence=Presence.ABSENT)
        if presence is not Presence.SAME or digests is None:
            return Found(presence=presence)
        receipt = Receipt(
            size=size,
            proof=Proof.READBACK,
            exclusive=self.exclusive or Exclusive.CHECKED,
            checksum=f"sha256:{digests.sha256}",
            location=os.path.join(self._path, *segments),
        )
        return Found(presence=presence, receipt=receipt)

    @contextmanager
    def _root(self, *, make: bool = False) -> Iterator[int]:
        """Open the root for the length of a call. With `make`, and if the settings say so, it is made."""
        try:
            root = self._open_root()
        except FileNotFoundError:
            if not (make and self._config.create):
                raise fault(FAULTS, "folder.missing", self._path) from None
            self._make_root()
            root = self._open_root()
        with opened(root):
            yield root

    def _open_root(self) -> int:
        try:
            root = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except NotADirectoryError:
            raise fault(FAULTS, "folder.not_a_folder", self._path) from None
        try:
            self._refuse_system_disk(os.fstat(root).st_dev)
        except BaseException:
            os.close(root)
            raise
        return root

    def _make_root(self) -> None:
        parent_path, name = os.path.split(self._path)
        try:
            parent = os.open(parent_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise fault(FAULTS, "folder.missing", parent_path) from None
        with opened(parent):
            self._refuse_system_disk(os.fstat(parent).st_dev)
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
            os.fsync(parent)

    def _refuse_system_disk(self, device: int) -> None:
        if self._config.must_be_mount and device == os.stat("/").st_dev:
            raise fault(FAULTS, "folder.not_mounted", self._path)


class _Lent:
    """What the check needs: the same calls, with reserved names allowed."""

    def __init__(self, backend: FolderBackend):
        self._backend = backend

    def begin(self, key: str, size: int, token: str) -> FolderUpload:
        return self._backend._start((key,), size, token)

    def look(self, key: str, size: int, digests: Digests | None) -> Found:
        return self._backend._find((key,), size, digests)

    def names(self, start: str) -> Collection[str]:
        with translated(), self._backend._root() as root, os.scandir(root) as entries:
            return [entry.name for entry in entries if entry.name.startswith(start)]

    def remove(self, key: str) -> None:
        with translated(), self._backend._root(make=True) as root:
            with suppress(FileNotFoundError):
                os.unlink(key, dir_fd=root)
            os.fsync(root)

    def digests(self, content: bytes) -> Digests:
        return probe.digests_of(content)


def _segments(key: str) -> tuple[str, ...]:
    try:
        return split_key(key)
    except ValueError as error:
        raise fault(FAULTS, "folder.bad_key", str(error)) from error


def _compare(folder: int, name: str, size: int, digests: Digests | None) -> Presence:
    """Compare what stands under `name`, and make it durable before calling it the same.

    A crash right after the rename leaves a file that everyone sees and a power cut can still take.
    """
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        return Presence.DIFFERENT
    if digests is None:
        return Presence.UNDECIDED
    with opened(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)) as file:
        if sha256_of_disk(file) != digests.sha256:
            return Presence.DIFFERENT
    os.fsync(folder)
    return Presence.SAME
