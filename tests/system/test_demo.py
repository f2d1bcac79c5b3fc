"""The demo, as somebody types it who has just cloned the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 15


@pytest.mark.system
def test_photos_arrive_within_seconds() -> None:
    done = subprocess.run(
        ["scripts/demo", "--seconds", str(SECONDS)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS + 120,
    )
    print(done.stdout)
    assert done.returncode == 0
    arrived = [
        path for path in (ROOT / "demo" / "photos").rglob("*.JPG") if not path.name.startswith(".hotshoe-")
    ]
    assert len(arrived) >= 6, "what was on the card"
    assert all(path.read_bytes()[:2] == b"\xff\xd8" for path in arrived)
    assert "demo/photos" in done.stdout, "where to look"
    assert all(path.name in done.stdout for path in arrived), "a line for each"
