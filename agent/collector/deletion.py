"""Deleting from the card what is delivered and proven, while a camera is visited. Off unless the settings say otherwise.

A round lists the cards, matches what lies there with the ledger, and deletes one object after another. For each: the
journal says 'started', durably and only if the file is justified in that same moment; the camera is asked what the handle
means, told to delete, and asked once more; the journal says what came of it. Nothing is ever deleted because of what an
earlier listing said alone. What a crash interrupted is looked at on the card before anything else.

`cards` is held while a card is listed or changed, so that no listing is compared while objects vanish from it; `sparing`
while the spool gives up a copy because the card has another, and while the card's copy is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from agent.camera import FAULTS as CAMERA_FAULTS
from agent.camera import Body, Folder, Handle, Object, are_same_time
from agent.collector.deletable import Verdict, judged, last_proof_at, named_by_routes
from agent.collector.surroundings import Surroundings
from agent.faults import Fault
from agent.ledger import Row
from agent.ledger.journal import Open
from agent.settings import DeleteSettings

log = structlog.get_logger("collector")

AGENT = "agent"
ROUND_SECONDS = 300.0
MOST_A_ROUND = 1000
_BATCH_NAMES = 500
_MOST_LOOKED_AT = 200  # files of a card, to find out whether it is one that we know
_SOONEST_SECONDS = 60.0  # between two rounds that only time has made due: each lists the cards
_LAST_SECONDS = 5.0
_MOST_STALE_ROUNDS = 3  # in a row
_LOCKED = "ptp.store_read_only"
_STALE = "camera.another_file"


class Deleting:
    def __init__(
        self,
        body: Body,
        camera: str,
        around: Surroundings,
        cards: asyncio.Lock,
        sparing: asyncio.Lock,
    ):
        self._body = body
        self._camera = camera
        self._around = around
        self._journal = around.ledger.journal
        self._cards = cards
        self._sparing = sparing
        self._may_begin = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ordered_by = ""
        self._locked: set[int] = set()  # storages that nothing is deleted from now
        self._refusing: set[int] = set()  # of these, the ones that only an attempt has shown
        self._due_at: datetime | None = None
        self._stale_rounds = 0

    def begin(self) -> None:
        """The cards were read once: what is on them is known to the ledger."""
        self._may_begin.set()

    def hurry(self) -> None:
        """Look again at once: the settings may have changed."""
        self._hurry.set()

    def order(self, by: str) -> None:
        """A person wants one round now, whether it is switched on or not; everything else that is demanded holds."""
        self._ordered_by = by
        self._hurry.set()

    async def run(self) -> None:
        """Serve until cancelled; faults of the whole link are raised."""
        await self._may_begin.wait()
        await self._look_at_interrupted()
        seen = -1
        while True:
            by, self._ordered_by = self._ordered_by, ""
            is_hurried = self._hurry.is_set()
            self._hurry.clear()
            is_due = self._due_at is not None and self._due_at <= datetime.now(UTC)
            is_new = is_hurried or is_due or self._around.ledger.changes != seen
            if by or (self._around.delete.enabled and is_new and self._stale_rounds < _MOST_STALE_ROUNDS):
                seen = self._around.ledger.changes
                await self._round(by)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds()):
                    await self._hurry.wait()

    def _pause_seconds(self) -> float:
        if self._due_at is None or self._stale_rounds >= _MOST_STALE_ROUNDS:
            return ROUND_SECONDS
        return min(max(0.1, (self._due_at - datetime.now(UTC)).total_seconds()), ROUND_SECONDS)

    # -- a round -----------------------------------------------------------------------------------------

    async def _round(self, by: str) -> None:
        self._due_at = None
        async with self._cards:
            chosen = await self._choose(by)
        for file_id, item in chosen.items():
            if item.storage in self._locked:
                continue
            async with self._cards, self._sparing:
                code = await self._delete(file_id, item, by)
            if code == _STALE:  # so the listing that all of these are from is not true any more
                self._note_stale(by)
                return
            self._stale_rounds = 0
        if len(chosen) >= MOST_A_ROUND:
            self._due_at = datetime.now(UTC)

    async def _choose(self, by: str) -> dict[int, Object]:
        """List the cards; return what may be deleted of them now, by the number of its file."""
        reported = {storage.id for storage in await self._body.storages() if not storage.allows_delete}
        for storage in reported - self._locked:
            self._tell_locked(storage)
        # A card that is refused although the camera calls it writable is not tried again in this visit.
        self._refusing = set() if by else self._refusing - reported
        self._locked = reported | self._refusing
        chosen: dict[int, Object] = {}
        async for folder in self._body.scan():
            if folder.is_complete and folder.storage not in self._locked and len(chosen) < MOST_A_ROUND:
                chosen |= await self._choose_in(folder, by)
        return chosen

    async def _choose_in(self, folder: Folder, by: str) -> dict[int, Object]:
        chosen: dict[int, Object] = {}
        serial = self._body.identity.serial
        for objects in _batches(folder):
            names = [item.name for item in objects]
            rows = await self._journal.deletable(serial, folder.storage, folder.name, names)
            for item in objects:
                row = _the_row_of(item, rows)
                if row is not None and self._judge(row, item, by).reason is None:
                    # Its size is what was fetched, so it is final, whenever in this session it was written.
                    chosen[row["id"]] = msgspec.structs.replace(item, is_just_written=False)
        return chosen

    def _judge(self, row: Row, item: Object, by: str) -> Verdict:
        rules: DeleteSettings = self._around.delete
        if not (by or rules.enabled):  # switched off while a round is under way
            return Verdict("switched off")
        named = named_by_routes(row, self._camera, self._around.routes)
        now, aged = self._around.clock.now(), self._around.clock.now_for(last_proof_at(row))
        verdict = judged(
            {**row, "is_protected": item.is_protected or False},
            rules,
            named,
            aged,
            asked_by_person=bool(by),
        )
        if verdict.due_at is not None:
            soonest = now + timedelta(seconds=min(_SOONEST_SECONDS, ROUND_SECONDS))
            due_at = max(verdict.due_at + (now - aged), soonest)
            self._due_at = min(due_at, self._due_at or due_at)
        is_owed = any(each["state"] in ("queued", "uploading", "failed") for each in row["deliveries"])
        if verdict.reason is None and is_owed and not self._around.spool.is_finished(row["id"]):
            return Verdict("needed")
        return verdict

    def _note_stale(self, by: str) -> None:
        """List the cards again at once, a few times; a camera that lists otherwise than it describes is left alone."""
        self._stale_rounds += 1
        if self._stale_rounds < _MOST_STALE_ROUNDS:
            self._due_at, self._ordered_by = datetime.now(UTC), by
            return
        log.error(
            "nothing is deleted by itself any more",
            camera=self._camera,
            code=_STALE,
            hint="The camera lists its files otherwise than it describes them: delete on the camera itself.",
        )

    async def _delete(self, file_id: int, item: Object, by: str) -> str | None:
        """Delete one file; return the code of what was in the way."""
        deletion_id = await self._journal.begin(
            file_id, by or AGENT, lambda row: self._judge(row, item, by).proofs
        )
        if deletion_id is None:
            return None
        work = asyncio.create_task(self._carry_out(deletion_id, file_id, item, by), name="delete one")
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:  # we end: an answer that is about to come is worth a moment
            try:
                await asyncio.wait([work], timeout=_LAST_SECONDS)
            finally:
                work.cancel()
            raise

    async def _carry_out(self, deletion_id: int, file_id: int, item: Object, by: str) -> str | None:
        try:
            outcome = await self._body.delete(item)
        except Fault as caught:  # the link is lost, and with it the answer
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._journal.end(deletion_id, "unknown", caught.code, caught.detail)
            raise
        events = log.bind(file=file_id, name=item.name, folder=item.folder, camera=self._camera)
        if outcome.fault is None:
            await self._journal.end(deletion_id, "deleted")
            events.info("deleted from the card", by=by or AGENT)
            return None
        failure = outcome.fault
        await self._journal.end(
            deletion_id, "refused" if outcome.was_asked else "kept", failure.code, failure.detail
        )
        events.warning("not deleted", code=failure.code, hint=failure.hint, detail=failure.detail)
        if failure.code == _LOCKED:
            self._refusing.add(item.storage)
            self._tell_locked(item.storage)
        return failure.code

    def _tell_locked(self, storage: int) -> None:
        self._locked.add(storage)
        log.warning(
            "nothing is deleted from this card",
            camera=self._camera,
            storage=f"{storage:08x}",
            code=_LOCKED,
            hint=CAMERA_FAULTS[_LOCKED].hint,
        )

    # -- what a crash or a lost link interrupted ---------------------------------------------------------

    async def _look_at_interrupted(self) -> None:
        """Look at the card for every deletion of which nobody knows what came. Nothing is deleted here."""
        for entry in await self._journal.open(self._body.identity.serial):
            async with self._cards:
                await self._look_at(entry)

    async def _look_at(self, entry: Open) -> None:
        described = Object(
            Handle(0), entry.storage, entry.folder, entry.name, entry.size, entry.captured, format=0, group=0
        )
        events = log.bind(file=entry.file_id, name=entry.name, folder=entry.folder, camera=self._camera)
        if await self._body.lookup(described) is not None:
            await self._journal.end(
                entry.id, "kept", detail="It was interrupted; the file is still on its card."
            )
            events.info("not deleted", why="it was interrupted, and is still on its card")
        elif await self._is_card_of(entry):
            await self._journal.end(
                entry.id, "deleted", detail="It was interrupted; the file is no longer on its card."
            )
            events.info("deleted from the card", why="it was interrupted, and is no longer on its card")
        else:
            events.warning("deletion unknown", why="it was interrupted, and its card is not in the camera")

    async def _is_card_of(self, entry: Open) -> bool:
        """Whether the card in that slot is the one that the file was on, as far as that can be told: it has a file that
        we knew before, or none at all."""
        if entry.storage not in {storage.id for storage in await self._body.storages()}:
            return False
        items = [
            item
            async for folder in self._body.scan()
            if folder.storage == entry.storage
            for item in folder.objects[:_MOST_LOOKED_AT]
        ]
        for item in items[:_MOST_LOOKED_AT]:
            if await self._was_known(item, entry.started_at):
                return True
        return not items

    async def _was_known(self, item: Object, before: str) -> bool:
        return item.size is not None and await self._journal.was_known(
            self._body.identity.serial, item.storage, item.folder, item.name, item.size, item.captured, before
        )


def _batches(folder: Folder) -> Iterator[list[Object]]:
    """The files of a folder that their names tell apart, some at a time."""
    seen: dict[str, list[Object]] = {}
    for item in folder.objects:
        seen.setdefault(item.name, []).append(item)
    alone = [items[0] for items in seen.values() if len(items) == 1]
    for start in range(0, len(alone), _BATCH_NAMES):
        yield alone[start : start + _BATCH_NAMES]


def _the_row_of(item: Object, rows: list[Row]) -> Row | None:
    """The one file that this object is: same name, size and time; None if there is none, or a doubt."""
    found = [
        row
        for row in rows
        if row["name"] == item.name
        and item.size is not None
        and row["size_bytes"] == item.size
        and are_same_time(row["captured"], item.captured)
    ]
    return found[0] if len(found) == 1 else None
