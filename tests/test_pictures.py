"""What files say of themselves; and that none of them can make us work, wait, or fail."""

from __future__ import annotations

import logging
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pictures import HEAD_BYTES, TEXT_CHARACTERS, Picture, picture
from tests import photographs
from tests.photographs import cr3, exposure_tags, heif, jpeg, picture_tags, tiff
from tests.simcam import head, synthetic

EVERYTHING = Picture(
    make="Canon",
    model="Canon EOS R7",
    lens="RF50mm F1.8 STM",
    artist="Ann Lee",
    iso="400",
    aperture="2.8",
    shutter="1-250",
    focal="50",
    orientation="landscape",
    taken="2024-05-04T10:00:01",
    rating=0,
)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg(order=">"),
        tiff(picture_tags(), exposure_tags()),
        tiff(picture_tags(), exposure_tags(), order=">"),
        cr3(),
        heif(),
        heif(b"heic"),
        b"FUJIFILMCCD-RAW " + bytes(132) + jpeg(),
    ],
    ids=["jpeg", "jpeg big-endian", "cr2", "nef", "cr3", "canon heif", "apple heif", "raf"],
)
def test_every_container_tells_the_same(data: bytes) -> None:
    assert picture(data) == EVERYTHING


@pytest.mark.parametrize("stars", range(6))
def test_stars(stars: int) -> None:
    found = [picture(data).rating for data in (jpeg(rating=stars), cr3(rating=stars), heif(rating=stars))]
    assert found == [stars] * 3
    attribute = jpeg(rating=stars).replace(
        b"><xmp:Rating>" + str(stars).encode() + b"</xmp:Rating>",
        b' xmp:Rating="' + str(stars).encode() + b'">',
    )
    assert picture(attribute).rating == stars


@pytest.mark.parametrize("text", ["-1", "6", "", "x", "99999"])
def test_what_are_no_stars(text: str) -> None:
    assert picture(jpeg() + photographs.xmp(text)).rating == 0


def test_stars_of_a_windows_tag() -> None:
    assert picture(jpeg({0x4746: 4})).rating == 4


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({"exposure": (1, 8000)}, "shutter", "1-8000"),
        ({"exposure": (3, 10)}, "shutter", "1-3"),
        ({"exposure": (25, 10)}, "shutter", "2.5"),
        ({"exposure": (30, 1)}, "shutter", "30"),
        ({"exposure": (1, 0)}, "shutter", ""),
        ({"exposure": (0, 0)}, "shutter", ""),
        ({"aperture": (8, 1)}, "aperture", "8"),
        ({"focal": (105, 1)}, "focal", "105"),
        ({"iso": 102_400}, "iso", "102400"),
        ({"taken": "0000:00:00 00:00:00"}, "taken", ""),
        ({"taken": "2024:02:30 10:00:00"}, "taken", ""),
        ({"taken": "yesterday"}, "taken", ""),
        ({"lens": "  EF-S \t 18-55mm  "}, "lens", "EF-S 18-55mm"),
        ({"lens": "x" * 500}, "lens", "x" * TEXT_CHARACTERS),
        ({"lens": "a\x01b\u202ec"}, "lens", "a b c"),
    ],
)
def test_how_values_are_written(changes: dict[str, photographs.Value], name: str, text: str) -> None:
    assert getattr(picture(jpeg(exposure=exposure_tags(**changes))), name) == text


@pytest.mark.parametrize("value", range(10))
def test_how_the_camera_was_held(value: int) -> None:
    found = picture(jpeg(picture_tags(orientation=value))).orientation
    assert found == ("" if value == 0 else "portrait" if 5 <= value <= 8 else "landscape")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"II*\0",
        b"MM\0*\0\0\0\x08",
        bytes(1000),
        head.beginning("MVI_1.MP4", "MP4"),
    ],
)
def test_files_that_say_nothing(data: bytes) -> None:
    assert picture(data) == Picture()


def test_only_the_beginning_counts() -> None:
    late = b"\xff\xd8" + bytes(HEAD_BYTES) + jpeg(rating=5)[2:]
    assert picture(late) == Picture()


def test_what_the_simulated_camera_writes() -> None:
    for name in ("IMG_0001.JPG", "IMG_0001.CR2"):
        assert picture(synthetic.content(name, 100_000)).make == "Canon"


# -- hostile files

SECONDS = 3.0  # a tenth of that on an idle machine; without a bound it would be hours


def entries(*found: tuple[int, int, int, int], following: int = 0) -> bytes:
    packed = b"".join(struct.pack("<HHII", *entry) for entry in found)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(found)) + packed + struct.pack("<I", following)


HOSTILE = {
    "an IFD that is its own GPS": entries(*[(0x8825, 4, 1, 8)] * 20_000),
    "an IFD that is its own Exif": entries(*[(0x8769, 4, 1, 8)] * 20_000),
    "texts as long as the file": entries(*[(0x010E, 2, HEAD_BYTES, 8)] * 20_000) + b"x" * 10_000,
    "texts of different tags": entries(*[(tag, 2, HEAD_BYTES, 8) for tag in range(20_000)]),
    "a thousand numbers each": entries(*[(0x9999, 3, 999, 0)] * 20_000),
    "a maker's note without end": entries(*[(0x927C, 7, 0x7FFFFFFF, 0)] * 20_000),
    "an endless chain": b"".join(
        b"II*\0\x08\0\0\0" + b"".join(struct.pack("<HI", 0, 14 + 6 * index) for index in range(40_000))
        for _ in "1"
    ),
    "a chain of crowded IFDs": b"II*\0\x08\0\0\0" + b"\xff" * HEAD_BYTES,
    "many words Exif": b"\xff\xd8" + b"Exif\0\0II*\0" * 25_000,
    "many boxes": b"\0\0\0\x18ftypcrx " + b"CMT1" * 60_000,
    "stars without end": b"\xff\xd8" + b"<x:xmpmeta" + b"xmp:Rating  =  " * 20_000,
    "a PNG for HEIF": b"\0\0\0\x18ftypheic" + b"\x89PNG\r\n\x1a\n" * 1000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_costs_little(name: str) -> None:
    began = time.perf_counter()
    assert isinstance(picture(HOSTILE[name]), Picture)
    assert time.perf_counter() - began < SECONDS


damage = st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=8)), max_size=8)
wholes = st.sampled_from([jpeg(rating=3), cr3(rating=3), heif(), tiff(picture_tags(), exposure_tags())])


@settings(max_examples=150, deadline=None, print_blob=True)
@given(wholes, damage, st.integers(0, 4000))
def test_a_damaged_file_tells_what_it_can_and_never_more(
    data: bytes, damages: list[tuple[int, bytes]], length: int
) -> None:
    broken = bytearray(data)
    for at, piece in damages:
        broken[at : at + len(piece)] = piece
    found = picture(bytes(broken[: max(length, 1)]))
    assert 0 <= found.rating <= 5
    for name in Picture.__struct_fields__:
        value = getattr(found, name)
        if isinstance(value, str):
            assert len(value) <= TEXT_CHARACTERS and value.isprintable() and value == value.strip()


@settings(max_examples=150, deadline=None, print_blob=True)
@given(
    st.sampled_from(
        [b"", b"II*\0", b"MM\0*", b"\xff\xd8", b"\0\0\0\x18ftypcrx ", b"\0\0\0\x18ftypheic", b"RIFF"]
    ),
    st.binary(max_size=2000),
)
def test_garbage_is_no_picture(beginning: bytes, rest: bytes) -> None:
    assert isinstance(picture(beginning + rest), Picture)


def test_damage_is_nobodys_news(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        picture(jpeg()[:200])
        picture(bytes(100))
    assert caplog.records == []
