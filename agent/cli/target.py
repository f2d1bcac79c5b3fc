"""Where `hotshoe get` writes: a new file that gets its name when it is whole and on the disk, or stdout.

Never in the place of another file unless that is asked for, and a name from a camera never leads out of the folder.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from agent.cli.stop import MISUSED, Stop
from agent.keys import clean

STDOUT = "-"


class Target:
    """Where the bytes go: a new file that gets its name at the end, or stdout."""

    def __init__(self, out: str | None, *, force: bool, is_thumb: bool):
        self._out = out
        self._force = force
        self._is_thumb = is_thumb
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._new: Path | None = None
        self.path: Path | None = None  # None: stdout
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def check(self) -> None:
        """Find out before any camera is asked what would be in vain."""
        if self._out == STDOUT and sys.stdout.isatty():
            raise Stop(
                "a picture is nothing for a terminal: name a file with -o, or redirect the output.", MISUSED
            )
        if self._out and self._out != STDOUT and not Path(self._out).is_dir():
            self._check_free(Path(self._out))

    def open(self, name: str) -> None:
        """Begin, for a file that the camera calls `name`."""
        if self._out == STDOUT:
            self._file = sys.stdout.buffer
            return
        path = Path(self._out or ".")
        if path.is_dir():
            path /= clean(Path(name).stem + ".thumb.jpg" if self._is_thumb else name)
        self._check_free(path)
        self.path, self._new = path, path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            self._file = open(self._new, "xb", buffering=0)  # noqa: SIM115 - closed by `finish` or `close`
        except OSError as error:
            self._new = None
            raise Stop(f"cannot write {path}: {error.strerror}") from error

    def write(self, view: memoryview) -> None:
        assert self._file is not None
        try:
            rest = view
            while rest:
                rest = rest[self._file.write(rest) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Stop(f"cannot write {self.path or 'the output'}: {error.strerror}") from error
        self._digest.update(view)
        self.size_bytes += len(view)

    def finish(self) -> None:
        """Make what was written durable and give it its name."""
        assert self._file is not None
        if self.path is None or self._new is None:
            self._file.flush()
            return
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            if self._force:
                os.replace(self._new, self.path)
            else:
                self._publish(self._new, self.path)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except FileExistsError:
            self._check_free(self.path)
            raise
        except OSError as error:
            raise Stop(f"cannot write {self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Leave nothing unfinished behind. Harmless after `finish`."""
        if self._new is not None and self._file is not None:
            self._file.close()
            with suppress(OSError):
                self._new.unlink(missing_ok=True)

    def _publish(self, new: Path, path: Path) -> None:
        try:
            os.link(new, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            self._check_free(path)
            os.rename(new, path)

    def _check_free(self, path: Path) -> None:
        if not self._force and (path.exists() or path.is_symlink()):
            raise Stop(f"{path} exists: choose another name, or replace it with --force.")
