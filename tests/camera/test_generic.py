"""Plain PTP bodies: the standard's operations alone, and what one bad object may cost."""

from __future__ import annotations

import asyncio
import struct

import msgspec
import pytest

from agent.camera import Body, Handle, Object, connect, is_same_file
from agent.camera.brands.canon import Canon
from tests.camera.bodies import STEADY, asked, facts, linked, objects, scan, the_object, truth
from tests.camera.responder import Peer, camera, device_info, ptp_text, scripted
from tests.simcam import fill
from tests.simcam.card import Card, Synthetic
from tests.simcam.hooks import Transaction
from tests.simcam.operations import Answer
from tests.simcam.simcam import SimCamera

HANDLES, INFO, GET_EVENT = 0x1007, 0x1008, 0x9116


def two_folders(card: Card) -> None:
    fill.by_formula(card, [fill.Batch(6, (("JPG", 3000),))], per_folder=3)


async def test_a_body_without_a_serial_is_known_by_its_guid() -> None:
    async with SimCamera("generic", "1:1K") as cam, linked(cam) as body:
        assert not isinstance(body, Canon)
        assert body.identity.serial == cam.profile.guid.hex()
        assert not body.identity.is_serial_reported


async def test_a_canon_without_get_event_is_a_plain_body() -> None:
    async with SimCamera("eos-60d", "3:1K") as cam:
        cam.trouble.without_op(GET_EVENT)
        async with linked(cam) as body:
            assert not isinstance(body, Canon)
            assert len(await objects(body)) == 3


async def test_a_scan_costs_one_round_trip_for_the_card_and_one_per_object() -> None:
    async with SimCamera("generic", two_folders) as cam, linked(cam) as body:
        found = await objects(body)
        assert sorted(map(facts, found)) == sorted(map(truth, cam.files()))
        assert asked(cam, HANDLES) == 1
        parents = 3  # of DCIM's two folders, asked for once more as what they are
        assert asked(cam, INFO) <= 6 + 2 + 1 + parents
        infos = asked(cam, INFO)
        assert len(await objects(body)) == 6
        assert asked(cam, HANDLES) == 2
        assert asked(cam, INFO) - infos == 2, "of what is known, two are asked for again"


async def test_every_folder_comes_as_a_whole_at_the_end() -> None:
    async with SimCamera("generic", two_folders) as cam, linked(cam) as body:
        whole = [folder for folder in await scan(body) if folder.is_complete]
        assert [(folder.name, len(folder.objects)) for folder in whole] == [("100CANON", 3), ("101CANON", 3)]


async def test_a_long_card_comes_in_parts_so_that_a_reset_loses_little() -> None:
    async with SimCamera("generic", "600:1K") as cam, linked(cam) as body:
        parts = [folder for folder in await scan(body) if not folder.is_complete]
        assert [len(folder.objects) for folder in parts] == [250, 250]


async def test_what_the_caller_knows_is_not_asked_for() -> None:
    async with SimCamera("generic", two_folders) as cam, linked(cam) as body:
        mine = {item.handle: item for item in await objects(body)}
        asked_for: list[tuple[int, int]] = []

        def known(storage: int, handle: int) -> Object | None:
            asked_for.append((storage, handle))
            return mine.get(Handle(handle)) if handle % 2 else None

        for storage in (0x10001, 0x20001):
            body.inventory.forget_storage(storage)
        infos = asked(cam, INFO)
        found = [item async for folder in body.scan(known) for item in folder.objects]
        assert len({item.handle for item in found}) == 6
        assert {storage for storage, _ in asked_for} == {0x10001}
        spared = sum(1 for handle in mine if handle % 2)
        assert spared and asked(cam, INFO) - infos <= infos - spared


async def test_a_body_that_does_not_list_flat_is_walked() -> None:
    async with SimCamera("generic", two_folders) as cam:

        def refuse_flat(transaction: Transaction, answer: Answer) -> Answer | None:
            return Answer(0x2006) if transaction.params[2] == 0 else None

        cam.trouble._before("fail_op", refuse_flat, HANDLES, None)
        async with linked(cam) as body:
            for _ in range(2):
                assert sorted(map(facts, await objects(body))) == sorted(map(truth, cam.files()))
            cam.shoot("JPG:4000")
            assert [item.size for item in (await body.look()).added] == [4000]


async def test_a_folder_that_only_looks_like_one_of_dcim_is_left_alone() -> None:
    def put(card: Card) -> None:
        two_folders(card)
        elsewhere = card.add_root_folder("PRIVATE", fill.FIRST_SHOT_AT)
        inside = card._add_folder("100OTHER", elsewhere.handle, 0, fill.FIRST_SHOT_AT)
        card.add(inside, "IMG_0001.JPG", Synthetic("elsewhere", 3000), fill.FIRST_SHOT_AT)

    async with SimCamera("generic", put) as cam, linked(cam) as body:
        assert len(cam.files()) == 7
        assert {item.folder for item in await objects(body)} == {"100CANON", "101CANON"}


# --- looking


async def test_a_look_compares_the_handles_and_describes_what_is_new() -> None:
    async with SimCamera("generic", two_folders) as cam, linked(cam) as body:
        assert (await body.look()).is_incomplete, "there is nothing to compare with before the first scan"
        await objects(body)
        infos = asked(cam, INFO)
        [shot] = cam.shoot("JPG:4000+CR2:9000")
        look = await body.look()
        assert {facts(item) for item in look.added} == {truth(cam.camera.find(name)) for name in shot.names}
        assert all(item.is_just_written for item in look.added)
        assert asked(cam, INFO) - infos == 2
        assert await body.look() == type(look)()
        assert body.poll_seconds == STEADY.poll_listing


async def test_a_look_during_the_first_scan_leaves_the_rest_of_the_card_to_it() -> None:
    async with SimCamera("generic", "600:1K") as cam, linked(cam) as body:
        async for folder in body.scan():
            if not folder.is_complete:
                [shot] = cam.shoot("JPG:4000")
                look = await body.look()
                assert look.added == () and look.is_incomplete
            assert not any(item.is_just_written for item in folder.objects)
        assert asked(cam, INFO) < 600 + 10
        assert [item.name for item in (await body.look()).added] == ["IMG_0601.JPG", shot.names[0]]


async def test_deleted_objects_are_told_by_handle_and_folders_are_complete_without_them() -> None:
    async with SimCamera("generic", two_folders) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0002.JPG")
        cam.trouble.delete("IMG_0002.JPG")
        assert (await body.look()).removed_handles == (item.handle,)
        assert await body.lookup(item) is None
        cam.trouble.delete("IMG_0001.JPG")
        [folder] = await body.reconcile()
        assert folder.is_complete and [found.name for found in folder.objects] == ["IMG_0003.JPG"]
        assert await body.reconcile() == []


async def test_the_event_socket_makes_the_next_look_happen_sooner() -> None:
    timing = msgspec.structs.replace(STEADY, poll_listing=30.0)
    async with SimCamera("generic", two_folders) as cam, linked(cam, timing=timing) as body:
        await objects(body)
        await body.look()
        waiting = asyncio.create_task(body.pause())
        await asyncio.sleep(0)
        cam.shoot("JPG:4000")
        await asyncio.wait_for(waiting, 5)
        assert len((await body.look()).added) == 1


async def test_a_swapped_card_makes_everything_that_was_known_worthless() -> None:
    async with SimCamera("generic", two_folders) as cam, linked(cam) as body:
        before = await objects(body)
        cam.trouble.swap_card(size_change=5)
        async with asyncio.timeout(5):
            await body.session.hinted.wait()
        assert (await body.look()).storages_changed
        after = await objects(body)
        assert [item.handle for item in after] == [item.handle for item in before]
        assert not any(is_same_file(*pair) for pair in zip(before, after, strict=True))


async def test_a_format_that_nobody_tells_of_is_noticed_by_the_next_scan() -> None:
    async with SimCamera("generic", two_folders) as cam, linked(cam) as body:
        cam.trouble.event_socket("silent")
        before = await objects(body)
        cam.trouble.format_and_reuse_handles()
        after = await objects(body)
        assert [item.handle for item in after] == [item.handle for item in before]
        assert sorted(map(facts, after)) == sorted(map(truth, cam.files()))


async def test_a_card_that_was_pulled_out_is_no_storage_any_more() -> None:
    async with SimCamera("generic", cards=[two_folders, two_folders]) as cam, linked(cam) as body:
        assert len(await objects(body)) == 12
        cam.trouble.event_socket("silent")
        cam.trouble.pull_card(1)
        look = await body.look()
        assert look.storages_changed
        assert [storage.id for storage in await body.storages()] == [0x10001]
        assert len(await objects(body)) == 6


# --- one bad object


@pytest.mark.parametrize("code", [0x2002, 0x2009, 0x200F, 0x2015, 0xA104])
async def test_one_unreadable_object_among_many_is_reported_and_skipped(code: int) -> None:
    async with SimCamera("generic", "100:1K") as cam:
        bad = cam.camera.find("IMG_0050.JPG")
        cam.trouble._before(
            "unreadable",
            lambda transaction, answer: Answer(code) if transaction.params[0] == bad.handle else None,
            INFO,
            None,
        )
        async with linked(cam) as body:
            listed = await scan(body)
            names = {item.name for folder in listed for item in folder.objects}
            assert len(names) == 99 and "IMG_0050.JPG" not in names
            assert [found.handle for folder in listed for found in folder.unreadable] == [bad.handle]
            assert not any(folder.is_complete for folder in listed), "what is missing may still be there"
            infos = asked(cam, INFO)
            await body.look()
            assert asked(cam, INFO) == infos, "it is not asked for at every look"
            await body.reconcile()
            assert asked(cam, INFO) > infos, "but at the next reconciling"
            cam.trouble.heal("unreadable")
            assert len(await objects(body)) == 100


async def test_a_description_that_cannot_be_read_is_one_bad_object() -> None:
    async with SimCamera("generic", "10:1K") as cam:
        cam.trouble.no_data(INFO, 1)
        async with linked(cam) as body:
            listed = await scan(body)
            assert [found.code for folder in listed for found in folder.unreadable] == ["camera.bad_dataset"]
            assert len(await objects(body)) == 10


async def test_one_card_that_cannot_be_listed_does_not_hide_the_other() -> None:
    async with SimCamera("generic", cards=[two_folders, two_folders]) as cam:
        cam.trouble._before(
            "fail_op",
            lambda transaction, answer: Answer(0x2008) if transaction.params[0] == 0x10001 else None,
            HANDLES,
            None,
        )
        async with linked(cam) as body:
            listed = await scan(body)
            bad = [folder for folder in listed if folder.unreadable]
            assert [(folder.storage, folder.unreadable[0].code) for folder in bad] == [
                (0x10001, "ptp.invalid_storage_id")
            ]
            assert sum(len(folder.objects) for folder in listed if folder.is_complete) == 6


async def test_a_card_with_more_files_than_we_list_is_reported() -> None:
    """200,000 files and one; a whole answer of that length is no error of the protocol."""
    count = 200_001
    array = struct.pack(f"<I{count}I", count, *range(1, count + 1))
    card = struct.pack("<HHHQQI", 4, 3, 0, 1 << 30, 1 << 20, 0xFFFFFFFF) + ptp_text("Card") + b"\0"
    info = device_info(0x1001, 0x1004, 0x1005, HANDLES, INFO)

    async def command(peer: Peer) -> None:
        data = {0x1004: struct.pack("<II", 1, 0x10001), 0x1005: card, HANDLES: array, 0x1001: info}
        while (request := await peer.request())[0]:
            await peer.respond(request[1], data[request[0]])

    async with scripted(*camera(command, info=info)) as port:
        body: Body = await connect(
            "127.0.0.1", port, guid=bytes(16), name="edge", pairing=False, memory={}, timing=STEADY
        )
        [folder] = await scan(body)
        assert [bad.code for bad in folder.unreadable] == ["camera.too_many_objects"]
        await body.close()
