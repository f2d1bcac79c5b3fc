"""Routing: what is owed where, what a file is, and who it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.keys import Facts, Media
from agent.routing import Owed, identity_of, kind_of, owed
from agent.settings import Match, Route
from tests.test_keys import PLAIN


class Place(msgspec.Struct, frozen=True):
    template: str


ARCHIVE = {"archive": Place("{date:%Y-%m-%d}/{name}"), "cloud": Place("{camera}/{name}")}


def route(*destinations: str, **fields: Any) -> Route:
    return Route.model_validate({"destinations": destinations, **fields})


def places(facts: Facts, *routes: Route, by_hand: bool = False) -> list[tuple[str, str]]:
    return [(o.destination, o.key) for o in owed(facts, routes, ARCHIVE, by_hand=by_hand)]


def test_every_matching_route_counts_and_the_first_names_the_key() -> None:
    routes = [
        route("archive", match={"kind": ["raw"]}),
        route("cloud"),
        route("archive", "cloud", template="x/{name}"),
    ]
    assert places(PLAIN, *routes) == [("cloud", "main/IMG_7520.JPG"), ("archive", "x/IMG_7520.JPG")]


@pytest.mark.parametrize(
    ("match", "is_owed"),
    [
        ({}, True),
        ({"kind": "jpeg"}, True),
        ({"kind": ["raw", "jpeg"]}, True),
        ({"kind": ["raw"]}, False),
        ({"camera": "main"}, True),
        ({"camera": ["second"]}, False),
        ({"kind": ["jpeg"], "camera": "second"}, False),
    ],
)
def test_a_match_needs_all_that_it_names(match: dict[str, Any], is_owed: bool) -> None:
    assert bool(places(PLAIN, route("archive", match=match))) is is_owed


def test_a_route_by_hand_waits_for_a_person() -> None:
    by_hand = route("archive", auto=False)
    assert places(PLAIN, by_hand) == []
    assert places(PLAIN, by_hand, by_hand=True) == [("archive", "2012-02-02/IMG_7520.JPG")]


def test_the_suffixed_key_is_of_the_identity() -> None:
    (one,) = owed(PLAIN, [route("archive")], ARCHIVE)
    identity = identity_of(
        "0123456789", 0x00020001, "100CANON", "IMG_7520.JPG", 6_400_000, "2012-02-02T14:16:54"
    )
    assert one == Owed("archive", "2012-02-02/IMG_7520.JPG", f"2012-02-02/IMG_7520-{identity[:6]}.JPG")


def test_an_empty_match_is_the_default() -> None:
    assert route("archive").match == Match()


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("IMG_7520.JPG", 0x3801, Media.JPEG),
        ("IMG_7520.CR2", 0xB103, Media.RAW),
        ("IMG_0001.cr3", 0x3000, Media.RAW),
        ("IMG_0001.HIF", 0xB10B, Media.HEIF),
        ("MVI_0001.MOV", 0xB104, Media.VIDEO),
        ("MVI_0001.MP4", 0x3000, Media.VIDEO),
        ("MVI_0001.THM", 0x3808, Media.OTHER),
        ("REC_0001.WAV", 0x3008, Media.AUDIO),
        ("AUTPRINT.MRK", 0x3006, Media.OTHER),
        ("no extension", 0xB108, Media.RAW),
        ("no extension", 0x3801, Media.JPEG),
        ("strange.xyz", 0xBF01, Media.OTHER),
        ("", 0, Media.OTHER),
    ],
)
def test_the_extension_comes_before_the_code(name: str, code: int, kind: Media) -> None:
    assert kind_of(name, code) is kind


def test_the_identity_is_for_ever() -> None:
    """The digest made with coreutils' sha256sum of the bytes that the docstring describes."""
    assert identity_of("1", 2, "3", "4", 5, "6") == EXPECTED


EXPECTED = "b86118a9b2dd70262ea63abda1ea60cfb24857f617ceb9a74654f26d801aef05"

wild = st.one_of(
    st.text(max_size=12), st.text(alphabet="0123456789,\x00", max_size=6), st.text(alphabet="\ud800\udfffa")
)
six_facts = st.tuples(wild, st.integers(0, 2**32), wild, wild, st.integers(0, 2**64), wild)


@given(six_facts, six_facts)
def test_different_facts_are_different_files(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assume(one != other)
    assert identity_of(*one) != identity_of(*other)


@given(six_facts, st.integers(1, 3))
def test_text_that_moves_between_facts_is_another_file(facts: tuple[Any, ...], count: int) -> None:
    serial, storage, folder, name, size, captured = facts
    assume(folder)
    moved = (serial, storage, folder[:-count], folder[-count:] + name, size, captured)
    assert identity_of(*facts) != identity_of(*moved)
