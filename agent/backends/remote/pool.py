"""Connections that are kept for the next call: logging in costs more than a small file.

Each is used by one thread at a time. One that has failed, or has been idle for so long that the server may have
hung up, is not used again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent.backends.remote.tree import Tree

IDLE_SECONDS = 20.0  # home servers hang up after a minute or five
_MOST_IDLE = 4


class Pool:
    def __init__(self, connect: Callable[[], Tree]):
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Tree]] = []
        self._is_closed = False

    def take(self) -> Tree:
        """Return a connection, which is the caller's until `give_back`. Raises what connecting raises."""
        found, stale = None, []
        with self._lock:
            while self._idle and found is None:
                since, tree = self._idle.pop()
                if time.monotonic() - since < IDLE_SECONDS and tree.is_usable:
                    found = tree
                else:
                    stale.append(tree)
        for tree in stale:
            tree.close()
        return found or self._connect()

    def give_back(self, tree: Tree) -> None:
        surplus: list[Tree] = []
        with self._lock:
            if tree.is_usable and not self._is_closed:
                self._idle.append((time.monotonic(), tree))
                surplus = [each for _, each in self._idle[:-_MOST_IDLE]]
                del self._idle[:-_MOST_IDLE]
            else:
                surplus = [tree]
        for each in surplus:
            each.close()

    @contextmanager
    def borrowed(self) -> Iterator[Tree]:
        tree = self.take()
        try:
            yield tree
        finally:
            self.give_back(tree)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for _, tree in idle:
            tree.close()
