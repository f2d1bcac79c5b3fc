"""What is new: examples, and a card that is shot on, deleted from, formatted and listed with all the noise of real ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.camera import Handle, Object
from agent.collector import is_old, news
from agent.ledger import Known

NOON = datetime(2024, 5, 1, 12)


def at(second: float) -> str:
    return (NOON + timedelta(seconds=second)).isoformat()


def listed(
    name: str = "A.JPG",
    size: int | None = 10,
    second: int = 0,
    *,
    handle: int = 1,
    is_just_written: bool = False,
) -> Object:
    return Object(Handle(handle), 1, "100CANON", name, size, at(second), 0, handle, is_just_written)


def row(
    number: int,
    name: str = "A.JPG",
    size: int | None = 10,
    second: int = 0,
    state: str = "discovered",
    *,
    skipped_by: str | None = None,
    is_owed_again: bool = False,
) -> Known:
    return Known(number, 1, "100CANON", name, size, at(second), state, skipped_by, is_owed_again)


def told(objects: Iterable[Object], known: Iterable[Known], **how: bool) -> dict[str, set[object]]:
    """The news without what is empty: files by id, new objects by handle."""
    found = news(objects, known, **{"is_complete": True, **how})
    sets: dict[str, set[object]] = {
        "new": {each.handle for each in found.new},
        "wanted": {each.file_id for each in found.wanted},
        "unsettled": {each.file_id for each in found.unsettled},
        "returned": set(found.returned),
        "gone": set(found.gone),
    }
    return {name: each for name, each in sets.items() if each}


def test_an_empty_card() -> None:
    assert told([], []) == {}


def test_new_files_come_in_the_order_of_the_listing() -> None:
    objects = [listed("C.JPG", handle=3), listed("A.JPG", handle=1), listed("B.JPG", handle=2)]
    assert [each.handle for each in news(objects, [], is_complete=True).new] == [3, 1, 2]


@pytest.mark.parametrize("state", ["discovered", "fetching"])
def test_what_is_known_and_not_fetched_is_wanted(state: str) -> None:
    assert told([listed()], [row(1, state=state)]) == {"wanted": {1}}
    assert told([], [row(1, state=state)]) == {"gone": {1}}


@pytest.mark.parametrize("state", ["fetched", "evicted", "skipped"])
def test_what_is_done_with_is_no_news_there_or_not(state: str) -> None:
    assert told([listed()], [row(1, state=state)]) == {}
    assert told([], [row(1, state=state)]) == {}


def test_what_was_evicted_and_is_owed_again_is_wanted() -> None:
    evicted = row(1, state="evicted", is_owed_again=True)
    assert told([listed()], [evicted]) == {"wanted": {1}}
    assert told([], [evicted]) == {"gone": {1}}


def test_what_was_gone_returns() -> None:
    assert told([listed()], [row(1, state="gone")]) == {"returned": {1}, "wanted": {1}}
    assert told([], [row(1, state="gone")]) == {}
    assert told([listed()], [row(1, size=None, state="gone")]) == {"returned": {1}, "unsettled": {1}}


def test_a_partial_listing_makes_nothing_gone() -> None:
    known = [row(1, "A.JPG"), row(2, "B.JPG"), row(3, "C.JPG", state="evicted", is_owed_again=True)]
    assert told([listed("A.JPG")], known, is_complete=False) == {"wanted": {1}}


@pytest.mark.parametrize("other", [listed(size=11), listed(second=3), listed("B.JPG")])
def test_another_size_time_or_name_is_another_file(other: Object) -> None:
    assert told([other], [row(1, state="fetched")]) == {"new": {other.handle}}
    assert told([other], [row(1)]) == {"new": {other.handle}, "gone": {1}}


@pytest.mark.parametrize("second", [-2, -1, 1, 2])
def test_times_may_be_rounded(second: int) -> None:
    found = news([listed(second=second)], [row(7)], is_complete=True)
    assert [each.file_id for each in found.wanted] == [7] and not found.new
    assert found.wanted[0].object.captured == at(0), "the time that is part of its identity"


def test_times_that_are_not_there() -> None:
    def without(seen: Object) -> Object:
        return msgspec.structs.replace(seen, captured="")

    unknown = msgspec.structs.replace(row(1), captured="")
    assert told([without(listed())], [unknown]) == {"wanted": {1}}
    assert told([listed()], [unknown]) == {"new": {1}, "gone": {1}}


def test_handles_mean_nothing() -> None:
    known = [row(1, "A.JPG", state="fetched"), row(2, "B.JPG")]
    swapped = [listed("A.JPG", handle=99), listed("B.JPG", handle=1)]
    found = news(swapped, known, is_complete=True)
    assert [(each.file_id, each.object.handle) for each in found.wanted] == [(2, 1)] and not found.new


def test_the_same_name_twice_in_a_folder() -> None:
    """After 9999 comes 0001 again, and some bodies go on in the same folder."""
    objects = [listed(second=0, handle=1), listed(second=1, handle=2)]
    assert told(objects, []) == {"new": {1, 2}}
    both = [row(1, second=0), row(2, second=1)]
    for order in (objects, objects[::-1]):
        for known in (both, both[::-1]):
            found = news(order, known, is_complete=True)
            assert {each.file_id: each.object.handle for each in found.wanted} == {1: 1, 2: 2}
    assert told(objects[:1], both) == {"wanted": {1}, "gone": {2}}
    assert told(objects[1:], both) == {"wanted": {2}, "gone": {1}}


def test_an_object_that_is_listed_twice_is_one() -> None:
    assert told([listed(handle=1), listed(handle=1)], []) == {"new": {1}}
    assert told([listed(), listed()], [row(1, state="fetched")]) == {}
    assert told([listed(), listed()], [row(1)]) == {"wanted": {1}}


def test_a_size_that_was_not_final() -> None:
    unsettled = row(1, size=None)
    assert told([listed(size=10)], [unsettled]) == {"unsettled": {1}}
    assert told([listed(size=None)], [unsettled]) == {"unsettled": {1}}
    assert told([listed(size=10, second=9)], [unsettled]) == {"new": {1}, "gone": {1}}
    assert told([listed(size=None)], []) == {"new": {1}}


def test_a_size_that_the_listing_cannot_tell_but_we_know() -> None:
    """Of 4 GiB and more: found out once, at the price of a session."""
    found = news([listed(size=None)], [row(1, size=5 << 30)], is_complete=True)
    assert found.wanted[0].object.size == 5 << 30


def test_a_known_size_goes_before_one_that_is_not_final() -> None:
    known = [row(1, size=None), row(2, size=10)]
    found = news([listed(size=10, handle=5)], known, is_complete=False)
    assert [each.file_id for each in found.wanted] == [2] and not found.unsettled


def test_a_new_shot_is_no_backlog() -> None:
    """A shot during the very first scan may have been listed and left alone before its event is seen."""
    known = [row(1, state="skipped", skipped_by="backlog")]
    assert told([listed()], known) == {}
    assert told([listed()], known, is_complete=False, is_shot=True) == {"returned": {1}, "wanted": {1}}
    by_hand = [row(1, state="skipped", skipped_by="somebody")]
    assert told([listed()], by_hand, is_complete=False, is_shot=True) == {}


# -- against a card whose truth is known


@dataclass
class Truth:
    """A file as it really is. `row` is what the ledger calls it, once it knows it."""

    number: int
    name: str
    size: int
    second: int
    is_on_card: bool = True
    is_growing: bool = False
    row: int | None = None


@dataclass
class World:
    """A card with its true files, and a ledger of ten lines that only ever hears news."""

    is_rounding: bool  # else the camera tells every time alike
    files: list[Truth] = field(default_factory=list)
    rows: dict[int, Known] = field(default_factory=dict)
    clock: int = 0

    def shoot(self, name: str, size: int, gap: int, is_growing: bool) -> None:
        self.clock += gap
        near = [
            f
            for f in self.files
            if f.name == name and self.clock - f.second <= (4 if self.is_rounding else 2)
        ]
        alike = [f for f in near if f.size == size]
        if alike or (near and (is_growing or any(f.is_growing for f in near))):
            return  # no camera does that, and nobody could tell them apart
        self.files.append(Truth(len(self.files) + 1, name, size, self.clock, is_growing=is_growing))

    def listing(
        self, jitters: list[int], growing_as: list[int | None], shuffle: list[int]
    ) -> list[tuple[Object, Truth]]:
        """The card as the camera tells it now: any order, new handles, times rounded somehow."""
        there = [f for f in self.files if f.is_on_card]
        there.sort(key=lambda f: shuffle[f.number % len(shuffle)])
        return [
            (
                listed(
                    f.name,
                    growing_as[f.number % len(growing_as)] if f.is_growing else f.size,
                    f.second + (jitters[f.number % len(jitters)] if self.is_rounding else 0),
                    handle=position + 1,
                    is_just_written=f.is_growing,
                ),
                f,
            )
            for position, f in enumerate(there)
        ]

    def hear(self, told_of: list[tuple[Object, Truth]], is_complete: bool) -> None:
        found = news([seen for seen, _ in told_of], self.rows.values(), is_complete=is_complete)
        truth = {seen.handle: f for seen, f in told_of}
        for seen in found.new:
            assert truth[seen.handle].row is None, "known already"
            number = len(self.rows) + 1
            truth[seen.handle].row = number
            size = None if seen.is_just_written else seen.size
            self.rows[number] = Known(number, 1, "100CANON", seen.name, size, seen.captured, "discovered")
        for file_id in found.returned:
            self.set(file_id, state="discovered")
        for each in (*found.wanted, *found.unsettled):
            assert truth[each.object.handle].row == each.file_id, "taken for another file"
        gone = {f.row for f in self.files if not f.is_on_card and f.row}
        assert set(found.gone) <= (gone if is_complete else set()), "gone, and on the card"
        for file_id in found.gone:
            self.set(file_id, state="gone")

    def set(self, file_id: int, **changes: object) -> None:
        self.rows[file_id] = msgspec.structs.replace(self.rows[file_id], **changes)


steps = st.one_of(
    st.tuples(
        st.just("shoot"),
        st.sampled_from(["A.JPG", "B.JPG"]),
        st.integers(1, 2),
        st.integers(0, 6),
        st.sampled_from([False, False, True]),
    ),
    st.tuples(
        st.sampled_from(["list", "list in part"]),
        st.lists(st.integers(0, 2), min_size=1, max_size=5),
        st.lists(st.one_of(st.none(), st.integers(1, 2)), min_size=1, max_size=3),
        st.lists(st.integers(), min_size=1, max_size=5),
        st.integers(0, 5),
    ),
    st.tuples(st.sampled_from(["settle", "fetch", "evict", "delete", "undelete"]), st.integers(0, 9)),
)


@settings(max_examples=120)
@given(st.booleans(), st.lists(steps, max_size=25))
def test_every_file_is_known_once_for_what_it_is(is_rounding: bool, script: list[tuple[object, ...]]) -> None:
    world = World(is_rounding)
    for verb, *rest in script:
        match verb, rest:
            case "shoot", [str(name), int(size), int(gap), bool(is_growing)]:
                world.shoot(name, size, gap, is_growing)
            case "list" | "list in part", [list(jitters), list(growing_as), list(shuffle), int(left_out)]:
                all_there = world.listing(jitters, growing_as, shuffle)
                is_complete = verb == "list"
                world.hear(all_there if is_complete else all_there[left_out:], is_complete)
            case _, [int(chosen)] if world.files:
                change(world, str(verb), world.files[chosen % len(world.files)])
    world.hear(world.listing([0], [None], [0]), is_complete=True)
    assert {f.row for f in world.files if f.is_on_card} <= set(world.rows)
    assert len(world.rows) == len({f.row for f in world.files if f.row is not None}), (
        "one row for each, and no others"
    )
    for f in world.files:
        if f.row is not None:
            state = world.rows[f.row].state
            expected = (
                {"discovered", "fetched", "evicted"} if f.is_on_card else {"gone", "fetched", "evicted"}
            )
            assert state in expected, f


def change(world: World, verb: str, file: Truth) -> None:
    if verb == "delete":
        file.is_on_card = False
    elif verb == "undelete":
        file.is_on_card = True
    elif verb == "settle" and file.is_growing:
        file.is_growing = False
        if file.row is not None:
            world.set(file.row, size=file.size)
    elif file.row is not None and world.rows[file.row].size is not None:
        old, new = {"fetch": ("discovered", "fetched"), "evict": ("fetched", "evicted")}.get(verb, ("", ""))
        if world.rows[file.row].state == old:
            world.set(file.row, state=new)


# -- what is old


@pytest.mark.parametrize(
    ("captured", "backlog", "since", "is_card_new", "expected"),
    [
        ("2020-01-01T00:00:00", "all", None, True, False),
        ("2020-01-01T00:00:00", "all", "2024-01-01T00:00:00", True, False),
        # none: what lay on a card when it was met
        ("2020-01-01T00:00:00", "none", "2024-01-01T00:00:00", True, True),
        ("2024-01-01T00:00:00", "none", "2024-01-01T00:00:00", True, True),
        ("2024-01-01T00:00:01", "none", "2024-01-01T00:00:00", True, False),
        ("", "none", "2024-01-01T00:00:00", True, True),
        ("2020-01-01T00:00:00", "none", None, True, True),
        # a clock that was set back on a card that is known
        ("2020-01-01T00:00:00", "none", "2024-01-01T00:00:00", False, False),
        # since a time
        ("2023-12-31T23:59:59", "2024-01-01T00:00:00", None, False, True),
        ("2024-01-01T00:00:00", "2024-01-01T00:00:00", None, True, False),
        ("", "2024-01-01T00:00:00", None, True, False),
    ],
)
def test_is_old(captured: str, backlog: str, since: str | None, is_card_new: bool, expected: bool) -> None:
    assert is_old(captured, backlog, since, is_card_new=is_card_new) is expected
