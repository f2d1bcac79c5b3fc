"""What is known of a file: what routes match on, and what keys are made of."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agent.pictures import Picture


class Media(StrEnum):
    """What a file is, for routes and for what goes first."""

    JPEG = "jpeg"
    RAW = "raw"
    HEIF = "heif"
    VIDEO = "video"
    AUDIO = "audio"
    OTHER = "other"


class Facts(msgspec.Struct, frozen=True):
    """From the camera's listing alone; what had to be asked for, or was told by others, has a default."""

    camera: str  # its name in the settings
    serial: str
    storage: int
    folder: str  # as the camera calls it: "100CANON"
    name: str  # as the camera calls it: "IMG_0001.CR3"
    size: int
    captured: str  # camera-local, without a zone: "2012-02-02T14:16:54", or ""
    kind: Media
    group: int = 0
    site: str = ""
    utc: str = ""  # when it was taken, as `captured` is written, if the camera's clock could be read
    local: str = ""  # the same moment in the site's zone
    is_protected: bool | None = None  # None: not asked yet
    picture: Picture | None = None  # None: not read yet
