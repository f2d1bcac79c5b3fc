"""What is new on a card: a pure function of a listing and what the ledger knows of that place.

Names and handles are never identity. A listed object is a known file if folder, name and size agree and the times
are at most two seconds apart (listing and ObjectInfo round differently); while a size is not final, name and time
must do, until it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

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
    returned: tuple[int, ...] = ()  # were gone or left alone, and are wanted now (also among the two above)
    gone: tuple[int, ...] = ()  # known, never fetched, and not in a complete listing


def news(
    objects: Iterable[Object], known: Iterable[Known], *, is_complete: bool, is_shot: bool = False
) -> News:
    """Compare one folder's listing with the ledger. `is_complete`: what is not listed is not on the card.

    `is_shot`: the camera has just announced these, so none of them is part of an old backlog.
    """
    by_name: dict[str, list[Known]] = defaultdict(list)
    for row in known:
        by_name[row.name].append(row)
    listings: dict[str, list[Object]] = defaultdict(list)
    for listed in objects:
        listings[listed.name].append(listed)
    new: list[Object] = []
    wanted: list[Wanted] = []
    unsettled: list[Wanted] = []
    returned: list[int] = []
    gone: list[int] = []
    for name in dict.fromkeys([*listings, *by_name]):
        matches, unknown, missing = _matched(listings.get(name, []), by_name.get(name, []))
        new += unknown
        for listed, row in matches:
            is_back = row.state == "gone" or (is_shot and row.skipped_by == "backlog")
            if is_back:
                returned.append(row.id)
            if is_back or row.state in ("discovered", "fetching") or row.is_owed_again:
                (unsettled if row.size is None else wanted).append(Wanted(row.id, _as_known(listed, row)))
        if is_complete:
            gone += [
                row.id for row in missing if row.state in ("discovered", "fetching") or row.is_owed_again
            ]
    return News(tuple(new), tuple(wanted), tuple(unsettled), tuple(returned), tuple(gone))


def recognised(objects: Iterable[Object], known: Iterable[Known]) -> list[tuple[Object, Known]]:
    """Pair objects with the files that they are, whatever became of those; each object as its row has it."""
    by_name: dict[str, list[Known]] = defaultdict(list)
    for row in known:
        by_name[row.name].append(row)
    listings: dict[str, list[Object]] = defaultdict(list)
    for listed in objects:
        listings[listed.name].append(listed)
    return [
        (_as_known(listed, row), row)
        for name, found in listings.items()
        for listed, row in _matched(found, by_name.get(name, []))[0]
    ]


def _matched(
    listed: list[Object], rows: list[Known]
) -> tuple[list[tuple[Object, Known]], list[Object], list[Known]]:
    """Pair objects of one name with the files that they are: the surest pairs first, each file at most once.

    Returns pairs, objects that are no known file, files that are not listed. The same object listed twice is one.
    """
    pairs: list[tuple[Object, Known]] = []
    for is_same in (_is_exactly, _is_nearly, _may_become):
        for each in list(listed):
            row = next((row for row in rows if is_same(each, row)), None)
            if row is not None:
                pairs.append((each, row))
                rows = [other for other in rows if other is not row]
                listed = [other for other in listed if other is not each]
    unknown: list[Object] = []
    for each in listed:
        is_repeated = any(_is_exactly(each, row) for _, row in pairs) or any(
            (each.size, each.captured) == (other.size, other.captured) for other in unknown
        )
        if not is_repeated:
            unknown.append(each)
    return pairs, unknown, rows


def _is_exactly(listed: Object, row: Known) -> bool:
    return row.size is not None and (row.size, row.captured) == (listed.size, listed.captured)


def _is_nearly(listed: Object, row: Known) -> bool:
    return row.size is not None and row.size == listed.size and are_same_time(row.captured, listed.captured)


def _may_become(listed: Object, row: Known) -> bool:
    return (row.size is None or listed.size is None) and are_same_time(row.captured, listed.captured)


def _as_known(listed: Object, row: Known) -> Object:
    """The object with the time that its row has, and a size that was found out the hard way, once."""
    size = row.size if listed.size is None else listed.size
    return msgspec.structs.replace(listed, captured=row.captured, size=size)


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
