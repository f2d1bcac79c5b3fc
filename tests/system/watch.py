"""Who publishes what into a folder, seen by the kernel: every appearance of a name, counted (inotify)."""

from __future__ import annotations

import ctypes
import itertools
import os
import struct
import threading
from collections import Counter
from pathlib import Path
from typing import Self

_IN_MOVED_TO, _IN_CREATE = 0x80, 0x100
_HEADER = struct.Struct("iIII")


class FolderWatch:
    """Counts by name how often a file appeared in one folder under a name that does not begin with a dot."""

    def __init__(self, folder: Path):
        self.appearances: Counter[str] = Counter()
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(0)
        if (
            self._descriptor < 0
            or libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_MOVED_TO | _IN_CREATE) < 0
        ):
            raise OSError(ctypes.get_errno(), "inotify")
        self._folder = folder
        self._markers = itertools.count()
        self._seen: set[str] = set()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._mark("end")
        self._thread.join(10)
        os.close(self._descriptor)

    def settle(self) -> None:
        """Return when everything that happened before has been counted."""
        name = self._mark(str(next(self._markers)))
        with self._news:
            if not self._news.wait_for(lambda: name in self._seen, timeout=10):
                raise TimeoutError("inotify is silent")

    def _mark(self, word: str) -> str:
        marker = self._folder / f".watch-{word}"
        marker.touch()
        marker.unlink()
        return marker.name

    def _read(self) -> None:
        while True:
            data = os.read(self._descriptor, 65536)
            with self._news:
                while data:
                    length = _HEADER.unpack_from(data)[3]
                    name = data[_HEADER.size : _HEADER.size + length].rstrip(b"\0").decode()
                    data = data[_HEADER.size + length :]
                    if name == ".watch-end":
                        return
                    if name.startswith(".watch-"):
                        self._seen.add(name)
                    elif not name.startswith("."):
                        self.appearances[name] += 1
                self._news.notify_all()
