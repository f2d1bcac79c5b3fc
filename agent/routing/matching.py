"""Whether a route is for a file, or what would have to be learnt to say so. Pure.

A verdict is None (no), an empty set (yes), or what is missing. Nothing that could not be learnt in the end is left to chance:
`settled` says what it counts as.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

import msgspec

from agent.keys import Facts
from agent.pictures import Picture
from agent.settings.routes import WEEKDAYS, Match, Route


class Need(StrEnum):
    PROTECTION = "protection"  # ask the camera for the flag
    PICTURE = "picture"  # read the beginning of the file
    PARTNERS = "partners"  # wait for the other files of the shot


class Missing(msgspec.Struct, frozen=True):
    """`need` of the file at `place` in its shot: 0 is the file itself, others are counted from 1."""

    need: Need
    place: int = 0


Verdict = frozenset[Missing] | None


class Shot(msgspec.Struct, frozen=True):
    """What else belongs to the shot of a file."""

    others: tuple[Facts, ...] = ()
    is_complete: bool = True  # False: more of it may come in the next moment


ALONE = Shot()


def settled(facts: Facts) -> Facts:
    """What is not known by now: no protection, no stars."""
    return msgspec.structs.replace(
        facts, is_protected=bool(facts.is_protected), picture=facts.picture or Picture()
    )


def judge(facts: Facts, route: Route, shot: Shot = ALONE) -> Verdict:
    """Say whether `route` is for the file, its `auto` aside."""
    if not route.whole_shot:
        return _judge(facts, route.match, shot)
    members = (facts, *shot.others)
    missing: set[Missing] = set() if shot.is_complete else {Missing(Need.PARTNERS)}
    for place, member in enumerate(members):
        rest = Shot(members[:place] + members[place + 1 :], shot.is_complete)
        verdict = _judge(member, route.match, rest)
        if verdict is not None:
            if not verdict:
                return verdict
            missing |= {Missing(each.need, place) for each in verdict}
    return frozenset(missing) or None


def judge_by_hand(facts: Facts, route: Route) -> bool:
    """Say whether `route` is the way of a file that a person has chosen: by what it is and where it comes from, never by
    when it was taken, how it was marked, or what else was shot."""
    match = route.match
    plain = Match(camera=match.camera, folder=match.folder)
    if not route.whole_shot:
        plain = plain.model_copy(update={"kind": match.kind, "name": match.name})
    return _fits_listing(facts, plain)


def _judge(facts: Facts, match: Match, shot: Shot) -> Verdict:
    if not _fits_listing(facts, match):
        return None
    missing: set[Missing] = set()
    kinds = {other.kind for other in shot.others}
    if kinds & set(match.without_kind):
        return None
    has_partner = not match.with_kind or bool(kinds & set(match.with_kind))
    if not has_partner and shot.is_complete:
        return None
    if not has_partner or (match.without_kind and not shot.is_complete):
        missing.add(Missing(Need.PARTNERS))
    if match.protected is not None:
        if facts.is_protected is None:
            missing.add(Missing(Need.PROTECTION))
        elif facts.is_protected is not match.protected:
            return None
    if match.min_rating or match.max_rating not in (None, 5):
        if facts.picture is None:
            missing.add(Missing(Need.PICTURE))
        elif not _is_between(facts.picture.rating, match.min_rating, match.max_rating):
            return None
    return frozenset(missing)


def _is_between(rating: int, least: int | None, most: int | None) -> bool:
    return (least or 0) <= rating <= (5 if most is None else most)


def _fits_listing(facts: Facts, match: Match) -> bool:
    return (
        (not match.kind or facts.kind in match.kind)
        and (not match.camera or facts.camera in match.camera)
        and (not match.folder or _is_called(facts.folder, match.folder))
        and (not match.name or _is_called(facts.name, match.name))
        and _fits_time(facts.captured, match)
    )


def _is_called(name: str, patterns: tuple[str, ...]) -> bool:
    folded = name.casefold()
    return any(fnmatchcase(folded, pattern.casefold()) for pattern in patterns)


def _fits_time(captured: str, match: Match) -> bool:
    if not (match.since or match.until or match.hours or match.weekdays):
        return True
    try:
        moment = datetime.fromisoformat(captured)
    except ValueError:
        return False
    written = moment.isoformat(timespec="seconds")
    if (match.since and written < match.since) or (match.until and written > match.until):
        return False
    days = {_day_of(moment, span) for span in match.hours or ("00:00-24:00",)} - {None}
    return bool(days) and (not match.weekdays or any(WEEKDAYS[day or 0] in match.weekdays for day in days))


def _day_of(moment: datetime, hours: str) -> int | None:
    """Return the day of the week on which the span that `moment` is in began; None if it is not in it."""
    at = f"{moment:%H:%M}"
    begin, _, end = hours.partition("-")
    if begin < end:
        return moment.weekday() if begin <= at < end else None
    if at >= begin:
        return moment.weekday()
    return (moment.weekday() - 1) % 7 if at < end else None
