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
from tests.backends.servers.azurite import Azurite
from tests.backends.servers.gcs import GcsServer
from tests.backends.servers.moto import Moto
from tests.backends.servers.openssh import OpenSSH
from tests.backends.servers.pyftpd import Pyftpd
from tests.backends.servers.rclone import Rclone
from tests.backends.servers.samba import Samba
from tests.backends.servers.seaweedfs import SeaweedFS
from tests.backends.servers.ssh_in_process import InProcess
from tests.backends.servers.vsftpd import Vsftpd


class TestFolder(Conformance):
    kind = "folder"
    place = FolderArea

    @pytest.fixture
    def area(self, tmp_path: Path) -> Area:
        root = tmp_path / "root"
        root.mkdir()
        return FolderArea(root)


@pytest.mark.server
class TestSeaweedFS(Conformance):
    kind = "s3"
    place = SeaweedArea

    @pytest.fixture
    def area(self, seaweedfs: SeaweedFS) -> Area:
        return SeaweedArea(seaweedfs)


@pytest.mark.server
class TestMoto(Conformance):
    kind = "s3"
    place = MotoArea

    @pytest.fixture
    def area(self, moto: Moto) -> Area:
        return MotoArea(moto)


@pytest.mark.server
class TestRclone(Conformance):
    kind = "s3"
    place = RcloneArea

    @pytest.fixture
    def area(self, rclone: Rclone) -> Area:
        return RcloneArea(rclone)


@pytest.mark.server
class TestOpenSSH(Conformance):
    kind = "sftp"
    place = OpenSSHArea

    @pytest.fixture
    def area(self, openssh: OpenSSH) -> Area:
        return OpenSSHArea(openssh)


@pytest.mark.server
class TestAsyncSSH(Conformance):
    kind = "sftp"
    place = InProcessArea

    @pytest.fixture
    def area(self, ssh_in_process: tuple[InProcess, Path]) -> Area:
        return InProcessArea(*ssh_in_process)


@pytest.mark.server
class TestAzurite(Conformance):
    kind = "azure"
    place = AzuriteArea

    @pytest.fixture
    def area(self, azurite: Azurite) -> Area:
        return AzuriteArea(azurite)


@pytest.mark.server
class TestGcs(Conformance):
    kind = "gcs"
    place = GcsArea

    @pytest.fixture
    def area(self, gcs: GcsServer) -> Area:
        return GcsArea(gcs)


@pytest.mark.server
class TestSamba(Conformance):
    kind = "smb"
    place = SambaArea

    @pytest.fixture
    def area(self, samba: Samba) -> Area:
        return SambaArea(samba)


@pytest.mark.server
class TestSambaEncrypted(Conformance):
    kind = "smb"
    place = SambaArea

    @pytest.fixture
    def area(self, samba: Samba) -> Area:
        return SambaArea(samba, ENCRYPTED)


@pytest.mark.server
class TestVsftpd(Conformance):
    kind = "ftp"
    place = VsftpdArea
    keeps_every_write = False

    @pytest.fixture
    def area(self, vsftpd_explicit: Vsftpd) -> Area:
        return VsftpdArea(vsftpd_explicit)


@pytest.mark.server
class TestVsftpdPlain(Conformance):
    kind = "ftp"
    place = VsftpdArea
    keeps_every_write = False

    @pytest.fixture
    def area(self, vsftpd_plain: Vsftpd) -> Area:
        return VsftpdArea(vsftpd_plain)


@pytest.mark.server
class TestPyftpd(Conformance):
    kind = "ftp"
    place = PyftpdArea
    keeps_every_write = False

    @pytest.fixture
    def area(self, pyftpd_server: Pyftpd) -> Area:
        return PyftpdArea(pyftpd_server)


def test_every_backend_has_a_place() -> None:
    suites = [each for each in globals().values() if isinstance(each, type) and issubclass(each, Conformance)]
    assert {suite.kind for suite in suites if suite is not Conformance} == set(BACKENDS)
