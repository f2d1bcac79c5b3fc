"""What is new on a card: a pure function of a listing and what the ledger knows of that place.

Names and handles are never identity. A listed object is a known file if folder, name and size agree and the times
are at most two seconds apart (listing and ObjectInfo round differently); while a size is not final, name and time
must do, until it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from agent.camera import Object, are_same_time
from agent.ledger import Known


class Wanted(msgspec.Struct, frozen=True):
    """A known file that is still to be fetched, and the object that it is in this session."""

    file_id: int
    object: Object


class News(msgspec.Struct, frozen=True):
    new: tuple[Object, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    unsettled: tuple[Wanted, ...] = ()  # known, but the size was not final when they were seen
    returned: tuple[int, ...] = ()  # were gone, are on the card again (also among `wanted` or `unsettled`)
    gone: tuple[int, ...] = ()  # known, never fetched, and not in a complete listing


def news(objects: Iterable[Object], known: Iterable[Known], *, is_complete: bool) -> News:
    """Compare one folder's listing with the ledger. `is_complete`: what is not listed is not on the card."""
    by_name: dict[str, list[Known]] = defaultdict(list)
    for row in known:
        by_name[row.name].append(row)
    new: list[Object] = []
    wanted: list[Wanted] = []
    unsettled: list[Wanted] = []
    returned: list[int] = []
    seen: set[int] = set()
    for listed in objects:
        match = _match(listed, by_name.get(listed.name, ()), seen)
        if match is None:
            new.append(listed)
            continue
        seen.add(match.id)
        if listed.size is None and match.size is not None:
            listed = msgspec.structs.replace(listed, size=match.size)  # found out the hard way, once
        if match.state == "gone":
            returned.append(match.id)
        if match.state in ("discovered", "fetching", "gone") or match.is_owed_again:
            (unsettled if match.size is None else wanted).append(Wanted(match.id, listed))
    gone = [
        row.id
        for rows in by_name.values()
        for row in rows
        if is_complete
        and row.id not in seen
        and (row.state in ("discovered", "fetching") or row.is_owed_again)
    ]
    return News(tuple(new), tuple(wanted), tuple(unsettled), tuple(returned), tuple(gone))


def _match(listed: Object, rows: Sequence[Known], seen: set[int]) -> Known | None:
    """The known file that this object is. One whose size agrees goes before one whose size is not final."""
    candidates = [row for row in rows if row.id not in seen and are_same_time(row.captured, listed.captured)]
    for row in candidates:
        if row.size is not None and (row.size == listed.size):
            return row
    for row in candidates:
        if row.size is None or listed.size is None:
            return row
    return None


def is_old(captured: str, backlog: str, since: str | None, *, is_card_new: bool) -> bool:
    """Whether the setting `backlog` ("all", "none" or a time) leaves a file alone that a scan found.

    A time counts always. "none" means what lay on a card when that card was first met, up to `since`, the newest
    capture at the first contact with the camera. On a card that is already known everything is wanted, so that
    a camera clock that is set back loses nothing.
    """
    if backlog == "all":
        return False
    if backlog != "none":
        return bool(captured) and captured < backlog
    return is_card_new and (since is None or captured <= since)
