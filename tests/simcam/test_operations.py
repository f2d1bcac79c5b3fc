"""Operations as an initiator without any knowledge of ours sees them."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest

from tests.simcam import SimCamera, body_named, names, recordings
from tests.simcam.codes import WIDE_OPS
from tests.simcam.dial import Answer, Dial

OK, NOT_SUPPORTED = 0x2001, 0x2005
ALL = 0xFFFFFFFF


def u32s(data: bytes | None) -> tuple[int, ...]:
    assert data is not None and len(data) == 4 + 4 * struct.unpack_from("<I", data)[0]
    return struct.unpack(f"<{len(data) // 4 - 1}I", data[4:])


def entries(answer: Answer) -> list[bytes]:
    """Entries of a 0x9109 or 0x9173 listing, by their own sizes."""
    assert answer.code == OK and answer.data is not None and answer.params == (0, len(answer.data))
    found, at = [], 4
    while at < len(answer.data):
        size = struct.unpack_from("<I", answer.data, at)[0]
        found.append(answer.data[at : at + size])
        at += size
    assert len(found) == struct.unpack_from("<I", answer.data)[0]
    return found


@pytest.fixture
def cam() -> Iterator[SimCamera]:
    with SimCamera("eos-r7", card="3:300K+700K:JPG+CR3,1:6G:MP4") as camera:
        yield camera


@pytest.fixture
def dial(cam: SimCamera) -> Iterator[Dial]:
    with Dial(cam.port) as initiator:
        yield initiator


def test_the_60d_answers_as_recorded() -> None:
    with SimCamera("eos-60d", card="recorded-60d") as cam, Dial(cam.port) as dial:
        assert dial.ask(0x1001).data == recordings.payload("eos60d_deviceinfo")
        assert dial.ask(0x9101).data == recordings.payload("eos60d_getstorageids_9101")
        assert dial.ask(0x1007, ALL, 0, 0).data == recordings.payload("eos60d_getobjecthandles_1007")
        for recorded in recordings.eos60d_objects():
            assert dial.ask(0x1008, recorded.handle).data == recorded.info
        assert dial.ask(0x1014, 0x5001).data == recordings.payload("eos60d_getdevicepropdesc_5001")
        assert dial.ask(0x9116).data == recordings.payload("eos60d_getevent_empty"), "no events before 0x9115"
        assert dial.ask(0x9115, 1).code == OK
        assert dial.ask(0x9116).data == recordings.payload("eos60d_getevent_first")
        assert len(dial.ask(0x9116).data or b"") > 8
        assert dial.ask(0x9116).data == recordings.payload("eos60d_getevent_empty")


@pytest.mark.parametrize("name", names())
def test_every_body_lists_what_it_lists(name: str) -> None:
    """Operations as in the recorded lists; one that is not listed is not supported."""
    profile = body_named(name)
    with SimCamera(profile, card="2:10K") as cam, Dial(cam.port) as dial:
        info = dial.ask(0x1001).data
        assert info is not None
        count = struct.unpack_from("<I", info, 11)[0]
        assert struct.unpack_from(f"<{count}H", info, 15) == profile.operations
        assert profile.model.encode("utf-16-le") in info
        for code in sorted(WIDE_OPS | {0x1012, 0x9109}):
            is_listed = code in profile.operations
            assert (dial.ask(code, 0, 0, 0, 0).code == NOT_SUPPORTED) is not is_listed, hex(code)
        folders = 3 if profile.is_eos else 2
        assert len(u32s(dial.ask(0x1007, ALL, 0, 0).data)) == folders + 2


def test_bulk_listing_walks_the_card(cam: SimCamera, dial: Dial) -> None:
    storage = 0x00010001
    dcim, misc = entries(dial.ask(0x9109, storage, ALL, 0x100000))
    assert misc[36:40] == b"MISC"
    assert dcim[36:40] == b"DCIM" and struct.unpack_from("<I", dcim, 28)[0] == 0x40000000
    [folder] = entries(dial.ask(0x9109, storage, struct.unpack_from("<I", dcim, 4)[0], 0x100000))
    parent = struct.unpack_from("<I", folder, 4)[0]
    files = entries(dial.ask(0x9109, storage, parent, 0x100000))
    assert [entry[36:52].rstrip(b"\0") for entry in files[:2]] == [b"IMG_0001.CR3", b"IMG_0001.JPG"]
    assert {len(entry) for entry in files} == {56}
    assert struct.unpack_from("<I", files[-1], 24)[0] == ALL, "a movie above 4 GiB"
    wide = entries(dial.ask(0x9173, storage, parent, 0x100000))
    assert {len(entry) for entry in wide} == {60} and struct.unpack_from("<Q", wide[-1], 24)[0] == 6 << 30
    raw, jpeg = (struct.unpack_from("<I", entry, 52)[0] for entry in files[:2])
    assert raw == jpeg + 1, "RAW and JPEG of one shot differ by a second"
    assert files[0][32:36] == files[1][32:36], "and share a group"


def test_a_listing_longer_than_allowed_is_empty(dial: Dial) -> None:
    assert entries(dial.ask(0x9109, 0x00010001, ALL, 4 + 2 * 56 - 1)) == []
    assert len(entries(dial.ask(0x9109, 0x00010001, ALL, 4 + 2 * 56))) == 2


def test_an_empty_second_slot_is_listed_without_capacity(dial: Dial) -> None:
    assert u32s(dial.ask(0x9101).data) == (0x00010001, 0x00020001)
    info = dial.ask(0x9102, 0x00020001).data
    assert info is not None and info[6:22] == bytes(16)
    assert entries(dial.ask(0x9109, 0x00020001, ALL, 0x100000)) == []
    assert dial.ask(0x9102, 0x00030001).code == 0x2008


def test_standard_listing(cam: SimCamera, dial: Dial) -> None:
    flat = u32s(dial.ask(0x1007, ALL, 0, 0).data)
    roots = u32s(dial.ask(0x1007, ALL, 0, ALL).data)
    [folder] = u32s(dial.ask(0x1007, ALL, 0, roots[0]).data)
    files = u32s(dial.ask(0x1007, 0x00010001, 0, folder).data)
    assert set(flat) == {*roots, folder, *files} and len(files) == 7
    assert dial.ask(0x1006, ALL, 0, 0).params == (10,)
    assert dial.ask(0x1007, 0x00050001, 0, 0).code == 0x2008
    assert dial.ask(0x1007, ALL, 0x3801, 0).code == 0x2014
    assert dial.ask(0x1007, ALL, 0, 0x1234).code == 0x201A
    assert dial.ask(0x1008, 0x1234).code == 0x2009


def test_reads_of_every_kind_bring_the_same_bytes(cam: SimCamera, dial: Dial) -> None:
    for item in cam.files()[:6]:
        assert item.source is not None
        size = item.source.size
        whole = b"".join(item.source.views(0, size))
        assert dial.ask(0x1009, item.handle).data == whole
        assert dial.ask(0x9171, item.handle).data == whole
        for code, params in (
            (0x101B, (1000, 200_000)),
            (0x9107, (1000, 200_000)),
            (0x912C, (1000, 200_000, 0)),
            (0x9172, (1000, 200_000, 0)),
            (0x9174, (1000, 0, 200_000)),
        ):
            answer = dial.ask(code, item.handle, *params)
            assert answer.data == whole[1000:201_000], hex(code)
            assert answer.params == (200_000,) and answer.announced == 200_000
        assert dial.ask(0x101B, item.handle, size - 10, 1 << 20).data == whole[-10:]
        assert dial.ask(0x101B, item.handle, size, 1).code == 0x201D
        assert dial.ask(0x101B, item.handle, 0, 0).data == b""


def test_a_movie_is_readable_beyond_4_gib(cam: SimCamera, dial: Dial) -> None:
    movie = cam.camera.find("MVI_0004.MP4")
    assert movie.source is not None
    offset = (5 << 30) + 12345
    whole = b"".join(movie.source.views(offset, 1000))
    low, high = offset & 0xFFFFFFFF, offset >> 32
    assert dial.ask(0x9172, movie.handle, low, 1000, high).data == whole
    assert dial.ask(0x9174, movie.handle, low, high, 1000).data == whole
    cam.trouble.partial_64_form("B")
    assert dial.ask(0x9172, movie.handle, low, high, 1000).data == whole


def test_the_recorded_card_has_content_of_the_recorded_sizes() -> None:
    with SimCamera("eos-60d", card="recorded-60d") as cam, Dial(cam.port) as dial:
        assert len(dial.ask(0x9104, 0x9191D602).data or b"") == 4_855_570


def test_data_out_changes_a_property(dial: Dial) -> None:
    dial.ask(0x9115, 1)
    dial.ask(0x9116), dial.ask(0x9116)
    assert dial.ask(0x9110, data=recordings.payload("eos60d_setprop_9110_out")).code == OK
    assert dial.ask(0x9116).data == bytes.fromhex("10000000 89c10000 1cd10000 04000000 08000000 00000000")
    assert dial.ask(0x9110, data=b"\1\2").code == 0x201D


def test_a_requested_property_comes_as_an_unaligned_record(dial: Dial) -> None:
    dial.ask(0x9115, 1)
    dial.ask(0x9116), dial.ask(0x9116)
    for prop in (0xD115, 0xD1D0, 0xD1D1, 0xD1AF):
        assert dial.ask(0x9127, prop).code == OK
    assert dial.ask(0x9116).data == recordings.payload("eos60d_getevent_requested_props")
    assert dial.ask(0x9127, 0xD200).code == 0x2002


def test_sessions(cam: SimCamera) -> None:
    with Dial(cam.port, opens_session=False) as dial:
        assert dial.ask(0x1001).code == OK
        assert dial.ask(0x1004).code == 0x2003
        assert dial.ask(0x1002, 0).code == 0x201D
        assert dial.ask(0x1002, 0x41).code == OK
        assert dial.ask(0x1002, 0x41).code == 0x201E
        assert dial.ask(0x1003).code == OK
        assert dial.ask(0x1004).code == 0x2003
    with SimCamera("eos-80d") as bad, Dial(bad.port) as dial:
        dial.ask(0x1003)
        assert dial.ask(0x1002, 1).code == NOT_SUPPORTED, "closes badly"


def test_deleting(cam: SimCamera, dial: Dial) -> None:
    dial.ask(0x9115, 1)
    dial.ask(0x9116), dial.ask(0x9116)
    handle = cam.camera.find("IMG_0001.JPG").handle
    cam.trouble.protect("IMG_0001.JPG")
    told = dial.ask(0x9116).data or b""
    assert int.from_bytes(told[4:8], "little") in (0xC187, 0xC1A8), "protecting is told as a change"
    assert dial.ask(0x100B, handle, 0).code == 0x200D
    cam.camera.find("IMG_0001.JPG").is_protected = False
    assert dial.ask(0x100B, handle, 0).code == OK
    assert dial.ask(0x1008, handle).code == 0x2009
    assert (dial.ask(0x9116).data or b"").startswith(struct.pack("<III", 12, 0xC182, handle))
    assert dial.ask(0x9105, cam.camera.find("IMG_0002.JPG").handle).code == OK, "the twin"
    assert dial.ask(0x100B, 0xFFFFFFFF, 0).code == 0x2009, "all objects at once is no handle here"
    folder = cam.camera.find("IMG_0001.CR3").parent
    assert dial.ask(0x100B, folder, 0).code == 0x200D
    cam.trouble.read_only_card()
    cam.trouble.protect("IMG_0001.CR3")
    assert dial.ask(0x100B, cam.camera.find("IMG_0001.CR3").handle, 0).code == 0x200E, "the lock comes first"


def test_thumbnails(cam: SimCamera, dial: Dial) -> None:
    thumbnail = dial.ask(0x100A, cam.camera.find("IMG_0001.JPG").handle).data or b""
    assert thumbnail.startswith(b"\xff\xd8") and thumbnail.endswith(b"\xff\xd9")
    assert dial.ask(0x910A, cam.camera.find("IMG_0001.JPG").handle, 0x32000).data == thumbnail
    cam.shoot("WAV:10K")
    assert dial.ask(0x100A, cam.camera.find("IMG_0005.WAV").handle).code == 0x2010


def test_a_card_of_ten_thousand_lists_fast() -> None:
    with SimCamera("eos-r7", card="9999:1M") as cam, Dial(cam.port) as dial:
        parent = cam.cards[0].current.handle
        dial.ask(0x9109, 0x00010001, parent, 0x100000)
        began = time.monotonic()
        for _ in range(10):
            assert len(dial.ask(0x9109, 0x00010001, parent, 0x100000).data or b"") == 4 + 9999 * 56
        assert time.monotonic() - began < 1.0


def test_a_plain_body_knows_nothing_of_canon() -> None:
    with SimCamera("generic", card="2:10K") as cam, Dial(cam.port) as dial:
        assert [item.handle for item in cam.files()] == [3, 4]
        assert u32s(dial.ask(0x1004).data) == (0x00010001,)
        assert dial.ask(0x9116).code == NOT_SUPPORTED
        info = dial.ask(0x1008, 3).data or b""
        assert "20240504T100000\0".encode("utf-16-le") in info
