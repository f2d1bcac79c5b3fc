"""The standard's datasets where no recording shows the case; bytes laid out by hand."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from agent.ptp import datasets
from agent.ptp.codes import CanonEvent, EventCode, ObjectFormat, Operation, Property, ResponseCode, name_of
from agent.ptp.packets import RemoteProtocolError

FOLDER = Path(__file__).parent.parent / "cameras" / "canon-eos-60d"
DEVICE_INFO = (FOLDER / "eos60d_deviceinfo.bin").read_bytes()
OBJECT_INFO = (FOLDER / "eos60d_objectinfo_IMG_7520_JPG.bin").read_bytes()
STORAGE_INFO = (FOLDER / "eos60d_getstorageinfo_9102.bin").read_bytes()


def text(value: str) -> bytes:
    return bytes([len(value) + 1]) + value.encode("utf-16-le") + b"\0\0"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\0", ""),
        (b"\1\0\0", ""),
        (b"\2A\0\0\0", "A"),
        (b"\2A\0B\0", "AB"),  # no NUL where the count ends
        (b"\4A\0\0\0B\0\0\0", "A"),  # rubbish behind the NUL
        (b"\2\x00\xd8\0\0", "\ufffd"),  # half a surrogate pair
        (b"\3\x3d\xd8\x37\xde\0\0", "\U0001f637"),
        (b"\xff" + 254 * b"x\0" + b"\0\0", 254 * "x"),
        (b"\2A\0\0\0surplus", "A"),
    ],
)
def test_strings(data: bytes, expected: str) -> None:
    assert datasets.ptp_string(data) == expected


@pytest.mark.parametrize("data", [b"", b"\1", b"\2A\0\0", b"\xff" + bytes(509)])
def test_a_string_that_is_cut_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        datasets.ptp_string(data)


def test_arrays() -> None:
    assert datasets.uint32_array(b"") == ()
    assert datasets.uint32_array(bytes(4)) == ()
    assert datasets.uint32_array(struct.pack("<III", 2, 7, 0xFFFFFFFF)) == (7, 0xFFFFFFFF)
    assert datasets.uint32_array(struct.pack("<II", 1, 7) + b"surplus") == (7,)
    assert datasets.uint32_array(memoryview(bytearray(struct.pack("<II", 1, 7)))) == (7,)


@pytest.mark.parametrize(
    "data", [b"\1", struct.pack("<I", 1), struct.pack("<II", 2, 7), struct.pack("<II", 0xFFFFFFFF, 7)]
)
def test_an_array_longer_than_its_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        datasets.uint32_array(data)


def test_device_info_may_end_behind_any_string() -> None:
    whole = datasets.device_info(DEVICE_INFO)
    cut = DEVICE_INFO
    for field in ("serial_number", "device_version", "model", "manufacturer"):
        value = getattr(whole, field)
        assert cut.endswith(text(value))
        cut = cut[: -len(text(value))]
        if field == "manufacturer":
            break
        assert getattr(datasets.device_info(cut), field) == ""
        assert datasets.device_info(cut).manufacturer == "Canon Inc."
    bare = datasets.device_info(DEVICE_INFO[:9])  # up to and with the empty VendorExtensionDesc
    assert (bare.vendor_extension_version, bare.operation_list, bare.model) == (200, (), "")
    assert bare.operations == frozenset()
    with pytest.raises(RemoteProtocolError):
        datasets.device_info(cut)  # the last thing there is an array


def test_every_other_cut_of_a_device_info_is_refused() -> None:
    ends = {9, len(DEVICE_INFO)}
    at = len(DEVICE_INFO)
    for value in ("b9bb65b44b6946feadcf79d47e30bce7", "3-1.0.8", "Canon EOS 60D"):
        at -= len(text(value))
        ends.add(at)
    for size in range(len(DEVICE_INFO)):
        if size in ends:
            datasets.device_info(DEVICE_INFO[:size])
        else:
            with pytest.raises(RemoteProtocolError):
                datasets.device_info(DEVICE_INFO[:size])


def test_surplus_bytes_are_passed_over() -> None:
    assert datasets.device_info(DEVICE_INFO + b"\1\2\3") == datasets.device_info(DEVICE_INFO)
    assert datasets.object_info(OBJECT_INFO + bytes(5)) == datasets.object_info(OBJECT_INFO)


def test_storage_info_without_a_label_or_with_shots_left() -> None:
    assert datasets.storage_info(STORAGE_INFO[:33]).description == "SD"
    counted = STORAGE_INFO[:22] + struct.pack("<I", 1234) + text("CF")
    assert datasets.storage_info(counted) == datasets.StorageInfo(
        4, 3, 0, 63_831_015_424, 63_346_442_240, 1234, "CF", ""
    )
    with pytest.raises(RemoteProtocolError):
        datasets.storage_info(STORAGE_INFO[:26])


def test_object_info_without_dates() -> None:
    info = datasets.object_info(OBJECT_INFO[: 52 + 27])
    assert (info.filename, info.capture_date, info.modification_date, info.keywords) == (
        "IMG_7520.JPG",
        "",
        "",
        "",
    )
    with pytest.raises(RemoteProtocolError):
        datasets.object_info(OBJECT_INFO[:52])


def test_object_info_with_a_size_of_eight_bytes() -> None:
    """libgphoto2 ptp_unpack_OI: everything behind the size sits four bytes later."""
    wide = OBJECT_INFO[:8] + struct.pack("<Q", 5 << 30) + OBJECT_INFO[12:]
    info = datasets.object_info(wide)
    assert (info.compressed_size, info.filename, info.parent) == (5 << 30, "IMG_7520.JPG", 0x91900000)
    assert info.capture_date == "20120202T141654.0"


def test_an_object_without_a_name_has_no_wide_size() -> None:
    nameless = OBJECT_INFO[:52] + b"\0" + OBJECT_INFO[52 + 27 :]
    info = datasets.object_info(nameless)
    assert (info.compressed_size, info.filename, info.capture_date) == (4_855_570, "", "20120202T141654.0")


def test_a_size_that_is_elsewhere_comes_out_as_sent() -> None:
    unknown = OBJECT_INFO[:8] + b"\xff\xff\xff\xff" + OBJECT_INFO[12:]
    assert datasets.object_info(unknown).compressed_size == datasets.SIZE_ELSEWHERE


def test_property_descriptions() -> None:
    signed = datasets.device_prop_desc(struct.pack("<HHBhhB", 0x5010, 3, 1, -2000, 500, 0))
    assert (signed.is_writable, signed.factory, signed.current, signed.form) == (True, -2000, 500, b"\0")
    named = datasets.device_prop_desc(struct.pack("<HHB", 0xD402, 0xFFFF, 0) + b"\0" + text("EOS"))
    assert (named.factory, named.current, named.form) == ("", "EOS", b"")
    with pytest.raises(RemoteProtocolError, match="0x4002"):
        datasets.device_prop_desc(struct.pack("<HHB", 0xD402, 0x4002, 0) + bytes(20))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("20120202T141654.0", datetime(2012, 2, 2, 14, 16, 54)),
        ("20120202T141654", datetime(2012, 2, 2, 14, 16, 54)),
        ("20120202T141654.25", datetime(2012, 2, 2, 14, 16, 54, 250_000)),
        ("20120202T141654Z", datetime(2012, 2, 2, 14, 16, 54, tzinfo=UTC)),
        (
            "20120202T141654.5-0330",
            datetime(2012, 2, 2, 14, 16, 54, 500_000, timezone(timedelta(hours=-3.5))),
        ),
        ("20120202T141654+0100", datetime(2012, 2, 2, 14, 16, 54, 0, timezone(timedelta(hours=1)))),
        ("00000000T000000.0", None),
        ("20120230T000000", None),
        ("20120202T246000", None),
        ("20120202T141654+9900", None),
        ("20120202", None),
        ("", None),
        ("٢٠١٢٠٢٠٢T141654", None),
    ],
)
def test_dates(written: str, expected: datetime | None) -> None:
    found = datasets.ptp_date(written)
    assert found == expected
    assert (found is None) or (expected is not None and found.tzinfo == expected.tzinfo)


def test_codes_have_one_name_each() -> None:
    families = (Operation, ResponseCode, EventCode, CanonEvent, Property, ObjectFormat)
    members = [member for family in families for member in family]
    assert len({int(member) for member in members}) == len(members)
    assert name_of(0x9116) == "EOS_GET_EVENT"
    assert name_of(0x95C1) == "0x95c1"
