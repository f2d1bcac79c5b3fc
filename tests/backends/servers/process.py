"""A server process: started until it answers, ended by id, silent otherwise."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START_SECONDS = 60.0


def executable(name: str) -> str | None:
    """Return the path of a program of this virtual environment, or else of the machine."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def free_port(*, also: int = 0) -> int:
    """Return a port that is free on loopback, and so is the one `also` above it.

    Below the range that the kernel gives to outgoing connections, so that it stays free.
    """
    for port in range(20011 + os.getpid() % 5000, 32000, 7):
        if all(_is_free(each) for each in {port, port + also}) and port not in _given:
            _given.add(port)
            return port
    raise RuntimeError("no free port")


_given: set[int] = set()


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Process:
    """One server. `log` holds its output; read it when a start fails."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        is_ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
    ):
        self._command = list(command)
        self._log = log
        self._is_ready = is_ready
        self._env = {**os.environ, **(env or {})}
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,  # smbd ends with a pipe there
                stdout=log,
                stderr=log,
                env=self._env,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._command[0]} did not start:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.05)  # between two questions; nothing else would tell

    def kill(self) -> None:
        """End it the hard way; SeaweedFS takes half a minute over a polite request."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)


def answers(url: str) -> bool:
    """Say whether a GET of `url` gives 200 within a second."""
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def answers_at_all(port: int) -> bool:
    """Say whether somebody listens on `port`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
