"""The servers, each started once for all tests that share it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
