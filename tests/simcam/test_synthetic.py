"""Content by formula: told a second time, slower and differently, and compared."""

from __future__ import annotations

import hashlib
import random
import struct
import time

from tests.simcam import synthetic, thumbnail

SIZES = [0, 1, 5, 95, 96, 97, 5000, synthetic.PERIOD + 100]


def slowly(name: str, size: int, magic: bytes) -> bytes:
    """The formula of the module's docstring, byte by byte."""
    pattern = random.Random("hotshoe simcam").randbytes(1_048_583)
    digest = hashlib.sha256(f"{name}:{size}".encode()).hexdigest()
    start = int.from_bytes(hashlib.sha256(f"start {name}:{size}".encode()).digest()[:8], "little") % len(
        pattern
    )
    head = magic + b"hotshoe " + digest.encode()
    return (head + bytes(pattern[(start + at) % len(pattern)] for at in range(len(head), size)))[:size]


def test_content_is_the_formula() -> None:
    for size in SIZES:
        told = slowly("DCIM/100CANON/MVI_0001.MP4", size, b"\0\0\0\x18ftypmp42\0\0\0\x01mp42CAEP")
        assert synthetic.content("DCIM/100CANON/MVI_0001.MP4", size) == told
        assert synthetic.sha256_of("DCIM/100CANON/MVI_0001.MP4", size) == hashlib.sha256(told).hexdigest()


def test_any_part_is_that_part_of_the_whole() -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    size = 3 * synthetic.PERIOD + 17
    whole = synthetic.content("a.CR3", size)
    for _ in range(200):
        offset = dice.randrange(size + 10)
        length = dice.choice([0, 1, 79, 4096, 1 << 20, 2 << 20])
        assert synthetic.content("a.CR3", size, offset, length) == whole[offset : offset + length]


def test_every_kind_begins_as_it_must() -> None:
    """protocol.md §9.d."""
    assert synthetic.content("x.jpg", 100).startswith(b"\xff\xd8")
    raw = synthetic.content("x.CR2", 100)
    assert raw.startswith(b"II*\0") and raw[8:10] == b"CR"
    for name in ("x.CR3", "x.MP4", "x.MOV", "x.HIF"):
        assert synthetic.content(name, 100)[4:8] == b"ftyp"
    assert synthetic.content("x.WAV", 100).startswith(b"RIFF")


def test_a_jpeg_carries_its_thumbnail_in_exif() -> None:
    """Walked by hand, segment by segment and through IFD1; Pillow reads the same."""
    data = synthetic.content("DCIM/100CANON/IMG_0001.JPG", 100_000)
    assert data[2:4] == b"\xff\xe1" and data[6:12] == b"Exif\0\0"
    comment = 4 + struct.unpack_from(">H", data, 4)[0]
    assert data[comment : comment + 4] == b"\xff\xfe\0\x4a" and data[comment + 4 :].startswith(b"hotshoe ")
    assert picture_in(data[12:]) == thumbnail.of("IMG_0001.JPG")


def test_a_raw_file_carries_its_thumbnail() -> None:
    assert picture_in(synthetic.content("DCIM/100CANON/IMG_0001.CR2", 100_000)) == thumbnail.of(
        "IMG_0001.CR2"
    )
    assert thumbnail.of("IMG_0001.CR3") in synthetic.content("DCIM/100CANON/IMG_0001.CR3", 100_000, 0, 1000)


def picture_in(tiff: bytes) -> bytes:
    """What IFD1 of a little-endian TIFF points to."""

    def entries(at: int) -> tuple[dict[int, int], int]:
        count = struct.unpack_from("<H", tiff, at)[0]
        rows = [struct.unpack_from("<HHII", tiff, at + 2 + 12 * row) for row in range(count)]
        return {row[0]: row[3] for row in rows}, struct.unpack_from("<I", tiff, at + 2 + 12 * count)[0]

    assert tiff.startswith(b"II*\0")
    first, second = entries(struct.unpack_from("<I", tiff, 4)[0])
    assert tiff[first[0x010F] :].startswith(b"Canon\0")
    found, _ = entries(second)
    return tiff[found[0x0201] : found[0x0201] + found[0x0202]]


def test_names_sizes_and_chunks_all_differ() -> None:
    first_kilobytes = {synthetic.content(f"IMG_{number:04d}.JPG", 1 << 20, 0, 1000) for number in range(500)}
    assert len(first_kilobytes) == 500
    assert synthetic.content("a.JPG", 1000) != synthetic.content("a.JPG", 1001)[:1000]
    chunks = {synthetic.content("a.MP4", 1 << 40, number << 20, 64) for number in range(1, 5000)}
    assert len(chunks) == 4999, "a chunk from the wrong offset would go unnoticed"


def test_far_beyond_4_gib_is_as_cheap_as_the_beginning() -> None:
    size = 10 << 40
    began = time.process_time()
    assert len(synthetic.content("a.MP4", size, size - 1000, 5000)) == 1000
    assert time.process_time() - began < 0.1
