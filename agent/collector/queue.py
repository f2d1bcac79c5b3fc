"""What a camera still has to give, in the order in which it is wanted: small kinds first, newest first within a kind."""

from __future__ import annotations

import asyncio
import heapq
import time

import msgspec

from agent.camera import Object
from agent.keys import Facts, Media

RANKS = {Media.JPEG: 0, Media.HEIF: 0, Media.RAW: 1, Media.AUDIO: 2, Media.OTHER: 2, Media.VIDEO: 3}


class Item(msgspec.Struct, frozen=True):
    file_id: int
    object: Object
    facts: Facts
    tries: int = 0

    @property
    def rank(self) -> int:
        return RANKS[self.facts.kind]

    @property
    def order(self) -> tuple[int, int, int]:
        digits = "".join(filter(str.isdigit, self.facts.captured))
        return self.rank, -int(digits or 0), -self.file_id


class Queue:
    """Items by order, and items that wait for the clock. A file is in it at most once."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, int, int], int]] = []
        self._items: dict[int, Item] = {}
        self._later: list[tuple[float, int]] = []
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, file_id: object) -> bool:
        return file_id in self._items

    def put(self, item: Item) -> None:
        if item.file_id not in self._items:
            heapq.heappush(self._heap, (item.order, item.file_id))
        self._items[item.file_id] = item  # the object of the latest listing counts
        self._filled.set()

    def put_later(self, item: Item, seconds: float) -> None:
        self._items[item.file_id] = item
        heapq.heappush(self._later, (time.monotonic() + seconds, item.file_id))

    def drop(self, file_id: int) -> None:
        self._items.pop(file_id, None)

    def hurry(self) -> None:
        """Let nothing wait for the clock: a person asked, or something changed."""
        self._later = [(0.0, file_id) for _, file_id in self._later]
        self._filled.set()

    def take(self, *, better_than: int | None = None) -> Item | None:
        """The next item, or None; with `better_than` only one of a smaller rank."""
        self._promote()
        while self._heap:
            order, file_id = self._heap[0]
            if file_id in self._items:
                if better_than is not None and order[0] >= better_than:
                    return None
                heapq.heappop(self._heap)
                return self._items.pop(file_id)
            heapq.heappop(self._heap)
        return None

    async def wait(self) -> None:
        """Return when `take` may have something."""
        while not self._heap:
            self._filled.clear()
            self._promote()
            if self._heap:
                return
            seconds = self._later[0][0] - time.monotonic() if self._later else None
            try:
                async with asyncio.timeout(seconds):
                    await self._filled.wait()
            except TimeoutError:
                self._promote()

    def _promote(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            _, file_id = heapq.heappop(self._later)
            item = self._items.get(file_id)
            if item:
                heapq.heappush(self._heap, (item.order, file_id))
