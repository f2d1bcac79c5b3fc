"""Content: every way a camera can be read, byte for byte, and what happens when it lies or breaks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import msgspec
import pytest

from agent.camera import Body, Object
from agent.camera.reading import CHUNK_BYTES, GOOD_CHUNKS, SMALL_CHUNK_BYTES
from agent.faults import Fault, Scope
from tests.camera.bodies import asked, linked, objects, the_object
from tests.simcam.card import Synthetic
from tests.simcam.simcam import SimCamera

PARTIAL, EOS_PARTIAL, WHOLE = 0x101B, 0x9107, 0x1009
WIDE, WIDE_EX, WIDE_WHOLE = 0x9172, 0x9174, 0x9171
GIB = 1 << 30


async def fetch(body: Body, item: Object) -> str:
    """Read all of an object in chunks; its SHA-256."""
    assert item.size is not None
    digest, offset, buffer = hashlib.sha256(), 0, memoryview(bytearray(CHUNK_BYTES))
    while offset < item.size:
        count = await body.read(item, offset, buffer)
        digest.update(buffer[:count])
        offset += count
    assert offset == item.size
    return digest.hexdigest()


def sha256(cam: SimCamera, name: str) -> str:
    source = cam.camera.find(name).source
    assert source is not None
    return source.sha256()


def content(cam: SimCamera, name: str, offset: int, length: int) -> bytes:
    source = cam.camera.find(name).source
    assert isinstance(source, Synthetic)
    return b"".join(source.views(offset, length))


@pytest.mark.parametrize("body", ["eos-60d", "eos-1300d", "eos-r7", "generic"])
@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 12_345])
async def test_every_byte_arrives_in_chunks_of_at_most_a_mebibyte(body: str, size: int) -> None:
    async with SimCamera(body, f"1:{size}") as cam:
        cam.trouble.big_chunk_reset(CHUNK_BYTES)
        async with linked(cam) as found:
            [item] = await objects(found)
            assert found.can_resume(item)
            assert await fetch(found, item) == sha256(cam, "IMG_0001.JPG")
            assert asked(cam, PARTIAL) == -(-size // CHUNK_BYTES)
            assert asked(cam, WHOLE) == 0


SHAPES: list[Callable[[SimCamera], None]] = [
    lambda cam: cam.trouble.odd_packet_sizes(),
    lambda cam: cam.trouble.single_end_data(),
    lambda cam: cam.trouble.empty_end_data(),
    lambda cam: cam.trouble.unknown_total(),
    lambda cam: cam.trouble.stale_tid(3),
    lambda cam: cam.trouble.short_read(3),
    lambda cam: cam.trouble.busy(3, PARTIAL),
    lambda cam: cam.trouble.fail_op(PARTIAL, 0x2007, 1),
    lambda cam: cam.trouble.event_flood(2000),
]


@pytest.mark.parametrize("arrange", SHAPES)
async def test_every_byte_arrives_in_whatever_shape(arrange: Callable[[SimCamera], None]) -> None:
    async with SimCamera("eos-60d", "1:2500000") as cam, linked(cam) as body:
        [item] = await objects(body)
        arrange(cam)
        assert await fetch(body, item) == sha256(cam, item.name)


async def test_a_body_that_lists_only_canons_operation_is_read_with_that() -> None:
    async with SimCamera("eos-60d", "1:2500000") as cam:
        cam.trouble.without_op(PARTIAL)
        async with linked(cam) as body:
            [item] = await objects(body)
            assert await fetch(body, item) == sha256(cam, item.name)
            assert asked(cam, EOS_PARTIAL) == 3


async def test_a_body_that_refuses_what_it_lists_is_read_with_the_other() -> None:
    async with SimCamera("eos-60d", "1:2500000") as cam:
        cam.trouble.fail_op(PARTIAL, 0x2005)
        async with linked(cam) as body:
            [item] = await objects(body)
            with pytest.raises(Fault) as caught:
                await fetch(body, item)
            assert caught.value.scope is Scope.ITEM
            assert await fetch(body, item) == sha256(cam, item.name)


async def test_nothing_before_the_end_is_a_fault_and_never_an_endless_loop() -> None:
    async with SimCamera("eos-60d", "1:2500000") as cam, linked(cam) as body:
        [item] = await objects(body)
        cam.trouble.short_read(None, 0)  # type: ignore[arg-type]
        with pytest.raises(Fault) as caught:
            await fetch(body, item)
        assert (caught.value.code, caught.value.scope) == ("camera.short_read", Scope.ITEM)


async def test_a_file_shorter_than_listed() -> None:
    async with SimCamera("eos-60d", "1:2500000") as cam:
        cam.trouble.lying_size("IMG_0001.JPG", 2_500_000, 1_000_000)
        async with linked(cam) as body:
            [item] = await objects(body)
            with pytest.raises(Fault) as caught:
                await fetch(body, item)
            assert caught.value.scope is Scope.ITEM
            assert body.session.failure is None, "the link is fine"


async def test_a_file_longer_than_listed_is_read_to_its_listed_end() -> None:
    async with SimCamera("eos-60d", "1:2500000") as cam:
        cam.trouble.lying_size("IMG_0001.JPG", 1_000_000)
        async with linked(cam) as body:
            [item] = await objects(body)
            digest = hashlib.sha256(content(cam, item.name, 0, 1_000_000)).hexdigest()
            assert await fetch(body, item) == digest


async def test_an_object_that_can_never_be_read() -> None:
    async with SimCamera("eos-60d", "3:5000") as cam, linked(cam) as body:
        cam.trouble.unreadable("IMG_0002.JPG")
        first, second, third = await objects(body)
        with pytest.raises(Fault) as caught:
            await fetch(body, second)
        assert (caught.value.code, caught.value.scope) == ("ptp.general_error", Scope.ITEM)
        assert await fetch(body, first) == sha256(cam, first.name)
        assert await fetch(body, third) == sha256(cam, third.name)


async def test_a_file_that_is_deleted_while_it_is_read() -> None:
    async with SimCamera("eos-60d", "1:3M") as cam, linked(cam) as body:
        [item] = await objects(body)
        cam.trouble.deleted_mid_transfer(item.name)
        codes = []
        for _ in range(2):
            with pytest.raises(Fault) as caught:
                await fetch(body, item)
            codes.append(caught.value.code)
        assert codes == ["ptp.general_error", "ptp.invalid_object_handle"]
        assert await body.lookup(item) is None


async def test_a_file_that_is_just_being_written_is_asked_for_again() -> None:
    async with SimCamera("eos-60d", "1:1K") as cam, linked(cam) as body:
        await objects(body)
        cam.shoot("JPG:5000")
        [item] = (await body.look()).added
        cam.trouble.object_not_ready(2)
        cam.trouble.fail_op(PARTIAL, 0x2002, 2)
        assert await fetch(body, item) == sha256(cam, item.name)


async def test_chunks_are_small_after_a_reset_inside_one_and_full_again_after_a_while() -> None:
    memory: dict[str, str] = {}
    async with SimCamera("eos-60d", "1:40M") as cam:
        buffer = memoryview(bytearray(CHUNK_BYTES))
        async with linked(cam, memory=memory) as body:
            [item] = await objects(body)
            cam.trouble.cut_after(100_000)
            with pytest.raises(Fault) as caught:
                await body.read(item, 0, buffer)
            assert caught.value.code == "camera.link_lost"
        async with linked(cam, memory=memory) as body:
            [item] = await objects(body)
            offset = 0
            for _ in range(GOOD_CHUNKS):
                assert await body.read(item, offset, buffer) == SMALL_CHUNK_BYTES
                offset += SMALL_CHUNK_BYTES
            assert await body.read(item, offset, buffer) == CHUNK_BYTES
        assert memory == {}


@pytest.mark.parametrize(
    ("body", "without", "form", "used"),
    [
        ("eos-r7", (), "A", WIDE),
        ("eos-r7", (), "B", WIDE),
        ("eos-r7", (WIDE,), "A", WIDE_EX),
    ],
)
async def test_offsets_beyond_32_bits_are_read_in_the_form_that_the_body_understands(
    body: str, without: tuple[int, ...], form: str, used: int
) -> None:
    memory: dict[str, str] = {}
    async with SimCamera(body, "2:5000,1:6G:MP4") as cam:
        cam.trouble.partial_64_form(form)
        cam.trouble.without_op(*without)
        for _ in range(2):
            async with linked(cam, memory=memory) as found:
                movie = await the_object(found, "MVI_0003.MP4")
                assert movie.size == 6 * GIB and found.can_resume(movie)
                buffer = memoryview(bytearray(1000))
                for offset in (0, 4 * GIB - 500, 5 * GIB + 7, 6 * GIB - 1000):
                    assert await found.read(movie, offset, buffer) == 1000
                    assert bytes(buffer) == content(cam, movie.name, offset, 1000)
        trials = 1 if form == "A" else 2
        assert asked(cam, used) == 8 + trials, "found out once, and remembered"
        assert cam.stats.reads["DCIM/100CANON/MVI_0003.MP4"] < 10_000 + 8 * 100, "tried on a small file"


async def test_a_small_file_that_is_gone_is_tried_once_and_then_the_movie_itself() -> None:
    async with SimCamera("eos-r7", "2:5000,1:5G:MP4") as cam, linked(cam) as body:
        first, _, movie = await objects(body)
        cam.trouble.delete(first.name)
        buffer = memoryview(bytearray(1000))
        with pytest.raises(Fault) as caught:
            await body.read(movie, 0, buffer)
        assert (caught.value.code, caught.value.scope) == ("ptp.invalid_object_handle", Scope.ITEM)
        assert await body.read(movie, 0, buffer) == 1000
        assert bytes(buffer) == content(cam, movie.name, 0, 1000)


async def test_a_movie_that_no_partial_read_reaches_is_only_to_be_had_as_a_whole() -> None:
    memory: dict[str, str] = {}
    async with SimCamera("eos-r7", "2:5000,1:5G:MP4") as cam:
        cam.trouble.fail_op(WIDE, 0x201D)
        cam.trouble.fail_op(WIDE_EX, 0x2002)
        async with linked(cam, memory=memory) as body:
            movie = await the_object(body, "MVI_0003.MP4")
            assert body.can_resume(movie)
            with pytest.raises(Fault) as caught:
                await body.read(movie, 0, memoryview(bytearray(1000)))
            assert (caught.value.code, caught.value.scope) == ("camera.whole_object_only", Scope.ITEM)
            assert not body.can_resume(movie)
            photo = await the_object(body, "IMG_0001.JPG")
            assert body.can_resume(photo)
        async with linked(cam, memory=memory) as body:
            assert not body.can_resume(await the_object(body, "MVI_0003.MP4"))


async def test_a_body_without_64_bit_operations() -> None:
    async with SimCamera("eos-60d", "1:5000,1:5G:MP4") as cam, linked(cam) as body:
        movie = await the_object(body, "MVI_0002.MP4")
        assert movie.size is None and not body.can_resume(movie)
        assert await body.measure(movie) == 5 * GIB
        assert body.session.failure is not None, "the only way to stop is to hang up"


@pytest.mark.parametrize("body", ["eos-60d", "eos-r7", "generic"])
async def test_a_body_without_partial_reads_gives_whole_objects(body: str) -> None:
    async with SimCamera(body, "1:2500000") as cam:
        cam.trouble.without_op(PARTIAL, EOS_PARTIAL, WIDE, WIDE_EX)
        async with linked(cam) as found:
            [item] = await objects(found)
            assert not found.can_resume(item)
            with pytest.raises(Fault, match="whole_object_only"):
                await found.read(item, 0, memoryview(bytearray(10)))
            digest = hashlib.sha256()

            async def sink(view: memoryview) -> None:
                await asyncio.sleep(0)
                digest.update(view)

            assert await found.stream_whole(item, sink) == 2_500_000
            assert digest.hexdigest() == sha256(cam, item.name)
            assert await found.thumbnail(item) is not None


@pytest.mark.parametrize(
    ("arrange", "code"),
    [
        (lambda cam: cam.trouble.short_data(1, WHOLE), "camera.size_differs"),
        (lambda cam: cam.trouble.short_data(1, WHOLE, 1 << 20), "camera.size_differs"),
        (lambda cam: cam.trouble.long_data(1, WHOLE), "camera.protocol_error"),
        (lambda cam: cam.trouble.lying_size("IMG_0001.JPG", 60_000, 50_000), "camera.size_differs"),
        (lambda cam: cam.trouble.unreadable("IMG_0001.JPG", 0x200F), "ptp.access_denied"),
        (lambda cam: cam.trouble.cut_after(20_000), "camera.link_lost"),
    ],
)
async def test_a_whole_object_that_is_not_whole(arrange: Callable[[SimCamera], None], code: str) -> None:
    async with SimCamera("eos-60d", "1:50000") as cam, linked(cam) as body:
        [item] = await objects(body)
        arrange(cam)
        if code == "camera.size_differs" and cam.camera.find(item.name).listed_size != item.size:
            [item] = await objects(body)
        with pytest.raises(Fault) as caught:
            await body.stream_whole(item, lambda view: None)
        assert caught.value.code == code


async def test_a_body_that_hangs_up_after_each_whole_object() -> None:
    async with SimCamera("eos-60d", "1:50000") as cam, linked(cam) as body:
        [item] = await objects(body)
        cam.trouble.close_after_get_object()
        assert await body.stream_whole(item, lambda view: None) == 50_000
        with pytest.raises(Fault) as caught:
            await body.lookup(item)
        assert caught.value.code == "camera.link_lost"


async def test_a_total_that_is_unknown_is_no_obstacle() -> None:
    async with SimCamera("eos-60d", "1:50000") as cam, linked(cam) as body:
        cam.trouble.unknown_total()
        [item] = await objects(body)
        assert await body.stream_whole(item, lambda view: None) == 50_000


async def test_a_size_that_nobody_tells() -> None:
    async with SimCamera("eos-60d", "1:50000") as cam, linked(cam) as body:
        [item] = await objects(body)
        cam.trouble.unknown_total()
        with pytest.raises(Fault) as caught:
            await body.measure(item)
        assert caught.value.code == "camera.size_unknown"


async def test_a_reader_that_is_cancelled_leaves_the_link_usable() -> None:
    async with SimCamera("eos-60d", "1:50M", mbit=400) as cam, linked(cam) as body:
        [item] = await objects(body)
        task = asyncio.create_task(fetch(body, item))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 0.1)  # two chunks take 40 ms
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await body.thumbnail(item) is not None
        assert body.session.failure is None


async def test_nothing_is_read_past_the_end_of_a_file() -> None:
    async with SimCamera("eos-60d", "1:5000") as cam, linked(cam) as body:
        [item] = await objects(body)
        buffer = memoryview(bytearray(b"\xaa" * 6000))
        assert await body.read(item, 4000, buffer) == 1000
        assert bytes(buffer[1000:]) == b"\xaa" * 5000
        assert not body.can_resume(msgspec.structs.replace(item, size=None))
