"""Decoders for what EOS bodies add: GetEvent records, folder listings, GetDeviceInfoEx.

Layouts: libgphoto2 ``camlibs/ptp2/ptp-pack.c`` (ptp_unpack_CANON_changes) and ``ptp.h``, checked against
recordings of a 60D, a 1300D and others (``tests/cameras``). A GetEvent answer is consumed by reading it, so
one bad record never costs the others: what cannot be read becomes `Unknown`, and what lies behind a broken
size is discarded. A listing is believed whole or not at all, since it can be asked for again.

Events are hints. Names and sizes come out as sent: not safe, perhaps not final.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.ptp.codes import CanonEvent, ObjectFormat
from agent.ptp.datasets import Buffer
from agent.ptp.packets import RemoteProtocolError

FLAG_NEW = 0x20  # not transferred yet
MAX_RECORDS = 1 << 16  # of one answer; a full DCF folder has less than a third of that
UNKNOWN_SIZES = (None, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One object as listings and events describe it.

    Without a size the layout is not known: ask GetObjectInfo; a name is then a guess.
    """

    handle: int
    storage_id: int
    object_format: int
    association_type: int | None  # 1 folder
    flags: int | None
    size: int | None  # bytes, as sent
    parent: int | None  # in the root not 0 but the base of the slot (0x80000000, 0x20000000)
    group: int | None  # the same for the RAW, JPEG, movie and memo of one shot; a folder's own handle
    name: str | None
    time: int | None  # seconds; see `camera_time`

    @property
    def is_folder(self) -> bool:
        return self.object_format == ObjectFormat.ASSOCIATION

    @property
    def is_size_known(self) -> bool:
        return self.size not in UNKNOWN_SIZES


@dataclass(frozen=True, slots=True)
class ObjectAdded:
    code: int  # C181, C1A7 or C1B6
    object: ObjectRecord


@dataclass(frozen=True, slots=True)
class ObjectChanged:
    code: int  # C187, C188, C1A8 or C1B7
    object: ObjectRecord | int  # C188 gives the handle alone

    @property
    def handle(self) -> int:
        return self.object if isinstance(self.object, int) else self.object.handle


@dataclass(frozen=True, slots=True)
class ObjectRemoved:
    handle: int


@dataclass(frozen=True, slots=True)
class PropertyChanged:
    property: int
    value: bytes  # not aligned, often one u32

    def number(self) -> int | None:
        """The value as u32, None when it is shorter."""
        return int.from_bytes(self.value[:4], "little") if len(self.value) >= 4 else None

    def text(self) -> str:
        """The value as text: bytes up to a NUL."""
        return _text(self.value)


@dataclass(frozen=True, slots=True)
class AvailableList:
    property: int
    form: int  # 3 = enumeration; others were seen, their meaning is not known
    values: tuple[int, ...]  # of an enumeration


@dataclass(frozen=True, slots=True)
class StorageChanged:
    code: int  # C184 status, C185 info (free space), C192 added, C193 removed
    storage_id: int


@dataclass(frozen=True, slots=True)
class CameraStatus:
    value: int  # 1 busy, 0 idle


@dataclass(frozen=True, slots=True)
class TransferRequested:
    """An image in the camera's memory that waits for the host; comes only when the capture destination is the host."""

    code: int
    handle: int


@dataclass(frozen=True, slots=True)
class ShutdownSoon:
    pass


@dataclass(frozen=True, slots=True)
class Unknown:
    """A record that we do not read: its code is not used here, or its payload is too short for its code."""

    code: int
    payload: bytes


Record = (
    ObjectAdded
    | ObjectChanged
    | ObjectRemoved
    | PropertyChanged
    | AvailableList
    | StorageChanged
    | CameraStatus
    | TransferRequested
    | ShutdownSoon
    | Unknown
)


@dataclass(frozen=True, slots=True)
class EventList:
    records: tuple[Record, ...]
    terminated: bool  # False: the answer ended, or broke, before its terminator
    surplus_bytes: int  # behind the terminator (117 in a recording of an EOS 1300D), or discarded as broken

    def properties(self) -> dict[int, bytes]:
        """The last value of every property: one answer may report the same property several times."""
        return {
            record.property: record.value for record in self.records if isinstance(record, PropertyChanged)
        }


@dataclass(frozen=True, slots=True)
class DeviceInfoEx:
    events: tuple[int, ...]
    properties: tuple[int, ...]
    values: tuple[int, ...]  # small numbers of unknown meaning


_RECORD_HEADER = struct.Struct("<II")  # size (these eight bytes included), code


def event_records(data: Buffer) -> EventList:
    """Decode the answer of GetEvent (0x9116); no bytes at all is an empty list. Never raises.

    ``u32 size · u32 code · payload`` repeated, not aligned, until code 0. Size 8 with another code is a
    record (C18E), size below 8 or beyond the end discards the rest.
    """
    view = bytes(data)
    records: list[Record] = []
    at = 0
    while at + _RECORD_HEADER.size <= len(view) and len(records) < MAX_RECORDS:
        size, code = _RECORD_HEADER.unpack_from(view, at)
        if code == 0:
            return EventList(tuple(records), True, len(view) - at - _RECORD_HEADER.size)
        if size < _RECORD_HEADER.size or size > len(view) - at:
            break
        records.append(_record(code, view[at + _RECORD_HEADER.size : at + size]))
        at += size
    return EventList(tuple(records), False, len(view) - at)


_OBJECT_ADDED = frozenset(
    {CanonEvent.OBJECT_ADDED_EX, CanonEvent.OBJECT_ADDED_EX_64, CanonEvent.OBJECT_ADDED_EX_64_LFN}
)
_OBJECT_CHANGED = frozenset(
    {
        CanonEvent.OBJECT_INFO_CHANGED_EX,
        CanonEvent.OBJECT_INFO_CHANGED_EX_64,
        CanonEvent.OBJECT_INFO_CHANGED_EX_64_LFN,
    }
)
_LONG_NAMES = frozenset({CanonEvent.OBJECT_ADDED_EX_64_LFN, CanonEvent.OBJECT_INFO_CHANGED_EX_64_LFN})
_STORAGE_CHANGED = frozenset(
    {
        CanonEvent.STORAGE_STATUS_CHANGED,
        CanonEvent.STORAGE_INFO_CHANGED,
        CanonEvent.STORE_ADDED,
        CanonEvent.STORE_REMOVED,
    }
)
_TRANSFER_REQUESTED = frozenset(
    {
        CanonEvent.REQUEST_OBJECT_TRANSFER,
        CanonEvent.REQUEST_OBJECT_TRANSFER_64,
        CanonEvent.REQUEST_OBJECT_TRANSFER_64_LFN,
    }
)


def _record(code: int, payload: bytes) -> Record:
    if code == CanonEvent.WILL_SOON_SHUTDOWN:
        return ShutdownSoon()
    if len(payload) < 4:
        return Unknown(code, payload)
    word = int.from_bytes(payload[:4], "little")
    if code in _OBJECT_ADDED or code in _OBJECT_CHANGED:
        if len(payload) < _MINIMUM_BODY:
            return Unknown(code, payload)
        described = _long_name_record(payload) if code in _LONG_NAMES else _object_record(payload)
        return ObjectAdded(code, described) if code in _OBJECT_ADDED else ObjectChanged(code, described)
    if code in _STORAGE_CHANGED:
        return StorageChanged(code, word)
    if code in _TRANSFER_REQUESTED:
        return TransferRequested(code, word)
    match code:
        case CanonEvent.PROP_VALUE_CHANGED:
            return PropertyChanged(word, payload[4:])
        case CanonEvent.AVAIL_LIST_CHANGED:
            return _available_list(word, payload)
        case CanonEvent.OBJECT_REMOVED:
            return ObjectRemoved(word)
        case CanonEvent.OBJECT_CONTENT_CHANGED:
            return ObjectChanged(code, word)
        case CanonEvent.CAMERA_STATUS_CHANGED:
            return CameraStatus(word)
    return Unknown(code, payload)


_ENUMERATION = 3


def _available_list(code: int, payload: bytes) -> Record:
    if len(payload) < 12:
        return Unknown(CanonEvent.AVAIL_LIST_CHANGED, payload)
    form, count = struct.unpack_from("<II", payload, 4)
    if form != _ENUMERATION or 12 + 4 * count > len(payload):
        return AvailableList(code, form, ())
    return AvailableList(code, form, struct.unpack_from(f"<{count}I", payload, 12))


# The object record without what precedes it: the 8-byte header in events, the size word in listings.
_NARROW = struct.Struct("<IIHxxHxxIIII16sI")  # C181, C187 and the 56-byte entries of 0x9109: recorded
_WIDE = struct.Struct(
    "<IIHxxHxxIQII16sI"
)  # C1A7, C1A8 and 0x9173: the same with a 64-bit size, name seen there by others
_MINIMUM_BODY = 10  # handle, storage and format stand first in every layout
_LONG_NAME_AT = (
    40  # C1B6 and C1B7: u8 count and UTF-16 behind the time (libgphoto2 issue 1028; no bytes were published)
)


def _object_record(body: bytes) -> ObjectRecord:
    """Read the layout that the length tells; of any other only what stands first, and a name that looks like one."""
    if len(body) == _NARROW.size or len(body) == _WIDE.size:
        layout = _NARROW if len(body) == _NARROW.size else _WIDE
        handle, storage, kind, association, flags, size, parent, group, name, time = layout.unpack(body)
        return ObjectRecord(handle, storage, kind, association, flags, size, parent, group, _text(name), time)
    return _bare_record(body, _find_name(body))


def _long_name_record(body: bytes) -> ObjectRecord:
    """Read handle, storage, format, and the name where it is said to be; the rest is hearsay and left to ObjectInfo."""
    name = None
    if len(body) > _LONG_NAME_AT:
        start, count = _LONG_NAME_AT + 1, body[_LONG_NAME_AT]
        if count and start + 2 * count <= len(body) < start + 2 * count + 4:  # perhaps padded
            name = body[start : start + 2 * count].decode("utf-16-le", "replace").partition("\0")[0]
    return _bare_record(body, name or _find_name(body))


def _bare_record(body: bytes, name: str | None) -> ObjectRecord:
    handle, storage, kind = struct.unpack_from("<IIH", body)
    return ObjectRecord(handle, storage, kind, None, None, None, None, None, name, None)


# DCF names: IMG_7520.JPG, 2U4A3378.CR3, 100CANON; in UTF-16LE each character is followed by a zero byte.
_DCF_NAME = re.compile(
    rb"[A-Za-z0-9_]{4}[0-9]{4}\.[A-Za-z0-9]{3}|DCIM|MISC|[1-9][0-9]{2}[A-Za-z0-9_]{5}(?=\0)"
)
_DCF_NAME_UTF_16 = re.compile(rb"(?:[A-Za-z0-9_]\0){4}(?:[0-9]\0){4}\.\0(?:[A-Za-z0-9]\0){3}")


def _find_name(body: bytes) -> str | None:
    narrow = _DCF_NAME.search(body, _MINIMUM_BODY)
    if narrow:
        return narrow[0].decode("ascii")
    wide = _DCF_NAME_UTF_16.search(body, _MINIMUM_BODY)
    return wide[0].decode("utf-16-le") if wide else None


def listing(data: Buffer) -> tuple[ObjectRecord, ...]:
    """Decode a folder's entries (0x9109, and 0x9173 with 64-bit sizes); no bytes at all is an empty folder.

    ``u32 count``, then entries that begin with their own size, by which their layout is told.
    """
    return tuple(_entries(bytes(data))) if data else ()


def _entries(data: bytes) -> Iterator[ObjectRecord]:
    if len(data) < 4:
        raise RemoteProtocolError(f"a listing of {len(data)} bytes")
    count = int.from_bytes(data[:4], "little")
    if count > MAX_RECORDS:
        raise RemoteProtocolError(f"a listing of {count} entries, at most {MAX_RECORDS} are read")
    at = 4
    for index in range(count):
        size = int.from_bytes(data[at : at + 4], "little")
        if size < 4 + _MINIMUM_BODY or size > len(data) - at:
            raise RemoteProtocolError(
                f"entry {index} of {count} with {size} bytes in a listing of {len(data)}"
            )
        yield _object_record(data[at + 4 : at + size])
        at += size


def device_info_ex(data: Buffer) -> DeviceInfoEx:
    """Decode GetDeviceInfoEx (0x9108): u32 total length, then three counted arrays of u32."""
    words = bytes(data)[4:]
    arrays: list[tuple[int, ...]] = []
    for _ in range(3):
        count = int.from_bytes(words[:4], "little")
        if len(words) < 4 or 4 * count > len(words) - 4:
            raise RemoteProtocolError(f"an array of {count} in a GetDeviceInfoEx of {len(data)} bytes")
        arrays.append(struct.unpack_from(f"<{count}I", words, 4))
        words = words[4 + 4 * count :]
    return DeviceInfoEx(*arrays)


def camera_time(seconds: int) -> datetime:
    """Read a u32 time stamp: the camera's wall clock, counted as if it were UTC. The result is naive."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


# libgphoto2 config.c (canon_eos_batterylevel) and INDIGO agree; a true percentage is the standard's property 0x5001.
_BATTERY_PERCENT = {0: 0, 1: 50, 2: 100, 4: 75, 5: 25}


def battery_percent(power: int) -> int | None:
    """Read property D111 in its five steps (0 is "low"), None for a value that is not known."""
    return _BATTERY_PERCENT.get(power)


def _text(field: bytes) -> str:
    """Bytes up to a NUL; their encoding is nowhere specified."""
    text = field.partition(b"\0")[0]
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")
