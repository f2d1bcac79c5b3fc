"""What a camera still has to give, in the order in which it is wanted: small kinds first, newest first within a kind."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from contextlib import suppress

import msgspec

from agent.camera import Object
from agent.keys import Facts, Media

RANKS = {Media.JPEG: 0, Media.HEIF: 0, Media.RAW: 1, Media.AUDIO: 2, Media.OTHER: 2, Media.VIDEO: 3}


class Item(msgspec.Struct, frozen=True):
    file_id: int
    object: Object
    facts: Facts
    tries: int = 0
    is_again: bool = False  # only what it owes may have changed; it may be fetched by now

    @property
    def rank(self) -> int:
        return RANKS[self.facts.kind]

    @property
    def order(self) -> tuple[int, int, int]:
        digits = "".join(filter(str.isdigit, self.facts.captured))
        return self.rank, -int(digits or 0), -self.file_id


class Queue:
    """Items by order, and items that wait for the clock. A file is in it at most once.

    An entry of either heap is worth something only while its ticket is the file's latest.
    """

    def __init__(self) -> None:
        self._items: dict[int, tuple[Item, int]] = {}  # file id → item, ticket
        self._heap: list[tuple[tuple[int, int, int], int, int]] = []  # order, file id, ticket
        self._later: list[tuple[float, int, int]] = []  # due, file id, ticket
        self._tickets = itertools.count()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, file_id: object) -> bool:
        return file_id in self._items

    def put(self, item: Item) -> None:
        """Queue the file; one that is queued already, or waits for the clock, keeps its place and gets this item."""
        if item.file_id in self._items:
            before, ticket = self._items[item.file_id]
            item = msgspec.structs.replace(item, tries=before.tries)
            self._items[item.file_id] = item, ticket  # the object of the latest listing counts
            return
        ticket = next(self._tickets)
        self._items[item.file_id] = item, ticket
        heapq.heappush(self._heap, (item.order, item.file_id, ticket))
        self._filled.set()

    def put_later(self, item: Item, seconds: float) -> None:
        ticket = next(self._tickets)
        self._items[item.file_id] = item, ticket
        heapq.heappush(self._later, (time.monotonic() + seconds, item.file_id, ticket))
        self._filled.set()

    def drop(self, file_id: int) -> Item | None:
        """Take the file out, wherever it stands."""
        item, _ = self._items.pop(file_id, (None, 0))
        return item

    def hurry(self) -> None:
        """Let nothing wait for the clock: a person asked, or something changed."""
        self._later = [(0.0, file_id, ticket) for _, file_id, ticket in self._later]
        self._filled.set()

    def take(self, *, better_than: int | None = None) -> Item | None:
        """The next item, or None; with `better_than` only one of a smaller rank."""
        self._promote()
        if not self._heap or (better_than is not None and self._heap[0][0][0] >= better_than):
            return None
        _, file_id, _ = heapq.heappop(self._heap)
        return self._items.pop(file_id)[0]

    async def wait(self) -> None:
        """Return when `take` has something."""
        while True:
            self._filled.clear()
            self._promote()
            if self._heap:
                return
            seconds = self._later[0][0] - time.monotonic() if self._later else None
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._filled.wait()

    def _promote(self) -> None:
        """Move what is due, and drop from the fronts what is out of date."""
        now = time.monotonic()
        while self._later and (self._later[0][0] <= now or not self._is_valid(*self._later[0][1:])):
            _, file_id, ticket = heapq.heappop(self._later)
            if self._is_valid(file_id, ticket):
                heapq.heappush(self._heap, (self._items[file_id][0].order, file_id, ticket))
        while self._heap and not self._is_valid(*self._heap[0][1:]):
            heapq.heappop(self._heap)

    def _is_valid(self, file_id: int, ticket: int) -> bool:
        return file_id in self._items and self._items[file_id][1] == ticket
