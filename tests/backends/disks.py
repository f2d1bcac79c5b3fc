"""Small disks to fill, lock and unplug. They need root; without it the tests that use them are skipped by name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[Path]:
    """Mount something at `folder` for the length of the block."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder.mkdir(exist_ok=True)
    _run("mount", *arguments, str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def small_disk(folder: Path, mebibytes: int) -> AbstractContextManager[Path]:
    return mounted(folder, "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs")


def lock(folder: Path) -> None:
    """Make a mounted disk read-only."""
    _run("mount", "-o", "remount,ro", str(folder))


def unlock(folder: Path) -> None:
    """Make it writable again."""
    _run("mount", "-o", "remount,rw", str(folder))


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user without rights for the length of the block. The rights of all threads change."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")
