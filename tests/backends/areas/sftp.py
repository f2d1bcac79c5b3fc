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
from tests.backends.disks import small_disk
from tests.backends.servers.openssh import OpenSSH
from tests.backends.servers.process import Process

MIB = 1 << 20
_numbers = itertools.count(1)


class OpenSSHArea:
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
            "timeout_seconds": 4,
        }
        return SftpConfig.model_validate({**settings, **changes})

    def published(self) -> dict[str, bytes]:
        return {key: path.read_bytes() for key, path in self._files() if not _is_partial(path)}

    def partials(self) -> list[str]:
        return [key for key, path in self._files() if _is_partial(path)]

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

    def _files(self) -> list[tuple[str, Path]]:
        found = [Path(folder) / name for folder, _, names in os.walk(self.root) for name in names]
        return [(str(path.relative_to(self.root)), path) for path in found]


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
