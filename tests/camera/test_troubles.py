"""Every trouble of the link that the simulated camera knows, and what must come of it.

Each row is a trouble, what is done then, and how it ends: a fault code, or None when nothing may be felt of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import msgspec
import pytest

from agent.camera import Body, connect
from agent.faults import Fault, Kind, Scope
from tests.camera.bodies import GUID, STEADY, connected, linked, objects, the_object
from tests.simcam.simcam import SimCamera

Arrange = Callable[[SimCamera], object]
Act = Callable[[Body], Awaitable[object]]

SOON = msgspec.structs.replace(STEADY, pairing=0.5, greeting=0.4, event_channel=0.4, silence=0.5)


@dataclass(frozen=True)
class Row:
    what: str
    arrange: Arrange
    ends: str | None
    act: Act | None = None  # None: connecting alone
    body: str = "eos-60d"

    def __str__(self) -> str:
        return self.what


async def scan(body: Body) -> None:
    assert len(await objects(body)) == 3


async def look(body: Body) -> None:
    await body.look()


async def read(body: Body) -> None:
    item = await the_object(body, "IMG_0002.JPG")
    buffer, offset = memoryview(bytearray(1 << 20)), 0
    while offset < (item.size or 0):
        offset += await body.read(item, offset, buffer)


async def stream(body: Body) -> None:
    assert await body.stream_whole(await the_object(body, "IMG_0002.JPG"), lambda view: None) == 2_000_000


CONNECTING = [
    Row("refuse_pairing", lambda cam: cam.trouble.refuse_pairing(), "camera.not_paired"),
    Row("initiator_busy", lambda cam: cam.trouble.initiator_busy(), "camera.busy_elsewhere"),
    Row("refuse without a reason", lambda cam: cam.trouble.refuse(3), "camera.refused"),
    Row("not_a_camera", lambda cam: cam.trouble.not_a_camera(), "camera.wrong_host"),
    Row("reset_on_connect", lambda cam: cam.trouble.reset_on_connect(), "camera.hung_up"),
    Row("sleep", lambda cam: cam.trouble.sleep(), "camera.port_closed"),
    Row("pairing_delay, nobody comes", lambda cam: cam.trouble.pairing_delay(60), "camera.no_answer"),
    Row("pairing_delay, refused", lambda cam: cam.trouble.pairing_delay(0.05, False), "camera.not_paired"),
    Row("pairing_delay, accepted", lambda cam: cam.trouble.pairing_delay(0.1), None),
    Row("refuse_event_connect", lambda cam: cam.trouble.refuse_event_connect(0.03), None),
    Row(
        "refuse_event_connect for long",
        lambda cam: cam.trouble.refuse_event_connect(0.5),
        "camera.no_event_channel",
    ),
    Row("delay_event_ack", lambda cam: cam.trouble.delay_event_ack(0.1), None),
    Row("delay_event_ack for long", lambda cam: cam.trouble.delay_event_ack(60), "camera.no_event_channel"),
    Row("one_shot_listener", lambda cam: cam.trouble.one_shot_listener(), None),
    Row("dangling_session", lambda cam: cam.trouble.dangling_session(), None),
    Row("busy at first", lambda cam: cam.trouble.busy(3), None),
    Row("stall", lambda cam: cam.trouble.stall(), "camera.no_answer"),
    Row("stall after the handshake", lambda cam: cam.trouble.stall(after=80), "camera.silent"),
    Row("garbage", lambda cam: cam.trouble.garbage(1, 0x1001), "camera.protocol_error"),
    Row("DeviceInfo without data", lambda cam: cam.trouble.no_data(0x1001), "camera.protocol_error"),
]

WORKING = [
    Row("drop", lambda cam: cam.trouble.drop(), "camera.link_lost", look),
    Row("sleep when connected", lambda cam: cam.trouble.sleep(), "camera.link_lost", look),
    Row("cut_after in a listing", lambda cam: cam.trouble.cut_after(60), "camera.link_lost", scan),
    Row("hang_up_after in a listing", lambda cam: cam.trouble.hang_up_after(60), "camera.link_lost", scan),
    Row("cut_after in a chunk", lambda cam: cam.trouble.cut_after(600_000), "camera.link_lost", read),
    Row("hang_up_after in a chunk", lambda cam: cam.trouble.hang_up_after(600_000), "camera.link_lost", read),
    Row("cut_after in a whole object", lambda cam: cam.trouble.cut_after(600_000), "camera.link_lost", stream),
    Row("stall in a chunk", lambda cam: cam.trouble.stall(after=600_000), "camera.silent", read),
    Row("stall for a moment", lambda cam: cam.trouble.stall(0.1, after=600_000), None, read),
    Row("garbage for events", lambda cam: cam.trouble.garbage(1, 0x9116), "camera.protocol_error", look),
    Row("garbage for a listing", lambda cam: cam.trouble.garbage(1, 0x9109), "camera.protocol_error", scan),
    Row("garbage in place of a chunk", lambda cam: cam.trouble.garbage(1, 0x101B), "camera.protocol_error", read),
    Row("endless events", lambda cam: cam.trouble.endless_dataset(0x9116), "camera.protocol_error", look),
    Row("endless listing", lambda cam: cam.trouble.endless_dataset(0x9109), "camera.protocol_error", scan),
    Row(
        "endless handles",
        lambda cam: cam.trouble.endless_dataset(0x1007),
        "camera.protocol_error",
        scan,
        "generic",
    ),
    Row("endless chunk", lambda cam: cam.trouble.endless_dataset(0x101B), "camera.protocol_error", read),
    Row("endless object", lambda cam: cam.trouble.endless_dataset(0x1009), "camera.size_differs", stream),
    Row("long_data", lambda cam: cam.trouble.long_data(), "camera.protocol_error", read),
    Row("short_data in an object", lambda cam: cam.trouble.short_data(), "camera.size_differs", stream),
    Row("stale_tid", lambda cam: cam.trouble.stale_tid(3), None, scan),
    Row("reset_on a listing", lambda cam: cam.trouble.reset_on(0x9109), "camera.link_lost", scan),
    Row("reset_on, second chunk", lambda cam: cam.trouble.reset_on(0x101B, skip=1), "camera.link_lost", read),
    Row("busy for a while", lambda cam: cam.trouble.busy(4), None, read),
    Row("busy for good", lambda cam: cam.trouble.busy(None, 0x101B), "ptp.device_busy", read),
    Row("low battery", lambda cam: cam.trouble.fail_op(0x101B, 0xA101), "ptp.low_battery", read),
    Row("event_flood", lambda cam: cam.trouble.event_flood(20_000), None, read),
    Row("probe", lambda cam: cam.trouble.probe(), None, scan),
    Row("unknown_total", lambda cam: cam.trouble.unknown_total(), None, stream),
    Row("odd_packet_sizes", lambda cam: cam.trouble.odd_packet_sizes(), None, stream),
    Row("close_after_get_object", lambda cam: cam.trouble.close_after_get_object(), None, stream),
    Row("our session is unknown", lambda cam: cam.trouble.fail_op(0x9109, 0x2003), "ptp.session_not_open", scan),
    Row("our count is unknown", lambda cam: cam.trouble.fail_op(0x9109, 0x2004), "ptp.invalid_transaction_id", scan),
]  # fmt: skip


@contextlib.asynccontextmanager
async def ending(code: str | None) -> AsyncIterator[None]:
    """The body must raise the fault `code`, or nothing."""
    if code is None:
        yield
        return
    with pytest.raises(Fault) as caught:
        yield
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize("row", CONNECTING, ids=str)
async def test_connecting(row: Row) -> None:
    async with SimCamera(row.body, "3:2000000") as cam:
        row.arrange(cam)
        async with ending(row.ends):
            body = await connected(cam, timing=SOON)
            await scan(body)
            await body.close()


@pytest.mark.parametrize("row", WORKING, ids=str)
async def test_working(row: Row) -> None:
    async with SimCamera(row.body, "3:2000000") as cam, linked(cam, timing=SOON) as body:
        row.arrange(cam)
        assert row.act is not None
        async with ending(row.ends):
            await row.act(body)
        if row.ends is not None and not row.ends.startswith("ptp."):
            async with ending(body.session.failure.code if body.session.failure else None):
                await body.look()
        cam.trouble.heal()
        await body.close()
        async with linked(cam) as again:
            await read(again)
            await look(again)


async def test_the_pairing_dialog_is_waited_for_as_long_as_a_person_needs() -> None:
    async with SimCamera("eos-60d", "3:2000000") as cam:
        timing = msgspec.structs.replace(SOON, pairing=5.0, greeting=0.1)
        cam.trouble.pairing_delay(0.4)
        with pytest.raises(Fault) as caught:
            await connected(cam, timing=timing, pairing=False)
        assert caught.value.code == "camera.no_answer"
        body = await connected(cam, timing=timing, pairing=True)
        await body.close()
        body = await connected(cam, timing=timing, pairing=False)  # it knows us now
        await body.close()
        cam.trouble.pairing_delay(60)
        with pytest.raises(Fault) as caught:
            await connected(cam, timing=msgspec.structs.replace(timing, pairing=0.2), pairing=True)
        assert caught.value.code == "camera.pairing_timeout" and caught.value.kind is Kind.RETRYABLE


async def test_another_guid_is_not_the_paired_one() -> None:
    async with SimCamera("eos-60d", "3:2000000", known=[GUID]) as cam:
        async with linked(cam) as body:
            await scan(body)
        with pytest.raises(Fault) as caught:
            await connect(
                cam.host, cam.port, guid=bytes(16), name="other", pairing=False, memory={}, timing=SOON
            )
        fault = caught.value
        assert (fault.code, fault.kind, fault.scope) == ("camera.not_paired", Kind.NEEDS_USER, Scope.WHOLE)


async def test_a_second_initiator_is_told_that_the_camera_is_busy() -> None:
    async with SimCamera("eos-60d", "3:2000000") as cam, linked(cam) as body:
        with pytest.raises(Fault) as caught:
            await connected(cam, timing=msgspec.structs.replace(SOON, greeting=5.0))
        assert caught.value.code == "camera.busy_elsewhere"
        await scan(body)


async def test_a_listener_that_wants_its_description_read_first() -> None:
    """Each connection attempt of a 6D needs the description fetched before it; a bare connect would use it up."""
    async with SimCamera("eos-60d", "3:2000000", upnp=0) as cam:
        cam.trouble.armed_by_description()
        assert cam.upnp is not None
        for _ in range(2):
            body = await connect(
                cam.host,
                cam.port,
                guid=GUID,
                name="hotshoe",
                pairing=False,
                memory={},
                timing=STEADY,
                upnp_port=cam.upnp.port,
            )
            await scan(body)
            await body.close()


async def test_a_camera_that_wants_its_events_read_is_never_stalled() -> None:
    async with SimCamera("eos-60d", "3:2000000") as cam, linked(cam) as body:
        cam.trouble.stall_on_unread_events()
        flood = asyncio.create_task(asyncio.to_thread(cam.trouble.event_flood, 50_000))
        for _ in range(3):
            await read(body)
        await flood


async def test_a_camera_is_kept_from_sleeping_by_looks_alone() -> None:
    async with SimCamera("eos-60d", "3:2000000") as cam, linked(cam) as body:
        cam.trouble.sleep_after(0.4)
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.0
        while loop.time() < end:
            await body.look()
            await body.pause()
        assert cam.stats.troubles["sleep_after"] == 0


async def test_many_cameras_at_once() -> None:
    async with contextlib.AsyncExitStack() as stack:
        cams = [
            await stack.enter_async_context(SimCamera(name, "3:2000000", serial=f"{number}" * 32))
            for number, name in enumerate(["eos-60d", "eos-r7", "eos-1300d"], 1)
        ]
        bodies = [await stack.enter_async_context(linked(cam)) for cam in cams]
        cams[1].trouble.stall()
        slow = asyncio.create_task(scan(bodies[1]))
        await asyncio.gather(scan(bodies[0]), read(bodies[2]))
        assert len({body.identity.serial for body in bodies}) == 3
        assert not slow.done(), "the stalled one stops nobody else"
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
