"""The conformance suite at every place; a registered backend without a place fails here by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.backends import BACKENDS
from tests.backends.areas.azure import AzuriteArea
from tests.backends.areas.ftp import PyftpdArea, VsftpdArea
from tests.backends.areas.gcs import GcsArea
from tests.backends.areas.s3 import MotoArea
from tests.backends.areas.sftp import InProcessArea, OpenSSHArea
from tests.backends.areas.smb import ENCRYPTED, SambaArea
from tests.backends.conformance import Conformance
from tests.backends.places import Area, FolderArea, RcloneArea, SeaweedArea


class TestFolder(Conformance):
    kind = "folder"
    place = FolderArea

    @pytest.fixture
    def area(self, tmp_path: Path) -> Area:
        root = tmp_path / "root"
        root.mkdir()
        return FolderArea(root)


@pytest.mark.server
class AtServer(Conformance):
    server: str
    """The fixture of it (conftest.py)."""
    more: tuple[str, ...] = ()
    """What its area is told besides."""

    @pytest.fixture
    def area(self, request: pytest.FixtureRequest) -> Area:
        server = request.getfixturevalue(self.server)
        # The class is known by its attributes alone; how it is made is its own matter.
        return self.place(*(server if isinstance(server, tuple) else (server,)), *self.more)


class TestSeaweedFS(AtServer):
    kind, place, server = "s3", SeaweedArea, "seaweedfs"


class TestMoto(AtServer):
    kind, place, server = "s3", MotoArea, "moto"


class TestRclone(AtServer):
    kind, place, server = "s3", RcloneArea, "rclone"


class TestOpenSSH(AtServer):
    kind, place, server = "sftp", OpenSSHArea, "openssh"


class TestAsyncSSH(AtServer):
    kind, place, server = "sftp", InProcessArea, "ssh_in_process"


class TestAzurite(AtServer):
    kind, place, server = "azure", AzuriteArea, "azurite"


class TestGcs(AtServer):
    kind, place, server = "gcs", GcsArea, "gcs"


class TestSamba(AtServer):
    kind, place, server = "smb", SambaArea, "samba"


class TestSambaEncrypted(AtServer):
    kind, place, server, more = "smb", SambaArea, "samba", (ENCRYPTED,)


class TestVsftpd(AtServer):
    kind, place, server = "ftp", VsftpdArea, "vsftpd_explicit"
    keeps_every_write = False


class TestVsftpdPlain(AtServer):
    kind, place, server = "ftp", VsftpdArea, "vsftpd_plain"
    keeps_every_write = False


class TestPyftpd(AtServer):
    kind, place, server = "ftp", PyftpdArea, "pyftpd_server"
    keeps_every_write = False


def test_every_backend_has_a_place() -> None:
    suites = [each for each in globals().values() if isinstance(each, type) and issubclass(each, Conformance)]
    assert {suite.kind for suite in suites if hasattr(suite, "kind")} == set(BACKENDS)
