"""Thumbnails: the ways to one, and how long a person waits for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.camera import Urgency
from agent.camera.reading import CHUNK_BYTES
from tests.camera.bodies import asked, linked, objects
from tests.camera.test_preview import exif_jpeg, tiny_jpeg
from tests.simcam.simcam import SimCamera


@pytest.mark.parametrize("body", ["eos-60d", "eos-r7", "generic"])
async def test_a_thumbnail_costs_one_round_trip(body: str) -> None:
    async with SimCamera(body, "1:50000") as cam, linked(cam) as found:
        [item] = await objects(found)
        before = found.session.round_trips
        assert await found.thumbnail(item) == cam.camera.find(item.name).thumbnail
        assert found.session.round_trips - before == 1


async def test_canon_has_a_second_way_to_a_thumbnail() -> None:
    async with SimCamera("eos-60d", "1:50000") as cam, linked(cam) as body:
        [item] = await objects(body)
        cam.trouble.fail_op(0x100A, 0x2010)
        assert await body.thumbnail(item) == cam.camera.find(item.name).thumbnail
        assert asked(cam, 0x910A) == 1


async def test_without_thumbnails_the_small_picture_inside_the_file_serves(tmp_path: Path) -> None:
    folder = tmp_path / "DCIM" / "100CANON"
    folder.mkdir(parents=True)
    (folder / "IMG_0001.JPG").write_bytes(exif_jpeg(tiny_jpeg(1)) + bytes(300_000))
    (folder / "IMG_0002.JPG").write_bytes(b"\xff\xd8" + bytes(300_000))
    async with SimCamera("eos-60d", tmp_path) as cam, linked(cam) as body:
        cam.trouble.missing_thumbnail()
        first, second = await objects(body)
        assert await body.thumbnail(first) == tiny_jpeg(1)
        assert await body.thumbnail(second) is None
        assert cam.stats.object_bytes < 64 * 1024 + 256 * 1024 + 2000, "no more than the beginning is read"


async def test_a_thumbnail_of_a_file_that_is_gone() -> None:
    async with SimCamera("eos-60d", "1:50000") as cam, linked(cam) as body:
        [item] = await objects(body)
        cam.trouble.delete(item.name)
        assert await body.thumbnail(item) is None


async def test_a_thumbnail_waits_for_one_chunk_of_a_movie_and_looks_go_on() -> None:
    async with SimCamera("eos-r7", "1:50000,1:6G:MP4") as cam, linked(cam) as body:
        photo, movie = await objects(body)
        chunks, is_running = 0, asyncio.Event()

        async def read_on() -> None:
            nonlocal chunks
            offset, buffer = 0, memoryview(bytearray(CHUNK_BYTES))
            while True:
                offset += await body.read(movie, offset, buffer)
                chunks += 1
                is_running.set()

        reading = asyncio.create_task(read_on())
        waits = []
        for _ in range(10):
            cam.shoot("JPG:1000")
            is_running.clear()
            await is_running.wait()
            before = chunks
            assert await body.thumbnail(photo, Urgency.PERSON) is not None
            waits.append(chunks - before)
            before = chunks
            assert len((await body.look()).added) == 1
            waits.append(chunks - before)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert max(waits) <= 1, waits
