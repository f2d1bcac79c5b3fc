"""The small picture inside a picture, with files put together by hand."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.camera.preview import SMALLEST_BYTES, embedded_jpeg


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def tiny_jpeg(fill: int, size: int = 600) -> bytes:
    """Markers as of a JPEG (ITU-T T.81 B.1), `size` bytes of entropy-coded data with stuffed 0xFF."""
    quantisation = segment(0xDB, bytes([fill]) * 65)
    frame = segment(0xC0, bytes([8, 0, 120, 0, 160, 1, 1, 0x11, 0]))
    scan = segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + b"\xff\x00\x12" * (size // 3)
    return b"\xff\xd8" + quantisation + frame + scan + b"\xff\xd9"


def exif_jpeg(thumbnail: bytes) -> bytes:
    """A JPEG whose APP1 holds another one; its own data is cut off, as in the first bytes of a long file."""
    app1 = segment(0xE1, b"Exif\0\0II*\0" + bytes(200) + thumbnail + bytes(20))
    return b"\xff\xd8" + app1 + tiny_jpeg(9)[2:-2]


def test_the_thumbnail_of_a_jpeg() -> None:
    assert embedded_jpeg(exif_jpeg(tiny_jpeg(1))) == tiny_jpeg(1)


def test_the_first_of_several_is_the_small_one() -> None:
    """CR2: thumbnail, then the full-size preview. CR3: THMB, then PRVW."""
    raw = b"II*\0\x10\0\0\0CR\2\0" + bytes(500) + tiny_jpeg(1) + bytes(77) + tiny_jpeg(2, 9000)
    assert embedded_jpeg(raw) == tiny_jpeg(1)
    boxed = b"\0\0\0\x18ftypcrx " + bytes(300) + tiny_jpeg(3) + bytes(7)
    assert embedded_jpeg(boxed) == tiny_jpeg(3)


def test_a_small_jpeg_without_one_inside_is_its_own_thumbnail() -> None:
    assert embedded_jpeg(tiny_jpeg(1) + b"padding") == tiny_jpeg(1)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8\xff",
        bytes(70_000),
        tiny_jpeg(1)[:-2],
        b"\xff\xd8\xff\xe1\xff\xff" + bytes(100),
        b"x" + tiny_jpeg(1)[: SMALLEST_BYTES // 2] + b"\xff\xd9",
        b"x\xff\xd8\xff\xd9",
        b"\xff\xd8\xff" * 1000,
        b"\xff\xd8" + b"\xff\xe0\0\2" * 1000,
    ],
)
def test_what_only_looks_like_one(head: bytes) -> None:
    assert embedded_jpeg(head) is None


@given(
    st.lists(st.sampled_from([b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda\0\2", b"\xff\xc0\0\5abc", b"x\0y"]))
)
def test_any_bytes_give_something_that_begins_and_ends_like_one_or_nothing(pieces: list[bytes]) -> None:
    found = embedded_jpeg(b"".join(pieces))
    assert found is None or (found.startswith(b"\xff\xd8") and found.endswith(b"\xff\xd9"))
