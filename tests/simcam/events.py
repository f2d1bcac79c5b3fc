"""How a camera tells of news: Canon's queue behind GetEvent, and the records of one press of the shutter.

The queue belongs to a session and dies with it; reading consumes (protocol.md §5.1). What goes over the event socket
is decided in `camera.Camera`.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable

from tests.simcam import encode, recordings
from tests.simcam.card import Card, Item
from tests.simcam.codes import Ev, Prop
from tests.simcam.profile import Profile


class EventQueue:
    """Records waiting for GetEvent. Nothing is queued, nor delivered, before SetEventMode(1)."""

    def __init__(self) -> None:
        self.is_on = False
        self._records: deque[bytes] = deque()
        self._first: bytes | None = None

    def turn_on(self, first: bytes, then: Iterable[bytes]) -> None:
        """`first` is the whole first answer, as recorded; `then` are records for the second."""
        if not self.is_on:
            self.is_on = True
            self._first = first
            self._records.extend(then)

    def push(self, *records: bytes) -> None:
        if self.is_on:
            self._records.extend(records)

    def fetch(self, at_most: int | None = None, trailing_zeros: int = 0) -> bytes:
        """The data of one GetEvent: `at_most` records, and zeros behind the terminator."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        count = len(self._records) if at_most is None else min(at_most, len(self._records))
        taken = b"".join(self._records.popleft() for _ in range(count))
        return taken + encode.TERMINATOR + bytes(trailing_zeros)


def added(profile: Profile, item: Item, *, is_change: bool = False) -> bytes:
    """The record by which this body announces an object, or (C187 and its twins) that one has changed."""
    code = profile.added_code
    if code == Ev.EOS_OBJECT_ADDED_64:
        return encode.record(Ev.EOS_OBJECT_INFO_CHANGED_64 if is_change else code, encode.body_64(item))
    if code == Ev.EOS_OBJECT_ADDED_64_LFN:
        return encode.record(
            Ev.EOS_OBJECT_INFO_CHANGED_64_LFN if is_change else code, encode.body_long_name(item)
        )
    return encode.record(Ev.EOS_OBJECT_INFO_CHANGED if is_change else code, encode.body_32(item))


def pressed(card: Card, shots_left: int) -> list[bytes]:
    """What comes before the objects of a shot (protocol.md §5.5)."""
    return [
        encode.prop_changed(Prop.AVAILABLE_SHOTS, max(0, shots_left - 1)),
        encode.u32_record(Ev.EOS_CAMERA_STATUS_CHANGED, 1),
        encode.u32_record(Ev.EOS_STORAGE_INFO_CHANGED, card.storage),
    ]


def written(shots_left: int) -> list[bytes]:
    """What comes after them: the bare C18E has no payload, yet is no terminator."""
    return [
        encode.prop_changed(Prop.AVAILABLE_SHOTS, shots_left),
        encode.u32_record(Ev.EOS_CAMERA_STATUS_CHANGED, 0),
        encode.record(Ev.EOS_SHUTDOWN_TIMER_UPDATED),
    ]


def first_answer(profile: Profile) -> bytes:
    """The flood after SetEventMode(1): recorded, or some 6 kB of the same kinds of records."""
    if profile.recorded_first_event:
        return recordings.payload(profile.recorded_first_event)
    records = [encode.u32_record(Ev.EOS_CTG_INFO_CHECK_COMPLETE, profile.slots[0][0])]
    for prop in range(0xD101, 0xD150):
        records.append(encode.prop_changed(prop, prop & 0xFF))
        values = range(prop % 9)
        enumeration = struct.pack(f"<III{len(values)}I", prop, 3, len(values), *values)
        records.append(encode.record(Ev.EOS_AVAIL_LIST_CHANGED, enumeration))
    records.append(encode.prop_changed(Prop.OWNER, b"\0"))  # 13 bytes: what follows is not aligned
    return b"".join(records) + encode.TERMINATOR


def state_records(profile: Profile, card: Card | None, shots_left: int, camera_seconds: int) -> list[bytes]:
    """The true values, behind the recorded flood: the last one of a property wins."""
    records = [
        encode.prop_changed(Prop.BATTERY_POWER, 2),
        encode.prop_changed(Prop.CAMERA_TIME, camera_seconds),
        encode.prop_changed(Prop.CAPTURE_DESTINATION, 2),
        encode.prop_changed(Prop.AVAILABLE_SHOTS, shots_left),
    ]
    if profile.model_id:
        records.append(encode.prop_changed(Prop.MODEL_ID, profile.model_id))
    if card is not None:
        records.append(encode.prop_changed(Prop.CURRENT_STORAGE, card.storage))
        records.append(encode.prop_changed(Prop.CURRENT_FOLDER, card.current.handle))
    return records
