"""Routes at work: `hotshoe run --once` with a simulated camera, and what stands at the destinations behind its back.

A directory is the card: RAW and JPEG of shots, a voice memo, a film; some protected, some with stars, on a camera whose
clock is wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.photographs import cr3, exposure_tags, jpeg
from tests.simcam.simcam import SimCamera

pytestmark = pytest.mark.system

CONFIG = """\
state_dir = "state"
site = "Hall 3"
time_zone = "Europe/Zurich"
[[cameras]]
name = "main"
host = "{host}"
port = {port}
[destinations.nas]
kind = "folder"
path = "nas"
template = "{{site}}/{{local:%Y-%m-%d}}/{{local:%H%M}}_{{sequence}}_{{name}}"
[destinations.agency]
kind = "folder"
path = "agency"
template = "{{rating}} stars/{{lens}}/{{name}}"

[[routes]]
match = {{ folder = "101CANON" }}
destinations = "nas"
template = "Wedding/{{name}}"
stop = true

[[routes]]
match = {{ kind = "jpeg", protected = true }}
destinations = "agency"
whole_shot = true

[[routes]]
match = {{ kind = "jpeg", min_rating = 4 }}
destinations = "agency"

[[routes]]
match = {{ kind = "jpeg", without_kind = "raw" }}
destinations = "nas"

[[routes]]
match = {{ kind = ["raw", "video"], hours = "20:00-06:00" }}
destinations = "nas"
"""
TAKEN = datetime(2024, 5, 4, 23, 10, tzinfo=UTC)  # by the camera's clock, which is three hours ahead of UTC

CARD = {
    "100CANON/IMG_0001.JPG": jpeg(rating=5, tail=b"one"),
    "100CANON/IMG_0001.CR3": cr3(tail=b"one" * 50_000),
    "100CANON/IMG_0002.JPG": jpeg(rating=0, tail=b"two"),
    "100CANON/IMG_0002.CR3": cr3(exposure=exposure_tags(lens="RF 15/4"), tail=b"two" * 50_000),
    "100CANON/IMG_0002.WAV": b"RIFF\xff\xff\xff\x7fWAVE" + b"two" * 3000,
    "100CANON/IMG_0003.JPG": jpeg(tail=b"three"),
    "100CANON/MVI_0004.MP4": b"\0\0\0\x18ftypmp42\0\0\0\x01mp42CAEP" + b"four" * 100_000,
    "101CANON/IMG_0001.JPG": jpeg(rating=5, tail=b"wedding"),
}
PROTECTED = "100CANON/IMG_0002.JPG"
EXPECTED = {
    "agency/5 stars/RF50mm F1.8 STM/IMG_0001.JPG": "100CANON/IMG_0001.JPG",
    "agency/0 stars/RF50mm F1.8 STM/IMG_0002.JPG": "100CANON/IMG_0002.JPG",
    "agency/0 stars/RF 15_4/IMG_0002.CR3": "100CANON/IMG_0002.CR3",
    "agency/0 stars/unknown/IMG_0002.WAV": "100CANON/IMG_0002.WAV",
    "nas/Hall 3/2024-05-04/2210_0001_IMG_0001.CR3": "100CANON/IMG_0001.CR3",
    "nas/Hall 3/2024-05-04/2210_0002_IMG_0002.CR3": "100CANON/IMG_0002.CR3",
    "nas/Hall 3/2024-05-04/2210_0003_IMG_0003.JPG": "100CANON/IMG_0003.JPG",
    "nas/Hall 3/2024-05-04/2210_0004_MVI_0004.MP4": "100CANON/MVI_0004.MP4",
    "nas/Wedding/IMG_0001.JPG": "101CANON/IMG_0001.JPG",
}


def test_every_file_goes_where_its_route_says(tmp_path: Path) -> None:
    card = tmp_path / "card"
    for name, data in CARD.items():
        path = card / "DCIM" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (TAKEN.timestamp(), TAKEN.timestamp()))
    with SimCamera("eos-r7", card) as camera:
        camera.camera.clock_offset_seconds = 3 * 3600.0
        camera.camera.find(PROTECTED).is_protected = True
        config = tmp_path / "hotshoe.toml"
        config.write_text(CONFIG.format(host=camera.host, port=camera.port))
        for _ in range(2):
            run(config)
            assert delivered(tmp_path) == {place: CARD[name] for place, name in EXPECTED.items()}
            read = camera.stats.object_bytes
    heads = sum(len(data) for name, data in CARD.items() if name.startswith("100CANON"))
    assert read <= sum(map(len, CARD.values())) + heads, "each file once, and its beginning once more"
    (tmp_path / "state" / "ledger.db").unlink()
    with SimCamera("eos-r7", card) as camera:
        camera.camera.clock_offset_seconds = 3 * 3600.0
        camera.camera.find(PROTECTED).is_protected = True
        config.write_text(CONFIG.format(host=camera.host, port=camera.port))
        run(config)
        assert delivered(tmp_path) == {place: CARD[name] for place, name in EXPECTED.items()}, (
            "the same keys again"
        )


def run(config: Path) -> None:
    command = [sys.executable, "-m", "agent", "run", "--config", str(config), "--once"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def delivered(folder: Path) -> dict[str, bytes]:
    found = (path for place in ("nas", "agency") for path in (folder / place).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
