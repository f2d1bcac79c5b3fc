"""The servers, each started once for all tests that share it; and the table of what came of the suite there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

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
from tests.backends.matrix import Matrix, Note, as_markdown, as_text
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


_matrix = Matrix()


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    return Note(request.node)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _matrix.add(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = _matrix.rows()
    if len(rows) > 1:
        terminalreporter.section("conformance")
        terminalreporter.write_line(as_text(rows))
    if file := os.environ.get("HOTSHOE_MATRIX"):
        Path(file).write_text(as_markdown(rows))
