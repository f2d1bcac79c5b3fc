"""Bytes recorded from real cameras, as tests/cameras/ keeps them: answered verbatim where there are any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "cameras"


@lru_cache(maxsize=64)
def find(name: str) -> Path:
    """The recording called `name`, in whatever subfolder. FileNotFoundError names it."""
    for path in sorted(FOLDER.rglob(name)):
        return path
    raise FileNotFoundError(f"no recording {name} under {FOLDER}")


def payload(name: str) -> bytes:
    """The raw bytes of the recording `name` (without ".bin")."""
    return find(f"{name}.bin").read_bytes()


@lru_cache(maxsize=1)
def device_lists() -> Mapping[str, Mapping[str, list[str] | str]]:
    """What 26 bodies list in their DeviceInfo, by model name; codes as hexadecimal texts."""
    lists: Mapping[str, Mapping[str, list[str] | str]] = json.loads(find("deviceinfo_lists.json").read_text())
    return lists


@dataclass(frozen=True, slots=True)
class RecordedObject:
    handle: int
    info: bytes  # the ObjectInfo dataset as recorded
    name: str
    parent: int
    size: int
    captured: str
    is_folder: bool


def eos60d_objects() -> list[RecordedObject]:
    """The 47 objects of the 60D's card, in the order in which the camera listed them."""
    return [
        RecordedObject(
            handle=int(entry["handle"], 16),
            info=bytes.fromhex(entry["hex"]),
            name=entry["decoded"]["name"],
            parent=entry["decoded"]["parent"],
            size=entry["decoded"]["size"],
            captured=entry["decoded"]["cap"],
            is_folder=entry["decoded"]["atype"] == 1,
        )
        for entry in json.loads(find("eos60d_objectinfo_all.json").read_text())
    ]
