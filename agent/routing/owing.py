"""Which destinations a file is owed to, and under which key. Pure.

A destination is named at most once per file, by the first route that names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from agent import keys
from agent.keys import Facts, suffixed
from agent.routing.identity import identity_of
from agent.routing.matching import ALONE, Missing, Need, Shot, Verdict, judge, judge_by_hand, settled
from agent.settings.routes import Route


class Owed(msgspec.Struct, frozen=True):
    """One delivery that a file needs."""

    destination: str
    key: str
    suffixed_key: str  # if `key` is taken by different content


class HasTemplate(Protocol):
    """What routing needs of a destination's settings."""

    @property
    def template(self) -> str: ...


Destinations = Mapping[str, HasTemplate]


def owed(
    facts: Facts,
    routes: Sequence[Route],
    destinations: Destinations,
    *,
    by_hand: bool = False,
    shot: Shot = ALONE,
) -> tuple[Owed, ...]:
    """Return the deliveries that `facts` needs, in the order of the routes. What is not known counts as `settled` says.

    `by_hand`: a person asked for the file to be sent, so routes with ``auto = false`` count too; see `judge_by_hand`.
    """
    facts = settled(facts)
    shot = Shot(tuple(map(settled, shot.others)))
    found: dict[str, Owed] = {}
    for route, verdict in _judged(facts, routes, shot, by_hand=by_hand):
        for name in route.destinations:
            if name not in found:
                found[name] = _owed(facts, name, keys.parse(route.template or destinations[name].template))
        if route.stop and not verdict:
            break
    return tuple(found.values())


def is_wanted(facts: Facts, routes: Sequence[Route], shot: Shot = ALONE) -> bool:
    """Whether anything is owed, or may turn out to be once more is known."""
    return any(True for _ in _judged(facts, routes, shot))


def named(facts: Facts, routes: Sequence[Route], shot: Shot = ALONE) -> frozenset[str]:
    """Return every destination that the file is owed to by itself, or may be once more is known."""
    found: set[str] = set()
    for route, verdict in _judged(facts, routes, shot):
        found.update(route.destinations)
        if route.stop and not verdict:
            break
    return frozenset(found)


def missing(
    facts: Facts, routes: Sequence[Route], destinations: Destinations, shot: Shot = ALONE
) -> frozenset[Missing]:
    """Return what must be learnt before `owed` says the last word: of the file, and of its partners."""
    found: set[Missing] = set()
    named: set[str] = set()
    for route, verdict in _judged(facts, routes, shot):
        new = set(route.destinations) - named
        if new or route.stop:
            found |= verdict
        if facts.picture is None and any(
            keys.parse(route.template or destinations[name].template).needs_picture for name in new
        ):
            found.add(Missing(Need.PICTURE))
        if not verdict:
            named |= new
            if route.stop:
                break
    return frozenset(found)


def override(facts: Facts, destination: str, text: str) -> Owed:
    """What one file is owed to `destination` as, when a person says so: `text` is a template, a name of its own, or
    a folder with / behind it. Raises TemplateError for what cannot be a key there."""
    template = keys.parse(text + "{name}" if text.endswith("/") else text, is_for_one=True)
    return _owed(settled(facts), destination, template)


def ask_for_shots(routes: Sequence[Route]) -> bool:
    """Whether any route needs to know which files are of one shot."""
    return any(
        route.auto and (route.whole_shot or route.match.with_kind or route.match.without_kind)
        for route in routes
    )


def ask_for_marks(routes: Sequence[Route]) -> bool:
    """Whether any route minds what a photographer changes on the camera later: protection, stars."""
    marks = (
        (route.match.protected, route.match.min_rating, route.match.max_rating)
        for route in routes
        if route.auto
    )
    return any(mark is not None for each in marks for mark in each)


def _judged(
    facts: Facts, routes: Sequence[Route], shot: Shot, *, by_hand: bool = False
) -> Iterator[tuple[Route, frozenset[Missing]]]:
    """The routes that are for the file, or may be, each with what is missing to say so."""
    for route in routes:
        verdict: Verdict = None
        if by_hand:
            verdict = frozenset() if judge_by_hand(facts, route) else None
        elif route.auto:
            verdict = judge(facts, route, shot)
        if verdict is not None:
            yield route, verdict


def _owed(facts: Facts, destination: str, template: keys.Template) -> Owed:
    key = template.key(facts)
    identity = identity_of(facts.serial, facts.storage, facts.folder, facts.name, facts.size, facts.captured)
    return Owed(destination, key, suffixed(key, identity))
