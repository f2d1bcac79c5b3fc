"""Bulk listings of EOS bodies, and what takes their place where they fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.camera import is_same_file
from agent.camera.brands import canon_listing
from tests.camera.bodies import (
    asked,
    cards,
    facts,
    linked,
    objects,
    scan,
    the_object,
    truth,
)
from tests.simcam import fill
from tests.simcam.card import Card
from tests.simcam.simcam import SimCamera

LISTING, WIDE_LISTING, HANDLES, INFO = 0x9109, 0x9173, 0x1007, 0x1008


@pytest.mark.parametrize("body", ["eos-60d", "eos-1300d", "eos-r7"])
async def test_a_first_scan_costs_two_round_trips_a_card_and_one_a_folder(body: str) -> None:
    async with SimCamera(body, cards(4, 5)) as cam, linked(cam) as found:
        before = found.session.round_trips
        listed = await scan(found)
        assert asked(cam, LISTING) == 2 + 4
        assert found.session.round_trips - before == (
            1 + len(cam.camera.slots)  # the slots
            + 2 + 4  # the listings
            + 4  # events, served behind each folder
        )  # fmt: skip
        assert [(folder.name, folder.is_complete) for folder in listed] == [
            (f"10{number}CANON", True) for number in range(4)
        ]
        assert sorted(facts(item) for folder in listed for item in folder.objects) == sorted(
            truth(item) for item in cam.files()
        )


async def test_a_body_that_refuses_the_listing_is_asked_at_most_three_times_ever() -> None:
    memory: dict[str, str] = {}
    async with SimCamera("eos-r5-mark-ii", cards(3, 2)) as cam:
        for _ in range(3):
            async with linked(cam, memory=memory) as found:
                assert sorted(map(facts, await objects(found))) == sorted(map(truth, cam.files()))
        assert asked(cam, LISTING) == 3


async def test_two_cards_are_two_storages_and_an_empty_slot_is_none() -> None:
    async with SimCamera("eos-r7", cards=[cards(1, 2), cards(1, 3)]) as cam, linked(cam) as body:
        found = await objects(body)
        assert {item.storage for item in found} == {0x10001, 0x20001} and len(found) == 10
    async with SimCamera("eos-r7", cards=[None, cards(1, 3)]) as cam, linked(cam) as body:
        assert [storage.id for storage in await body.storages()] == [0x20001]
        assert {item.storage for item in await objects(body)} == {0x20001}


async def test_the_recorded_card_is_listed_as_recorded() -> None:
    async with SimCamera("eos-60d", "recorded-60d") as cam, linked(cam) as body:
        found = await objects(body)
        assert len(found) == 44
        raw = next(item for item in found if item.name == "IMG_7565.CR2")
        jpeg = next(item for item in found if item.name == "IMG_7565.JPG")
        assert (raw.handle, raw.size, raw.captured) == (0x9191D8D1, 25_073_970, "2012-03-11T23:15:22")
        assert (jpeg.handle, jpeg.size, jpeg.captured) == (0x9191D8D2, 6_505_940, "2012-03-11T23:15:21")
        assert raw.group == jpeg.group, "a shot is told by its group, not by its time"
        again = await body.lookup(raw)
        assert again is not None and is_same_file(raw, again), "recorded ObjectInfo says the same"


def failing(code: int) -> Callable[[SimCamera], None]:
    return lambda cam: cam.trouble.fail_op(LISTING, code)


LISTING_TROUBLES: list[tuple[str, Callable[[SimCamera], None]]] = [
    ("R5 Mark II: always GeneralError", failing(0x2002)),
    ("not supported after all", failing(0x2005)),
    ("Canon's unknown command", failing(0xA001)),
    ("refused in this mode", failing(0xA005)),
    ("not listed at all", lambda cam: cam.trouble.without_op(LISTING)),
    ("empty for a big folder", lambda cam: cam.trouble.listing_empty_when_big(200)),
    ("OK and no data", lambda cam: cam.trouble.no_data(LISTING, None)),
]


@pytest.mark.parametrize(("what", "arrange"), LISTING_TROUBLES)
@pytest.mark.parametrize("body", ["eos-60d", "eos-r7"])
async def test_a_card_is_listed_whatever_becomes_of_the_listing(
    body: str, what: str, arrange: Callable[[SimCamera], None]
) -> None:
    async with SimCamera(body, cards(3, 4)) as cam:
        arrange(cam)
        async with linked(cam) as found:
            for _ in range(2):
                listed = await objects(found)
                assert sorted(map(facts, listed)) == sorted(map(truth, cam.files()))
            folders = [folder for folder in await scan(found) if folder.is_complete]
            assert {folder.name: len(folder.objects) for folder in folders} == {
                f"10{number}CANON": 8 for number in range(3)
            }
            cam.shoot("JPG:2K")
            assert len(await objects(found)) == 25


@pytest.mark.parametrize(("longest", "asked_for"), [(4 + 5 * 56 + 64, 3), (4 + 5 * 56, 4), (4 + 4 * 56, 4)])
async def test_a_listing_that_may_have_been_cut_off_is_asked_for_again(
    longest: int, asked_for: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canon_listing, "WAYS", ((LISTING, longest), (LISTING, 0x200000)))
    async with SimCamera("eos-60d", "5:1K") as cam, linked(cam) as body:
        assert len(await objects(body)) == 5
        assert asked(cam, LISTING) == asked_for


async def test_a_refused_listing_is_remembered_for_the_model() -> None:
    memory: dict[str, str] = {}
    async with SimCamera("eos-60d", cards(1, 3)) as cam:
        cam.trouble.fail_op(LISTING, 0x2005)
        async with linked(cam, memory=memory) as body:
            await objects(body)
        assert memory == {"Canon EOS 60D/3-1.0.8 0x9109": "refused 0x2005"}
        tried = asked(cam, LISTING)
        async with linked(cam, memory=memory) as body:
            await objects(body)
        assert asked(cam, LISTING) == tried


async def test_a_listing_that_resets_three_times_is_avoided() -> None:
    memory: dict[str, str] = {}
    async with SimCamera("eos-60d", cards(1, 3)) as cam:
        cam.trouble.reset_on(LISTING, None)
        for _ in range(3):
            async with linked(cam, memory=memory) as body:
                with pytest.raises(Exception, match=r"camera\.link_lost"):
                    await objects(body)
        async with linked(cam, memory=memory) as body:
            assert len(await objects(body)) == 6
        assert asked(cam, LISTING) == 3


async def test_an_empty_folder_is_believed_once_the_handles_say_so_too() -> None:
    def put(card: Card) -> None:
        cards(1, 2)(card)
        card.add_folder("105EMPTY", fill.FIRST_SHOT_AT)

    async with SimCamera("eos-60d", put) as cam, linked(cam) as body:
        listed = {folder.name: (len(folder.objects), folder.is_complete) for folder in await scan(body)}
        assert listed == {"100CANON": (4, True), "105EMPTY": (0, True)}
        assert asked(cam, LISTING) == 4 and asked(cam, HANDLES) == 1


async def test_folders_that_are_no_place_for_pictures_are_left_alone() -> None:
    def put(card: Card) -> None:
        cards(1, 2)(card)
        card.add_root_folder("MISC", fill.FIRST_SHOT_AT)
        card.add_folder("EOSMISC", fill.FIRST_SHOT_AT)

    async with SimCamera("eos-60d", put) as cam, linked(cam) as body:
        assert [folder.name for folder in await scan(body)] == ["100CANON"]


@pytest.mark.parametrize(("body", "size"), [("eos-r7", 6 << 30), ("eos-60d", None)])
async def test_a_size_beyond_32_bits_comes_from_the_wide_listing_where_there_is_one(
    body: str, size: int | None
) -> None:
    async with SimCamera(body, "2:1K,1:6G:MP4") as cam, linked(cam) as found:
        movie = await the_object(found, "MVI_0003.MP4")
        assert movie.size == size
        again = await found.lookup(movie)
        assert again is not None and again.size == size


async def test_a_size_beyond_32_bits_stays_known_when_only_object_info_can_be_asked() -> None:
    async with SimCamera("eos-r7", "2:1K,1:6G:MP4") as cam, linked(cam) as body:
        movie = await the_object(body, "MVI_0003.MP4")
        cam.trouble.fail_op(LISTING, 0x2002)
        cam.trouble.fail_op(WIDE_LISTING, 0x2002)
        again = await body.lookup(movie)
        assert again is not None and again.size == 6 << 30


async def test_names_are_passed_on_as_the_camera_wrote_them() -> None:
    async with SimCamera("eos-60d", "1:1K") as cam, linked(cam) as body:
        cam.trouble.hostile_name("../../x")
        assert "../../x" in {item.name for item in await objects(body)}
