"""Space in the spool for one more file: the budget's one eviction rule.

Delivered files go first, least recently looked at. Then parts of other files whose fetch was broken off: they are
worth nothing yet, and kept they could fill the spool for ever. If there is none and every missing proof waits on a
destination that is paused or unreachable, or for its hours, the oldest file that is verified somewhere and still the
same on its card goes; what it is still owed waits for the camera, and is fetched again when its destination takes it.
If none qualifies, fetching waits and says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent.camera import Object
from agent.faults import Advice, Fault, Kind, Scope, fault
from agent.ledger import Ledger, Row
from agent.spool import FAULTS as SPOOL_FAULTS
from agent.spool import Room, Spool, Verdict

log = structlog.get_logger("collector")

FAULTS = {
    "spool.larger_than_budget": Advice(
        Kind.NEEDS_USER,
        "The file is larger than the spool may be: raise spool.budget (or give it a larger disk), or skip the file.",
        Scope.ITEM,
    ),
    "spool.no_room": Advice(
        Kind.RETRYABLE,
        "The spool is full of files that are not delivered yet: fetching goes on when a destination takes them.",
    ),
    "spool.full": SPOOL_FAULTS["spool.full"],
}
_LOOK_AGAIN_SECONDS = 10.0

StillOnCard = Callable[[Row], Awaitable[Object | None]]
LetPass = Callable[[], Awaitable[bool]]


async def _nobody() -> bool:
    return False


class RoomMaker:
    """`sparing` is held while a copy is given up because its card has another."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        serial: str,
        still_on_card: StillOnCard,
        sparing: asyncio.Lock | None = None,
    ):
        self._ledger = ledger
        self._spool = spool
        self._serial = serial
        self._still_on_card = still_on_card
        self._sparing = sparing or asyncio.Lock()

    async def make(self, file_id: int, size: int, let_pass: LetPass = _nobody) -> None:
        """Return when space for the whole file is reserved; wait as long as it takes.

        `let_pass` serves whoever goes first and needs no wait, and says whether there was anybody. Raises Fault ``spool.larger_than_budget`` for a file that can never fit.
        """
        told: Room | None = None
        while True:
            changes, freed = self._ledger.changes, self._spool.space_changed.count
            verdict = await self._reserve(file_id, size)
            if verdict.room is Room.GRANTED:
                return
            if verdict.room is Room.TOO_LARGE:
                raise fault(FAULTS, "spool.larger_than_budget", f"{verdict.missing_bytes} bytes too large")
            if verdict.room is not told:
                told = verdict.room
                await self._say_why(file_id, verdict)
            elif not await let_pass():
                await self._wait(freed, changes)

    async def is_ready(self, file_id: int, size: int) -> bool:
        """Whether `make` would not wait. If so, the space is reserved."""
        return (await self._reserve(file_id, size)).room in (Room.GRANTED, Room.TOO_LARGE)

    async def _reserve(self, file_id: int, size: int) -> Verdict:
        """Reserve, after making as much room as is needed and allowed."""
        while True:
            verdict = self._spool.reserve(file_id, size)
            if verdict.room in (Room.GRANTED, Room.TOO_LARGE):
                return verdict
            if not await self._evict(file_id, verdict.missing_bytes):
                return verdict

    async def _evict(self, wanting: int, missing_bytes: int) -> bool:
        """Free at least `missing_bytes` if the rule allows; say whether anything was freed."""
        freed = 0
        delivered = await self._ledger.files.freeable()
        for file_id in sorted(delivered, key=self._last_looked_at):
            if freed >= missing_bytes:
                break
            freed += await self._give_up(file_id, "delivered")
        return freed > 0 or await self._drop_part(wanting, missing_bytes) or await self._sacrifice()

    async def _drop_part(self, wanting: int, missing_bytes: int) -> bool:
        """Drop the smallest part that is large enough, else the largest: the least to be fetched again."""
        parts = sorted(
            (size, file_id) for file_id, size in self._spool.idle_parts.items() if file_id != wanting
        )
        if not parts:
            return False
        size, file_id = next((part for part in parts if part[0] >= missing_bytes), parts[-1])
        await self._spool.forget(file_id)
        log.info("part dropped", file=file_id, size=size, why="another file needs the room")
        return True

    async def _sacrifice(self) -> bool:
        async with self._sparing:
            return await self._sacrifice_one()

    async def _sacrifice_one(self) -> bool:
        subjects = await self._ledger.cameras.subjects()
        unreachable = [s.name for s in subjects if s.kind == "destination" and s.state != "ready"]
        for row in await self._ledger.files.sacrificeable(unreachable, self._serial):
            if await self._is_on_card(row):
                return await self._give_up(row["id"], "verified elsewhere, and still on its card") > 0
        return False

    async def _is_on_card(self, row: Row) -> bool:
        try:
            return await self._still_on_card(row) is not None
        except Fault as caught:
            if caught.scope is Scope.WHOLE:
                raise
            return False  # a doubt about that file, not about the one that wants its place

    async def _give_up(self, file_id: int, why: str) -> int:
        before = self._spool.used_bytes
        if not await self._spool.evict(file_id):
            return 0
        await self._ledger.files.mark_evicted(file_id)
        log.info("evicted", file=file_id, why=why)
        return max(1, before - self._spool.used_bytes)

    def _last_looked_at(self, file_id: int) -> float:
        try:
            return self._spool.last_read_at(file_id).timestamp()
        except KeyError:
            return 0.0

    async def _say_why(self, file_id: int, verdict: Verdict) -> None:
        code = "spool.full" if verdict.room is Room.DISK_FULL else "spool.no_room"
        waiting = fault(FAULTS, code, f"{verdict.missing_bytes} bytes are missing")
        await self._ledger.files.hold_file(file_id, "spool", waiting.code, waiting.detail, None)
        log.warning("waiting", file=file_id, waiting_for="spool", code=waiting.code, hint=waiting.hint)

    async def _wait(self, seen: int, changes: int) -> None:
        """For space given back, or for a delivery that got done."""
        waits = [
            asyncio.ensure_future(self._spool.space_changed.after(seen)),
            asyncio.ensure_future(self._ledger.wait_for_change(changes)),
        ]
        try:
            await asyncio.wait(waits, timeout=_LOOK_AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
