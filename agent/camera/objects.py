"""What the camera tells of itself and its cards, as values.

A `Handle` is the camera's volatile number for an object: it is valid in one session, is given to other files after a
format or a card change, and is never identity. `is_same_file` is what decides whether two descriptions mean one file.

Times are the camera's own wall clock without a zone, as text: "2012-02-02T14:16:54", or "" where it gave none.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NewType

import msgspec

from agent.ptp.datasets import DeviceInfo, StorageInfo

Handle = NewType("Handle", int)

MAX_TIME_DIFFERENCE_SECONDS = 2
"""FAT keeps even seconds, and a listing may round otherwise than ObjectInfo (captures: up to 1–2 s apart)."""

_DCF_FOLDER = re.compile(r"[1-9]\d\d\w{5}", re.ASCII)


class Identity(msgspec.Struct, frozen=True):
    """Which camera this is. Without a serial of its own, `serial` is the responder's GUID in hex."""

    serial: str
    model: str
    firmware: str
    manufacturer: str
    is_serial_reported: bool


class Object(msgspec.Struct, frozen=True):
    """One file on a card. `folder` is the DCF folder's name, such as "100CANON"."""

    handle: Handle
    storage: int
    folder: str
    name: str
    size: int | None  # bytes; None: not final yet, or more than the camera's field can say
    captured: str
    format: int
    group: int  # the same for the files of one shot; the handle itself where the camera tells none
    is_just_written: bool = False  # announced moments ago: `size` counts once a second look gives the same
    is_protected: bool | None = None


class Unreadable(msgspec.Struct, frozen=True):
    """An object that the camera lists but does not describe. It is skipped and asked for at the next full scan."""

    handle: Handle
    code: str  # of the fault
    detail: str


class Folder(msgspec.Struct, frozen=True):
    """Objects of one folder; all of them when `is_complete`, so that what is missing is gone from the card."""

    storage: int
    name: str
    objects: tuple[Object, ...]
    is_complete: bool = True
    unreadable: tuple[Unreadable, ...] = ()


class Storage(msgspec.Struct, frozen=True):
    id: int
    description: str
    capacity_bytes: int
    free_bytes: int
    images_left: int | None
    is_writable: bool
    allows_delete: bool = True


class Look(msgspec.Struct, frozen=True):
    """What one look brought. `is_incomplete`: something could not be resolved, so reconcile soon."""

    added: tuple[Object, ...] = ()
    changed: tuple[Object, ...] = ()  # known before, described again: size, protection or rating
    removed_handles: tuple[Handle, ...] = ()
    storages_changed: bool = False
    is_active: bool = False  # the photographer is working: look again sooner
    is_incomplete: bool = False
    unreadable: tuple[Unreadable, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """What the camera last said about itself; None where it said nothing."""

    battery_percent: int | None = None
    shots_left: int | None = None
    saves_to_host: bool = (
        False  # new shots go to another computer's memory, not to the card: they cannot be fetched
    )


def is_dcf_folder(name: str) -> bool:
    """Return whether `name` is a folder that a camera puts pictures into: three digits and five letters."""
    return _DCF_FOLDER.fullmatch(name) is not None


def captured_text(moment: datetime | None) -> str:
    """Return the camera's wall clock as text, with whole seconds and without a zone."""
    return "" if moment is None else moment.replace(microsecond=0, tzinfo=None).isoformat()


def are_same_time(first: str, second: str) -> bool:
    """Return whether two capture times can be of one file: equal, or both given and at most two seconds apart."""
    if first == second:
        return True
    if not first or not second:
        return False
    apart = datetime.fromisoformat(first) - datetime.fromisoformat(second)
    return abs(apart.total_seconds()) <= MAX_TIME_DIFFERENCE_SECONDS


def is_same_file(first: Object, second: Object) -> bool:
    """Return whether both describe one file, whatever their handles are. An unknown size equals nothing."""
    return (
        first.size is not None
        and first.size == second.size
        and is_same_name(first, second)
        and are_same_time(first.captured, second.captured)
    )


def is_same_name(first: Object, second: Object) -> bool:
    return (first.storage, first.folder, first.name) == (second.storage, second.folder, second.name)


def is_continued(item: Object, fresh: Object) -> bool:
    """Return whether `fresh` is `item` as time went on: a size may become known, or final, but not change."""
    return (
        is_same_name(item, fresh)
        and are_same_time(item.captured, fresh.captured)
        and (item.is_just_written or None in (item.size, fresh.size) or item.size == fresh.size)
    )


def identity_of(info: DeviceInfo, responder_guid: bytes) -> Identity:
    """Return who the camera says it is. A serial of nothing but zeros is none."""
    serial = info.serial_number.strip()
    is_reported = bool(serial.strip("0"))
    return Identity(
        serial=serial if is_reported else responder_guid.hex(),
        model=info.model,
        firmware=info.device_version,
        manufacturer=info.manufacturer,
        is_serial_reported=is_reported,
    )


def storage_of(storage: int, info: StorageInfo) -> Storage:
    return Storage(
        storage,
        info.description,
        info.max_capacity_bytes,
        info.free_space_bytes,
        info.free_space_images,
        info.access_capability == 0,
        info.access_capability != 1,  # 1 read-only; 2 read-only, and yet objects may be deleted
    )
