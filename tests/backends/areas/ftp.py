"""The FTP servers of the suite, and their areas."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.backends import Destination, FtpConfig
from agent.backends.base import Exclusive, Proof
from tests.backends.disks import small_disk
from tests.backends.servers import pyftpd, vsftpd
from tests.backends.servers.certificates import make_certificate
from tests.backends.servers.process import Process
from tests.backends.servers.pyftpd import Pyftpd
from tests.backends.servers.vsftpd import Vsftpd

MIB = 1 << 20
_numbers = itertools.count(1)


class _Home:
    """A folder below the home of a user, looked at on the server's disk."""

    proof = Proof.READBACK
    exclusive = Exclusive.CHECKED  # both rename over what is there
    chunk_bytes = MIB
    takes_back = True
    refused_names: frozenset[str] = frozenset()

    def __init__(self, process: Process, home: Path, **settings: object):
        self.process: Process | None = process
        self.name = f"area-{next(_numbers)}"
        self.root = home / self.name
        self.root.mkdir()
        self._settings = settings
        self._mounted = ExitStack()

    def config(self, **changes: object) -> Destination:
        settings: dict[str, object] = {
            "host": "127.0.0.1",
            "path": self.name,
            "connect_timeout_seconds": 2,
            "read_timeout_seconds": 3,
        }
        return FtpConfig.model_validate({**settings, **self._settings, **changes})

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

    def wrong_secret(self) -> Destination | None:
        return self.config(password="of somebody else")

    def missing_root(self) -> Destination | None:
        return self.config(path=f"{self.name}/nowhere")

    def close(self) -> None:
        self._mounted.close()

    def _files(self) -> list[tuple[str, Path]]:
        found = [Path(folder) / name for folder, _, names in os.walk(self.root) for name in names]
        return [(str(path.relative_to(self.root)), path) for path in found]


class VsftpdArea(_Home):
    def __init__(self, server: Vsftpd):
        self.server = server
        settings: dict[str, object] = {"port": server.port, "security": server.security}
        if server.security != "none":
            settings["ca_bundle"] = server.certificate.certificate
        super().__init__(server.process, server.home, user=vsftpd.USER, password=vsftpd.PASSWORD, **settings)

    def forbidden(self) -> Destination | None:
        return self.config(user=vsftpd.READER)

    def full(self) -> Destination | None:
        folder = self.root / "small"
        folder.mkdir()
        self._mounted.enter_context(small_disk(folder, 16))
        return self.config(path=f"{self.name}/small")


class PyftpdArea(_Home):
    def __init__(self, server: Pyftpd):
        self.server = server
        super().__init__(
            server.process,
            server.homes / pyftpd.USER,
            port=server.port,
            user=pyftpd.USER,
            password=pyftpd.PASSWORD,
            certificate_sha256=server.certificate.sha256,
        )

    def forbidden(self) -> Destination | None:
        return self.config(user="reader", path="")

    def full(self) -> Destination | None:
        return None  # it stops without a word then, which says nothing of a disk (test_ftp_servers.py)


def _is_partial(path: Path) -> bool:
    return path.name.startswith(".hotshoe-")


def _started(make: Callable[[], Vsftpd] | Callable[[], Pyftpd]) -> Iterator[Vsftpd | Pyftpd]:
    try:
        server = make()
    except FileNotFoundError as missing:
        pytest.skip(f"not installed: {missing}")
    server.process.start()
    yield server
    server.close()


def _vsftpd(paths: pytest.TempPathFactory, security: str) -> Iterator[Vsftpd | Pyftpd]:
    folder = paths.mktemp(f"vsftpd-{security}")
    return _started(lambda: Vsftpd(folder, make_certificate(folder), security))


@pytest.fixture(scope="session")
def vsftpd_explicit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vsftpd | Pyftpd]:
    yield from _vsftpd(tmp_path_factory, "explicit")


@pytest.fixture(scope="session")
def vsftpd_implicit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vsftpd | Pyftpd]:
    yield from _vsftpd(tmp_path_factory, "implicit")


@pytest.fixture(scope="session")
def vsftpd_plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vsftpd | Pyftpd]:
    yield from _vsftpd(tmp_path_factory, "none")


@pytest.fixture(scope="session")
def pyftpd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vsftpd | Pyftpd]:
    folder = tmp_path_factory.mktemp("pyftpd")
    yield from _started(lambda: Pyftpd(folder, make_certificate(folder)))
