"""What routes want to know of a file besides its listing, learnt once, and only where a route asks: what else belongs to
its shot, whether it is protected, and what its first bytes say (EXIF, stars).

The files of a shot are told by the camera's number for it, among what is on the card now: after a format the same
numbers come again. RAW and JPEG are announced one after the other, so a file that was just written waits for its partners
up to `SHOT_SECONDS` where a route asks for them. A partner that comes later has the others looked at again. What a file
owes by then it goes on owing, so the order in which they were met decides nothing but that.

What is read is believed only if the object is looked up afterwards and is still the same file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence, Set

import msgspec

from agent import pictures
from agent.camera import Body, Folder, Object, are_same_time
from agent.collector.fetch import FAULTS
from agent.collector.news import recognised
from agent.collector.queue import Item
from agent.collector.surroundings import Surroundings
from agent.faults import fault
from agent.keys import Facts
from agent.ledger import Known, NewDelivery
from agent.pictures import Picture
from agent.routing import (
    ALONE,
    Need,
    Shot,
    ask_for_marks,
    ask_for_shots,
    corrected,
    is_wanted,
    kind_of,
    missing,
    picture_of,
    steady,
)

SHOT_SECONDS = 5.0
"""How long the files of one shot may take to be announced: a RAW of 50 MB is written in about one."""
UNSETTLED_SECONDS = 30.0
"""How long a partner whose size is not final may hold up the others."""

_NOT_LISTED_SECONDS = 1.0

_Place = tuple[int, str, int]  # storage, folder, number of the shot


class Asked(msgspec.Struct, frozen=True):
    """What a file was asked in this visit; None: not asked."""

    is_protected: bool | None = None
    picture: Picture | None = None


class Member(msgspec.Struct):
    """A file of a shot."""

    file_id: int
    object: Object
    facts: Facts
    written_at: float  # monotonic; when it was announced, long ago for what lay on the card


class Learning:
    """For one connected body."""

    def __init__(self, body: Body, camera: str, around: Surroundings):
        self._body = body
        self._camera = camera
        self._around = around
        self._shots: dict[_Place, dict[int, Member]] = {}
        self._asked: dict[int, Asked] = {}
        ahead = body.clock_ahead_seconds
        self.clock_ahead_seconds = None if ahead is None else steady(ahead)

    @property
    def _asks_for_shots(self) -> bool:
        return ask_for_shots(self._around.routes)

    def facts(self, seen: Object, row: Known | None = None) -> Facts:
        """What is known of a listed object, by now and from earlier visits. Without a `row` it was met just now."""
        ahead = self.clock_ahead_seconds if row is None else row.clock_ahead_seconds
        utc, local = corrected(seen.captured, ahead, self._around.zone)
        is_protected = seen.is_protected
        if is_protected is None and row is not None:
            is_protected = row.is_protected
        return Facts(
            camera=self._camera,
            serial=self._body.identity.serial,
            storage=seen.storage,
            folder=seen.folder,
            name=seen.name,
            size=seen.size or 0,
            captured=seen.captured,
            kind=kind_of(seen.name, seen.format),
            group=0 if seen.group == seen.handle else seen.group,  # the handle itself: this camera tells none
            site=self._around.site,
            utc=utc,
            local=local,
            is_protected=is_protected,
            picture=None if row is None else picture_of(row.picture),
        )

    # -- shots

    def take_note(
        self,
        folder: Folder,
        new: Sequence[tuple[int, Object]],
        known: Sequence[Known],
        seen_since: Set[int],
        *,
        is_change: bool,
    ) -> list[Item]:
        """Take note of what was listed (`new`: seen for the first time just now); return what is to be decided anew.

        `seen_since`: files that were announced while the folder was being listed. `is_change`: the photographer has changed
        something about these.
        """
        if not (self._asks_for_shots or (is_change and ask_for_marks(self._around.routes))):
            return []
        undecided: list[tuple[int, Object, Facts]] = []
        newest = max((each.captured for each in folder.objects), default="")
        met: list[tuple[int, Object, Known | None]] = [(file_id, seen, None) for file_id, seen in new]
        met += [(row.id, seen, row) for seen, row in recognised(folder.objects, known)]
        for file_id, seen, row in met:
            if is_change:
                self._asked.pop(file_id, None)
            facts = self.facts(seen, None if is_change else row)
            is_written_now = row is None and (not folder.is_complete or are_same_time(seen.captured, newest))
            others = self.meet(file_id, seen, facts, is_written_now=is_written_now)
            if is_change:
                undecided.append((file_id, seen, facts))
                others = self._rest_of_shot(file_id, facts)
            if is_change or row is None:
                undecided += [(other.file_id, other.object, other.facts) for other in others]
        if folder.is_complete:
            self._keep_only(folder.storage, folder.name, {*(each[0] for each in met), *seen_since})
        just_met = {file_id for file_id, _ in new}
        return [
            Item(file_id, seen, facts, is_again=True)
            for file_id, seen, facts in undecided
            if file_id not in just_met and seen.size is not None and self.is_wanted(file_id, facts)
        ]

    def meet(self, file_id: int, seen: Object, facts: Facts, *, is_written_now: bool) -> list[Member]:
        """Take note of a file that is on the card; return the others of its shot if it is new among them."""
        if not facts.group or not self._asks_for_shots:
            return []
        members = self._shots.setdefault((seen.storage, seen.folder, seen.group), {})
        before = members.get(file_id)
        written_at = before.written_at if before else time.monotonic() if is_written_now else float("-inf")
        members[file_id] = Member(file_id, seen, facts, written_at)
        return [] if before else self._rest_of_shot(file_id, facts)

    def _keep_only(self, storage: int, folder: str, file_ids: set[int]) -> None:
        """The folder was listed as a whole: whatever else was in it is gone."""
        for place, members in list(self._shots.items()):
            if place[:2] == (storage, folder):
                for file_id in members.keys() - file_ids:
                    del members[file_id]
                if not members:
                    del self._shots[place]

    def forget(self, file_ids: Iterable[int]) -> None:
        """These are not on the card, or not what they were."""
        gone = set(file_ids)
        for file_id in gone:
            self._asked.pop(file_id, None)
        for members in self._shots.values() if gone else ():
            for file_id in gone & members.keys():
                del members[file_id]

    def _rest_of_shot(self, file_id: int, facts: Facts) -> list[Member]:
        """The other files of a file's shot."""
        members = self._shots.get((facts.storage, facts.folder, facts.group), {})
        return [each for each in members.values() if each.file_id != file_id]

    # -- deciding

    def is_wanted(self, file_id: int, facts: Facts) -> bool:
        """Whether the file is owed somewhere, or may turn out to be."""
        facts = self._with_answers(file_id, facts)
        shot, _, _ = self._shot(file_id, facts)
        return is_wanted(facts, self._around.routes, shot)

    async def decide(self, item: Item) -> tuple[NewDelivery, ...] | float:
        """Return the deliveries that the file needs; or the seconds after which to ask again, as more of its shot may come.

        Raises Fault: ``camera.file_changed`` if another file stands there by now, or what the link fails with.
        """
        while True:
            facts = self._with_answers(item.file_id, item.facts)
            shot, members, wait = self._shot(item.file_id, facts)
            needs = missing(facts, self._around.routes, self._around.destinations, shot)
            if not needs:
                return self._around.owed(facts, shot)
            if wait > 0 and any(each.need is Need.PARTNERS for each in needs):
                return wait
            own = Member(item.file_id, item.object, facts, 0.0)
            for place in {each.place for each in needs}:
                wants_picture = any((each.place, each.need) == (place, Need.PICTURE) for each in needs)
                member = members[place - 1] if place else own
                if member.object.size is None:
                    if time.monotonic() - member.written_at < UNSETTLED_SECONDS:
                        return 1.0
                    self._asked[member.file_id] = Asked(False, Picture())
                elif not await self._ask(member, wants_picture=wants_picture):
                    if not place:
                        where = f"{facts.folder}/{facts.name}"
                        raise fault(FAULTS, "camera.file_changed", where)
                    self.forget([member.file_id])

    def _shot(self, file_id: int, facts: Facts) -> tuple[Shot, list[Member], float]:
        """What else belongs to the shot of a file, and how many seconds more of it may still come."""
        if not facts.group or not self._asks_for_shots:
            return ALONE, [], 0.0
        own = self._shots.get((facts.storage, facts.folder, facts.group), {}).get(file_id)
        others = self._rest_of_shot(file_id, facts)
        wait = _NOT_LISTED_SECONDS  # until the cards are read: the routes have begun to ask just now
        if own:
            wait = own.written_at + SHOT_SECONDS - time.monotonic()
        known = tuple(self._with_answers(each.file_id, each.facts) for each in others)
        return Shot(known, is_complete=wait <= 0), others, wait

    def _with_answers(self, file_id: int, facts: Facts) -> Facts:
        asked = self._asked.get(file_id)
        if asked is None:
            return facts
        return msgspec.structs.replace(
            facts,
            is_protected=facts.is_protected if asked.is_protected is None else asked.is_protected,
            picture=asked.picture or facts.picture,
        )

    async def _ask(self, member: Member, *, wants_picture: bool) -> bool:
        """Ask the camera, and keep the answers; False if the file is not there any more."""
        seen, picture = member.object, None
        if wants_picture and self._body.can_resume(seen):
            picture = await asyncio.to_thread(pictures.picture, await self._head(seen))
        fresh = await self._body.lookup(seen)
        if fresh is None or fresh.size != seen.size or (picture and fresh.handle != seen.handle):
            return False
        answer = picture or (Picture() if wants_picture else None)
        before = self._asked.get(member.file_id, Asked())
        self._asked[member.file_id] = Asked(bool(fresh.is_protected), answer or before.picture)
        await self._around.ledger.files.note_learnt(
            member.file_id,
            fresh.is_protected,
            None if picture is None else msgspec.json.encode(picture).decode(),
        )
        return True

    async def _head(self, seen: Object) -> bytes:
        head = memoryview(bytearray(min(pictures.HEAD_BYTES, seen.size or 0)))
        got = 0
        while got < len(head):
            got += await self._body.read(seen, got, head[got:])
        return bytes(head)
