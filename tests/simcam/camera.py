"""The camera behind the sockets: body, cards in slots, clock, and what a press of the shutter does.

One lock guards everything; operations, troubles and the shutter all take it. News goes to the session's event queue
(EOS) and, where the body does that, to the event socket; whoever serves the sockets sets `on_event`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from tests.simcam import encode, events, fill
from tests.simcam.card import Card, Item
from tests.simcam.codes import Ev
from tests.simcam.later import Later
from tests.simcam.profile import Profile
from tests.simcam.stats import Shot, Stats


class Slot:
    """One card slot. A slot that was empty from the start is listed, with no capacity, as new bodies do; when its card
    was pulled it is not, and its storage id is invalid."""

    def __init__(self, storage: int, description: str, card: Card | None) -> None:
        self.storage = storage
        self.description = description
        self.card = card
        self.is_listed = True
        self.listings: dict[
            tuple[int, int, int], bytes
        ] = {}  # encoded answers by (parent, entry layout, changes)


class Camera:
    """A body with its cards. `write_seconds`: from the press to the file on the card."""

    def __init__(self, profile: Profile, cards: Sequence[Card | None], *, write_seconds: float = 0.0) -> None:
        self.profile = profile
        self.write_seconds = write_seconds
        self.clock_offset_seconds = 0.0
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.stats = Stats()
        self.later = Later(profile.name)
        self.queue = events.EventQueue()
        self.on_event: Callable[[int, tuple[int, ...]], None] = lambda code, params: None
        self.on_written: list[Callable[[Item], None]] = []
        self.loses_events = 0
        self.events_per_answer: int | None = None
        self.trailing_zeros = 0
        cards = [*cards, *[None] * (len(profile.slots) - len(cards))]
        self.slots = [Slot(*slot, card) for slot, card in zip(profile.slots, cards, strict=True)]

    # --- looking

    def now(self) -> datetime:
        """The camera's wall clock (UTC plus its offset), without a zone."""
        return datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=self.clock_offset_seconds)

    @property
    def cards(self) -> list[Card]:
        return [slot.card for slot in self.slots if slot.card is not None]

    def slot(self, storage: int) -> Slot | None:
        return next((slot for slot in self.slots if slot.is_listed and slot.storage == storage), None)

    def item(self, handle: int) -> Item | None:
        return next((card.items[handle] for card in self.cards if handle in card.items), None)

    def card_of(self, item: Item) -> Card:
        return next(card for card in self.cards if card.items.get(item.handle) is item)

    def find(self, name: str) -> Item:
        """The file whose path ends in `name`, on whichever card. KeyError when there is none."""
        for card in self.cards:
            try:
                return card.find(name)
            except KeyError:
                continue
        raise KeyError(name)

    def shots_left(self) -> int:
        free = sum(card.capacity_bytes - card.used_bytes for card in self.cards)
        return max(0, min(9999, free // 8_000_000))

    # --- sessions

    def new_session(self) -> None:
        """Events that nobody fetched are gone with the session they belonged to."""
        self.queue = events.EventQueue()

    def turn_events_on(self) -> None:
        with self.lock:
            card = self.cards[0] if self.cards else None
            seconds = encode.wall_seconds(self.now())
            state = events.state_records(self.profile, card, self.shots_left(), seconds)
            self.queue.turn_on(events.first_answer(self.profile), state)

    # --- the photographer

    def shoot(
        self, files: Sequence[tuple[str, int]] = (("JPG", 5 << 20),), *, slot: int = 0, count: int = 1
    ) -> list[Shot]:
        """Press the shutter `count` times; each press makes one file per (extension, size) on the card in `slot`.

        On a card that is a directory, real files are written there."""
        return [self._press(files, slot) for _ in range(count)]

    def _press(self, files: Sequence[tuple[str, int]], slot: int) -> Shot:
        shot = Shot([], [], sum(size for _, size in files), time.monotonic(), time.time())
        with self.lock:
            self.stats.shots.append(shot)
            card = self.slots[slot].card
            if card is None:
                raise LookupError(f"no card in slot {slot}")
            if self.write_seconds:
                self.tell(*events.pressed(card, self.shots_left()))
                self.later.after(self.write_seconds, lambda: self._written(card, files, shot))
            else:
                self._written(card, files, shot, *events.pressed(card, self.shots_left()))
        return shot

    def _written(self, card: Card, files: Sequence[tuple[str, int]], shot: Shot, *before: bytes) -> None:
        with self.lock:
            folder = card.current
            items = fill.shot(card, files, self.now().replace(microsecond=0))
            if card.folder_path is not None:
                for item in items:
                    _put_on_disk(card, item)
            fresh = [card.current, *items] if card.current is not folder else items
            self.announce(card, fresh, shot, *before)

    def announce(self, card: Card, items: Sequence[Item], shot: Shot, *before: bytes) -> None:
        """Make known what has just come onto a card: records for GetEvent, hints on the event socket."""
        with self.lock:
            for item in items:
                for arrange in self.on_written:
                    if not item.is_folder:
                        arrange(item)
            shot.names += [item.name for item in items if not item.is_folder]
            shot.handles += [item.handle for item in items if not item.is_folder]
            records = [events.added(self.profile, item) for item in items]
            self.tell(*before, *records, *events.written(self.shots_left()))
            for item in items:
                self.hint(Ev.OBJECT_ADDED, item.handle)
            shot.is_added()
            self.changed.notify_all()

    def resize(self, item: Item, size: int, *, tell: bool = False) -> None:
        """Change the size that is said of a file."""
        with self.lock:
            card = self.card_of(item)
            card.used_bytes += size - item.listed_size
            card.changes += 1
            item.listed_size, item.recorded_info = size, None
            if tell:
                self.tell(events.added(self.profile, item, is_change=True))

    def forget(self, card: Card, item: Item) -> None:
        """Somebody deleted a file in playback, or by an operation."""
        with self.lock:
            card.remove(item)
            self.tell(encode.u32_record(Ev.EOS_OBJECT_REMOVED, item.handle))
            self.hint(Ev.OBJECT_REMOVED, item.handle)

    def tell(self, *records: bytes) -> None:
        """Queue records for GetEvent."""
        with self.lock:
            if self.loses_events > 0:
                self.loses_events -= 1
            else:
                self.queue.push(*records)

    def hint(self, code: int, *params: int) -> None:
        """Say something on the event socket, in the way of this body."""
        style = self.profile.event_socket
        if style == "4002":
            self.on_event(code, params)
        elif style == "c101":
            self.on_event(Ev.EOS_REQUEST_GET_EVENT, ())


def _put_on_disk(card: Card, item: Item) -> None:
    """Write a shot into the directory that stands for the card, whole or not at all."""
    assert card.folder_path is not None and item.source is not None
    path = card.folder_path / item.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name("." + path.name)
    with part.open("wb") as file:
        for view in item.source.views(0, item.source.size):
            file.write(view)
    stamp = item.captured_at.replace(tzinfo=UTC).timestamp()
    os.utime(part, (stamp, stamp))
    part.rename(path)
