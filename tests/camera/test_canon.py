"""EOS bodies: setting up, listing, GetEvent, and what happens where one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from agent.camera import connect, is_same_file
from agent.camera.brands import canon_listing
from agent.camera.brands.canon import Canon
from tests.camera.bodies import (
    STEADY,
    asked,
    connected,
    facts,
    linked,
    objects,
    scan,
    the_object,
    truth,
)
from tests.camera.responder import Peer, Script, camera, device_info, scripted
from tests.simcam import encode, fill
from tests.simcam.card import Card
from tests.simcam.simcam import SimCamera

LISTING, WIDE_LISTING, HANDLES, INFO = 0x9109, 0x9173, 0x1007, 0x1008
EOS = ["eos-60d", "eos-1300d", "eos-r7", "eos-r5-mark-ii"]

FORBIDDEN = {0x1003, 0x100B, 0x100F, 0x9105, 0x9106, 0x910C, 0x9110, 0x9117, 0x911A, 0x911B, 0x911C, 0x913D}
"""What the photographer would feel or lose by: UILock, OLC, PCHDDCapacity, properties, deleting, CloseSession."""


def cards(folders: int, per_folder: int) -> Callable[[Card], None]:
    def put(card: Card) -> None:
        batch = fill.Batch(folders * per_folder, (("JPG", 300_000), ("CR2", 900_000)))
        fill.by_formula(card, [batch], per_folder=per_folder)

    return put


# --- setting up


@pytest.mark.parametrize("body", EOS)
async def test_an_eos_is_told_by_manufacturer_and_operations(body: str) -> None:
    async with SimCamera(body, "1:1K") as cam, linked(cam) as found:
        assert isinstance(found, Canon)
        assert found.identity.serial == cam.profile.serial and found.identity.is_serial_reported
        assert found.identity.manufacturer.startswith("Canon")
        assert found.status.battery_percent == 100 and not found.status.saves_to_host
        [card] = await found.storages()
        assert (card.id, card.capacity_bytes, card.is_writable) == (cam.cards[0].storage, 64 * 10**9, True)


async def test_the_first_connection_has_served_the_flood_of_events() -> None:
    async with SimCamera("eos-60d", "1:1K") as cam, linked(cam):
        assert asked(cam, 0x9116) >= 4, "the flood, the true values, and two empty answers"
        assert asked(cam, 0x9114) == asked(cam, 0x9115) == 1


@pytest.mark.parametrize(("operation", "code"), [(0x9114, 0x2002), (0x9115, 0x2005), (0x9114, 0xA005)])
async def test_a_refused_mode_is_not_fatal(operation: int, code: int) -> None:
    async with SimCamera("eos-60d", "3:1K") as cam:
        cam.trouble.fail_op(operation, code)
        async with linked(cam) as body:
            assert len(await objects(body)) == 3
            cam.shoot("JPG:2K")
            assert [item.size for item in (await body.look()).added] == (
                [2048] if operation != 0x9115 else []
            )


async def test_without_event_mode_looks_compare_listings() -> None:
    async with SimCamera("eos-60d", "3:1K") as cam:
        cam.trouble.fail_op(0x9115, 0x2005)
        async with linked(cam) as body:
            assert body.poll_seconds == STEADY.poll_listing
            assert (await body.look()).is_incomplete, "nothing was scanned yet"
            await objects(body)
            await body.reconcile()


@pytest.mark.parametrize(
    ("model", "modes"),
    [
        ("Canon EOS M5", [0x15, 0x11]),
        ("Canon EOS M", [0x15, 0x11]),
        ("Canon EOS M6 Mark II", [1]),
        ("Canon PowerShot G5 X", [0x15, 0x11]),
        ("Canon EOS R7", [1]),
        ("Canon EOS 60D", [1]),
    ],
)
async def test_each_class_of_body_gets_its_remote_mode(model: str, modes: list[int]) -> None:
    """And one that refuses them all is used all the same."""
    info = device_info(0x1001, 0x9114, 0x9115, 0x9116, model=model, manufacturer="Canon.Inc")
    asked_for: list[int] = []

    async def command(peer: Peer) -> None:
        while True:
            code, tid, params = await peer.request()
            if code == 0x9114:
                asked_for.append(params[0])
            if not code:
                return
            if code == 0x1001:
                await peer.respond(tid, info)
            elif code == 0x1004:
                await peer.respond(tid, bytes(4))
            else:
                await peer.respond(tid, None, 0x2002)

    scripts: tuple[Script, Script] = camera(command, info=info)
    async with scripted(*scripts) as port:
        timing = msgspec.structs.replace(STEADY, settle=0.05)
        body = await connect(
            "127.0.0.1", port, guid=bytes(16), name="edge", pairing=False, memory={}, timing=timing
        )
        await body.close()
    assert asked_for == modes


async def test_a_camera_that_mounts_its_card_late_is_waited_for() -> None:
    async with SimCamera("eos-60d", "3:1K") as cam:
        cam.trouble.store_not_available(0.2)
        async with linked(cam) as body:
            assert len(await objects(body)) == 3
        assert cam.stats.troubles["store_not_available"] > 1


async def test_a_camera_without_a_card_is_ready_after_a_while() -> None:
    async with SimCamera("eos-r7", cards=[None, None]) as cam, linked(cam) as body:
        assert await body.storages() == []
        assert await scan(body) == []
        look = await body.look()
        assert not look.added and not look.is_incomplete


async def test_a_model_that_needs_longer_to_settle_gets_it_from_then_on() -> None:
    """A 2000D resets early requests although it answers GetEvent (protocol.md §7.4)."""
    memory: dict[str, str] = {}
    timing = msgspec.structs.replace(STEADY, settle=1.5)
    async with SimCamera("eos-60d", "3:1K") as cam:
        cam.trouble.quiet_after_open(0.8)
        async with linked(cam, memory=memory, timing=timing) as body:
            [item, *_] = await objects(body)
            with pytest.raises(Exception, match=r"camera\.link_lost"):
                await body.lookup(item)
            body.settle_longer()
        async with linked(cam, memory=memory, timing=timing) as body:
            assert body.settling_seconds == 1.0
            assert await body.lookup(item) is not None
            for _ in range(5):
                body.settle_longer()
            assert body.settling_seconds == timing.settle, "and never longer than that"


async def test_early_object_info_would_reset_a_2000d_and_is_not_asked_for() -> None:
    async with SimCamera("eos-2000d", "20:1K") as cam, linked(cam) as body:
        assert len(await objects(body)) == 20
        assert asked(cam, INFO) == 0 and not cam.stats.troubles


async def test_nothing_is_ever_sent_that_the_photographer_would_feel() -> None:
    async with SimCamera("eos-r7", cards=[cards(2, 3), cards(1, 2)]) as cam:
        async with linked(cam) as body:
            found = await objects(body)
            cam.shoot("JPG:2K+CR3:5K")
            added = (await body.look()).added
            for item in [*found, *added]:
                await body.lookup(item)
                await body.thumbnail(item)
                await body.read(item, 0, memoryview(bytearray(1000)))
            await body.reconcile()
            await body.stream_whole(found[0], lambda view: None)
        used = {int(code, 16) for code in cam.stats.operations}
        assert not used & FORBIDDEN
        assert cam.stats.troubles["cancel"] == 0


# --- the listing


@pytest.mark.parametrize("body", ["eos-60d", "eos-1300d", "eos-r7"])
async def test_a_first_scan_costs_two_round_trips_a_card_and_one_a_folder(body: str) -> None:
    async with SimCamera(body, cards(4, 5)) as cam, linked(cam) as found:
        before = found.session.round_trips
        listed = await scan(found)
        assert asked(cam, LISTING) == 2 + 4
        assert found.session.round_trips - before == (
            1 + len(cam.camera.slots)  # the slots
            + 2 + 4  # the listings
            + asked(cam, 0x9116) - settled(found)  # events, served between folders
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


def settled(body: object) -> int:
    """How many events had been fetched before the scan: all but one per folder."""
    assert isinstance(body, Canon)
    return body.session.transactions[0x9116] - 4


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


# --- news


@pytest.mark.parametrize("body", EOS)
async def test_a_shot_is_announced_with_all_that_is_known_of_it(body: str) -> None:
    async with SimCamera(body, cards(1, 2)) as cam, linked(cam) as found:
        await objects(found)
        [shot] = cam.shoot("JPG:2M+CR2:9M")
        look = await found.look()
        assert {facts(item) for item in look.added} == {truth(cam.camera.find(name)) for name in shot.names}
        assert all(item.is_just_written for item in look.added)
        assert look.is_active and not look.is_incomplete
        if body != "eos-r5-mark-ii":  # its records have a layout of which only the beginning is known
            assert len({item.group for item in look.added}) == 1
        for item in look.added:
            again = await found.lookup(item)
            assert again is not None and is_same_file(item, again)
        assert (await found.look()).added == ()


async def test_events_spread_over_many_answers_come_together() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        cam.trouble.events_per_answer(1)
        cam.trouble.trailing_zeros(117)
        names = {name for shot in cam.shoot("JPG:1K+CR2:1K", count=5) for name in shot.names}
        seen = set()
        for _ in range(60):
            seen |= {item.name for item in (await body.look()).added}
        assert seen == names


async def test_news_that_come_while_the_camera_is_busy_with_a_scan_are_told_by_the_next_look() -> None:
    async with SimCamera("eos-60d", cards(3, 2)) as cam, linked(cam) as body:
        names: list[str] = []
        async for _ in body.scan():
            names += cam.shoot("JPG:1K")[0].names
        look = await body.look()
        assert [item.name for item in look.added] == names


async def test_a_shot_during_the_first_scan_makes_nothing_else_look_new() -> None:
    async with SimCamera("eos-60d", cards(4, 2)) as cam, linked(cam) as body:
        cam.shoot("JPG:1K")
        assert len((await body.look()).added) == 1
        async for folder in body.scan():
            assert not any(item.is_just_written for item in folder.objects)
            cam.shoot("JPG:1K")
            await body.look()


async def test_a_new_folder_is_found_by_its_first_file() -> None:
    async with SimCamera("eos-r7", cards(1, 2)) as cam, linked(cam) as body:
        await objects(body)
        cam.trouble.roll_over_9999()
        cam.shoot("JPG:1K", count=2)
        look = await body.look()
        assert [(item.folder, item.name) for item in look.added] == [
            ("100CANON", "IMG_9999.JPG"),
            ("101CANON", "IMG_0001.JPG"),
        ]
        assert asked(cam, INFO) == 0


async def test_a_size_that_becomes_known_later() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        cam.trouble.size_final_at_second_look(looks=3)
        cam.shoot("JPG:5000")
        [item] = (await body.look()).added
        assert item.size is None
        first = await body.lookup(item)
        assert first is not None and first.size is None
        second = await body.lookup(first)
        assert second is not None and second.size == 5000
        [changed] = (await body.look()).changed
        assert is_same_file(changed, second)


async def test_a_size_that_is_not_final_at_first_may_still_change() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        cam.trouble.size_final_at_second_look(first=3000, looks=2)
        cam.shoot("JPG:5000")
        [item] = (await body.look()).added
        sizes = [item.size]
        for _ in range(3):
            again = await body.lookup(item)
            assert again is not None
            item = again
            sizes.append(item.size)
        assert sizes == [3000, 3000, 3000, 5000]


async def test_a_change_that_names_no_more_than_a_handle() -> None:
    """C188: a 1D X Mark II tells so of a new rating or protection (libgphoto2 pull request 261)."""
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0001.JPG")
        cam.trouble.protect(item.name)
        cam.camera.tell(encode.u32_record(0xC188, item.handle))
        [changed] = (await body.look()).changed
        assert is_same_file(item, changed) and changed.is_protected


async def test_what_the_camera_says_of_itself_is_kept() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        cam.camera.tell(
            encode.prop_changed(0xD111, 5),
            encode.prop_changed(0xD11B, 123),
            encode.prop_changed(0xD11C, 4),
            encode.prop_changed(0xD125, b"x"),
            encode.u32_record(0xC186, 7),
            encode.u32_record(0xC1F1, 7),
        )
        assert (await body.look()).added == ()
        status = body.status
        assert (status.battery_percent, status.shots_left, status.saves_to_host) == (25, 123, True)


async def test_deleted_files_are_told_by_handle() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0001.JPG")
        cam.trouble.delete("IMG_0001.JPG")
        assert (await body.look()).removed_handles == (item.handle,)
        assert await body.lookup(item) is None


async def test_a_file_that_came_and_went_between_two_looks_is_no_news() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        [shot] = cam.shoot("JPG:5000")
        cam.trouble.delete(shot.names[0])
        look = await body.look()
        assert look.added == () and len(look.removed_handles) == 1


async def test_card_changes_are_told_and_nothing_known_survives_them() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0001.JPG")
        cam.trouble.swap_card(size_change=7)
        assert (await body.look()).storages_changed
        assert not (await body.look()).storages_changed
        assert await body.lookup(item) is None, "the same name and handle, another time and size"
        cam.trouble.lost_event()
        cam.shoot("JPG:5000")
        await body.look()
        assert not any(found.is_just_written for found in await objects(body)), "it is another card"
        other = await the_object(body, "IMG_0001.JPG")
        assert other.handle == item.handle and not is_same_file(item, other)
        cam.trouble.pull_card()
        assert (await body.look()).storages_changed
        assert await body.storages() == []
        assert await body.lookup(item) is None


async def test_a_missed_event_is_found_by_reconciling() -> None:
    async with SimCamera("eos-60d", cards(3, 2)) as cam, linked(cam) as body:
        await objects(body)
        cam.shoot("JPG:4000")
        assert len((await body.look()).added) == 1
        cam.trouble.lost_event()
        [shot] = cam.shoot("JPG:5000")
        assert (await body.look()).added == ()
        listings = asked(cam, LISTING)
        [folder] = await body.reconcile()
        assert asked(cam, LISTING) - listings == 3, "the root, DCIM, and the current folder"
        assert folder.name == "102CANON" and folder.is_complete
        new = [item for item in folder.objects if item.is_just_written]
        assert [item.name for item in new] == shot.names
        assert all(not item.is_just_written for item in folder.objects if item not in new)


async def test_announced_files_that_cannot_be_described_are_reported() -> None:
    async with SimCamera("eos-r5-mark-ii", cards(1, 2)) as cam, linked(cam) as body:
        await objects(body)
        cam.trouble.fail_op(INFO, 0x2002)
        cam.shoot("JPG:5000")
        look = await body.look()
        assert look.added == () and look.is_incomplete
        assert [bad.code for bad in look.unreadable] == ["ptp.general_error"]
        cam.trouble.heal("fail_op")
        assert "IMG_0003.JPG" in {item.name for item in await objects(body)}


async def test_an_object_that_is_not_ready_is_asked_for_again() -> None:
    async with SimCamera("eos-r5-mark-ii", cards(1, 2)) as cam, linked(cam) as body:
        await objects(body)
        cam.trouble.object_not_ready(3)
        cam.trouble.fail_op(INFO, 0x2002, 2)
        cam.shoot("JPG:5000")
        assert [item.size for item in (await body.look()).added] == [5000]
        assert cam.stats.troubles["object_not_ready"] == 3


async def test_a_look_that_is_cancelled_loses_nothing() -> None:
    async with SimCamera("eos-r5-mark-ii", cards(1, 2)) as cam, linked(cam) as body:
        await objects(body)
        cam.trouble.fail_op(INFO, 0xA102)
        cam.shoot("JPG:5000")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await body.look()
        cam.trouble.heal("fail_op")
        assert [item.size for item in (await body.look()).added] == [5000]


# --- pace


async def test_looks_are_frequent_while_the_photographer_works_and_calm_after() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        async with asyncio.timeout(5):
            while (await body.look()).is_active:
                await body.pause()
        assert body.poll_seconds == STEADY.poll_idle
        cam.shoot("JPG:1K")
        assert (await body.look()).is_active
        assert body.poll_seconds == STEADY.poll_active


async def test_the_event_socket_makes_the_next_look_happen_sooner() -> None:
    timing = msgspec.structs.replace(STEADY, poll_idle=30.0, poll_active=30.0)
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam, timing=timing) as body:
        cam.trouble.event_socket("c101")
        await body.look()
        waiting = asyncio.create_task(body.pause())
        await asyncio.sleep(0)
        cam.shoot("JPG:1K")
        await asyncio.wait_for(waiting, 5)
        assert len((await body.look()).added) == 1


async def test_a_flood_of_hints_does_not_make_us_flood_the_camera() -> None:
    timing = msgspec.structs.replace(STEADY, poll_least=0.05)
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam, timing=timing) as body:
        cam.trouble.event_flood(5000)
        started = asyncio.get_running_loop().time()
        for _ in range(5):
            await body.look()
            await body.pause()
        assert asyncio.get_running_loop().time() - started >= 5 * timing.poll_least


async def test_whoever_pauses_learns_of_a_lost_link_at_once() -> None:
    timing = msgspec.structs.replace(STEADY, poll_idle=30.0, poll_active=30.0)
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam, timing=timing) as body:
        await body.look()
        waiting = asyncio.create_task(body.pause())
        await asyncio.sleep(0)
        cam.trouble.drop()
        with pytest.raises(Exception, match=r"camera\.link_lost"):
            await asyncio.wait_for(waiting, 5)


async def test_the_camera_is_kept_awake_now_and_then_and_when_it_is_about_to_sleep() -> None:
    timing = msgspec.structs.replace(STEADY, keep_awake=0.3)
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam, timing=timing) as body:
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.0
        while loop.time() < end:
            await body.look()
            await body.pause()
        assert 2 <= asked(cam, 0x911D) <= 4
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        await body.look()
        assert asked(cam, 0x911D) == 0
        cam.trouble.will_shut_down()
        await body.look()
        await body.look()
        assert asked(cam, 0x911D) == 1


# --- busy


async def test_a_busy_camera_is_waited_for_and_its_events_are_fetched_meanwhile() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        events = asked(cam, 0x9116)
        cam.trouble.busy(5, LISTING)
        assert len(await objects(body)) == 4
        assert asked(cam, 0x9116) - events >= 5


async def test_a_camera_that_stays_busy_is_a_fault() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        cam.trouble.busy(None, LISTING)
        with pytest.raises(Exception, match=r"ptp\.device_busy"):
            await objects(body)


async def test_busy_everywhere_at_connect() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam:
        cam.trouble.busy(12)
        body = await connected(cam)
        assert len(await objects(body)) == 4
        await body.close()


# --- looking up


@pytest.mark.parametrize("body", ["eos-60d", "eos-r7", "generic"])
async def test_renumbered_handles_are_noticed_and_the_file_is_found(body: str) -> None:
    async with SimCamera(body, cards(2, 5)) as cam, linked(cam) as found:
        item = await the_object(found, "IMG_0003.JPG")
        cam.trouble.renumber_handles(reconnect=False)
        again = await found.lookup(item)
        assert again is not None and is_same_file(item, again)
        assert again.handle != item.handle
        assert again.handle == cam.camera.find("IMG_0003.JPG").handle


async def test_a_lookup_by_handle_costs_one_round_trip() -> None:
    async with SimCamera("eos-60d", cards(2, 5)) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0003.JPG")
        before = body.session.round_trips
        assert await body.lookup(item) is not None
        assert body.session.round_trips - before == 1


async def test_the_time_stays_as_it_was_told_first() -> None:
    """Listing and ObjectInfo may round differently; identity must not change with the way of asking."""
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0001.JPG")
        told = msgspec.structs.replace(item, captured="2024-05-04T10:00:02")
        again = await body.lookup(told)
        assert again is not None and again.captured == told.captured
        assert await body.lookup(msgspec.structs.replace(item, captured="2024-05-04T10:00:03")) is None


@pytest.mark.parametrize("body", ["eos-60d", "generic"])
@pytest.mark.parametrize("change", [{"size": 299_999}, {"name": "IMG_0002.JPG"}, {"folder": "101CANON"}])
async def test_another_file_is_not_taken_for_the_one_that_is_looked_up(
    body: str, change: dict[str, object]
) -> None:
    async with SimCamera(body, cards(1, 1)) as cam, linked(cam) as found:
        item = await the_object(found, "IMG_0001.JPG")
        assert await found.lookup(msgspec.structs.replace(item, **change)) is None


async def test_a_file_that_cannot_be_described_is_looked_up_in_the_listing() -> None:
    """A 6D may hang or fail at ObjectInfo of pictures (protocol.md §7.10)."""
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0001.JPG")
        cam.trouble.fail_op(INFO, 0x2002)
        again = await body.lookup(item)
        assert again is not None and is_same_file(item, again)
