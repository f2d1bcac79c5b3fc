"""Shots, folders and directories that play the card: what the photographer does, and what an initiator sees of it."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.simcam import Card, SimCamera, fill
from tests.simcam.dial import Dial

ALL = 0xFFFFFFFF


def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "nothing happens"
        time.sleep(0.005)


@pytest.fixture
def cam() -> Iterator[SimCamera]:
    with SimCamera("eos-r7", card="1:10K") as camera:
        yield camera


def codes(dial: Dial) -> list[int]:
    """Codes of the records of one GetEvent."""
    data, at, found = dial.ask(0x9116).data or b"", 0, []
    while struct.unpack_from("<II", data, at) != (8, 0):
        found.append(struct.unpack_from("<I", data, at + 4)[0])
        at += struct.unpack_from("<I", data, at)[0]
    return found


@pytest.mark.parametrize("body, added", [("eos-60d", 0xC181), ("eos-r7", 0xC1A7), ("eos-r5-mark-ii", 0xC1B6)])
def test_a_shot_is_announced_in_the_order_of_a_camera(body: str, added: int) -> None:
    with SimCamera(body, write_seconds=0.2) as cam, Dial(cam.port) as dial:
        dial.ask(0x9115, 1)
        dial.ask(0x9116), dial.ask(0x9116)
        [shot] = cam.shoot("JPG:10K+CR3:20K")
        assert codes(dial) == [0xC189, 0xC18B, 0xC185]
        assert not shot.added_monotonic and not cam.files()
        until(lambda: shot.added_monotonic)
        assert codes(dial) == [added, added, added, 0xC189, 0xC18B, 0xC18E], "the new folder, and two files"
        assert 0.2 <= shot.added_monotonic - shot.pressed_monotonic < 0.5
        assert abs(shot.added_wall - time.time()) < 1
        assert shot.names == ["IMG_0001.JPG", "IMG_0001.CR3"]
        raw, jpeg = cam.files()
        assert raw.captured_at - jpeg.captured_at == timedelta(seconds=1) and raw.group == jpeg.group
        assert (raw.handle & 0xF, jpeg.handle & 0xF) == (1, 2)


def test_events_do_not_outlive_the_session(cam: SimCamera) -> None:
    with Dial(cam.port) as dial:
        dial.ask(0x9115, 1)
        dial.ask(0x9116), dial.ask(0x9116)
        cam.shoot("JPG:10K")
    with Dial(cam.port) as dial:
        dial.ask(0x9115, 1)
        assert len(dial.ask(0x9116).data or b"") > 4000
        assert 0xC1A7 not in codes(dial)


def test_a_plain_body_uses_the_event_socket() -> None:
    with SimCamera("generic", card="1:10K") as cam, Dial(cam.port) as dial:
        [shot] = cam.shoot("JPG:10K")
        assert dial.read(dial.event) == (8, struct.pack("<HII", 0x4002, ALL, shot.handles[0]))
        cam.trouble.delete("IMG_0002.JPG")
        assert dial.read(dial.event) == (8, struct.pack("<HII", 0x4003, ALL, shot.handles[0]))


def test_folders_fill_and_wrap() -> None:
    def filled(card: Card) -> None:
        fill.by_formula(card, fill.parse_batches("6:10K"), first_folder="112CANON", first_number=9997)

    with SimCamera("eos-60d", card=filled) as cam:
        assert [item.path for item in cam.files()] == [
            *(f"DCIM/112CANON/IMG_{number}.JPG" for number in (9997, 9998, 9999)),
            *(f"DCIM/113CANON/IMG_000{number}.JPG" for number in (1, 2, 3)),
        ]
        assert cam.files()[0].handle == 0x91C00000 | 9997 << 4 | 2  # protocol.md §2.7: 0x91c00000 = 112CANON
    spread = Card(0x00020001)
    fill.by_formula(spread, fill.parse_batches("25:1K:JPG+CR2"), per_folder=10)
    assert [len(spread.children(folder.handle)) for folder in spread.children(spread.dcim.handle)] == [
        20,
        20,
        10,
    ]


def test_two_cards_with_the_same_names_have_different_content() -> None:
    with SimCamera("eos-r7", cards=["2:10K", "2:10K"]) as cam:
        assert len(set(cam.contents().values())) == 4
        assert {item.handle >> 28 for item in cam.files()} == {5, 9}
    with pytest.raises(ValueError, match="1 card slots, not 2"):
        SimCamera("eos-60d", cards=["1:1K", "1:1K"])


def test_a_body_that_records_to_both_cards() -> None:
    with SimCamera("eos-r7", cards=["2:10K:JPG+CR3", "same"]) as cam:
        first, second = cam.cards
        for one, other in zip(first.files(), second.files(), strict=True):
            assert one.source is not None and other.source is not None
            assert one.source.sha256() == other.source.sha256() and one.captured_at == other.captured_at
            assert one.storage != other.storage and one.handle != other.handle


def test_other_folders_and_memos(cam: SimCamera) -> None:
    card = cam.cards[0]
    dcim, misc = card.children(card.root)
    assert (dcim.name, misc.name, misc.handle) == ("DCIM", "MISC", 0x60080000)
    slot_2 = Card(0x00020001)
    assert slot_2.add_root_folder("MISC", datetime(2024, 1, 1)).handle == 0xA0080000
    cam.shoot("JPG:10K+WAV:5K")
    jpeg, memo = (cam.camera.find(f"IMG_0002.{kind}") for kind in ("JPG", "WAV"))
    assert jpeg.group == memo.group and memo.format == 0x3008


def test_sizes_and_batches_as_words() -> None:
    assert (
        fill.parse_size("25M") == 25 << 20
        and fill.parse_size("6g") == 6 << 30
        and fill.parse_size("17") == 17
    )
    assert fill.parse_batches("2:1K+2K:JPG+CR3,1:6G:MP4") == [
        fill.Batch(2, (("JPG", 1024), ("CR3", 2048))),
        fill.Batch(1, (("MP4", 6 << 30),)),
    ]
    for wrong in ("1:5X", "1:1K+2K:JPG", "x:1K"):
        with pytest.raises(ValueError):
            fill.parse_batches(wrong)


# --- a directory as the card


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "DCIM" / "100CANON"
    folder.mkdir(parents=True)
    (tmp_path / "MISC").mkdir()
    (folder / "IMG_0007.JPG").write_bytes(b"\xff\xd8" + os.urandom(3_000_000))
    (folder / ".unfinished").write_bytes(b"x")
    os.utime(folder / "IMG_0007.JPG", (1_700_000_000, 1_700_000_000))
    return tmp_path


def test_a_directory_is_served_as_it_is(directory: Path) -> None:
    with SimCamera("eos-60d", card=directory) as cam, Dial(cam.port) as dial:
        [item] = cam.files()
        assert item.handle == 0x90000000 | 100 << 18 | 7 << 4 | 2
        assert item.captured_at == datetime(2023, 11, 14, 22, 13, 20)
        assert dial.ask(0x1009, item.handle).data == (directory / item.path).read_bytes()
        assert (
            dial.ask(0x101B, item.handle, 2_500_000, 1 << 20).data
            == (directory / item.path).read_bytes()[2_500_000:]
        )
        assert [found.name for found in cam.cards[0].children(cam.cards[0].root)] == ["DCIM", "MISC"]


def test_a_file_dropped_in_was_just_shot(directory: Path) -> None:
    with SimCamera("eos-60d", card=directory) as cam, Dial(cam.port) as dial:
        dial.ask(0x9115, 1)
        dial.ask(0x9116), dial.ask(0x9116)
        folder = directory / "DCIM" / "101CANON"
        folder.mkdir()
        part = folder / ".IMG_0001.CR2"
        part.write_bytes(os.urandom(100_000))
        part.rename(folder / "IMG_0001.CR2")
        until(lambda: cam.stats.shots)
        assert cam.camera.find("IMG_0001.CR2").listed_size == 100_000
        assert codes(dial) == [0xC181, 0xC189, 0xC18B, 0xC18E]
        (directory / "DCIM" / "100CANON" / "IMG_0007.JPG").unlink()
        until(lambda: len(cam.files()) == 1)
        assert codes(dial) == [0xC182]


def test_a_growing_file_waits_until_it_has_grown(directory: Path) -> None:
    with SimCamera("eos-60d", card=directory) as cam:
        with (directory / "DCIM" / "100CANON" / "MVI_0008.MP4").open("wb", buffering=0) as file:
            for _ in range(40):
                file.write(bytes(1000))
                time.sleep(0.01)
            assert not cam.stats.shots
        until(lambda: cam.stats.shots)
        assert cam.camera.find("MVI_0008.MP4").listed_size == 40_000


def test_a_shot_onto_a_directory_writes_a_file(directory: Path) -> None:
    with SimCamera("eos-60d", card=directory) as cam, Dial(cam.port) as dial:
        [shot] = cam.shoot("JPG:300K")
        path = directory / "DCIM" / "100CANON" / "IMG_0008.JPG"
        assert (
            dial.ask(0x1009, shot.handles[0]).data == path.read_bytes() and path.stat().st_size == 300 << 10
        )
        time.sleep(0.2)
        assert len(cam.stats.shots) == 1, "the watch does not take it for another one"
        assert dial.ask(0x100B, shot.handles[0], 0).code == 0x2001 and not path.exists()


def test_an_empty_directory_becomes_a_card(tmp_path: Path) -> None:
    with SimCamera("eos-r7", card=tmp_path / "new") as cam:
        cam.shoot("JPG:1K")
        assert (tmp_path / "new" / "DCIM" / "100CANON" / "IMG_0001.JPG").exists()
