"""Bytes that a camera says: datasets, object listings and event records.

Written from protocol.md §2 and §5, without a look at the agent's decoders; the two meet only as bytes.
Everything is little-endian. Values come as plain numbers and texts; what is on a card is `card.Item`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.simcam.codes import SIZE_UNKNOWN, Ev

if TYPE_CHECKING:
    from tests.simcam.card import Item

TERMINATOR = struct.pack("<II", 8, 0)
"""Ends every GetEvent answer; alone it means "nothing new"."""


def string(text: str) -> bytes:
    """PTP string: unit count with the closing zero, UTF-16LE; empty is one zero byte. At most 254 units of text."""
    if not text:
        return b"\0"
    units = text.encode("utf-16-le")
    if len(units) > 2 * 254:
        raise ValueError(f"too long for a PTP string: {len(units) // 2} units")
    return bytes([len(units) // 2 + 1]) + units + b"\0\0"


def u16_array(values: Sequence[int]) -> bytes:
    return struct.pack(f"<I{len(values)}H", len(values), *values)


def u32_array(values: Sequence[int]) -> bytes:
    return struct.pack(f"<I{len(values)}I", len(values), *values)


def date(moment: datetime, suffix: str = ".0") -> bytes:
    """Canon writes tenths that are always 0 and no zone: the camera's own wall clock."""
    return string(moment.strftime("%Y%m%dT%H%M%S") + suffix)


def device_info(
    *,
    vendor_extension_id: int,
    vendor_extension_version: int,
    arrays: Sequence[Sequence[int]],
    texts: Sequence[str],
) -> bytes:
    """`arrays`: operations, events, properties, capture formats, image formats. `texts`: manufacturer, model,
    device version, serial number."""
    return b"".join(
        (
            struct.pack("<HIH", 100, vendor_extension_id, vendor_extension_version),
            string(""),
            struct.pack("<H", 0),
            *map(u16_array, arrays),
            *map(string, texts),
        )
    )


def storage_info(
    *, capacity_bytes: int, free_bytes: int, description: str, access: int = 0, free_images: int = 0xFFFFFFFF
) -> bytes:
    """Removable RAM with a DCF tree; `access` 0 read-write, 1 read-only."""
    return (
        struct.pack("<HHHQQI", 4, 3, access, capacity_bytes, free_bytes, free_images)
        + string(description)
        + string("")
    )


def object_info(item: Item, parent: int, *, date_suffix: str = ".0", wide: bool = False) -> bytes:
    """ObjectInfo; with `wide` the size is 64 bits (our guess at 0x9170: no recording shows its layout)."""
    thumb_bytes = 0 if item.thumbnail is None else len(item.thumbnail)
    has_picture = item.thumbnail is not None
    size = (
        struct.pack("<Q", item.listed_size)
        if wide
        else struct.pack("<I", min(item.listed_size, SIZE_UNKNOWN))
    )
    return b"".join(
        (
            struct.pack("<IHH", item.storage, item.format, 1 if item.is_protected or item.is_folder else 0),
            size,
            struct.pack(
                "<HIII", 0x3808 if has_picture else 0, thumb_bytes, *((160, 120) if has_picture else (0, 0))
            ),
            struct.pack("<III", *((*item.pixels, 24) if has_picture else (0, 0, 0))),
            struct.pack("<IHII", parent, 1 if item.is_folder else 0, 0, 0),
            string(item.name),
            date(item.captured_at, date_suffix),
            date(item.modified_at, date_suffix),
            string(""),
        )
    )


def wall_seconds(moment: datetime) -> int:
    """The camera's wall clock counted as if it were UTC: what listings and event records carry."""
    return int(moment.replace(tzinfo=UTC).timestamp())


def _body(item: Item, size: bytes, *, long_name: bool = False) -> bytes:
    flags = 0x10 if item.is_folder else (0x20 if item.is_new else 0) | (1 if item.is_protected else 0)
    fixed = struct.pack("<IIIII", item.handle, item.storage, item.format, 1 if item.is_folder else 0, flags)
    links = struct.pack("<II", item.parent, item.group)
    time = struct.pack("<I", wall_seconds(item.captured_at))
    if long_name:
        return fixed + size + links + time + string(item.name)
    return fixed + size + links + struct.pack("<16s", item.name.encode("latin-1", "replace")) + time


def body_32(item: Item) -> bytes:
    """The 52 bytes that a 0x9109 entry and a C181 record share."""
    return _body(item, struct.pack("<I", min(item.listed_size, SIZE_UNKNOWN)))


def body_64(item: Item) -> bytes:
    """The 56 bytes of a C1A7 record and of a 0x9173 entry: the same with a 64-bit size."""
    return _body(item, struct.pack("<Q", item.listed_size))


def body_long_name(item: Item) -> bytes:
    """C1B6: 64-bit size, and the name at the end as a counted UTF-16 string."""
    return _body(item, struct.pack("<Q", item.listed_size), long_name=True)


def listing(bodies: Iterable[bytes]) -> bytes:
    """0x9109 and 0x9173: count, then entries that begin with their own size."""
    entries = [struct.pack("<I", len(body) + 4) + body for body in bodies]
    return struct.pack("<I", len(entries)) + b"".join(entries)


def record(code: int, payload: bytes = b"") -> bytes:
    """One GetEvent record. Records are not padded: the next begins right behind."""
    return struct.pack("<II", len(payload) + 8, code) + payload


def prop_changed(prop: int, value: bytes | int) -> bytes:
    """C189; numbers are u32."""
    data = struct.pack("<I", value) if isinstance(value, int) else value
    return record(Ev.EOS_PROP_VALUE_CHANGED, struct.pack("<I", prop) + data)


def u32_record(code: int, value: int) -> bytes:
    return record(code, struct.pack("<I", value))
