"""What EOS bodies add, where no recording shows the case; layouts as in libgphoto2 ptp-pack.c."""

from __future__ import annotations

import struct
from datetime import datetime

import pytest

from agent.ptp import canon
from agent.ptp.canon import (
    AvailableList,
    CameraStatus,
    EventList,
    ObjectAdded,
    ObjectChanged,
    ObjectRecord,
    ObjectRemoved,
    PropertyChanged,
    Record,
    ShutdownSoon,
    StorageChanged,
    TransferRequested,
    Unknown,
)
from agent.ptp.codes import CanonEvent
from agent.ptp.packets import RemoteProtocolError

END = bytes.fromhex("0800000000000000")
HANDLE = 0x9191D602
NARROW = struct.pack(
    "<IIHHHHIIII16sI",
    HANDLE,
    0x20001,
    0x3801,
    0,
    0,
    0,
    0x20,
    4_855_570,
    0x91900000,
    0x9191D600,
    b"IMG_7520.JPG",
    5,
)
WIDE = struct.pack(
    "<IIHHHHIQII16sI",
    HANDLE,
    0x20001,
    0xB982,
    0,
    0,
    0,
    0x20,
    5 << 30,
    0x91900000,
    0x9191D600,
    b"MVI_7520.MP4",
    5,
)
NARROW_RECORD = ObjectRecord(
    HANDLE, 0x20001, 0x3801, 0, 0x20, 4_855_570, 0x91900000, 0x9191D600, "IMG_7520.JPG", 5
)
WIDE_RECORD = ObjectRecord(
    HANDLE, 0x20001, 0xB982, 0, 0x20, 5 << 30, 0x91900000, 0x9191D600, "MVI_7520.MP4", 5
)


def bare(name: str | None, object_format: int = 0x3801) -> ObjectRecord:
    return ObjectRecord(HANDLE, 0x20001, object_format, None, None, None, None, None, name, None)


def record(code: int, payload: bytes) -> bytes:
    return struct.pack("<II", 8 + len(payload), code) + payload


def long_name(name: str, padding: int = 0) -> bytes:
    fixed = struct.pack(
        "<IIHHHHIQIII", HANDLE, 0x20001, 0xB108, 0, 0, 0, 0x20, 44_440_788, 0x91900000, 0x9191D600, 5
    )
    return fixed + bytes([len(name) + 1]) + name.encode("utf-16-le") + b"\0\0" + bytes(padding)


WORD = struct.pack("<I", 7)
RECORDS: list[tuple[int, bytes, Record]] = [
    (0xC181, NARROW, ObjectAdded(0xC181, NARROW_RECORD)),
    (0xC1A7, WIDE, ObjectAdded(0xC1A7, WIDE_RECORD)),
    (0xC181, WIDE, ObjectAdded(0xC181, WIDE_RECORD)),  # the length tells the layout, not the code
    (0xC1A7, NARROW, ObjectAdded(0xC1A7, NARROW_RECORD)),
    (
        0xC1B6,
        long_name("2U4A3378_a_long_name.CR3"),
        ObjectAdded(0xC1B6, bare("2U4A3378_a_long_name.CR3", 0xB108)),
    ),
    (0xC1B6, long_name("2U4A3378.CR3", 2), ObjectAdded(0xC1B6, bare("2U4A3378.CR3", 0xB108))),
    (
        0xC1B6,
        long_name("2U4A3378.CR3", 9),
        ObjectAdded(0xC1B6, bare("2U4A3378.CR3", 0xB108)),
    ),  # found by its pattern
    (0xC1B6, long_name("holiday", 9), ObjectAdded(0xC1B6, bare(None, 0xB108))),
    (0xC181, NARROW[:10], ObjectAdded(0xC181, bare(None))),
    (0xC181, NARROW + bytes(8), ObjectAdded(0xC181, bare("IMG_7520.JPG"))),  # a layout that nobody knows
    (0xC181, NARROW[:9], Unknown(0xC181, NARROW[:9])),
    (0xC187, NARROW, ObjectChanged(0xC187, NARROW_RECORD)),
    (0xC1A8, WIDE, ObjectChanged(0xC1A8, WIDE_RECORD)),
    (0xC1B7, long_name("2U4A3378.CR3"), ObjectChanged(0xC1B7, bare("2U4A3378.CR3", 0xB108))),
    (0xC188, WORD, ObjectChanged(0xC188, 7)),
    (0xC182, WORD, ObjectRemoved(7)),
    (0xC182, WORD + b"more", ObjectRemoved(7)),
    (0xC182, b"\7\0\0", Unknown(0xC182, b"\7\0\0")),
    (0xC184, WORD, StorageChanged(0xC184, 7)),
    (0xC185, WORD, StorageChanged(0xC185, 7)),
    (0xC192, WORD, StorageChanged(0xC192, 7)),
    (0xC193, WORD, StorageChanged(0xC193, 7)),
    (0xC186, WORD + bytes(16) + b"IMG_7520.JPG", TransferRequested(0xC186, 7)),
    (0xC1A9, WORD + bytes(30), TransferRequested(0xC1A9, 7)),
    (0xC1B8, WORD + bytes(20), TransferRequested(0xC1B8, 7)),
    (0xC189, WORD, PropertyChanged(7, b"")),
    (0xC189, WORD + b"\1", PropertyChanged(7, b"\1")),
    (0xC189, b"", Unknown(0xC189, b"")),
    (0xC18A, struct.pack("<5I", 7, 3, 2, 10, 20), AvailableList(7, 3, (10, 20))),
    (0xC18A, struct.pack("<4I", 7, 7, 1, 10), AvailableList(7, 7, ())),
    (0xC18A, struct.pack("<4I", 7, 3, 0xFFFFFFFF, 10), AvailableList(7, 3, ())),
    (0xC18A, struct.pack("<2I", 7, 3), Unknown(0xC18A, struct.pack("<2I", 7, 3))),
    (0xC18B, struct.pack("<I", 1), CameraStatus(1)),
    (0xC18D, b"", ShutdownSoon()),
    (0xC18D, WORD, ShutdownSoon()),
    (0xC18E, b"", Unknown(0xC18E, b"")),
    (0xC1F1, b"whatever", Unknown(0xC1F1, b"whatever")),
    (0x12345678, b"", Unknown(0x12345678, b"")),
]


@pytest.mark.parametrize(("code", "payload", "expected"), RECORDS)
def test_record(code: int, payload: bytes, expected: Record) -> None:
    assert canon.event_records(record(code, payload) + END) == EventList((expected,), True, 0)


def test_every_kind_of_record_is_shown() -> None:
    assert {type(expected) for _, _, expected in RECORDS} == set(Record.__args__)


def test_records_are_not_aligned_and_stop_at_the_end() -> None:
    data = b"".join(record(code, payload) for code, payload, _ in RECORDS)
    assert canon.event_records(data + END + record(0xC182, WORD)) == EventList(
        tuple(expected for _, _, expected in RECORDS), True, 12
    )


@pytest.mark.parametrize(
    ("data", "records", "surplus"),
    [
        (b"", 0, 0),
        (b"\x08\0\0\0", 0, 4),
        (record(0xC18B, WORD), 1, 0),
        (record(0xC18B, WORD) + struct.pack("<II", 7, 0xC18B) + END, 1, 16),  # a size below eight
        (record(0xC18B, WORD) + struct.pack("<II", 0, 0xC18B) + END, 1, 16),
        (record(0xC18B, WORD) + struct.pack("<II", 17, 0xC18B) + END, 1, 16),  # a size beyond the end
        (record(0xC18B, WORD) + struct.pack("<II", 0xFFFFFFFF, 0xC18B), 1, 8),
        (record(0xC18B, WORD) + b"\x0c\0\0\0\x8b", 1, 5),
    ],
)
def test_an_answer_without_its_end_keeps_what_was_whole(data: bytes, records: int, surplus: int) -> None:
    found = canon.event_records(data)
    assert (len(found.records), found.terminated, found.surplus_bytes) == (records, False, surplus)


def test_an_answer_has_a_limit() -> None:
    found = canon.event_records(
        (canon.MAX_RECORDS + 10) * record(CanonEvent.SHUTDOWN_TIMER_UPDATED, b"") + END
    )
    assert (len(found.records), found.terminated, found.surplus_bytes) == (canon.MAX_RECORDS, False, 88)


def test_the_last_value_of_a_property_holds() -> None:
    data = (
        record(0xC189, WORD + b"old")
        + record(0xC189, struct.pack("<II", 8, 1))
        + record(0xC189, WORD + b"new")
    )
    assert canon.event_records(data).properties() == {7: b"new", 8: struct.pack("<I", 1)}


def test_property_values() -> None:
    assert PropertyChanged(1, struct.pack("<II", 0xFFFFFFFE, 1)).number() == 0xFFFFFFFE
    assert PropertyChanged(1, b"\1\2\3").number() is None
    assert PropertyChanged(1, "Zoë".encode() + b"\0rubbish").text() == "Zoë"
    assert PropertyChanged(1, "Zoë".encode("latin-1")).text() == "Zoë"
    assert ObjectChanged(0xC188, 5).handle == 5
    assert ObjectChanged(0xC187, NARROW_RECORD).handle == HANDLE


def entries(*bodies: bytes) -> bytes:
    return struct.pack("<I", len(bodies)) + b"".join(
        struct.pack("<I", 4 + len(body)) + body for body in bodies
    )


def test_a_listing_mixes_layouts() -> None:
    folder = bytearray(NARROW[:8] + struct.pack("<H", 0x3001) + bytes(20) + b"101EOS7D\0")
    long = NARROW[:10] + bytes(7) + "IMG_7520.JPG".encode("utf-16-le") + bytes(3)
    assert canon.listing(entries(NARROW, WIDE, NARROW[:10], bytes(folder), long, NARROW) + b"surplus") == (
        NARROW_RECORD,
        WIDE_RECORD,
        bare(None),
        bare("101EOS7D", 0x3001),
        bare("IMG_7520.JPG"),
        NARROW_RECORD,
    )


def test_entry_sizes_tell_the_layout() -> None:
    assert (4 + len(NARROW), 4 + len(WIDE)) == (0x38, 0x3C)
    assert (8 + len(NARROW), 8 + len(WIDE)) == (0x3C, 0x40)


def test_an_empty_folder() -> None:
    assert canon.listing(b"") == canon.listing(bytes(4)) == canon.listing(bytes(8)) == ()


@pytest.mark.parametrize(
    "data",
    [
        b"\1",
        bytes.fromhex("01000000"),
        entries(NARROW)[:-1],
        struct.pack("<I", 2) + entries(NARROW)[4:],
        struct.pack("<II", 1, 0) + bytes(60),
        struct.pack("<II", 1, 13) + bytes(60),
        struct.pack("<II", 1, 0xFFFFFFFF) + bytes(60),
        struct.pack("<I", canon.MAX_RECORDS + 1)
        + (canon.MAX_RECORDS + 1) * (struct.pack("<I", 14) + bytes(10)),
    ],
    ids=lambda data: f"{len(data)}-{data[:8].hex()}",
)
def test_a_listing_is_believed_whole_or_not_at_all(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        canon.listing(data)


def test_a_name_that_fills_its_field_or_is_no_ascii() -> None:
    (full, latin) = canon.listing(
        entries(
            NARROW.replace(b"IMG_7520.JPG\0\0\0\0", b"IMG_7520_abc.JPG"),
            NARROW.replace(b"IMG_7520.JPG", b"\xc4MG_7520.JPG"),
        )
    )
    assert (full.name, latin.name) == ("IMG_7520_abc.JPG", "ÄMG_7520.JPG")


def test_sizes_that_say_nothing() -> None:
    unknown = NARROW[:20] + b"\xff\xff\xff\xff" + NARROW[24:]
    (narrow, wide, none) = canon.listing(entries(unknown, WIDE[:20] + 8 * b"\xff" + WIDE[28:], NARROW[:10]))
    assert [record.is_size_known for record in (narrow, wide, none, NARROW_RECORD, WIDE_RECORD)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert narrow.size == 0xFFFFFFFF


def test_device_info_ex() -> None:
    data = (
        struct.pack("<I", 0)
        + struct.pack("<II", 1, 0xC181)
        + struct.pack("<I", 0)
        + struct.pack("<III", 2, 0, 4)
    )
    assert canon.device_info_ex(data + b"surplus") == canon.DeviceInfoEx((0xC181,), (), (0, 4))
    for size in range(len(data)):
        with pytest.raises(RemoteProtocolError):
            canon.device_info_ex(data[:size])


def test_times_and_battery() -> None:
    assert canon.camera_time(0) == datetime(1970, 1, 1)
    assert canon.camera_time(0xFFFFFFFF) == datetime(2106, 2, 7, 6, 28, 15)
    assert [canon.battery_percent(power) for power in (0, 1, 2, 3, 4, 5)] == [0, 50, 100, None, 75, 25]
