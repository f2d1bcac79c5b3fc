"""Log lines for people and for programs, and what a terminal shows while files move."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from agent.cli import output, terminal, text
from agent.cli.terminal import Gauge
from agent.progress import Progress
from agent.settings import LogSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture
def logged() -> None:
    """Here lines are wanted as they are written (overrides the fixture of all the other tests)."""


def test_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    output.configure(LogSettings())
    log = structlog.get_logger("collector").bind(file=12, name="IMG_0001.CR3", camera="main")
    log.info("discovered", folder="100CANON", size=25_100_000, by="event")
    log.info("fetched", sha256="ab" * 32, offset=0, nothing=None)
    log.debug("unseen")
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = (line[20:] for line in captured.err.splitlines())
    assert first == "  discovered IMG_0001.CR3 #12  main/100CANON 25.1MB by=event"
    assert second == "  fetched    IMG_0001.CR3 #12  main sha256=abababababab…"


def test_a_fault_ends_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    output.configure(LogSettings())
    structlog.get_logger("uploader").warning(
        "waiting", file=1, name="a", destination="cloud", code="s3.x", hint="Wait.", detail="reset by peer"
    )
    assert (
        capsys.readouterr().err[20:] == "! waiting    a            #1   → cloud s3.x: Wait. (reset by peer)\n"
    )


def test_a_line_for_programs_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    output.configure(LogSettings(format="json"))
    structlog.get_logger("uploader").error(
        "failed", file=1, size=25_100_000, path=Path("/x"), sha256="ab" * 32
    )
    captured = capsys.readouterr()
    assert captured.out == ""
    line = json.loads(captured.err)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "error", "logger": "uploader", "event": "failed", "file": 1, "size": 25_100_000, "path": "/x",
        "sha256": "ab" * 32,
    }  # fmt: skip


def test_with_json_the_lines_are_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    text.prepare_streams()
    output.configure(LogSettings(), json=True)
    structlog.get_logger("agent").info("x", name="\ud800 lone")
    captured = capsys.readouterr()
    assert json.loads(captured.out)["event"] == "x" and captured.err == ""


def test_names_cannot_command_the_terminal_nor_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.configure(LogSettings())
    structlog.get_logger().info("fetched", name="a\n12:00:00 done\x1b[2J", detail="\x07", place="x y\r")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(char.isprintable() for char in said[:-1])


def test_a_traceback_stands_below_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.configure(LogSettings())
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger().exception("unclassified")
    first, *others = capsys.readouterr().err.splitlines()
    assert "! unclassified" in first and others[-1] == "    ValueError: broken"


def test_the_level_counts(capsys: pytest.CaptureFixture[str]) -> None:
    output.configure(LogSettings(level="warning"))
    structlog.get_logger().info("no")
    structlog.get_logger().warning("yes")
    assert "yes" in capsys.readouterr().err


def test_other_libraries_speak_through_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    output.configure(LogSettings(format="json"))
    output.configure(LogSettings(format="json"))  # again, as at a reload
    logging.getLogger("botocore").warning("slow %s", "down")
    logging.getLogger("botocore").info("chatter")
    line = json.loads(capsys.readouterr().err)
    assert (line["logger"], line["event"], line["level"]) == ("botocore", "slow down", "warning")


def test_a_terminal_that_went_away_costs_lines_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        def isatty(self) -> bool:
            return False

    output.configure(LogSettings())
    monkeypatch.setattr(sys, "stderr", Gone())
    structlog.get_logger().info("done")


# -- progress --------------------------------------------------------------------------------------------


def test_rows_come_from_the_camera_first_with_rate_and_time_left() -> None:
    progress = Progress()
    gauge = Gauge(progress)
    with (
        progress.transfer(1, "B.CR3", "archive", 1000) as out,
        progress.transfer(1, "B.CR3", "camera", 1000) as fetch,
        progress.transfer(2, "A.JPG", "archive", 0),
    ):
        gauge.read(100.0)
        fetch.advance_to(600)
        out.advance_to(300)
        rows = gauge.read(102.0)
        assert [(row.name, row.stage, row.percent) for row in rows] == [
            ("B.CR3", "camera", 60), ("A.JPG", "archive", 100), ("B.CR3", "archive", 30),
        ]  # fmt: skip
        assert rows[0].rate == 300.0 and rows[0].left_seconds == pytest.approx(400 / 300)
        assert (gauge.in_rate, gauge.out_rate) == (300.0, 150.0)
    assert gauge.read(103.0) == [] and gauge._meters == {}
    progress.fetched_files, progress.fetched_bytes = 1, 1000
    assert gauge.totals().startswith("1 from camera 1.0 kB · 0 delivered 0 B")


SCRIPT = """
import asyncio, structlog
from agent.cli import output
from agent.progress import Progress
from agent.settings import LogSettings

async def main():
    progress = Progress()
    output.configure(LogSettings())
    async with output.progress(progress, is_json=False):
        with progress.transfer(1, "IMG_0001.CR3", "camera", 1000, 0) as transfer:
            transfer.advance_to(620)
            structlog.get_logger("x").info("fetching", name="IMG_0001.CR3", file=1)
            input()
    print("the end")

asyncio.run(main())
"""


def on_terminal(script: str, *, until: str, **environment: str) -> str:
    """Run `script` on a terminal of 80 columns, press Enter once `until` is shown, and return all that it showed."""
    master, slave = pty.openpty()
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
        "LINES": "24",
        "TERM": "xterm",
        **environment,
    }
    run = subprocess.Popen(
        [sys.executable, "-c", script], stdin=slave, stdout=slave, stderr=slave, env=variables
    )
    os.close(slave)
    shown, pressed, deadline = b"", False, time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 1)[0]:
                continue
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux says EIO when the last one has closed the terminal
                break
            shown += piece
            if not pressed and until.encode() in shown:
                os.write(master, b"\n")
                pressed = True
    finally:
        run.kill()
        run.wait()
        os.close(master)
    assert pressed, shown.decode()
    return shown.decode()


def test_a_terminal_shows_a_bar_and_lines_above_it() -> None:
    script = SCRIPT.replace("input()", "await asyncio.to_thread(input)")
    shown = on_terminal(script, until="62 %")
    assert "from camera" in shown and "━" in shown and "0 from camera 0 B" in shown
    assert "fetching" in shown and shown.index("fetching") < shown.rindex("62 %")
    assert shown.rstrip().endswith("the end")
    last = shown[shown.rindex("62 %") :]
    assert "\x1b[2K" in last, "the bars are wiped away at the end"
    assert "\x1b[?25h" in last, "the cursor is back"


def test_without_a_terminal_there_is_no_bar_and_rich_live_is_not_loaded() -> None:
    script = (
        SCRIPT.replace("input()", "await asyncio.sleep(0)")
        + "\nimport sys\nassert 'rich.live' not in sys.modules\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "━" not in run.stderr and "fetching" in run.stderr and "\x1b" not in run.stderr


def test_no_colour_where_none_is_wanted() -> None:
    script = SCRIPT.replace("input()", "await asyncio.to_thread(input)")
    assert "\x1b[31m" not in on_terminal(script, until="62 %", NO_COLOR="1")


async def test_now_and_then_a_line_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output.configure(LogSettings(format="json"))
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.01)
    progress = Progress()
    told: list[dict[str, object]] = []
    with progress.transfer(1, "IMG_0001.CR3", "camera", 1000) as transfer:
        async with asyncio.timeout(10), output.progress(progress, is_json=True):
            while len(told) < 2:
                transfer.advance_to(transfer.done_bytes + 1)
                progress.moved()
                await asyncio.sleep(0.01)
                told += [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert told[0]["event"] == "moving" and told[0]["name"] == "IMG_0001.CR3"
    assert told[1]["event"] == "moved" and told[1]["fetched_files"] == 0
