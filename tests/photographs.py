"""Files that say something of themselves, put together byte by byte: JPEG, CR2, CR3, HEIF with EXIF and stars.

Written from the TIFF 6.0, EXIF 2.3 and ISO BMFF layouts, without a look at what reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

SHORT, LONG, ASCII, RATIONAL = 3, 4, 2, 5

MAKE, MODEL, ORIENTATION, ARTIST, EXIF_IFD = 0x010F, 0x0110, 0x0112, 0x013B, 0x8769
EXPOSURE, APERTURE, ISO, TAKEN, FOCAL, LENS = 0x829A, 0x829D, 0x8827, 0x9003, 0x920A, 0xA434

Value = str | int | tuple[int, int]


def picture_tags(**changes: Value) -> dict[int, Value]:
    """Tags of IFD0, as an EOS writes them."""
    plain: dict[str, Value] = {
        "make": "Canon",
        "model": "Canon EOS R7",
        "orientation": 1,
        "artist": "Ann Lee",
    }
    numbers = {"make": MAKE, "model": MODEL, "orientation": ORIENTATION, "artist": ARTIST}
    return {numbers[name]: value for name, value in (plain | changes).items()}


def exposure_tags(**changes: Value) -> dict[int, Value]:
    """Tags of the Exif IFD."""
    plain: dict[str, Value] = {
        "exposure": (1, 250),
        "aperture": (28, 10),
        "iso": 400,
        "taken": "2024:05:04 10:00:01",
        "focal": (50, 1),
        "lens": "RF50mm F1.8 STM",
    }
    numbers = {
        "exposure": EXPOSURE,
        "aperture": APERTURE,
        "iso": ISO,
        "taken": TAKEN,
        "focal": FOCAL,
        "lens": LENS,
    }
    return {numbers[name]: value for name, value in (plain | changes).items()}


def _ifd(tags: Mapping[int, Value], at: int, order: str) -> bytes:
    """An IFD that stands at offset `at`, and behind it what does not fit into its entries."""
    behind = at + 2 + 12 * len(tags) + 4
    entries, data = b"", b""
    for tag in sorted(tags):
        value = tags[tag]
        if isinstance(value, str):
            raw = value.encode() + b"\0"
            kind, count = ASCII, len(raw)
        elif isinstance(value, tuple):
            raw, kind, count = struct.pack(order + "II", *value), RATIONAL, 1
        elif value > 0xFFFF or tag == EXIF_IFD:
            raw, kind, count = struct.pack(order + "I", value), LONG, 1
        else:
            raw, kind, count = struct.pack(order + "H", value), SHORT, 1
        if len(raw) > 4:
            field = struct.pack(order + "I", behind + len(data))
            data += raw + b"\0" * (len(raw) % 2)
        else:
            field = raw.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, count) + field
    return struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0) + data


def tiff(
    picture: Mapping[int, Value], exposure: Mapping[int, Value] | None = None, *, order: str = "<"
) -> bytes:
    """A TIFF block: IFD0, and where it points to, the Exif IFD. `order`: "<" little-endian, ">" big-endian."""
    header = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    first = _ifd({**picture, EXIF_IFD: 0} if exposure is not None else picture, 8, order)
    if exposure is None:
        return header + first
    at = 8 + len(first)
    return header + _ifd({**picture, EXIF_IFD: at}, 8, order) + _ifd(exposure, at, order)


def xmp(rating: int | str) -> bytes:
    return (
        b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
        b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        b' xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:Rating>'
        + str(rating).encode()
        + b"</xmp:Rating></rdf:Description></rdf:RDF></x:xmpmeta>"
        + b" " * 2000
        + b'<?xpacket end="w"?>'
    )


def jpeg(
    picture: Mapping[int, Value] | None = None,
    exposure: Mapping[int, Value] | None = None,
    *,
    rating: int | None = None,
    order: str = "<",
    tail: bytes = b"",
) -> bytes:
    block = tiff(
        picture_tags() if picture is None else picture,
        exposure_tags() if exposure is None else exposure,
        order=order,
    )
    found = b"\xff\xd8" + _segment(b"Exif\0\0" + block)
    if rating is not None:
        found += _segment(b"http://ns.adobe.com/xap/1.0/\0" + xmp(rating))
    return found + b"\xff\xda\0\2" + tail + b"\xff\xd9"


def _segment(payload: bytes) -> bytes:
    return struct.pack(">HH", 0xFFE1, len(payload) + 2) + payload


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, kind) + payload


def cr3(
    picture: Mapping[int, Value] | None = None,
    exposure: Mapping[int, Value] | None = None,
    *,
    rating: int | None = None,
    tail: bytes = b"",
) -> bytes:
    """As lclevy/canon_cr3 describes it: CMT1 and CMT2 inside a uuid box of moov, XMP in a uuid box behind that."""
    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
    first = box(b"CMT1", tiff(picture_tags() if picture is None else picture))
    second = box(b"CMT2", tiff(exposure_tags() if exposure is None else exposure))
    found = box(b"ftyp", b"crx \0\0\0\1crx isom") + box(b"moov", box(b"uuid", canon + first + second))
    if rating is not None:
        found += box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + xmp(rating))
    return found + box(b"mdat", tail)


def heif(brand: bytes = b"heix", *, rating: int | None = None) -> bytes:
    exif = struct.pack(">I", 6) + b"Exif\0\0" + tiff(picture_tags(), exposure_tags(), order=">")
    return (
        box(b"ftyp", brand + b"\0\0\0\0mif1heic")
        + box(b"meta", bytes(300))
        + box(b"mdat", exif + (b"" if rating is None else xmp(rating)) + bytes(1000))
    )
