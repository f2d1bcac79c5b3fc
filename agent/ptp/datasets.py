"""Decoders for the standard's datasets: bytes of a data phase in, values out.

Layouts: ISO 15740 as libgphoto2 ``camlibs/ptp2/ptp-pack.c`` reads it, checked against recordings
(``tests/cameras``). Cameras add bytes at the end and leave out fields behind a string; both are accepted,
missing fields come out as 0 or empty. Everything else that does not fit is a RemoteProtocolError, and no
count is believed before its bytes are there. There are no encoders.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from agent.ptp.packets import RemoteProtocolError

SIZE_ELSEWHERE = 0xFFFFFFFF  # ObjectCompressedSize: 4 GiB or more, or not known yet

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    standard_version: int  # 100 = 1.00
    vendor_extension_id: int  # EOS bodies say 6 (Microsoft), not 11 (Canon)
    vendor_extension_version: int
    vendor_extension_desc: str
    functional_mode: int
    operation_list: tuple[int, ...]  # in the camera's order
    events: tuple[int, ...]
    properties: tuple[int, ...]
    capture_formats: tuple[int, ...]
    image_formats: tuple[int, ...]  # not complete: an EOS R6 does not list its own CR3
    manufacturer: str
    model: str
    device_version: str
    serial_number: str  # on EOS 32 hex digits, not the number printed on the body
    operations: frozenset[int]


@dataclass(frozen=True, slots=True)
class StorageInfo:
    storage_type: int
    filesystem_type: int
    access_capability: int  # 0 read-write, 1 read-only, 2 read-only but deletable
    max_capacity_bytes: int  # 0: a slot without a card
    free_space_bytes: int
    free_space_images: int | None  # None: not given
    description: str
    volume_label: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    storage_id: int
    object_format: int
    protection_status: int  # 0 none, 1 read-only
    compressed_size: int  # bytes; SIZE_ELSEWHERE as sent
    thumb_format: int
    thumb_compressed_size: int
    thumb_width: int
    thumb_height: int
    image_width: int
    image_height: int
    image_bit_depth: int
    parent: int  # 0 for objects in the root
    association_type: int  # 1 folder
    association_desc: int
    sequence_number: int
    filename: str  # as the camera wrote it: never a path, never safe
    capture_date: str  # as the camera wrote it; see `ptp_date`
    modification_date: str
    keywords: str


@dataclass(frozen=True, slots=True)
class DevicePropDesc:
    """One property. The form is left as bytes: an EOS 60D writes the UINT8 values of 0x5001 as 16-bit words."""

    property: int
    data_type: int
    is_writable: bool
    factory: int | str
    current: int | str
    form: bytes  # form flag (0 none, 1 range, 2 enumeration) and all that follows


class _Reader:
    """A cursor over one dataset.

    A dataset may end behind any string; what is read from there on is zeros, which every type reads as 0 or
    empty.
    """

    def __init__(self, data: Buffer) -> None:
        self._data = bytes(data)
        self._at = 0
        self._may_end = False

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            if piece or not self._may_end:
                raise RemoteProtocolError(f"a dataset of {len(self._data)} bytes ends inside a field")
            return bytes(size)
        self._at += size
        if size:
            self._may_end = False
        return piece

    def rest(self) -> bytes:
        return self._data[self._at :]

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def fields(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def array(self, letter: str) -> tuple[int, ...]:
        count = self.number(4)
        if count * struct.calcsize(letter) > len(self._data) - self._at:
            raise RemoteProtocolError(f"an array of {count} in a dataset of {len(self._data)} bytes")
        return self.fields(f"<{count}{letter}")

    def string(self) -> str:
        units = self.take(2 * self.number(1))
        self._may_end = True
        return units.decode("utf-16-le", "replace").partition("\0")[0]


def device_info(data: Buffer) -> DeviceInfo:
    """Decode GetDeviceInfo (0x1001)."""
    reader = _Reader(data)
    version, extension_id, extension_version = reader.fields("<HIH")
    extension_desc = reader.string()
    mode = reader.number(2)
    operations, events, properties, capture_formats, image_formats = (reader.array("H") for _ in range(5))
    return DeviceInfo(
        version,
        extension_id,
        extension_version,
        extension_desc,
        mode,
        operations,
        events,
        properties,
        capture_formats,
        image_formats,
        manufacturer=reader.string(),
        model=reader.string(),
        device_version=reader.string(),
        serial_number=reader.string(),
        operations=frozenset(operations),
    )


def storage_info(data: Buffer) -> StorageInfo:
    """Decode GetStorageInfo (0x1005) and its EOS twin (0x9102)."""
    reader = _Reader(data)
    kind, filesystem, access, capacity, free, images = reader.fields("<HHHQQI")
    return StorageInfo(
        kind,
        filesystem,
        access,
        capacity,
        free,
        None if images == 0xFFFFFFFF else images,
        description=reader.string(),
        volume_label=reader.string(),
    )


def object_info(data: Buffer) -> ObjectInfo:
    """Decode GetObjectInfo (0x1008, EOS 0x9103)."""
    reader = _Reader(data)
    storage, object_format, protection = reader.fields("<IHH")
    size = reader.number(8 if _has_wide_size(bytes(data)) else 4)
    thumb_format, thumb_size, thumb_width, thumb_height = reader.fields("<HIII")
    width, height, depth, parent = reader.fields("<IIII")
    association_type, association_desc, sequence = reader.fields("<HII")
    return ObjectInfo(
        storage,
        object_format,
        protection,
        size,
        thumb_format,
        thumb_size,
        thumb_width,
        thumb_height,
        width,
        height,
        depth,
        parent,
        association_type,
        association_desc,
        sequence,
        filename=reader.string(),
        capture_date=reader.string(),
        modification_date=reader.string(),
        keywords=reader.string(),
    )


def _has_wide_size(data: bytes) -> bool:
    """Whether the size takes eight bytes, which moves the file name from 52 to 56.

    Some Android devices do that (libgphoto2 ``ptp-pack.c`` ptp_unpack_OI: byte 52 is 0, byte 56 is not). The
    string must also end where it says, so that an object without a name is not mistaken for one.
    """
    if len(data) <= 56 or data[52] != 0 or data[56] == 0:
        return False
    end = 57 + 2 * data[56]
    return data[end - 2 : end] == b"\0\0"


def uint32_array(data: Buffer) -> tuple[int, ...]:
    """Decode storage ids (0x1004, 0x9101) and object handles (0x1007); no bytes at all is no element."""
    return _Reader(data).array("I") if data else ()


def ptp_string(data: Buffer) -> str:
    """Decode a dataset that is one string (GetDevicePropValue of a string property)."""
    return _Reader(data).string()


_INTEGERS = {
    1: (1, True),
    2: (1, False),
    3: (2, True),
    4: (2, False),
    5: (4, True),
    6: (4, False),
    7: (8, True),
    8: (8, False),
}
_STRING = 0xFFFF


def device_prop_desc(data: Buffer) -> DevicePropDesc:
    """Decode GetDevicePropDesc (0x1014) of an integer or string property; other types are a RemoteProtocolError."""
    reader = _Reader(data)
    code, data_type, access = reader.fields("<HHB")

    def value() -> int | str:
        if data_type == _STRING:
            return reader.string()
        if data_type not in _INTEGERS:
            raise RemoteProtocolError(f"property 0x{code:04x} of data type 0x{data_type:04x}")
        size, signed = _INTEGERS[data_type]
        return reader.number(size, signed=signed)

    return DevicePropDesc(code, data_type, access == 1, factory=value(), current=value(), form=reader.rest())


_DATE = re.compile(r"([0-9]{8}T[0-9]{6})(?:\.([0-9]+))?(?:(Z)|([+-])([0-9]{2}):?([0-9]{2}))?")


def ptp_date(text: str) -> datetime | None:
    """Read ``YYYYMMDDThhmmss[.s][Z|±hhmm]``; naive (the camera's wall clock) without a zone, None if it is no
    date.

    Canon writes ``20120202T141654.0``.
    """
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    stamp, fraction, utc, sign, hours, minutes = match.groups()
    try:
        moment = datetime.strptime(stamp, "%Y%m%dT%H%M%S")
        if utc:
            return moment.replace(microsecond=_microseconds(fraction), tzinfo=UTC)
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            return moment.replace(
                microsecond=_microseconds(fraction), tzinfo=timezone(-offset if sign == "-" else offset)
            )
    except ValueError:  # the 31st of February, an offset of 99 hours
        return None
    return moment.replace(microsecond=_microseconds(fraction))


def _microseconds(fraction: str | None) -> int:
    return int((fraction or "0")[:6].ljust(6, "0"))
