"""EOS bodies: setting up, the pace of looking, and patience."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from agent.camera import connect
from agent.camera.brands.canon import Canon
from tests.camera.bodies import (
    STEADY,
    asked,
    cards,
    connected,
    linked,
    objects,
    scan,
)
from tests.camera.responder import Peer, Script, camera, device_info, scripted
from tests.simcam.simcam import SimCamera

LISTING, INFO = 0x9109, 0x1008
EOS = ["eos-60d", "eos-1300d", "eos-r7", "eos-r5-mark-ii"]

FORBIDDEN = {0x1003, 0x100B, 0x100F, 0x9105, 0x9106, 0x910C, 0x9110, 0x9117, 0x911A, 0x911B, 0x911C, 0x913D}
"""What the photographer would feel or lose by: UILock, OLC, PCHDDCapacity, properties, deleting, CloseSession."""


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
