"""Strangers judge the simulated camera: gphoto2 lists it and fetches from it, tshark reads its packets."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from tests.simcam import SimCamera, gphoto, names, tshark
from tests.simcam.dial import Dial, Refused
from tests.simcam.gphoto import Gphoto

pytestmark = pytest.mark.stranger


@pytest.fixture
def home(tmp_path: Path) -> Path:
    if reason := gphoto.why_not():
        pytest.skip(reason)
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def capturing() -> None:
    if reason := tshark.why_not():
        pytest.skip(reason)


def fetched(into: Path) -> dict[str, str]:
    """SHA-256 by path, without gphoto2's name for the storage."""
    return {
        "/".join(path.relative_to(into).parts[1:]): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in into.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("body", ["generic", "eos-60d", "eos-1300d", "eos-r7"])
def test_gphoto2_fetches_every_file_byte_for_byte(body: str, home: Path, tmp_path: Path) -> None:
    card = "5:100K+1500K:JPG+CR2,1:3M:MOV,2:0:JPG,2:1:JPG,1:1M:JPG,1:1048577:JPG"
    with SimCamera(body, card=card, pairing="any") as cam:
        stranger = Gphoto(cam.port, home)
        listed = {"/".join(path.split("/")[2:]): size for path, size in stranger.files().items()}
        assert listed.keys() == cam.contents().keys()
        assert listed["DCIM/100CANON/IMG_0001.JPG"] == "100 KB"
        into = tmp_path / "into"
        stranger.fetch_all(into)
        assert fetched(into) == cam.contents()
        summary = stranger.run("--summary")
        assert cam.profile.model.removeprefix("Canon ") in summary and "64000000000" in summary


def test_gphoto2_fetches_from_a_directory_and_two_cards(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "card" / "DCIM" / "112CANON"
    folder.mkdir(parents=True)
    (folder / "IMG_4711.JPG").write_bytes(b"\xff\xd8" + bytes(range(256)) * 5000)
    with SimCamera("eos-r7", cards=[tmp_path / "card", "3:200K+300K:JPG+CR3"], pairing="any") as cam:
        Gphoto(cam.port, home).fetch_all(tmp_path / "into")
        by_digest = sorted(fetched(tmp_path / "into").values())
        assert by_digest == sorted(cam.contents().values()) and len(by_digest) == 7


@pytest.mark.parametrize("body", names())
def test_gphoto2_lists_every_body(body: str, home: Path) -> None:
    with SimCamera(body, card="3:10K:JPG", pairing="any") as cam:
        if cam.profile.quiet_seconds:
            cam.trouble.heal("quiet_after_open")
        # It complains about a refused bulk listing, and then asks for each object.
        assert len(Gphoto(cam.port, home).files(complaints=bool(cam.profile.refuses))) == 3


def test_gphoto2_keeps_its_guid_and_is_refused_with_another(home: Path, tmp_path: Path) -> None:
    with SimCamera("eos-60d", card="1:10K") as cam:
        assert len(Gphoto(cam.port, home).files()) == len(Gphoto(cam.port, home).files()) == 1
        # Written down: libgphoto2 draws by the clock, and twice within a second the same.
        (tmp_path / ".gphoto").mkdir()
        (tmp_path / ".gphoto" / "settings").write_text("ptp2_ip=guid=" + ":".join(["77"] * 16) + "\n")
        with pytest.raises(AssertionError):
            Gphoto(cam.port, tmp_path).files()
        assert cam.stats.refused == {1: 1}


def test_gphoto2_sees_thumbnails_and_new_files(home: Path) -> None:
    with SimCamera("eos-60d", card="2:50K:JPG") as cam:
        stranger = Gphoto(cam.port, home)
        stranger.run("--get-all-thumbnails")
        thumbnail = (home / "thumb_IMG_0001.jpg").read_bytes()
        assert thumbnail == cam.camera.find("IMG_0001.JPG").thumbnail
        cam.camera.later.after(0.5, lambda: cam.shoot("JPG:10K"))
        waited = stranger.run("--wait-event=FILEADDED", timeout=30)
        assert "IMG_0003.JPG" in waited


@pytest.mark.parametrize("body", ["generic", "eos-60d"])
def test_tshark_reads_what_we_mean(body: str, home: Path, tmp_path: Path, capturing: None) -> None:
    """A whole session of gphoto2, packet by packet as the dissector has it."""
    with SimCamera(body, card="2:10K:JPG", coalesce=False) as cam:
        with tshark.Capture(cam.port, tmp_path) as capture:
            assert len(Gphoto(cam.port, home).files()) == 2
        packets = tshark.judge(capture.path, cam.port)
        request, ack, event_request, event_ack = packets[:4]
        assert [packet.type for packet in packets[:4]] == [1, 2, 3, 4]
        assert [packet.is_to_camera for packet in packets[:4]] == [True, False, True, False]
        assert request.guid is not None
        assert request.guid in (home / ".gphoto" / "settings").read_text().replace(":", "")
        assert (ack.guid, ack.name, ack.connection) == (cam.profile.guid.hex(), cam.profile.friendly_name, 1)
        assert ack.version == request.version == "1.0"
        assert event_request.connection == 1 and event_ack.length == 8
        assert request.stream == ack.stream != event_request.stream == event_ack.stream
        operations = [packet for packet in packets if packet.type == 6]
        answers = [packet for packet in packets if packet.type == 7]
        assert [packet.transaction for packet in operations] == [packet.transaction for packet in answers]
        assert all(packet.is_to_camera and packet.phase in (1, 2) for packet in operations)
        assert not any(packet.is_to_camera for packet in answers)
        assert Counter(f"{packet.operation:#06x}" for packet in operations) == cam.stats.operations
        opened = next(packet for packet in operations if packet.operation == 0x1002)
        assert (opened.session, opened.transaction) == (1, 0)
        starts = {packet.transaction: packet.total for packet in packets if packet.type == 9}
        for code, size in ((0x1001, len(cam.profile.device_info())), (0x1004, 8)):
            asked = [packet.transaction for packet in operations if packet.operation == code]
            assert asked and all(starts[transaction] == size for transaction in asked)
        ends = [packet for packet in packets if packet.type == 12]
        assert [starts[packet.transaction] for packet in ends] == [packet.length - 12 for packet in ends]
        assert len(ends) == len(starts) > 3
        assert {packet.response for packet in answers} <= {0x2001, 0x2002}
        assert all(packet.length == 8 for packet in packets if packet.type in (13, 14))


def test_tshark_reads_refusals_events_and_probes(home: Path, tmp_path: Path, capturing: None) -> None:
    with SimCamera("generic", card="1:10K", coalesce=False) as cam:
        with tshark.Capture(cam.port, tmp_path) as capture, Dial(cam.port) as dial:
            [shot] = cam.shoot("JPG:10K")
            assert dial.read(dial.event)[0] == 8
            cam.trouble.probe()
            assert dial.read(dial.event)[0] == 13
            cam.trouble.busy()
            assert dial.ask(0x1004).code == 0x2019
            with pytest.raises(Refused):
                Dial(cam.port)
        packets = tshark.judge(capture.path, cam.port)
        [event] = [packet for packet in packets if packet.type == 8]
        assert (event.event, event.transaction, event.length) == (0x4002, 0xFFFFFFFF, 18)
        assert [packet.length for packet in packets if packet.type == 13] == [8]
        assert 0x2019 in {packet.response for packet in packets if packet.type == 7}
        assert [packet.length for packet in packets if packet.type == 5] == [12]
