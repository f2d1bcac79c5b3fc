"""The simulated camera as a process of its own, driven by its control port."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.simcam import SimCamera
from tests.simcam.control import ask, parse
from tests.simcam.dial import Dial, Refused


@contextmanager
def process(*arguments: str) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.simcam", "--port", "0", "--control", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as camera:
        assert camera.stdout is not None
        try:
            yield json.loads(camera.stdout.readline())
        finally:
            camera.terminate()
            assert camera.wait(10) == 0


def test_a_process_of_its_own() -> None:
    known = "00112233-4455-6677-8899-aabbccddeeff"
    with process(
        "--body", "eos-r7", "--synthetic", "3:10K", "--guid-required", known, "--shoot-every", "0.2"
    ) as ready:
        control = ready["control"]

        def say(line: str) -> Any:
            return ask("127.0.0.1", control, line)

        assert ready["body"] == "eos-r7"
        with pytest.raises(Refused, match="1"):
            Dial(ready["port"], guid=bytes(16))
        with Dial(ready["port"]) as dial:
            assert dial.ask(0x1004).code == 0x2001
            [shot] = say("shoot JPG:10K+CR3:20K")
            assert shot["names"][0].startswith("IMG_") and shot["added_monotonic"] > 0
            say("busy times=1")
            assert dial.ask(0x1004).code == 0x2019
            say('{"verb": "fail_op", "args": [4100, 8194]}')
            assert dial.ask(0x1004).code == 0x2002
            say("fail_op 0x1004 0x2010")
        stats = say("stats")
        assert stats["operations"]["0x1004"] == 3 and stats["troubles"] == {"busy": 1, "fail_op": 1}
        assert stats["refused"] == {"1": 1}
        assert len(say("contents")) == len(say("files")) >= 5
        assert "cut_after" in say("help")
        with pytest.raises(RuntimeError, match="no verb 'dance'"):
            say("dance")
        with pytest.raises(RuntimeError, match="KeyError"):
            say("delete IMG_9999.JPG")


def test_lines() -> None:
    assert parse("cut_after 1000000") == ("cut_after", [1_000_000], {})
    assert parse("stall seconds=null after=0x10") == ("stall", [], {"seconds": None, "after": 16})
    assert parse("shoot JPG:5M+CR3:25M count=3") == ("shoot", ["JPG:5M+CR3:25M"], {"count": 3})
    assert parse('hostile_name "a b"') == ("hostile_name", ["a b"], {})
    assert parse('{"verb": "heal"}') == ("heal", [], {})
    for wrong in ("", "{"):
        with pytest.raises(ValueError):
            parse(wrong)


def test_a_camera_can_stop_in_the_middle_of_anything() -> None:
    """Stopping is bounded even while an initiator is being served, stalled or waited for."""
    for arrange in ("serve", "stall", "dialog"):
        with SimCamera("eos-r7", card="1:1G:MP4", control=0) as cam:
            if arrange == "dialog":
                cam.trouble.pairing_delay(60)
                with pytest.raises(TimeoutError):
                    Dial(cam.port, timeout=0.1)
                continue
            dial = Dial(cam.port)
            if arrange == "stall":
                cam.trouble.stall(after=1000)
            dial.write(6, b"\1\0\0\0\x09\x10\2\0\0\0" + cam.files()[0].handle.to_bytes(4, "little"))
        dial.close()
