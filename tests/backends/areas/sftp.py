"""The SFTP server of the suite, and its areas."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.backends import Destination
from agent.backends.base import Exclusive, Proof
from agent.backends.sftp import SftpConfig
from tests.backends.disks import lock, small_disk
from tests.backends.servers.openssh import OpenSSH
from tests.backends.servers.process import Process
from tests.backends.servers.ssh_in_process import PASSWORD, USER, Files, InProcess

MIB = 1 << 20
_numbers = itertools.count(1)


class OpenSSHArea:
    """Logged in to by a key, as a user without rights."""

    proof = Proof.READBACK
    exclusive = Exclusive.ATOMIC
    chunk_bytes = MIB
    takes_back = True
    refused_names: frozenset[str] = frozenset()

    def __init__(self, server: OpenSSH):
        self.server = server
        self.process: Process | None = server.process
        self.root = server.make_root(f"area-{next(_numbers)}")
        self._mounted = ExitStack()

    def config(self, **changes: object) -> Destination:
        settings: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.server.port,
            "user": self.server.user,
            "key_file": self.server.key,
            "host_key": self.server.fingerprint,
            "path": str(self.root),
            "connect_timeout_seconds": 5,
            "read_timeout_seconds": 4,
        }
        return SftpConfig.model_validate({**settings, **changes})

    def published(self) -> dict[str, bytes]:
        return _published(self.root)

    def partials(self) -> list[str]:
        return _partials(self.root)

    def plant(self, key: str, content: bytes) -> None:
        path = self.root / key
        for folder in reversed(path.relative_to(self.root).parents[:-1]):
            if not (self.root / folder).exists():
                (self.root / folder).mkdir()
                self._give(self.root / folder)
        path.write_bytes(content)
        self._give(path)

    def vanish(self) -> None:
        shutil.rmtree(self.root)

    def wrong_secret(self) -> Destination | None:
        return self.config(key_file=self.server.stranger)

    def missing_root(self) -> Destination | None:
        return self.config(path=f"{self.root}/nowhere")

    def forbidden(self) -> Destination | None:
        folder = self.root / "locked"
        folder.mkdir(mode=0o555)
        return self.config(path=str(folder))

    def full(self) -> Destination | None:
        folder = self.server.make_root(f"small-{next(_numbers)}")
        disk = self._mounted.enter_context(small_disk(folder, 16))
        self._give(disk)
        return self.config(path=str(disk))

    def close(self) -> None:
        self._mounted.close()

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0:
            shutil.chown(path, self.server.user)


class InProcessArea:
    """Logged in to by a password; the server, in Python, shows its guests one folder, and looks before it renames."""

    proof = Proof.READBACK
    exclusive = Exclusive.CHECKED
    chunk_bytes = MIB
    takes_back = True
    refused_names: frozenset[str] = frozenset()
    process: Process | None = None

    def __init__(self, server: InProcess, shown: Path):
        self._server = server
        self._path = f"area-{next(_numbers)}"
        self.root = shown / self._path
        self.root.mkdir()
        self._mounted = ExitStack()

    def config(self, **changes: object) -> Destination:
        settings: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self._server.port,
            "user": USER,
            "password": PASSWORD,
            "host_key": self._server.fingerprint,
            "path": self._path,
            "connect_timeout_seconds": 5,
            "read_timeout_seconds": 4,
        }
        return SftpConfig.model_validate({**settings, **changes})

    def published(self) -> dict[str, bytes]:
        return _published(self.root)

    def partials(self) -> list[str]:
        return _partials(self.root)

    def plant(self, key: str, content: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def vanish(self) -> None:
        shutil.rmtree(self.root)

    def wrong_secret(self) -> Destination | None:
        return self.config(password="wrong")

    def missing_root(self) -> Destination | None:
        return self.config(path="nowhere")

    def forbidden(self) -> Destination | None:
        disk = self._small_disk("locked")
        lock(disk)
        return self.config(path=f"{self._path}/locked")

    def full(self) -> Destination | None:
        self._small_disk("small")
        return self.config(path=f"{self._path}/small")

    def close(self) -> None:
        self._mounted.close()

    def _small_disk(self, name: str) -> Path:
        return self._mounted.enter_context(small_disk(self.root / name, 16))


def _published(root: Path) -> dict[str, bytes]:
    return {key: path.read_bytes() for key, path in _files(root) if not _is_partial(path)}


def _partials(root: Path) -> list[str]:
    return [key for key, path in _files(root) if _is_partial(path)]


def _files(root: Path) -> list[tuple[str, Path]]:
    found = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    return [(str(path.relative_to(root)), path) for path in found]


def _is_partial(path: Path) -> bool:
    return path.name.startswith(".hotshoe-")


@pytest.fixture(scope="session")
def openssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSSH]:
    try:
        server = OpenSSH(tmp_path_factory.mktemp("openssh"))
    except FileNotFoundError as missing:
        pytest.skip(f"not installed: {missing}")
    server.process.start()
    yield server
    server.process.kill()
    server.remove()


@pytest.fixture(scope="session")
def ssh_in_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[InProcess, Path]]:
    """The server, and the folder that it shows."""
    root = tmp_path_factory.mktemp("ssh_in_process")
    server = InProcess(files=type("Rooted", (Files,), {"root": root}))
    yield server, root
    server.stop()
