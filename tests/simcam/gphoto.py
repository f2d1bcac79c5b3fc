"""Stock gphoto2 as an initiator that knows nothing of us: lists and fetches over PTP/IP.

libgphoto2 2.5.30 takes both ports in its address (``ptpip:HOST:PORT:EVENTPORT``). It keeps the GUID that it draws in
``$HOME/.gphoto/settings``; `Gphoto` therefore gets a home of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path


def why_not() -> str | None:
    """Why gphoto2 cannot be asked here; None when it can."""
    return None if shutil.which("gphoto2") else "gphoto2 is not installed (Debian package gphoto2)"


class Gphoto:
    """gphoto2 with a camera on `port` and its settings in `home`."""

    def __init__(self, port: int, home: Path, host: str = "127.0.0.1") -> None:
        self._address = f"ptpip:{host}:{port}:{port}"
        self._environment = {**os.environ, "HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}
        self._home = home

    def run(
        self, *arguments: str, cwd: Path | None = None, timeout: float = 120, complaints: bool = False
    ) -> str:
        """What it prints on standard output; AssertionError with everything when it fails, or when it complains and
        `complaints` are not expected."""
        command = ["gphoto2", "--port", self._address, *arguments]
        run = subprocess.run(
            command,
            cwd=cwd or self._home,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        is_content = run.returncode == 0 and (complaints or "*** Error" not in run.stderr)
        assert is_content, f"{command}\n{run.stdout}\n{run.stderr}"
        return run.stdout

    def files(self, *, complaints: bool = False) -> dict[str, str]:
        """Every file by its path on the camera, with the size as gphoto2 prints it ("100 KB")."""
        found, folder = {}, ""
        for line in self.run("--list-files", complaints=complaints).splitlines():
            if match := re.match(r"There (?:is|are) .* in folder '(.*)'", line):
                folder = match.group(1)
            elif match := re.match(r"#\d+\s+(\S+)\s+\w+\s+(\d+ \w+)", line):
                found[f"{folder}/{match.group(1)}"] = match.group(2)
        return found

    def fetch_all(self, into: Path) -> None:
        """Every file, each under the number of its folder and its name ("100CANON-IMG_0001.JPG" is up to `into`)."""
        for path in self.files():
            folder, _, name = path.rpartition("/")
            target = into / folder.strip("/")
            target.mkdir(parents=True, exist_ok=True)
        for folder in sorted({path.rpartition("/")[0] for path in self.files()}):
            self.run("--folder", folder, "--get-all-files", "--no-recurse", cwd=into / folder.strip("/"))
