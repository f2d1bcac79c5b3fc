"""The SMB servers of the suite, and their areas: a share that signs, and one that encrypts."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.backends.base import Exclusive, Proof
from agent.backends.smb import SmbConfig
from tests.backends.conformance import ODD_NAMES
from tests.backends.disks import small_disk
from tests.backends.servers.process import Process
from tests.backends.servers.samba import PASSWORD, USER, Samba

MIB = 1 << 20
SIGNED, ENCRYPTED, READ_ONLY = "photos", "secure", "locked"
_numbers = itertools.count(1)


class SambaArea:
    """A folder of a share; the address says which, in the one form or the other."""

    proof = Proof.READBACK
    exclusive = Exclusive.ATOMIC
    chunk_bytes = MIB
    takes_back = True
    refused_names = frozenset(name for name in ODD_NAMES if ":" in name or name.endswith("."))

    def __init__(self, server: Samba, share: str = SIGNED):
        self.server = server
        self.process: Process | None = server.process
        self._share = share
        self._folder = f"area {next(_numbers)}"
        self.root = server.share(share) / self._folder
        self.root.mkdir()
        self._mounted = ExitStack()

    def config(self, **changes: object) -> SmbConfig:
        settings: dict[str, object] = {
            "address": rf"\\127.0.0.1:{self.server.port}\{self._share}\{self._folder}",
            "user": USER,
            "password": PASSWORD,
            "encryption": "required" if self._share == ENCRYPTED else "if_asked",
            "connect_timeout_seconds": 2,
            "read_timeout_seconds": 3,
        }
        return SmbConfig.model_validate({**settings, **changes})

    def published(self) -> dict[str, bytes]:
        return {key: path.read_bytes() for key, path in self._files() if not _is_partial(path)}

    def partials(self) -> list[str]:
        return [key for key, path in self._files() if _is_partial(path)]

    def plant(self, key: str, content: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def vanish(self) -> None:
        shutil.rmtree(self.root)

    def wrong_secret(self) -> SmbConfig:
        return self.config(password="wrong")

    def missing_root(self) -> SmbConfig:
        return self.config(address=f"smb://127.0.0.1:{self.server.port}/nothing-here")

    def forbidden(self) -> SmbConfig:
        return self.config(address=f"smb://127.0.0.1:{self.server.port}/{READ_ONLY}")

    def full(self) -> SmbConfig:
        self._mounted.enter_context(small_disk(self.root / "small", 16))
        folder = f"{self._folder}/small".replace(" ", "%20")
        return self.config(address=f"smb://127.0.0.1:{self.server.port}/{self._share}/{folder}")

    def close(self) -> None:
        self._mounted.close()

    def _files(self) -> list[tuple[str, Path]]:
        found = [Path(folder) / name for folder, _, names in os.walk(self.root) for name in names]
        return [(str(path.relative_to(self.root)), path) for path in found]


def _is_partial(path: Path) -> bool:
    return path.name.startswith(".hotshoe-")


@pytest.fixture(scope="session")
def samba(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    shares = {SIGNED: "", ENCRYPTED: "  smb encrypt = required", READ_ONLY: "  read only = yes"}
    try:
        server = Samba(tmp_path_factory.mktemp("samba"), shares)
    except FileNotFoundError as missing:
        pytest.skip(f"not installed: {missing}")
    server.process.start()
    yield server
    server.process.kill()
