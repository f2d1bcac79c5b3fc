"""The same file again, whatever its handle means by now."""

from __future__ import annotations

import msgspec
import pytest

from agent.camera import is_same_file
from tests.camera.bodies import (
    cards,
    linked,
    the_object,
)
from tests.simcam.simcam import SimCamera

INFO = 0x1008


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
