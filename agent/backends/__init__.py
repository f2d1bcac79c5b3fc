"""The registry of destinations: one row per backend.

Importing this loads the settings of every backend and the code of none; `open_backend` loads the one it needs,
and a backend loads its SDK with its first call.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from typing import Annotated

from pydantic import Field

from agent.backends.azure import AzureConfig
from agent.backends.base import Backend, DestinationConfig
from agent.backends.folder import FolderConfig
from agent.backends.ftp import FtpConfig
from agent.backends.gcs import GcsConfig
from agent.backends.s3 import S3Config
from agent.backends.sftp import SftpConfig
from agent.backends.smb import SmbConfig

__all__ = [
    "BACKENDS",
    "PACKAGES",
    "AzureConfig",
    "Destination",
    "FolderConfig",
    "FtpConfig",
    "GcsConfig",
    "S3Config",
    "SftpConfig",
    "SmbConfig",
    "is_installed",
    "open_backend",
]

Destination = Annotated[
    AzureConfig | FolderConfig | FtpConfig | GcsConfig | S3Config | SftpConfig | SmbConfig,
    Field(discriminator="kind"),
]
"""The settings of one destination, told apart by `kind`."""

BACKENDS: dict[str, tuple[type[DestinationConfig], str]] = {
    "azure": (AzureConfig, "agent.backends.azure.backend:AzureBackend"),
    "folder": (FolderConfig, "agent.backends.folder.backend:FolderBackend"),
    "ftp": (FtpConfig, "agent.backends.ftp.backend:FtpBackend"),
    "gcs": (GcsConfig, "agent.backends.gcs.backend:GcsBackend"),
    "s3": (S3Config, "agent.backends.s3.backend:S3Backend"),
    "sftp": (SftpConfig, "agent.backends.sftp.backend:SftpBackend"),
    "smb": (SmbConfig, "agent.backends.smb.backend:SmbBackend"),
}
"""By kind: its settings, and where its code is."""

PACKAGES: dict[str, tuple[str, ...]] = {
    "azure": ("azure-storage-blob", "azure-identity", "google-crc32c"),
    "gcs": ("google-cloud-storage", "google-crc32c"),
    "s3": ("boto3", "google-crc32c"),
    "sftp": ("asyncssh",),
    "smb": ("smbprotocol",),
}
"""By kind: the packages of other people that it needs, which come with the extra of its name."""


def is_installed(kind: str) -> bool:
    """Say whether everything that `kind` needs is there. Looks for it and loads none of it."""
    try:
        for package in PACKAGES.get(kind, ()):
            distribution(package)
    except PackageNotFoundError:
        return False
    return True


def open_backend(config: Destination, *, owner: str) -> Backend:
    """Return the backend that `config` describes. Nothing is connected to before its first call.

    `owner` (letters and digits) tells this installation's probes from those of others.
    """
    module, _, name = BACKENDS[config.kind][1].partition(":")
    make: Callable[..., Backend] = getattr(import_module(module), name)
    return make(config, owner=owner)
