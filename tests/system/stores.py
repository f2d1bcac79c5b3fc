"""One server of every kind, started together, with areas for an agent to deliver to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from agent.backends.base import DestinationConfig
from tests.backends.areas.azure import AzuriteArea
from tests.backends.areas.ftp import VsftpdArea
from tests.backends.areas.gcs import GcsArea
from tests.backends.areas.sftp import OpenSSHArea
from tests.backends.areas.smb import SIGNED, SambaArea
from tests.backends.places import Area, FolderArea, SeaweedArea
from tests.backends.servers.azurite import Azurite
from tests.backends.servers.certificates import make_certificate
from tests.backends.servers.gcs import GcsServer
from tests.backends.servers.openssh import OpenSSH
from tests.backends.servers.process import Process
from tests.backends.servers.samba import Samba
from tests.backends.servers.seaweedfs import SeaweedFS
from tests.backends.servers.vsftpd import Vsftpd


class _Server(Protocol):
    @property
    def process(self) -> Process: ...


def _samba(folder: Path) -> Iterator[tuple[_Server, Callable[[], Area]]]:
    server = Samba(folder, {SIGNED: ""}, "  server signing = if_required\n")  # rclone's cannot
    yield server, lambda: SambaArea(server)


def _vsftpd(folder: Path) -> Iterator[tuple[_Server, Callable[[], Area]]]:
    server = Vsftpd(folder, make_certificate(folder))
    yield server, lambda: VsftpdArea(server)
    server.close()


def _openssh(folder: Path) -> Iterator[tuple[_Server, Callable[[], Area]]]:
    server = OpenSSH(folder)
    yield server, lambda: OpenSSHArea(server)
    server.remove()


def _seaweedfs(folder: Path) -> Iterator[tuple[_Server, Callable[[], Area]]]:
    server = SeaweedFS(folder)
    yield server, lambda: SeaweedArea(server)


def _azurite(folder: Path) -> Iterator[tuple[_Server, Callable[[], Area]]]:
    server = Azurite(folder)
    yield server, lambda: AzuriteArea(server)


def _gcs(folder: Path) -> Iterator[tuple[_Server, Callable[[], Area]]]:
    server = GcsServer(folder)
    yield server, lambda: GcsArea(server)


_SERVERS = {
    "smb": _samba,
    "ftp": _vsftpd,
    "sftp": _openssh,
    "s3": _seaweedfs,
    "azure": _azurite,
    "gcs": _gcs,
}
KINDS = ("folder", *_SERVERS)


@contextmanager
def stores(folder: Path, kinds: Sequence[str] = KINDS) -> Iterator[dict[str, Callable[[], Area]]]:
    """Start a server for each of `kinds`; yield by kind what gives a new, empty area at each call.

    FileNotFoundError names a missing program.
    """
    with ExitStack() as stack:
        areas: dict[str, Callable[[], Area]] = {}
        for kind in kinds:
            own = folder / kind
            own.mkdir()
            if kind == "folder":
                areas[kind] = partial(_folder, own, count(1))
                continue
            server, areas[kind] = stack.enter_context(contextmanager(_SERVERS[kind])(own))
            server.process.start()
            stack.callback(server.process.kill)
        yield areas


def _folder(parent: Path, numbers: Iterator[int]) -> Area:
    root = parent / f"area-{next(numbers)}"
    root.mkdir()
    return FolderArea(root)


def as_toml(config: DestinationConfig, **more: object) -> str:
    """Write the settings of a destination as a person would, with its secrets, without the head of the section."""
    values = {**config.model_dump(exclude_unset=True), "kind": getattr(config, "kind", ""), **more}
    return "".join(f"{key} = {_literal(value)}\n" for key, value in values.items() if value is not None)


def _literal(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, list | tuple):
        return f"[{', '.join(_literal(each) for each in value)}]"
    return json.dumps(value if isinstance(value, bool | int | float) else str(value))
