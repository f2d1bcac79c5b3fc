"""How each kind of file begins: what makes it recognisable, and the small picture inside where the kind has one.

JPEG: SOI, an Exif segment whose IFD1 holds the thumbnail, and a comment segment that is left open for the text that
follows. CR2: a TIFF whose IFD0 points to a preview and IFD1 to a thumbnail. CR3: ftyp, then moov with a thumbnail box, as
lclevy/canon_cr3 describes it (nested more deeply in real files). The others have their signature only (protocol.md
§9.d). The thumbnail is the one that GetThumb answers with.
"""

from __future__ import annotations

import struct

from tests.simcam import thumbnail

TEXT_BYTES = 72
"""Length of what the synthetic content writes behind the beginning."""

_LONG, _SHORT, _ASCII = 4, 3, 2
_JPEG_COMPRESSION = 6

_CR3 = b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom"
_SIGNATURES = {
    "HIF": b"\0\0\0\x18ftypheix\0\0\0\0mif1heic",
    "MP4": b"\0\0\0\x18ftypmp42\0\0\0\x01mp42CAEP",
    "MOV": b"\0\0\0\x18ftypqt  \x20\x07\x09\0qt  CAEP",
    "WAV": b"RIFF\xff\xff\xff\x7fWAVE",
}


def beginning(name: str, extension: str) -> bytes:
    """The first bytes of a file called `name`."""
    if extension == "JPG":
        exif = b"Exif\0\0" + _tiff(thumbnail.of(name), b"II*\0\x08\0\0\0")
        comment = struct.pack(">HH", 0xFFFE, TEXT_BYTES + 2)
        return b"\xff\xd8" + struct.pack(">HH", 0xFFE1, len(exif) + 2) + exif + comment
    if extension == "CR2":
        return _tiff(thumbnail.of(name), b"II*\0\x10\0\0\0CR\x02\0\0\0\0\0")
    if extension == "CR3":
        picture = thumbnail.of(name)
        sizes = struct.pack(">IHHIHH", 0, thumbnail.WIDTH, thumbnail.HEIGHT, len(picture), 1, 0)
        return _CR3 + _box(b"moov", _box(b"THMB", sizes + picture))
    return _SIGNATURES.get(extension, b"")


def _box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, kind) + payload


def _tiff(picture: bytes, header: bytes) -> bytes:
    """`header`, IFD0 with the maker, IFD1 with the picture, and what both point to. IFD0 points to the picture as well,
    the way a CR2 names its preview."""
    first = len(header)
    second = first + _ifd_bytes(4)
    maker = second + _ifd_bytes(3)
    at = maker + 6
    ifd0 = [
        (0x0103, _SHORT, 1, _JPEG_COMPRESSION),
        (0x010F, _ASCII, 6, maker),
        (0x0111, _LONG, 1, at),
        (0x0117, _LONG, 1, len(picture)),
    ]
    ifd1 = [
        (0x0103, _SHORT, 1, _JPEG_COMPRESSION),
        (0x0201, _LONG, 1, at),
        (0x0202, _LONG, 1, len(picture)),
    ]
    return header + _ifd(ifd0, second) + _ifd(ifd1, 0) + b"Canon\0" + picture


def _ifd(entries: list[tuple[int, int, int, int]], following: int) -> bytes:
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def _ifd_bytes(entries: int) -> int:
    return 2 + 12 * entries + 4
