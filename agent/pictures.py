"""What a picture says of itself, from the first bytes of its file. Pure: bytes in, facts out, and never an error.

JPEG, HEIF and RAF carry their EXIF behind the word "Exif"; CR2, NEF, ARW, DNG and their like begin with it; CR3 has it in boxes
of its own (CMT1: the picture, CMT2: how it was taken; lclevy/canon_cr3). Each is a block in TIFF's form, which `exifread` reads.
Stars are in XMP, as text.

The bytes come from a card that anybody may have written. Whatever they are, at most `HEAD_BYTES` of them are looked at, and the
library gets a file that ends its patience (`_Patient`): it follows every pointer and repeats every count it is told, which in
256 KiB can be hours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

HEAD_BYTES = 256 << 10
"""So much of a file is read for this: one chunk. A CR2 has its XMP some 70 KiB from the beginning."""

TEXT_CHARACTERS = 64
_READS = 20_000  # of one block; an ordinary one takes 1,000 to 3,000
_READ_BYTES = 2 << 20
_BLOCKS = 4  # of one file
_XMP_BYTES = 64 << 10

_TIFF = (b"II*\0", b"MM\0*", b"IIU\0", b"IIRO", b"IIRS")  # the last three: Panasonic, Olympus
_BEHIND_EXIF = re.compile(rb"Exif\0\0(?=II\*\0|MM\0\*)")
_RATING = re.compile(rb"xmp:Rating(?:\s*=\s*[\"']|>)\s*([0-5])(?:\.0+)?\s*[\"'<]")
_MOMENT = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")


class Picture(msgspec.Struct, frozen=True, omit_defaults=True):
    """Texts as they are fit to stand in a name; "" is what the file does not say."""

    make: str = ""  # "Canon"
    model: str = ""  # "Canon EOS R7"
    lens: str = ""  # "RF24-105mm F4 L IS USM"
    artist: str = ""
    iso: str = ""  # "400"
    aperture: str = ""  # "2.8"
    shutter: str = ""  # seconds: "1-250" for 1/250, "2.5"
    focal: str = ""  # millimetres: "50"
    orientation: str = ""  # "landscape" or "portrait", as the camera was held
    taken: str = ""  # by the camera's own clock: "2024-05-04T10:00:00"
    rating: int = 0  # stars; 0: none, or the file does not say


class _Impatient(Exception):
    """The block asks for more work than an honest one."""


class _Patient(io.BytesIO):
    """A file of which only so much can be read, only so often."""

    reads = 0
    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.reads += 1
        self.read_bytes += len(data)
        if self.reads > _READS or self.read_bytes > _READ_BYTES:
            raise _Impatient
        return data


def picture(head: bytes) -> Picture:
    """Return what the first bytes of a file, at most `HEAD_BYTES`, tell."""
    head = bytes(head[:HEAD_BYTES])
    tags: dict[str, Any] = {}
    for block in _blocks(head):
        for name, value in _tags_of(block).items():
            tags.setdefault(name, value)
    return Picture(
        make=_text(tags.get("Make")),
        model=_text(tags.get("Model")),
        lens=_text(tags.get("LensModel")),
        artist=_text(tags.get("Artist")),
        iso=_number(tags.get("ISOSpeedRatings")),
        aperture=_number(tags.get("FNumber")),
        shutter=_shutter(tags.get("ExposureTime")),
        focal=_number(tags.get("FocalLength")),
        orientation=_orientation(tags.get("Orientation")),
        taken=_moment(tags.get("DateTimeOriginal")),
        rating=_rating(head, tags.get("Rating")),
    )


def _blocks(head: bytes) -> Iterator[bytes]:
    """The TIFF blocks of a file, at most `_BLOCKS`."""
    if head.startswith(_TIFF):
        yield head
    elif head[4:12] == b"ftypcrx ":
        for name in (b"CMT1", b"CMT2"):
            at = head.find(name)
            if at >= 4:
                yield head[at + 4 : at - 4 + int.from_bytes(head[at - 4 : at], "big")]
    elif head.startswith((b"\xff\xd8", b"FUJI")) or head[4:8] == b"ftyp":
        found = _BEHIND_EXIF.search(head)
        if found:
            yield head[found.end() :]


def _tags_of(block: bytes) -> Mapping[str, Any]:
    """Tags by their name alone, those of the picture before those of how it was taken; of damaged blocks none."""
    import logging

    import exifread

    logging.getLogger("exifread").setLevel(logging.CRITICAL)  # it tells of every damage, on stderr
    try:
        found = exifread.process_file(
            _Patient(block), details=False, extract_thumbnail=False, truncate_tags=False
        )
    except (
        Exception
    ):  # exifread trusts its input: KeyError, struct.error, RecursionError and others come out of it
        return {}
    tags: dict[str, Any] = {}
    for prefix in ("Image ", "EXIF "):
        for name, tag in found.items():
            if name.startswith(prefix):
                tags.setdefault(name.removeprefix(prefix), tag)
    return tags


def _text(tag: Any) -> str:
    value = getattr(tag, "values", "")
    if not isinstance(value, str):
        return ""
    return " ".join("".join(char if char.isprintable() else " " for char in value[:1000]).split())[
        :TEXT_CHARACTERS
    ].rstrip()


def _first(tag: Any) -> float | None:
    """The first number of a tag."""
    values = getattr(tag, "values", None)
    try:
        value = float(values[0]) if isinstance(values, list) and values else None
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if value is not None and 0 < value < 1e7 else None


def _number(tag: Any) -> str:
    value = _first(tag)
    return "" if value is None else f"{value:.1f}".removesuffix(".0")


def _shutter(tag: Any) -> str:
    value = _first(tag)
    if value is None:
        return ""
    return f"1-{min(round(1 / value), 1_000_000)}" if value < 0.4 else f"{value:.1f}".removesuffix(".0")


def _orientation(tag: Any) -> str:
    value = _first(tag)
    return "" if value is None else "portrait" if value in (5, 6, 7, 8) else "landscape"


def _moment(tag: Any) -> str:
    found = _MOMENT.match(_text(tag))
    try:
        return datetime(*map(int, found.groups())).isoformat() if found else ""  # type: ignore[arg-type]
    except ValueError:  # 0000:00:00 of a camera whose clock was never set
        return ""


def _rating(head: bytes, tag: Any) -> int:
    at = head.find(b"<x:xmpmeta")
    if at >= 0 and (found := _RATING.search(head, at, at + _XMP_BYTES)):
        return int(found[1])
    value = _first(tag)
    return int(value) if value is not None and value <= 5 else 0
