"""The settings of a folder destination."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from agent.backends.base import DestinationConfig, Proof


class FolderConfig(DestinationConfig):
    """A folder on this machine."""

    kind: Literal["folder"] = Field("folder", title="Kind", description="A folder on a disk of this machine.")
    path: Path = Field(
        title="Folder",
        description="Where photos go. A relative path counts from the folder of the configuration file.",
    )
    create: bool = Field(
        True,
        title="Make the folder",
        description="Make the folder if it is missing. The folder that it lies in must exist.",
    )
    must_be_mount: bool = Field(
        False,
        title="On a drive of its own",
        description=(
            "For a USB drive or a mounted share: write only while the folder is not on the system's own disk, so "
            "that an unplugged drive is a wait and the memory card of the computer does not fill up instead."
        ),
    )
    minimum_proof: Literal[Proof.READBACK, Proof.SIZE] = Field(
        Proof.READBACK,
        title="Proof wanted",
        description=(
            "readback: every file is read again from the disk and compared. size: only its length is checked, "
            "which takes half of the disk's time and never counts as verified."
        ),
    )
