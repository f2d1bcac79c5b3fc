"""The encoders against bytes of real cameras and the fact sheet's worked examples; no decoder of ours takes part."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.simcam import encode, recordings
from tests.simcam.card import Card, Item
from tests.simcam.codes import FOLDER, FORMATS, Ev
from tests.simcam.thumbnail import grey_jpeg

CONSTRUCTED = {
    entry["name"]: bytes.fromhex(entry["hex"])
    for entry in json.loads(recordings.find("constructed_packets.json").read_text())["packets"]
}


def constructed(beginning: str) -> bytes:
    return next(data for name, data in CONSTRUCTED.items() if name.startswith(beginning))


def item(
    name: str, handle: int, size: int, moment: datetime, *, group: int | None = None, **more: object
) -> Item:
    fields: dict[str, object] = {
        "storage": 0x00020001,
        "parent": 0x91900000,
        "format": FORMATS.get(name[-3:], FOLDER),
        "group": handle & ~0xF if group is None else group,
        "modified_at": moment,
        "path": name,
        "listed_size": size,
        "is_new": True,
    }
    return Item(handle=handle, name=name, captured_at=moment, **{**fields, **more})  # type: ignore[arg-type]


IMG_7520 = item("IMG_7520.JPG", 0x9191D602, 4_855_570, datetime(2012, 2, 2, 14, 16, 54))
IMG_7565 = item("IMG_7565.CR2", 0x9191D8D1, 25_073_970, datetime(2012, 3, 11, 23, 15, 24))


def test_an_object_added_record_is_the_recorded_one() -> None:
    shot = item("IMG_1979.CR2", 0x91907BB1, 8_915_941, datetime(2010, 12, 31, 19, 34, 6))
    recorded = recordings.payload("eos_getevent_objectadded_c181_IMG_1979_CR2")
    assert encode.record(Ev.EOS_OBJECT_ADDED, encode.body_32(shot)) == recorded


def test_a_listing_entry_is_the_recorded_one() -> None:
    """Flag bit 0 is set on this unprotected file; our encoder gets there by calling it protected."""
    listed = item(
        "IMG_0199.JPG",
        0x92740C72,
        2_217_241,
        datetime(2011, 4, 3, 13, 54, 24),
        parent=0x92740000,
        is_protected=True,
    )
    recorded = recordings.payload("canon_9109_entry_IMG_0199_JPG")
    assert encode.listing([encode.body_32(listed)])[4:] == recorded


def test_a_root_listing_is_the_recorded_one() -> None:
    dcim = item(
        "DCIM",
        0x30000000,
        0,
        datetime(2007, 3, 21, 23, 46, 20),
        parent=0x20000000,
        storage=1,
        group=0x30000000,
    )
    assert encode.listing([encode.body_32(dcim)]) == recordings.payload("eosclassic_9109_root_usb")[12:]


def test_listing_and_64_bit_record_are_the_fact_sheets() -> None:
    listing = constructed("0x9109 payload")
    assert encode.listing([encode.body_32(IMG_7520), encode.body_32(IMG_7565)]) == listing
    new = item("2U4A3378.CR3", 0x9190D321, 0x014A8A56, datetime(2012, 2, 2, 14, 16, 54))
    assert encode.record(Ev.EOS_OBJECT_ADDED_64, encode.body_64(new)) == constructed("C1A7 record")


def test_the_long_name_record_ends_with_a_counted_name() -> None:
    """Layout by protocol.md §5.3, C1B6: record offsets 2C time, 30 count, 31 UTF-16LE."""
    new = item("2U4A3378.CR3", 0x9190D321, 0x1_0000_0001, datetime(2012, 2, 2, 14, 16, 54))
    record = encode.record(Ev.EOS_OBJECT_ADDED_64_LFN, encode.body_long_name(new))
    assert record[0x1C:0x24] == bytes.fromhex("0100000001000000")
    assert record[0x2C:0x30] == bytes.fromhex("d69a2a4f")
    assert record[0x30] == 13 and record[0x31:].decode("utf-16-le") == "2U4A3378.CR3\0"


@pytest.mark.parametrize("recorded", recordings.eos60d_objects(), ids=lambda recorded: recorded.name)
def test_object_info_is_the_recorded_one(recorded: recordings.RecordedObject) -> None:
    """All 47 objects of the 60D, from the decoded values beside them."""
    entry = next(
        entry["decoded"]
        for entry in json.loads(recordings.find("eos60d_objectinfo_all.json").read_text())
        if int(entry["handle"], 16) == recorded.handle
    )
    described = item(
        entry["name"], recorded.handle, entry["size"], datetime.strptime(entry["cap"][:15], "%Y%m%dT%H%M%S")
    )
    described.format, described.is_protected = entry["fmt"], False
    described.modified_at = datetime.strptime(entry["mod"][:15], "%Y%m%dT%H%M%S")
    described.pixels = (entry["iw"], entry["ih"])
    described.thumbnail = bytes(entry["tsize"]) or None
    assert encode.object_info(described, entry["parent"]) == recorded.info


def test_device_info_is_the_recorded_one() -> None:
    said = json.loads(recordings.find("expected.json").read_text())["eos60d_deviceinfo"]
    encoded = encode.device_info(
        vendor_extension_id=said["vid"],
        vendor_extension_version=said["vver"],
        arrays=[[int(code, 16) for code in said[key]] for key in ("ops", "evs", "props", "cap", "img")],
        texts=("Canon Inc.", "Canon EOS 60D", "3-1.0.8", "b9bb65b44b6946feadcf79d47e30bce7"),
    )
    assert encoded == recordings.payload("eos60d_deviceinfo")


def test_storage_info_is_the_recorded_one() -> None:
    encoded = encode.storage_info(capacity_bytes=63_831_015_424, free_bytes=63_346_442_240, description="SD")
    assert encoded + b"\0\0" == recordings.payload("eos60d_getstorageinfo_9102")
    assert encode.u32_array([0x00020001]) == recordings.payload("eos60d_getstorageids_9101")


def test_small_records_are_the_recorded_ones() -> None:
    assert encode.u32_record(Ev.EOS_CAMERA_STATUS_CHANGED, 1) == recordings.payload(
        "eos_getevent_camerastatus_c18b"
    )
    assert encode.record(Ev.EOS_SHUTDOWN_TIMER_UPDATED) == recordings.payload(
        "eos_getevent_shutdowntimer_c18e"
    )
    assert encode.prop_changed(0xD102, 0x6D) == recordings.payload("eos_getevent_propvalue_d102")
    assert recordings.payload("eos60d_getevent_empty") == encode.TERMINATOR
    requested = recordings.payload("eos60d_getevent_requested_props")
    assert requested.startswith(encode.prop_changed(0xD115, b"\0"))
    assert requested.endswith(encode.prop_changed(0xD1AF, b"680422199\0") + encode.TERMINATOR)


def test_strings() -> None:
    assert encode.string("") == b"\0"
    assert encode.string("Aé") == b"\x03A\0\xe9\0\0\0"
    assert encode.string("x" * 254)[0] == 255
    with pytest.raises(ValueError, match="too long"):
        encode.string("x" * 255)


def test_a_size_beyond_32_bits_is_all_ones_where_only_32_fit() -> None:
    movie = item("MVI_0001.MP4", 0x9190001B, 6 << 30, datetime(2024, 1, 1))
    assert encode.body_32(movie)[20:24] == b"\xff\xff\xff\xff"
    assert encode.body_64(movie)[20:28] == (6 << 30).to_bytes(8, "little")
    assert encode.object_info(movie, 0)[8:12] == b"\xff\xff\xff\xff"
    assert encode.object_info(movie, 0, wide=True)[8:16] == (6 << 30).to_bytes(8, "little")


def test_handles_of_the_recorded_card_come_out_of_the_rule() -> None:
    """Filling the card raises when any of the 47 computed handles is not the recorded one."""
    from tests.simcam import fill

    card = Card(0x00020001)
    fill.as_recorded_60d(card)
    listed = encode.u32_array([listed.handle for listed in card.all()])
    assert listed == recordings.payload("eos60d_getobjecthandles_1007")


def test_a_thumbnail_is_a_baseline_jpeg() -> None:
    """Markers and size by hand; Pillow decodes all 256 as 160×120 of exactly that grey."""
    picture = grey_jpeg(200)
    markers = [picture[at : at + 2].hex() for at in (0, 2, 20, 89)]
    assert markers == ["ffd8", "ffe0", "ffdb", "ffc0"]
    assert picture[94:98] == bytes([0, 120, 0, 160]) and picture.endswith(b"\xff\xd9")
    assert len({grey_jpeg(grey) for grey in range(256)}) == 256
