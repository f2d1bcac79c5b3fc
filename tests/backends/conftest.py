"""The servers, each started once for all tests that share it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends.areas.azure import azurite as azurite
from tests.backends.areas.ftp import pyftpd_server as pyftpd_server
from tests.backends.areas.ftp import vsftpd_explicit as vsftpd_explicit
from tests.backends.areas.ftp import vsftpd_implicit as vsftpd_implicit
from tests.backends.areas.ftp import vsftpd_plain as vsftpd_plain
from tests.backends.areas.gcs import gcs as gcs
from tests.backends.areas.s3 import moto as moto
from tests.backends.areas.sftp import openssh as openssh
from tests.backends.areas.sftp import ssh_in_process as ssh_in_process
from tests.backends.areas.smb import samba as samba
from tests.backends.matrix import Note
from tests.backends.servers.rclone import Rclone
from tests.backends.servers.seaweedfs import SeaweedFS


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    try:
        server = SeaweedFS(tmp_path_factory.mktemp("seaweedfs"))
    except FileNotFoundError as missing:
        pytest.skip(f"not installed: {missing}")
    server.process.start()
    yield server
    server.process.kill()


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rclone]:
    try:
        server = Rclone(tmp_path_factory.mktemp("rclone"))
    except FileNotFoundError as missing:
        pytest.skip(f"not installed: {missing}")
    server.process.start()
    yield server
    server.process.kill()


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    return Note(request.node)
