"""Processes that are measured: what the kernel says of their time and memory; and the camera, in one of its own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.simcam import control

ROOT = Path(__file__).parents[3]
_LOOK_MS = 50


class Outcome(NamedTuple):
    """One process from start to end. Times in seconds; the children it waited for count too."""

    wall: float
    user: float
    system: float
    peak_bytes: int  # resident, as last seen within 50 ms before the end

    @property
    def cpu(self) -> float:
        return self.user + self.system


def environment(home: Path) -> dict[str, str]:
    """A child's: a home of its own, and compiled modules kept, as on any machine that is not a test's."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONPATH": path}


def spawn(
    command: Sequence[str],
    log: Path,
    *,
    home: Path,
    cwd: Path | None = None,
    more: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    with open(log, "ab") as out:
        env = environment(home) | dict(more or {})
        return subprocess.Popen(command, stdout=out, stderr=out, cwd=cwd, env=env)


def measured(
    command: Sequence[str],
    log: Path,
    *,
    home: Path,
    cwd: Path | None = None,
    seconds: float = 600,
    until: Callable[[], bool] | None = None,
    more: Mapping[str, str] | None = None,
) -> Outcome:
    """Run `command` to its end, or end it by SIGTERM when `until` says so. `more` goes into its environment.

    Raises RuntimeError, with the end of the log, when it takes more than `seconds` or is not content.
    """
    began = time.monotonic()
    process = spawn(command, log, home=home, cwd=cwd, more=more)
    outcome = watch(process, began, seconds=seconds, until=until)
    if process.returncode not in ((0,) if until is None else (0, -signal.SIGTERM)):
        words = log.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{words}")
    return outcome


def watch(
    process: subprocess.Popen[bytes],
    began: float,
    *,
    seconds: float,
    until: Callable[[], bool] | None = None,
) -> Outcome:
    """Wait for `process` and note what it cost."""
    peak, ended = 0, select.poll()
    descriptor = os.pidfd_open(process.pid)
    try:
        ended.register(descriptor, select.POLLIN)
        while not ended.poll(_LOOK_MS):
            peak = max(peak, peak_bytes(process.pid))
            if time.monotonic() - began > seconds:
                process.kill()
            elif until is not None and until():
                process.send_signal(signal.SIGTERM)
                until = None
    finally:
        os.close(descriptor)
    wall = time.monotonic() - began
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Outcome(wall, usage.ru_utime, usage.ru_stime, peak)


def peak_bytes(pid: int) -> int:
    """The most that was resident since the process's program began; 0 when it has ended.

    Not the ru_maxrss of wait4, which begins with what the parent held when it forked.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), 0)


class Camera:
    """`python -m tests.simcam` as a context manager. Any initiator is let in."""

    def __init__(
        self,
        folder: Path,
        body: str,
        card: str | None = None,
        *,
        rtt_ms: float = 0.0,
        mbit: float | None = None,
        write_seconds: float = 0.0,
    ):
        self._folder = folder
        self._command = [sys.executable, "-m", "tests.simcam", "--body", body, "--pairing", "any"]
        self._command += ["--port", "0", "--control", "0", "--rtt-ms", str(rtt_ms)]
        self._command += ["--write-seconds", str(write_seconds)]
        self._command += ["--synthetic", card] if card else []
        self._command += ["--mbit", str(mbit)] if mbit else []
        self.host, self.port, self._control = "127.0.0.1", 0, 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(self._folder)
        )
        assert self._process.stdout is not None
        ready: Mapping[str, Any] = json.loads(self._process.stdout.readline())
        self.port, self._control = ready["port"], ready["control"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def say(self, line: str) -> Any:
        """Tell its control port something (tests/simcam/README.md) and return the answer."""
        return control.ask(self.host, self._control, line)

    @property
    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self.say("stats")
        return found

    @property
    def cpu_seconds(self) -> float:
        """Processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
