"""Every recording in tests/cameras decodes to what its source says; a file without an expectation fails by name."""

from __future__ import annotations

import json
import re
import struct
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from agent.ptp import canon, datasets
from agent.ptp.canon import ObjectAdded, ObjectRecord, PropertyChanged, Unknown
from agent.ptp.codes import CanonEvent, Operation
from agent.ptp.packets import HEADER, InitCommandAck, InitCommandRequest, InitFail, Packet, decode, encode

FOLDER = Path(__file__).parent.parent / "cameras"
CHECKS: dict[str, Callable[[bytes], None]] = {}


def recording(path: str) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    def register(check: Callable[[bytes], None]) -> Callable[[bytes], None]:
        assert path not in CHECKS
        CHECKS[path] = check
        return check

    return register


def test_every_recording_has_an_expectation_and_a_source() -> None:
    present = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert present - {"README.md"} == set(CHECKS)
    readme = (FOLDER / "README.md").read_text()
    assert [path for path in CHECKS if f"| {path.rpartition('/')[2]} |" not in readme] == []


@pytest.mark.parametrize("path", CHECKS)
def test_recording(path: str) -> None:
    CHECKS[path]((FOLDER / path).read_bytes())


# -- EOS 60D --------------------------------------------------------------------------------------------------------


@recording("canon-eos-60d/eos60d_deviceinfo.bin")
def _deviceinfo(data: bytes) -> None:
    assert len(data) == 391
    info = datasets.device_info(data)
    assert (info.standard_version, info.vendor_extension_id, info.vendor_extension_version) == (100, 6, 200)
    assert (info.vendor_extension_desc, info.functional_mode) == ("", 0)
    assert len(info.operation_list) == len(info.operations) == 87
    assert set(info.operation_list) == info.operations
    assert info.events == (0x4009, 0x4004, 0x4005, 0x4003, 0x4002, 0x4007, 0xC101)
    assert info.properties == (0xD402, 0xD407, 0xD406, 0xD303, 0x5001)
    assert info.capture_formats == (0x3801,)
    assert len(info.image_formats) == 12
    assert (info.manufacturer, info.model, info.device_version) == ("Canon Inc.", "Canon EOS 60D", "3-1.0.8")
    assert info.serial_number == "b9bb65b44b6946feadcf79d47e30bce7"


@recording("canon-eos-60d/eos60d_getevent_first.bin")
def _getevent_first(data: bytes) -> None:
    events = canon.event_records(data)
    assert (len(data), events.terminated, events.surplus_bytes) == (7520, True, 0)
    assert codes(events) == {0xC18A: 86, 0xC189: 77, 0xC1A4: 1}
    assert_properties(
        events,
        {0xD111: 1, 0xD116: 0x80000287, 0xD11B: 0x1F85, 0xD11C: 2, 0xD11E: 0x00020001, 0xD11F: 0x91900000},
    )
    assert_properties(events, {0xD113: 0x4F6531B9})
    assert canon.battery_percent(1) == 50


@recording("canon-eos-60d/eos60d_getevent_empty.bin")
def _getevent_empty(data: bytes) -> None:
    assert data == bytes.fromhex("0800000000000000")
    assert canon.event_records(data) == canon.EventList((), True, 0)


@recording("canon-eos-60d/eos60d_getdeviceinfoex_9108.bin")
def _getdeviceinfoex(data: bytes) -> None:
    assert len(data) == struct.unpack_from("<I", data)[0] == 0x1C4
    info = canon.device_info_ex(data)
    assert (len(info.events), info.events[0], info.events[-1]) == (18, 0xC181, 0xC1A1)
    assert len(info.properties) == 87
    assert info.values == (0, 1, 2, 4)
    assert len(data) == 4 + 3 * 4 + 4 * (18 + 87 + 4)  # used up exactly


@recording("canon-eos-60d/eos60d_getevent_requested_props.bin")
def _getevent_requested_props(data: bytes) -> None:
    events = canon.event_records(data)
    assert (len(data), events.terminated, events.surplus_bytes) == (195, True, 0)
    records = [record for record in events.records if isinstance(record, PropertyChanged)]
    # 0x0d, twice 0x4c, 0x16: not aligned to four
    assert [12 + len(record.value) for record in records] == [0x0D, 0x4C, 0x4C, 0x16]
    assert [(record.property, record.text()) for record in records] == [
        (0xD115, ""),
        (0xD1D0, ""),
        (0xD1D1, ""),
        (0xD1AF, "680422199"),
    ]
    assert records[1].value == records[2].value == bytes(64)
    assert records[3].value == b"680422199\0"
    assert records[0].number() is None


@recording("canon-eos-60d/eos60d_setprop_9110_out.bin")
def _setprop(data: bytes) -> None:
    assert struct.unpack("<III", data) == (12, 0xD11C, 4)


@recording("canon-eos-60d/eos60d_getstorageids_9101.bin")
def _getstorageids(data: bytes) -> None:
    assert datasets.uint32_array(data) == (0x00020001,)


@recording("canon-eos-60d/eos60d_getstorageinfo_9102.bin")
def _getstorageinfo(data: bytes) -> None:
    assert len(data) == 36
    assert data[-2:] == b"\0\0"  # surplus
    assert datasets.storage_info(data) == datasets.StorageInfo(
        4, 3, 0, 63_831_015_424, 63_346_442_240, None, "SD", ""
    )
    assert datasets.storage_info(data[:-2]) == datasets.storage_info(data)


@recording("canon-eos-60d/eos60d_getevent_capturedest_change.bin")
def _getevent_capturedest_change(data: bytes) -> None:
    events = canon.event_records(data)
    assert (len(data), events.terminated, codes(events)) == (152, True, {0xC189: 9})
    repeated = Counter(record.property for record in events.records if isinstance(record, PropertyChanged))
    assert set(repeated) == {0xD11B, 0xD11C}
    assert min(repeated.values()) > 1
    assert_properties(events, {0xD11B: 0xAB03, 0xD11C: 4})  # the last value holds


@recording("canon-eos-60d/eos60d_getevent_props_14905.bin")
def _getevent_props(data: bytes) -> None:
    events = canon.event_records(data)
    assert (len(data), events.terminated, events.surplus_bytes) == (120, True, 0)
    assert [record.property for record in events.records if isinstance(record, PropertyChanged)] == [
        0xD11B,
        0xD11C,
        0xD120,
        0xD11E,
        0xD11C,
        0xD11F,
    ]
    assert_properties(events, {0xD11B: 0x1F85, 0xD11C: 2, 0xD11E: 0x00020001, 0xD11F: 0x91900000})
    assert len(events.properties()[0xD120]) == 20


@recording("canon-eos-60d/eos60d_getdevicepropdesc_5001.bin")
def _getdevicepropdesc(data: bytes) -> None:
    description = datasets.device_prop_desc(data)
    assert (len(data), description.property, description.data_type) == (20, 0x5001, 2)
    assert (description.is_writable, description.factory, description.current) == (False, 0x32, 0x32)
    # An enumeration of five UINT8, written as 16-bit words: five bytes more than a strict reader would use.
    assert struct.unpack("<BH5H", description.form) == (2, 5, 100, 75, 50, 25, 0)
    assert len(description.form) == 1 + 2 + 5 + 5


@recording("canon-eos-60d/eos60d_getobjecthandles_1007.bin")
def _getobjecthandles(data: bytes) -> None:
    handles = datasets.uint32_array(data)
    assert (len(data), len(handles)) == (192, 47)
    assert (handles[0], handles[1], handles[-1]) == (0x90000000, 0x91900000, 0xA0080000)
    assert list(handles) == [int(entry["handle"], 16) for entry in card()]


def _folder_check(parent: int, name: str) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        info = datasets.object_info(data)
        assert (info.object_format, info.protection_status, info.association_type) == (0x3001, 1, 1)
        assert (info.parent, info.filename) == (parent, name)

    return check


recording("canon-eos-60d/eos60d_objectinfo_DCIM.bin")(_folder_check(0, "DCIM"))
recording("canon-eos-60d/eos60d_objectinfo_100CANON.bin")(_folder_check(0x90000000, "100CANON"))
recording("canon-eos-60d/eos60d_objectinfo_MISC.bin")(_folder_check(0, "MISC"))


@recording("canon-eos-60d/eos60d_objectinfo_IMG_7520_JPG.bin")
def _objectinfo_jpeg(data: bytes) -> None:
    assert len(data) == 154
    assert datasets.object_info(data) == datasets.ObjectInfo(
        storage_id=0x00020001,
        object_format=0x3801,
        protection_status=0,
        compressed_size=4_855_570,
        thumb_format=0x3808,
        thumb_compressed_size=11_568,
        thumb_width=160,
        thumb_height=120,
        image_width=5184,
        image_height=3456,
        image_bit_depth=24,
        parent=0x91900000,
        association_type=0,
        association_desc=0,
        sequence_number=0,
        filename="IMG_7520.JPG",
        capture_date="20120202T141654.0",
        modification_date="20120202T141654.0",
        keywords="",
    )
    assert datasets.ptp_date("20120202T141654.0") == datetime(2012, 2, 2, 14, 16, 54)


@recording("canon-eos-60d/eos60d_objectinfo_IMG_7565_CR2.bin")
def _objectinfo_raw(data: bytes) -> None:
    info = datasets.object_info(data)
    assert (info.object_format, info.compressed_size) == (0xB103, 25_073_970)
    assert (info.filename, info.capture_date) == ("IMG_7565.CR2", "20120311T231522.0")


@recording("canon-eos-60d/eos60d_objectinfo_IMG_7565_JPG.bin")
def _objectinfo_jpeg_of_the_pair(data: bytes) -> None:
    info = datasets.object_info(data)
    assert (info.object_format, info.compressed_size) == (0x3801, 6_505_940)
    # one second from its RAW: a pair is never told by date
    assert (info.filename, info.capture_date) == ("IMG_7565.JPG", "20120311T231521.0")


@recording("canon-eos-60d/eos60d_objectinfo_all.json")
def _objectinfo_all(data: bytes) -> None:
    entries = json.loads(data)
    assert len(entries) == 47
    for entry in entries:
        payload = bytes.fromhex(entry["hex"])
        assert_object_info(datasets.object_info(payload), entry["decoded"])
    pair = {
        entry["handle"]: entry["decoded"]["name"]
        for entry in entries
        if entry["handle"].startswith("0x9191d8d")
    }
    assert pair == {"0x9191d8d1": "IMG_7565.CR2", "0x9191d8d2": "IMG_7565.JPG"}


# -- EOS 1300D and others -------------------------------------------------------------------------------------------


@recording("canon-eos-1300d/eos1300d_getevent_first.bin")
def _getevent_1300d(data: bytes) -> None:
    events = canon.event_records(data)
    assert (len(data), len(events.records) + 1, events.terminated) == (5941, 185, True)
    # Behind the terminator: a USB response container (OK, transaction 4) that the recorder left there, and zeros.
    assert events.surplus_bytes == 117
    assert data[5824:] == struct.pack("<IHHI", 12, 3, 0x2001, 4) + bytes(105)
    assert events.records[0] == Unknown(CanonEvent.CTG_INFO_CHECK_COMPLETE, struct.pack("<I", 0x00020001))
    assert codes(events) == {0xC189: 84, 0xC18A: 98, 0xC1A4: 2}
    assert_properties(events, {0xD111: 1, 0xD116: 0x80000404, 0xD11B: 0x0C03, 0xD11E: 0x00020001})
    assert_properties(events, {0xD11F: 0x91C00000, 0xD113: 0x64D2437F, 0xD17C: 0x64D27BBF})
    assert struct.unpack("<IIi", events.properties()[0xD17D]) == (12, 27, -300)
    assert canon.camera_time(0x64D27BBF) - canon.camera_time(0x64D2437F) == datetime(1, 1, 1, 4) - datetime(
        1, 1, 1
    )


@recording("canon-eos-1300d/eos_rebelT6_initcommandack.bin")
def _initcommandack(data: bytes) -> None:
    guid = bytes.fromhex("0000000000000000000100bbc1859fab")
    assert len(data) == 46
    assert_packet(data, InitCommandAck(1, guid, "EOST6{", 0x00010000))


@recording("canon-eos-1300d/eos_rebelT6_CameraDevDesc.http.txt")
def _description(data: bytes) -> None:
    head, _, body = data.decode().partition("<?xml")
    assert head.startswith("< HTTP/1.1 200 OK")
    root = ElementTree.fromstring("<?xml" + body)
    namespace = "{urn:schemas-upnp-org:device-1-0}"
    text = {element.tag.removeprefix(namespace): element.text for element in root.iter()}
    assert text["serviceType"] == "urn:schemas-canon-com:service:ICPO-SmartPhoneEOSSystemService:1"
    assert text["friendlyName"] == text["modelName"] == "Canon EOS Rebel T6"
    ack = (FOLDER / "canon-eos-1300d/eos_rebelT6_initcommandack.bin").read_bytes()
    assert (text["UDN"] or "").removeprefix("uuid:").replace("-", "") == ack[12:28].hex().upper()
    vendor = "{urn:schemas-canon-com:schema-upnp}"
    assert text[f"{vendor}X_targetId"] == "uuid:00000000-0000-0000-0001-FFFFFFFFFFFF"
    assert (text[f"{vendor}X_deviceUsbId"], text[f"{vendor}X_deviceNickname"]) == ("32b4", "EOST6{")


@recording("canon-eos-70d/eos70d_ssdp_notify.txt")
def _ssdp(data: bytes) -> None:
    first, *lines = data.decode().splitlines()
    assert first == "NOTIFY * HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines if line)
    assert headers["NT"] == "urn:schemas-canon-com:service:ICPO-WFTEOSSystemService:1"
    assert headers["NTS"] == "ssdp:alive"
    assert headers["Location"] == "http://192.168.0.120:49152/upnp/CameraDevDesc.xml"
    assert headers["USN"] == f"uuid:00000000-0000-0000-0001-60128B7CC240::{headers['NT']}"


@recording("canon-eos-m/eos_m_getstorageids.bin")
def _eos_m(data: bytes) -> None:
    assert datasets.uint32_array(data) == (0x00020001,)


@recording("canon-unnamed/eosclassic_9109_root_usb.bin")
def _root_listing(data: bytes) -> None:
    payload = from_usb(data, kind=2, code=Operation.EOS_GET_OBJECT_INFO_EX)
    assert len(payload) == 0x3C
    assert canon.listing(payload) == (
        ObjectRecord(0x30000000, 1, 0x3001, 1, 0x10, 0, 0x20000000, 0x30000000, "DCIM", 0x4601C3CC),
    )


@recording("canon-unnamed/eosclassic_9109_request_dcim_usb.bin")
def _listing_request(data: bytes) -> None:
    payload = from_usb(data, kind=1, code=Operation.EOS_GET_OBJECT_INFO_EX)
    assert struct.unpack("<III", payload) == (1, 0x30000000, 0x00100000)


@recording("canon-unnamed/eosclassic_9102_usb.bin")
def _old_storage(data: bytes) -> None:
    payload = from_usb(data, kind=2, code=Operation.EOS_GET_STORAGE_INFO)
    assert datasets.storage_info(payload) == datasets.StorageInfo(4, 3, 0, 0, 0, None, "CF", "A:")


@recording("canon-unnamed/canon_9109_entry_IMG_0199_JPG.bin")
def _listing_entry(data: bytes) -> None:
    assert len(data) == 56
    (entry,) = canon.listing(struct.pack("<I", 1) + data)
    assert (entry.handle, entry.object_format, entry.flags, entry.size) == (
        0x92740C72,
        0x3801,
        0x21,
        2_217_241,
    )
    assert (entry.parent, entry.group, entry.name) == (0x92740000, 0x92740C70, "IMG_0199.JPG")
    assert (entry.time, entry.is_size_known, entry.is_folder) == (0x4D987C10, True, False)
    # The file's ObjectInfo, printed beside it, says 2011-04-03 13:54:24 on the camera's clock.
    assert canon.camera_time(0x4D987C10) == datetime(2011, 4, 3, 13, 54, 24)


@recording("canon-unnamed/eos_getevent_objectadded_c181_IMG_1979_CR2.bin")
def _object_added(data: bytes) -> None:
    assert len(data) == 0x3C
    (record,) = canon.event_records(data).records
    assert record == ObjectAdded(
        0xC181,
        ObjectRecord(
            0x91907BB1,
            0x00020001,
            0xB103,
            0,
            0x20,
            8_915_941,
            0x91900000,
            0x91907BB0,
            "IMG_1979.CR2",
            0x4D1E302E,
        ),
    )
    assert canon.camera_time(0x4D1E302E) == datetime(2010, 12, 31, 19, 34, 6)


@recording("canon-unnamed/eos_getevent_camerastatus_c18b.bin")
def _camera_status(data: bytes) -> None:
    assert canon.event_records(data) == canon.EventList((canon.CameraStatus(1),), False, 0)


@recording("canon-unnamed/eos_getevent_shutdowntimer_c18e.bin")
def _shutdown_timer(data: bytes) -> None:
    assert len(data) == 8
    assert canon.event_records(data) == canon.EventList((Unknown(0xC18E, b""),), False, 0)
    # a record, not the end: what follows is read
    followed = canon.event_records(
        data + (FOLDER / "canon-unnamed/eos_getevent_camerastatus_c18b.bin").read_bytes()
    )
    assert followed.records == (Unknown(0xC18E, b""), canon.CameraStatus(1))


@recording("canon-unnamed/eos_getevent_propvalue_d102.bin")
def _propvalue(data: bytes) -> None:
    assert_properties(canon.event_records(data), {0xD102: 0x6D})


@recording("canon-unnamed/eos_lfn_c1b8_payload_after_header.bin")
def _long_name_transfer(data: bytes) -> None:
    assert struct.unpack("<IIIQII", data) == (0x1432C040, 0xB108, 0, 44_440_788, 0x1432C000, 6)
    assert canon.event_records(record_of(0xC1B8, data)).records == (
        canon.TransferRequested(0xC1B8, 0x1432C040),
    )


@recording("canon-unnamed/eos_olc_c1a5_payload_after_header.bin")
def _olc(data: bytes) -> None:
    assert (len(data), struct.unpack_from("<II", data)) == (73, (0x49, 0x1FFF))
    assert canon.event_records(record_of(0xC1A5, data)).records == (Unknown(0xC1A5, data),)


@recording("nikon-z5/nikon_z5_initcommandrequest_gphoto.bin")
def _initcommandrequest(data: bytes) -> None:
    guid = bytes.fromhex("cc6bb64e4e6fd9ab08ed9efca484213a")
    assert_packet(data, InitCommandRequest(guid, "rpi1-test", 0x00010000))


@recording("nikon-z5/nikon_z5_initfail.bin")
def _initfail(data: bytes) -> None:
    assert_packet(data, InitFail(1))


# -- the collections ------------------------------------------------------------------------------------------------

# What a body lists of each family of operations, transcribed from libgphoto2's text files: in the order of FAMILIES,
# Y all of them, - none.
FAMILIES = (
    (0x1007, 0x1008, 0x100A, 0x100B, 0x101B),
    (0x1012,),
    (0x9101, 0x9102, 0x9103, 0x9105, 0x9107),
    (0x9104,),
    (0x9108,),
    (0x9109, 0x910A),
    (0x9113,),
    (0x9114, 0x9115, 0x9116, 0x9117, 0x9118, 0x911B, 0x911D),
    (0x9127,),
    (0x912C, 0x9135),
    (0x913D, 0x913F),
    (0x9033,),
    (0x9170, 0x9171, 0x9172, 0x9173, 0x9174),
)
BODIES = {
    "EOS 400D": (48, "Y-YYYYYY-----"),
    "EOS 40D": (104, "Y-YYYYYYY----"),  # four of them twice
    "EOS 60D": (87, "Y-YYYYYYYY---"),
    "EOS 6D": (168, "Y-YYYYYYYYYY-"),
    "EOS 70D": (169, "Y-YYYYYYYYYY-"),
    "EOS 7D Mark II": (175, "Y-YYYYYYYYYY-"),
    "EOS 5DS R": (181, "Y-YYYYYYYYYY-"),
    "EOS 1300D": (167, "Y-YYYYYYYYYY-"),
    "EOS Rebel T6 (=1300D)": (167, "Y-YYYYYYYYYY-"),
    "EOS 2000D": (167, "Y-YYYYYYYYYY-"),
    "EOS 1500D": (167, "Y-YYYYYYYYYY-"),
    "EOS 80D": (170, "Y-YYYY-YYYYYY"),
    "EOS 200D (Rebel SL2)": (170, "Y-YYYY-YYYYYY"),
    "EOS 77D": (170, "Y-YYYY-YYYYYY"),
    "EOS 90D": (153, "Y-YYYY-YYYYYY"),
    "EOS M50": (176, "Y-YYYY-YYYYYY"),
    "EOS M50 Mark II": (154, "Y-YYYY-YYYYYY"),
    "EOS M6 Mark II": (153, "Y-YYYY-YYYYYY"),
    "EOS M5": (100, "YYY--Y-YYYYY-"),
    "EOS R": (170, "Y-YYYY-YYYYYY"),
    "EOS R6": (158, "Y-YYYY-YYYYYY"),
    "EOS R6 Mark II": (153, "Y-YYYY-YYYYYY"),
    "EOS R7": (149, "Y-YYYY-YYYYYY"),
    "EOS R10": (149, "Y-YYYY-YYYYYY"),
    "EOS R50": (148, "Y-YYYY-YYYYYY"),
    "EOS R100": (154, "Y-YYYY-YYYYYY"),
}


@recording("deviceinfo_lists.json")
def _deviceinfo_lists(data: bytes) -> None:
    bodies = json.loads(data)
    assert list(bodies) == list(BODIES)
    for body, lists in bodies.items():
        count, families = BODIES[body]
        info = datasets.device_info(device_info_bytes(lists))
        assert len(info.operation_list) == count, body
        listed = [len(info.operations & set(family)) / len(family) for family in FAMILIES]
        assert listed == [1.0 if mark == "Y" else 0.0 for mark in families], body
        assert info.operation_list == tuple(int(code, 16) for code in lists["operations"])
        assert info.events == tuple(int(code, 16) for code in lists["events"])
        assert (info.manufacturer, info.model) == (lists["manufacturer"], lists["model"])
        assert info.manufacturer in ("Canon Inc.", "Canon.Inc")
        assert {Operation.EOS_SET_REMOTE_MODE, Operation.EOS_GET_EVENT} <= info.operations
    assert "b108" not in bodies["EOS R6"]["display_formats"]  # though its CR3 files say B108
    assert sum("display_formats" in lists for lists in bodies.values()) == 12
    assert len(set(bodies["EOS 40D"]["operations"])) == 100


@recording("expected.json")
def _expected(data: bytes) -> None:
    checked = 0
    for name, expected in json.loads(data).items():
        (path,) = FOLDER.rglob(f"{name}.bin")
        payload = path.read_bytes()
        if "prop_values_hex_last" in expected:
            assert_events(canon.event_records(payload), len(payload), expected)
        elif "ops" in expected:
            assert_device_info(datasets.device_info(payload), expected)
        else:
            assert_object_info(datasets.object_info(payload), expected)
        checked += 1
    assert checked == 13


@recording("constructed/constructed_packets.json")
def _constructed(data: bytes) -> None:
    """What these packets mean is asserted in test_packets; here, that each is read, and written back as it was."""
    for entry in json.loads(data)["packets"]:
        raw = bytes.fromhex(entry["hex"])
        if entry["dir"] == "event record":
            (added,) = canon.event_records(raw).records
            assert added == ObjectAdded(
                0xC1A7,
                ObjectRecord(
                    0x9190D321,
                    0x00020001,
                    0xB108,
                    0,
                    0x20,
                    21_662_294,
                    0x91900000,
                    0x9190D320,
                    "2U4A3378.CR3",
                    0x4F2A9AD6,
                ),
            )
        elif "0x9109" in entry["name"]:
            jpeg, raw_file = canon.listing(raw)
            assert (jpeg.name, jpeg.size, jpeg.handle) == ("IMG_7520.JPG", 4_855_570, 0x9191D602)
            assert (raw_file.name, raw_file.size, raw_file.group) == ("IMG_7565.CR2", 25_073_970, 0x9191D8D0)
        elif entry["dir"] == "payload":
            events = canon.event_records(raw)
            assert (codes(events), events.terminated) == ({0xC181: 1}, True)
        elif not entry["name"].startswith("EndData"):
            length, kind = HEADER.unpack_from(raw)
            assert length == len(raw)
            assert encode(decode(kind, raw[8:])) == raw


# -- how things are compared ----------------------------------------------------------------------------------------


def card() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(
        (FOLDER / "canon-eos-60d/eos60d_objectinfo_all.json").read_bytes()
    )
    return entries


def codes(events: canon.EventList) -> dict[int, int]:
    """How often each record code occurs."""
    by_class = {PropertyChanged: 0xC189, canon.AvailableList: 0xC18A}
    return dict(Counter(by_class.get(type(record)) or getattr(record, "code") for record in events.records))  # noqa: B009


def assert_properties(events: canon.EventList, expected: dict[int, int]) -> None:
    values = events.properties()
    assert {code: int.from_bytes(values[code], "little") for code in expected} == expected
    assert all(len(values[code]) == 4 for code in expected)


def assert_events(events: canon.EventList, total: int, expected: dict[str, Any]) -> None:
    names = {"PropValueChanged": 0xC189, "AvailListChanged": 0xC18A, "CTGInfoCheckComplete": 0xC1A4}
    counts = dict(expected["counts"])
    assert counts.pop("END") == 1
    assert events.terminated
    assert codes(events) == {names[name]: count for name, count in counts.items()}
    assert len(events.records) + 1 == expected["records_incl_terminator"]
    assert total == expected["total_bytes"]
    assert total - events.surplus_bytes == expected["bytes_consumed_up_to_and_incl_terminator"]
    values = {f"{code:04x}": value.hex() for code, value in events.properties().items()}
    assert values == expected["prop_values_hex_last"]


def assert_device_info(info: datasets.DeviceInfo, expected: dict[str, Any]) -> None:
    def numbers(key: str) -> tuple[int, ...]:
        return tuple(int(code, 16) for code in expected[key])

    assert (info.standard_version, info.vendor_extension_id) == (expected["std"], expected["vid"])
    assert (info.vendor_extension_version, info.vendor_extension_desc) == (
        expected["vver"],
        expected["vdesc"],
    )
    assert (info.functional_mode, info.operation_list) == (expected["fmode"], numbers("ops"))
    assert (info.events, info.properties) == (numbers("evs"), numbers("props"))
    assert (info.capture_formats, info.image_formats) == (numbers("cap"), numbers("img"))
    assert (info.manufacturer, info.model) == (expected["manu"], expected["model"])
    assert (info.device_version, info.serial_number) == (expected["ver"], expected["serial"])


def assert_object_info(info: datasets.ObjectInfo, expected: dict[str, Any]) -> None:
    assert (info.storage_id, info.object_format) == (expected["storage"], expected["fmt"])
    assert (info.protection_status, info.compressed_size) == (expected["prot"], expected["size"])
    assert (info.thumb_format, info.thumb_compressed_size) == (expected["tfmt"], expected["tsize"])
    assert (info.thumb_width, info.thumb_height) == (expected["tw"], expected["th"])
    assert (info.image_width, info.image_height) == (expected["iw"], expected["ih"])
    assert (info.image_bit_depth, info.parent) == (expected["depth"], expected["parent"])
    assert (info.association_type, info.association_desc) == (expected["atype"], expected["adesc"])
    assert (info.sequence_number, info.filename) == (expected["seq"], expected["name"])
    assert (info.capture_date, info.modification_date) == (expected["cap"], expected["mod"])
    assert (info.keywords, expected["rest"]) == (expected["kw"], "")


def assert_packet(data: bytes, packet: Packet) -> None:
    """Read and written alike."""
    length, kind = HEADER.unpack_from(data)
    assert length == len(data)
    assert decode(kind, data[8:]) == packet
    assert encode(packet) == data


def from_usb(data: bytes, *, kind: int, code: int) -> bytes:
    length, container, operation, _ = struct.unpack_from("<IHHI", data)
    assert (length, container, operation) == (len(data), kind, code)
    return data[12:]


def record_of(code: int, payload: bytes) -> bytes:
    return struct.pack("<II", 8 + len(payload), code) + payload


def device_info_bytes(lists: dict[str, Any]) -> bytes:
    """A DeviceInfo dataset around the lists of a body (layout of ptp_unpack_DI in libgphoto2), written for this test alone."""

    def string(text: str) -> bytes:
        return bytes([len(text) + 1]) + text.encode("utf-16-le") + b"\0\0" if text else b"\0"

    keys = ("operations", "events", "properties", "capture_formats", "display_formats")
    # Two bodies give their capture formats as one text: "JPEG Unknown(b108) …".
    found = [re.findall(r"\b[0-9a-f]{4}\b", " ".join(lists.get(key, []))) for key in keys]
    arrays = [[int(code, 16) for code in codes] for codes in found]
    return (
        struct.pack("<HIH", 100, 6, 100)
        + string("")
        + struct.pack("<H", 0)
        + b"".join(struct.pack(f"<I{len(codes)}H", len(codes), *codes) for codes in arrays)
        + b"".join(
            string(text) for text in (lists["manufacturer"], lists["model"], lists["version"], "0" * 32)
        )
    )
