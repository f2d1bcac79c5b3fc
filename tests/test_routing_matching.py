"""Which routes a file takes: conditions, shots, what has to be learnt first; and that nothing depends on the order of learning."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.keys import Facts, Media, TemplateError
from agent.pictures import Picture
from agent.routing import (
    ALONE,
    Missing,
    Need,
    Owed,
    Shot,
    ask_for_marks,
    ask_for_shots,
    corrected,
    facts_of,
    is_wanted,
    missing,
    override,
    owed,
    picture_of,
    steady,
    suffixed,
)
from agent.settings import Route
from tests.test_keys import PLAIN
from tests.test_routing import Place, route

PLACES = {
    "archive": Place("{date:%Y-%m-%d}/{name}"),
    "cloud": Place("{camera}/{name}"),
    "lenses": Place("{lens}/{name}"),
}
RAW = msgspec.structs.replace(PLAIN, name="IMG_7520.CR2", kind=Media.RAW, size=25_000_000)
MEMO = msgspec.structs.replace(PLAIN, name="IMG_7520.WAV", kind=Media.AUDIO, size=9_000)
PARTNERS, PICTURE, PROTECTION = Missing(Need.PARTNERS), Missing(Need.PICTURE), Missing(Need.PROTECTION)


def changed(facts: Facts, **changes: Any) -> Facts:
    return msgspec.structs.replace(facts, **changes)


def starred(facts: Facts, stars: int) -> Facts:
    return changed(facts, picture=Picture(rating=stars))


def goes(facts: Facts, match: dict[str, Any], *others: Facts, **fields: Any) -> bool:
    return bool(owed(facts, [route("archive", match=match, **fields)], PLACES, shot=Shot(others)))


def lacks(facts: Facts, match: dict[str, Any], shot: Shot = ALONE, **fields: Any) -> set[Missing]:
    return set(missing(facts, [route("archive", match=match, **fields)], PLACES, shot))


# -- conditions


@pytest.mark.parametrize(
    ("match", "is_matched"),
    [
        ({"folder": "100CANON"}, True),
        ({"folder": "100canon"}, True),
        ({"folder": ["101CANON", "1*EOS"]}, False),
        ({"folder": "1??CANON"}, True),
        ({"folder": "10[12]CANON"}, False),
        ({"name": "IMG_*"}, True),
        ({"name": "*.jpg"}, True),
        ({"name": "IMG"}, False),
        ({"name": ["*.CR3", "*7520*"]}, True),
        ({"since": "2012-02-02"}, True),
        ({"since": "2012-02-03"}, False),
        ({"until": "2012-02-02"}, True),
        ({"until": "2012-02-01"}, False),
        ({"since": "2012-02-02T14:16:54", "until": "2012-02-02T14:16:54"}, True),
        ({"since": "2012-02-02T14:16:55"}, False),
        ({"until": "2012-02-02T14:16:53"}, False),
        ({"hours": "14:00-15:00"}, True),
        ({"hours": "14:16-14:17"}, True),
        ({"hours": "13:00-14:16"}, False),
        ({"hours": ["08:00-09:00", "14:00-24:00"]}, True),
        ({"weekdays": "thu"}, True),
        ({"weekdays": ["sat", "sun"]}, False),
        ({"weekdays": "thu", "hours": "12:00-13:00"}, False),
    ],
)
def test_conditions_that_the_listing_answers(match: dict[str, Any], is_matched: bool) -> None:
    """2 February 2012 was a Thursday."""
    assert goes(PLAIN, match) is is_matched
    assert lacks(PLAIN, match) == set()


@pytest.mark.parametrize(
    ("captured", "is_matched"),
    [
        ("2024-05-03T21:59:59", False),
        ("2024-05-03T22:00:00", True),
        ("2024-05-04T01:59:59", True),
        ("2024-05-04T02:00:00", False),
        ("2024-05-04T23:00:00", False),  # the night of Saturday
        ("2024-05-03T01:00:00", False),  # the night of Thursday
        ("", False),
        ("0000-00-00T00:00:00", False),
        ("yesterday", False),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(captured: str, is_matched: bool) -> None:
    assert goes(changed(PLAIN, captured=captured), {"weekdays": "fri", "hours": "22:00-02:00"}) is is_matched


@pytest.mark.parametrize(
    "match", [{"since": "0001-01-01"}, {"until": "9999-12-31"}, {"hours": "00:00-24:00"}, {"weekdays": "mon"}]
)
def test_a_file_without_a_time_is_at_no_time(match: dict[str, Any]) -> None:
    assert not goes(changed(PLAIN, captured=""), match)


def test_protection() -> None:
    assert lacks(PLAIN, {"protected": True}) == lacks(PLAIN, {"protected": False}) == {PROTECTION}
    for is_protected in (True, False):
        told = changed(PLAIN, is_protected=is_protected)
        assert lacks(told, {"protected": True}) == set()
        assert goes(told, {"protected": True}) is is_protected
        assert goes(told, {"protected": False}) is not is_protected
    assert not goes(PLAIN, {"protected": True}) and goes(PLAIN, {"protected": False}), (
        "unknown is unprotected"
    )


def test_stars() -> None:
    assert lacks(PLAIN, {"min_rating": 3}) == lacks(PLAIN, {"max_rating": 0}) == {PICTURE}
    assert lacks(PLAIN, {"min_rating": 0}) == lacks(PLAIN, {"max_rating": 5}) == set(), "these say nothing"
    assert [stars for stars in range(6) if goes(starred(PLAIN, stars), {"min_rating": 3})] == [3, 4, 5]
    assert [stars for stars in range(6) if goes(starred(PLAIN, stars), {"max_rating": 1})] == [0, 1]
    assert not goes(PLAIN, {"min_rating": 1}) and goes(PLAIN, {"max_rating": 0}), "unknown is none"


@pytest.mark.parametrize(
    "match", [{"kind": "raw"}, {"name": "*.CR3"}, {"folder": "9*"}, {"camera": "second"}]
)
def test_nothing_is_asked_of_a_file_that_the_rest_excludes(match: dict[str, Any]) -> None:
    assert lacks(PLAIN, {**match, "protected": True, "min_rating": 1, "with_kind": "raw"}) == set()


# -- shots


def test_together_with() -> None:
    assert goes(PLAIN, {"with_kind": "raw"}, RAW) and not goes(PLAIN, {"with_kind": "raw"}, MEMO)
    assert not goes(RAW, {"with_kind": "raw"}), "not with itself"
    assert lacks(PLAIN, {"with_kind": "raw"}) == set()
    assert lacks(PLAIN, {"with_kind": "raw"}, Shot((), is_complete=False)) == {PARTNERS}
    assert lacks(PLAIN, {"with_kind": "raw"}, Shot((RAW,), is_complete=False)) == set()


def test_without() -> None:
    assert goes(PLAIN, {"without_kind": "raw"}) and not goes(PLAIN, {"without_kind": ["raw", "video"]}, RAW)
    assert lacks(PLAIN, {"without_kind": "raw"}, Shot((MEMO,), is_complete=False)) == {PARTNERS}
    assert lacks(PLAIN, {"without_kind": "raw"}, Shot((RAW,), is_complete=False)) == set()


def test_a_whole_shot_goes_where_one_of_it_goes() -> None:
    match = {"kind": "jpeg", "min_rating": 4}
    shot = [starred(PLAIN, 4), RAW, MEMO]
    for one in shot:
        others = [each for each in shot if each is not one]
        assert goes(one, match, *others, whole_shot=True)
        assert goes(one, match, *others) is (one is shot[0])
    assert not goes(RAW, match, starred(PLAIN, 3), whole_shot=True)
    assert lacks(RAW, match, Shot((PLAIN, MEMO)), whole_shot=True) == {Missing(Need.PICTURE, 1)}
    assert lacks(RAW, match, Shot((), is_complete=False), whole_shot=True) == {PARTNERS}
    assert lacks(RAW, match, Shot((starred(PLAIN, 5),), is_complete=False), whole_shot=True) == set()


# -- several routes


def test_the_last_word() -> None:
    routes = [
        route("archive", match={"kind": "raw"}, stop=True),
        route("archive", "cloud", template="x/{name}"),
    ]
    assert [each.destination for each in owed(RAW, routes, PLACES)] == ["archive"]
    assert [each.destination for each in owed(PLAIN, routes, PLACES)] == ["archive", "cloud"]


def test_a_route_by_hand_has_no_word_in_what_goes_by_itself() -> None:
    routes = [route("archive", auto=False, stop=True), route("cloud")]
    assert [each.destination for each in owed(PLAIN, routes, PLACES)] == ["cloud"]
    assert [each.destination for each in owed(PLAIN, routes, PLACES, by_hand=True)] == ["archive"]


def test_what_is_asked_is_asked_for_something() -> None:
    picky = route("archive", match={"protected": True}, template="p/{name}")
    assert missing(PLAIN, [route("archive"), picky], PLACES) == set(), "the key is decided by then"
    assert missing(PLAIN, [picky, route("archive")], PLACES) == {PROTECTION}
    stopping = route("archive", match={"protected": True}, stop=True)
    assert missing(PLAIN, [route("archive"), stopping, route("cloud")], PLACES) == {PROTECTION}
    assert missing(PLAIN, [route("archive", stop=True), picky, stopping], PLACES) == set()


def test_a_template_that_tells_of_the_picture_needs_it() -> None:
    assert missing(PLAIN, [route("lenses")], PLACES) == {PICTURE}
    assert missing(PLAIN, [route("archive", template="{taken:%Y}/{name}")], PLACES) == {PICTURE}
    assert missing(PLAIN, [route("lenses", template="{name}")], PLACES) == set()
    assert (
        missing(
            PLAIN, [route("archive", template="{name}"), route("archive", template="{lens}/{name}")], PLACES
        )
        == set()
    )
    assert missing(PLAIN, [route("lenses", match={"kind": "raw"})], PLACES) == set()
    assert missing(starred(PLAIN, 0), [route("lenses")], PLACES) == set()


def test_what_the_routes_ask_for_at_all() -> None:
    assert not ask_for_shots([route("archive"), route("archive", auto=False, whole_shot=True)])
    for asking in ({"whole_shot": True}, {"match": {"with_kind": "raw"}}, {"match": {"without_kind": "raw"}}):
        assert ask_for_shots([route("archive", **asking)])
    assert not ask_for_marks(
        [route("archive", match={"kind": "raw"}), route("archive", auto=False, match={"protected": True})]
    )
    for marks in ({"protected": False}, {"min_rating": 1}, {"max_rating": 0}):
        assert ask_for_marks([route("archive", match=marks)])


# -- by hand


def test_a_person_asks_nobody_for_marks() -> None:
    chosen = [
        route(
            "archive",
            match={
                "kind": "jpeg",
                "protected": True,
                "min_rating": 5,
                "with_kind": "raw",
                "hours": "01:00-02:00",
            },
        ),
        route("cloud", match={"kind": "raw"}),
    ]
    assert [each.destination for each in owed(PLAIN, chosen, PLACES, by_hand=True)] == ["archive"]
    assert owed(PLAIN, chosen, PLACES) == ()
    whole = [route("archive", match={"kind": "jpeg"}, whole_shot=True)]
    assert owed(RAW, whole, PLACES, by_hand=True) and not owed(RAW, whole, PLACES)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Weddings/Meier/cake.jpg", "Weddings/Meier/cake.jpg"),
        ("Weddings/Meier/", "Weddings/Meier/IMG_7520.JPG"),
        ("{date:%Y}/{sequence}.{ext}", "2012/7520.JPG"),
        ("{lens}/{name}", "unknown/IMG_7520.JPG"),
    ],
)
def test_a_person_says_what_it_is_called(text: str, key: str) -> None:
    found = override(PLAIN, "cloud", text)
    (by_route,) = owed(PLAIN, [route("cloud")], PLACES)
    assert (found.destination, found.key) == ("cloud", key)
    assert found.suffixed_key != key and by_route.suffixed_key[-10:-4] in found.suffixed_key, (
        "of the same identity"
    )


@pytest.mark.parametrize("text", ["../x.jpg", "/x.jpg", "", "/", "a\\b.jpg", "{nam}"])
def test_but_never_outside(text: str) -> None:
    with pytest.raises(TemplateError):
        override(PLAIN, "cloud", text)


# -- clocks and rows


@pytest.mark.parametrize(
    ("ahead", "kept"),
    [
        (0.4, 0),
        (7199.2, 7200),
        (-3601.9, -3600),
        (20700.0, 20700),
        (7203.0, 7203),
        (-5.4, -5),
        (86400 * 900 + 1, 86400 * 900),
    ],
)
def test_a_clock_that_is_right_in_its_zone_is_measured_alike(ahead: float, kept: int) -> None:
    assert steady(ahead) == kept


def test_corrected_times() -> None:
    zone = ZoneInfo("Europe/Zurich")
    assert corrected("2024-07-01T12:00:00", 0, zone) == ("2024-07-01T12:00:00", "2024-07-01T14:00:00")
    assert corrected("2024-01-01T00:30:00", 3600, zone) == ("2023-12-31T23:30:00", "2024-01-01T00:30:00")
    assert corrected("2024-07-01T12:00:00", None, zone) == ("", "")
    assert corrected("", 0, zone) == corrected("0000-00-00T00:00:00", 0, zone) == ("", "")
    assert (
        corrected("0001-01-01T00:00:00", 7200, zone)
        == corrected("9999-12-31T23:59:59", -7200, zone)
        == ("", "")
    )


def test_the_facts_of_a_row() -> None:
    row = {
        "camera": "main", "serial": "0123456789", "storage": 0x00020001, "folder": "100CANON", "name": "IMG_7520.JPG",
        "size_bytes": 6_400_000, "captured": "2012-02-02T14:16:54", "kind": "jpeg", "shot": 0, "is_protected": 1,
        "clock_ahead_seconds": 3600, "picture": '{"lens":"EF50mm","rating":3}',
    }  # fmt: skip
    found = facts_of(row, site="here", zone=ZoneInfo("Asia/Kolkata"))
    assert found == changed(
        PLAIN,
        site="here",
        utc="2012-02-02T13:16:54",
        local="2012-02-02T18:46:54",
        is_protected=True,
        picture=Picture(lens="EF50mm", rating=3),
    )
    assert picture_of(None) is None and picture_of('{"rating": "many"}') is None and picture_of("") is None


# -- properties

kinds = st.lists(st.sampled_from(["jpeg", "raw", "video", "audio"]), max_size=2, unique=True)
matches = st.fixed_dictionaries(
    {},
    optional={
        "kind": kinds,
        "protected": st.booleans(),
        "min_rating": st.integers(0, 3),
        "max_rating": st.integers(3, 5),
        "with_kind": st.sampled_from([[], ["jpeg"], ["raw"]]),
        "without_kind": st.sampled_from([[], ["audio"], ["video"]]),
        "name": st.sampled_from(["*", "*.JPG", "*1.*"]),
    },
)
routes = st.lists(
    st.builds(
        route,
        st.sampled_from(sorted(PLACES)),
        match=matches,
        whole_shot=st.booleans(),
        stop=st.booleans(),
        auto=st.sampled_from([True, True, True, False]),
        template=st.sampled_from([None, "a/{name}", "{rating}/{name}"]),
    ),
    max_size=4,
)
known_files = st.builds(
    lambda number, kind, is_protected, stars, lens: changed(
        PLAIN,
        name=f"IMG_{number:04}.{kind.value.upper()}",
        kind=kind,
        size=1000 + number,
        is_protected=is_protected,
        picture=Picture(rating=stars, lens=lens),
    ),
    st.integers(0, 3),
    st.sampled_from([Media.JPEG, Media.RAW, Media.AUDIO, Media.VIDEO]),
    st.booleans(),
    st.integers(0, 5),
    st.sampled_from(["", "RF50mm"]),
)
shots = st.lists(known_files, min_size=1, max_size=4)


@st.composite
def partly(draw: st.DrawFn, whole: Sequence[Facts]) -> tuple[Facts, Shot]:
    """What may be known of the first of a shot at some earlier moment."""

    def some(facts: Facts) -> Facts:
        if draw(st.booleans()):
            facts = changed(facts, is_protected=None)
        return changed(facts, picture=None) if draw(st.booleans()) else facts

    met = [each for each in whole[1:] if draw(st.booleans())]
    is_complete = len(met) == len(whole) - 1 and draw(st.booleans())
    return some(whole[0]), Shot(tuple(map(some, met)), is_complete)


@settings(max_examples=250, deadline=None, print_blob=True)
@given(st.data(), routes, shots)
def test_once_nothing_is_missing_nothing_that_is_learnt_changes_it(
    data: st.DataObject, routes: list[Route], whole: list[Facts]
) -> None:
    facts, shot = data.draw(partly(whole))
    final = owed(whole[0], routes, PLACES, shot=Shot(tuple(whole[1:])))
    if not missing(facts, routes, PLACES, shot):
        assert owed(facts, routes, PLACES, shot=shot) == final
    if final:
        assert is_wanted(facts, routes, shot), "it must wait for what it may become"


@settings(max_examples=100, deadline=None, print_blob=True)
@given(routes, shots)
def test_the_order_of_partners_decides_nothing(routes: list[Route], whole: list[Facts]) -> None:
    results: set[tuple[Owed, ...]] = {
        owed(whole[0], routes, PLACES, shot=Shot(tuple(others))) for others in permutations(whole[1:])
    }
    assert len(results) == 1


@settings(max_examples=100, deadline=None, print_blob=True)
@given(st.data(), routes, shots)
def test_asking_comes_to_an_end(data: st.DataObject, routes: list[Route], whole: list[Facts]) -> None:
    """What a collector does: give each answer that is asked for, until none is."""
    facts, shot = data.draw(partly(whole))
    shot = Shot(shot.others, is_complete=True)
    known = [facts, *shot.others]
    for _ in range(2 * len(known) + 1):
        needs = missing(known[0], routes, PLACES, Shot(tuple(known[1:])))
        if not needs:
            return
        for each in needs:
            answer: dict[str, Any] = (
                {"is_protected": False} if each.need is Need.PROTECTION else {"picture": Picture()}
            )
            known[each.place] = changed(known[each.place], **answer)
    raise AssertionError(f"still missing {needs}")


@settings(max_examples=60, deadline=None, print_blob=True)
@given(st.lists(known_files, max_size=30, unique_by=lambda facts: (facts.name, facts.size)), routes)
def test_no_two_files_get_one_key(files: list[Facts], routes: list[Route]) -> None:
    """With the rule that the ledger keeps: the first key that nobody has, whatever case it is written in."""
    taken: dict[tuple[str, str], Facts] = {}
    for facts in files:
        for each in owed(facts, routes, PLACES):
            keys = (each.key, each.suffixed_key)
            free = next(key for key in keys if (each.destination, key.lower()) not in taken)
            taken[each.destination, free.lower()] = facts
            assert each == next(
                again for again in owed(facts, routes, PLACES) if again.destination == each.destination
            )
            assert each.suffixed_key == suffixed(each.key, _identity_in(each))


def _identity_in(owed: Owed) -> str:
    stem = owed.suffixed_key.rpartition("/")[2].rpartition(".")[0]
    return stem[-6:]
