"""What GetEvent told, between the moment it was fetched and the look that reports it. No I/O, no clock.

An answer is consumed by reading it, and it is read in many places (while the camera settles, while it is busy, between two
folders of a scan), so nothing of it may get lost on the way. Records that nobody needs, or that nobody knows, end here.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent.camera.inventory import MAX_OBJECTS
from agent.camera.objects import Status
from agent.ptp.canon import (
    CameraStatus,
    ObjectAdded,
    ObjectChanged,
    ObjectRemoved,
    PropertyChanged,
    Record,
    ShutdownSoon,
    StorageChanged,
    battery_percent,
)
from agent.ptp.codes import CanonEvent, Property

CAPTURE_TO_HOST = 4

News = ObjectAdded | ObjectChanged | ObjectRemoved


class Inbox:
    def __init__(self) -> None:
        self.news: list[News] = []
        self.is_overrun = False  # more came than is kept: only a scan can tell
        self.have_storages_changed = False
        self.acted_at = float("-inf")  # when the photographer was last at work
        self.wants_to_sleep = False
        self.current_folder = 0  # handle of the folder that new files go to
        self.clock: tuple[int, float] | None = (
            None  # the camera's wall clock in seconds, and `now` when it told
        )
        self.status = Status()

    def put(self, records: Sequence[Record], now: float) -> list[int]:
        """Keep what matters of `records`; return the storages of which nothing known holds any more."""
        gone: list[int] = []
        for record in records:
            match record:
                case ObjectAdded() | ObjectChanged() | ObjectRemoved():
                    self.acted_at = now
                    if len(self.news) < MAX_OBJECTS:
                        self.news.append(record)
                    else:
                        self.is_overrun = True
                case PropertyChanged():
                    self._put_property(record, now)
                case CameraStatus() | StorageChanged(CanonEvent.STORAGE_INFO_CHANGED):
                    self.acted_at = now
                case StorageChanged(_, storage):
                    self.have_storages_changed = True
                    gone.append(storage)
                case ShutdownSoon():
                    self.wants_to_sleep = True
                case _:
                    pass
        return gone

    def take(self) -> list[News]:
        news, self.news = self.news, []
        return news

    def put_back(self, news: list[News]) -> None:
        """Return what could not be reported."""
        self.news[:0] = news

    def _put_property(self, record: PropertyChanged, now: float) -> None:
        number = record.number()
        if number is None:
            return
        match record.property:
            case Property.EOS_BATTERY_POWER:
                self.status = msgspec.structs.replace(self.status, battery_percent=battery_percent(number))
            case Property.EOS_AVAILABLE_SHOTS:
                self.status = msgspec.structs.replace(self.status, shots_left=number)
                self.acted_at = now
            case Property.EOS_CAPTURE_DESTINATION:
                self.status = msgspec.structs.replace(self.status, saves_to_host=number == CAPTURE_TO_HOST)
            case Property.EOS_CAMERA_TIME:
                self.clock = (number, now)
            case Property.EOS_CURRENT_FOLDER:
                self.current_folder = number
