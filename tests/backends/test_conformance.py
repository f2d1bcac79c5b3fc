"""The conformance suite at every place; a registered backend without a place fails here by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.backends import BACKENDS
from tests.backends.conformance import Conformance
from tests.backends.places import Area, FolderArea, RcloneArea, SeaweedArea
from tests.backends.servers.rclone import Rclone
from tests.backends.servers.seaweedfs import SeaweedFS


class TestFolder(Conformance):
    kind = "folder"

    @pytest.fixture
    def area(self, tmp_path: Path) -> Area:
        root = tmp_path / "root"
        root.mkdir()
        return FolderArea(root)


@pytest.mark.server
class TestSeaweedFS(Conformance):
    kind = "s3"

    @pytest.fixture
    def area(self, seaweedfs: SeaweedFS) -> Area:
        return SeaweedArea(seaweedfs)


@pytest.mark.server
class TestRclone(Conformance):
    kind = "s3"

    @pytest.fixture
    def area(self, rclone: Rclone) -> Area:
        return RcloneArea(rclone)


def test_every_backend_has_a_place() -> None:
    assert {place.kind for place in (TestFolder, TestSeaweedFS, TestRclone)} == set(BACKENDS)
