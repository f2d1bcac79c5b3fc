"""Walking below the root by open directories, so that no symbolic link and no ``..`` can lead out of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_MOST_REMEMBERED = 1000


@contextmanager
def opened(descriptor: int) -> Iterator[int]:
    """Close `descriptor` at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def descend(root: int, folders: Sequence[str]) -> int:
    """Return a descriptor of the folder `folders` below `root`, which stays open."""
    here = os.dup(root)
    for name in folders:
        with opened(here):
            here = os.open(name, _FOLDER, dir_fd=here)
    return here


class Maker:
    """Makes folders whose names survive a power cut.

    A name is durable only when the folder that holds it was synced. An earlier run may have been killed between
    the two, so each folder is synced at its first use by this process too, and only then: a sync is a flush of
    the whole disk, even when nothing changed.
    """

    def __init__(self) -> None:
        self._durable: set[tuple[str, ...]] = set()

    def descend(self, root: int, folders: Sequence[str]) -> int:
        """As `descend`, but missing folders are made."""
        here = os.dup(root)
        for depth, name in enumerate(folders, start=1):
            with opened(here):
                try:
                    below = os.open(name, _FOLDER, dir_fd=here)
                except FileNotFoundError:
                    _make(here, name)
                    below = os.open(name, _FOLDER, dir_fd=here)
                    self._durable.discard(tuple(folders[:depth]))
                try:
                    self._settle(here, tuple(folders[:depth]))
                except BaseException:
                    os.close(below)
                    raise
            here = below
        return here

    def _settle(self, parent: int, path: tuple[str, ...]) -> None:
        if path in self._durable:
            return
        os.fsync(parent)
        if len(self._durable) >= _MOST_REMEMBERED:
            self._durable.clear()
        self._durable.add(path)


def _make(parent: int, name: str) -> None:
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        pass
    except FileNotFoundError:
        if os.fstat(parent).st_nlink:
            raise refused_name(name) from None
        raise


def refused_name(name: str) -> OSError:
    """Return what a file system should say to a name that it cannot store; exFAT through FUSE says ENOENT."""
    return OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
