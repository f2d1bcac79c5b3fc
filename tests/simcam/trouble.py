"""Everything that can go wrong with a camera, as named verbs; the README beside this file shows them in a table.

A verb arranges something and returns; what it arranges strikes a number of times (`times`; None: until `heal`) and is
counted in `stats.troubles` under the verb's name. Files are named by the end of their path ("IMG_0001.JPG"). Every
public method is a verb of the control port as well. Evidence for each is in protocol.md §7, §8 and §11.

One flat list of short methods, and therefore longer than a module should be: splitting it would only hide verbs.
"""

from __future__ import annotations

import dataclasses
import random
import socket
import time
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from itertools import repeat

from agent.ptp.packets import Event, OperationResponse, ProbeRequest, StartData, encode, encode_data_header
from tests.simcam import encode as datasets
from tests.simcam import events, fill
from tests.simcam.camera import Camera
from tests.simcam.card import Card, Item, Synthetic
from tests.simcam.codes import Ev, Op, Rc
from tests.simcam.door import BUSY, REJECTED, Pairing
from tests.simcam.hooks import Act, Point, Transaction
from tests.simcam.operations import Answer, data
from tests.simcam.server import Server
from tests.simcam.stats import Shot
from tests.simcam.wire import Hangup, Reset, Wire

PARTIAL_READS = frozenset({0x101B, 0x9107, 0x912C, 0x9172, 0x9174})
WHOLE_READS = frozenset({0x1009, 0x9104, 0x9171})
READS = PARTIAL_READS | WHOLE_READS
BULK_LISTINGS = frozenset({0x9109, 0x9173})
INFOS = frozenset({0x1008, 0x9103, 0x9170})
STORAGES = frozenset({0x1004, 0x1005, 0x9101, 0x9102})
THUMBS = frozenset({0x100A, 0x910A})
SETTING_UP = frozenset({0x1001, 0x1002, 0x1003})

Ops = int | Collection[int] | None


class Trouble:
    """The verbs of one simulated camera."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._camera: Camera = server.camera
        self._door = server.door
        self._gate = server.gate
        self._sleep_seconds: float | None = None
        self._pulled: dict[int, Card] = {}
        if self._camera.profile.quiet_seconds:
            self.quiet_after_open(self._camera.profile.quiet_seconds)

    def heal(self, verb: str | None = None) -> None:
        """Take back what one verb put into transactions, or everything. What is on the cards stays as it is."""
        self._gate.hooks.remove(verb)
        if verb is None:
            self._gate.calm()
            self._door.refusals = 0
            self._sleep_seconds = None
            camera = self._camera
            camera.loses_events, camera.events_per_answer, camera.trailing_zeros = 0, None, 0
            camera.on_written.clear()
            self._server.open()

    def _before(self, verb: str, act: Act, operations: Ops, times: int | None) -> None:
        self._gate.hooks.add(verb, Point.BEFORE, act, operations=_codes(operations), times=times)

    def _after(self, verb: str, act: Act, operations: Ops, times: int | None) -> None:
        self._gate.hooks.add(verb, Point.AFTER, act, operations=_codes(operations), times=times)

    # --- the handshake

    def refuse_pairing(self, times: int | None = None) -> None:
        """InitFail 1."""
        self._door.refuse(REJECTED, times)

    def initiator_busy(self, times: int | None = 1) -> None:
        """InitFail 2, as if another initiator were connected."""
        self._door.refuse(BUSY, times)

    def refuse(self, reason: int, times: int | None = 1) -> None:
        """InitFail with any reason."""
        self._door.refuse(reason, times)

    def pairing_delay(self, seconds: float, accept: bool = True) -> None:
        """Forget who is paired; a person presses OK (or refuses) after so long."""
        self._door.known.clear()
        self._door.pairing = Pairing.DIALOG
        self._door.dialog_seconds, self._door.dialog_accepts = seconds, accept

    def forget_pairing(self) -> None:
        """The connection set was deleted on the camera."""
        self._door.known.clear()

    def linger_busy(self, seconds: float) -> None:
        """A dead initiator is noticed so late: until then InitFail 2."""
        self._gate.linger_seconds = seconds

    def reset_on_connect(self, times: int = 1) -> None:
        """RST for the next TCP connections, command or event."""
        left = iter(range(times))

        def act(sock: socket.socket) -> None:
            if next(left, None) is not None:
                self._gate.struck["reset_on_connect"] += 1
                raise Reset("on connect")

        self._gate.on_accept = act

    def not_a_camera(self) -> None:
        """Something answers on the port that does not speak PTP/IP."""

        def act(sock: socket.socket) -> None:
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            sock.recv(1 << 12)
            raise Hangup("not a camera")

        self._gate.on_accept = act

    def refuse_event_connect(self, seconds: float = 0.1) -> None:
        """The port is closed for a moment after each InitCommandAck."""

        def act() -> None:
            self._gate.struck["refuse_event_connect"] += 1
            self._server.deafen()
            self._camera.later.after(seconds, self._server.open)

        self._gate.on_ack = act

    def delay_event_ack(self, seconds: float) -> None:
        self._gate.on_event_request = lambda wire: wire.idle(seconds)

    def one_shot_listener(self) -> None:
        """The port takes one attempt, a bare connect too, and is closed until `arm`."""
        taken = iter(range(2))

        def act(sock: socket.socket) -> None:
            last = next(taken, 1) == 1
            if last or not sock.recv(1, socket.MSG_PEEK):
                self._server.deafen()

        self._gate.on_accept = act

    def arm(self) -> None:
        """Open the port once more after `one_shot_listener` closed it."""
        self.one_shot_listener()
        self._server.open()

    def armed_by_description(self) -> None:
        """The port is closed, and takes one attempt after each fetch of the UPnP description, as a 6D does."""
        self._server.deafen()
        self._gate.on_description = self.arm

    def dangling_session(self, times: int = 1) -> None:
        """OpenSession says SessionAlreadyOpen, and the session is usable."""

        def act(transaction: Transaction, answer: Answer) -> Answer:
            transaction.session.is_open = True
            return Answer(Rc.SESSION_ALREADY_OPEN)

        self._before("dangling_session", act, Op.OPEN_SESSION, times)

    # --- the link

    def drop(self) -> None:
        """Close both sockets now."""
        self._server.hang_up()

    def cut_after(self, size: int) -> None:
        """RST after so many more bytes on the command socket."""
        self._gate.accident_after(size, self._accident("cut_after", Reset("cut")))

    def hang_up_after(self, size: int) -> None:
        """FIN after so many more bytes on the command socket."""
        self._gate.accident_after(size, self._accident("hang_up_after", Hangup("cut")))

    def stall(self, seconds: float | None = None, after: int = 0) -> None:
        """Say nothing more after so many bytes, for a while or until the initiator gives up."""

        def act(wire: Wire) -> None:
            self._gate.struck["stall"] += 1
            wire.idle(seconds)

        self._gate.accident_after(after, act)

    def sleep_after(self, seconds: float) -> None:
        """Auto power off without GetEvent or KeepDeviceOn: both sockets close and the port is shut until `wake`."""
        self._sleep_seconds = seconds

        def look() -> None:
            if self._sleep_seconds is None:
                return
            link = self._server.link
            if link is not None and time.monotonic() - link.awake_at > self._sleep_seconds:
                self._gate.struck["sleep_after"] += 1
                self._server.deafen()
                link.shut()
            self._camera.later.after(min(0.1, seconds / 4), look)

        look()

    def sleep(self) -> None:
        """Switch off now."""
        self._server.deafen()
        self._server.hang_up()

    def wake(self) -> None:
        """Switch on."""
        self._server.open()

    def quiet_after_open(self, seconds: float = 5.0) -> None:
        """A 2000D right after OpenSession: GetObjectInfo gets a reset."""

        def act(transaction: Transaction, answer: Answer) -> None:
            if time.monotonic() - transaction.session.opened_at < seconds:
                raise Reset("too early")

        self._before("quiet_after_open", act, INFOS, None)

    def store_not_available(self, seconds: float = 1.0) -> None:
        """The card is still being mounted so long after OpenSession."""

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            is_early = time.monotonic() - transaction.session.opened_at < seconds
            return Answer(Rc.STORE_NOT_AVAILABLE) if is_early else None

        self._before("store_not_available", act, STORAGES | BULK_LISTINGS | {0x1007}, None)

    def odd_packet_sizes(self, seed: int = 1, largest: int = 70_000) -> None:
        """Data packets of any size from 1 byte up."""
        dice = random.Random(seed)
        self._gate.packet_sizes = lambda: iter(lambda: dice.randint(1, largest), 0)

    def single_end_data(self) -> None:
        """Everything in one EndData packet, as Nikon does."""
        self._gate.packet_sizes = lambda: repeat(0xFFFFFFF0)

    def empty_end_data(self) -> None:
        """All bytes in Data packets, and an EndData without any."""
        self._gate.has_empty_end_data = True

    def unknown_total(self) -> None:
        """StartData says that the length is unknown."""
        self._gate.is_total_unknown = True

    def honour_cancel(self) -> None:
        """Cancel on the event socket ends a data phase with EndData and TransactionCancelled, as the standard says."""
        self._gate.honours_cancel = True

    def ignore_odd_phases(self) -> None:
        """Requests with a DataPhaseInfo other than 1 and 2 get no answer."""
        self._gate.ignores_odd_phases = True

    def probe(self) -> None:
        """Send a ProbeRequest on the event socket."""
        self._server.send_event(ProbeRequest())

    # --- answers

    def busy(self, times: int | None = 1, operations: Ops = None) -> None:
        """DeviceBusy to anything, or to some operations."""

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            is_spared = operations is None and transaction.code in SETTING_UP
            return None if is_spared else Answer(Rc.DEVICE_BUSY)

        self._before("busy", act, operations, times)

    def fail_op(self, operation: int, code: int, times: int | None = None) -> None:
        """Answer one operation with a response code, such as 0x9109 with 0x2002 (R5 Mark II)."""
        self._before("fail_op", lambda transaction, answer: Answer(code), operation, times)

    def reset_on(self, operation: int, times: int | None = 1, skip: int = 0) -> None:
        """RST instead of an answer, after `skip` good ones."""
        good = iter(range(skip))

        def act(transaction: Transaction, answer: Answer) -> None:
            if next(good, None) is None:
                raise Reset("on this operation")

        self._before("reset_on", act, operation, times)

    def without_op(self, *operations: int) -> None:
        """The body neither lists nor knows these operations."""
        self._camera.profile = self._camera.profile.without(*operations)

    def no_data(self, operation: int, times: int | None = 1) -> None:
        """OK without the data phase that belongs to it."""
        self._after("no_data", lambda transaction, answer: Answer(answer.code), operation, times)

    def garbage(self, times: int = 1, operations: Ops = None, seed: int = 1, size: int = 64) -> None:
        """Random bytes in place of an answer, then silence."""

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            if operations is None and transaction.code in SETTING_UP:
                return None
            return Answer(raw=(random.Random(seed).randbytes(size),), then=_wait_for_the_end)

        self._before("garbage", act, operations, times)

    def endless_dataset(self, operation: int) -> None:
        """A data phase that never ends."""

        def packets(transaction_id: int) -> Iterator[bytes]:
            yield encode(StartData(transaction_id, None))
            header = encode_data_header(transaction_id, 1 << 16, last=False)
            yield from repeat(header + b"\1" * (1 << 16))

        self._before(
            "endless_dataset",
            lambda transaction, answer: Answer(raw=packets(transaction.id)),
            operation,
            None,
        )

    def short_data(self, times: int = 1, operations: Ops = READS, missing: int = 1) -> None:
        """StartData promises `missing` bytes more than come."""

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            return None if answer.size is None else dataclasses.replace(answer, promised_more=missing)

        self._after("short_data", act, operations, times)

    def long_data(self, times: int = 1, operations: Ops = READS, surplus: int = 1) -> None:
        """More bytes come than StartData promises."""

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            if answer.size is None:
                return None
            payload = b"".join(answer.views) + b"\1" * surplus
            raw = (
                encode(StartData(transaction.id, answer.size)),
                encode_data_header(transaction.id, len(payload), last=True) + payload,
                encode(OperationResponse(answer.code, transaction.id, answer.params)),
            )
            return Answer(raw=raw, then=_wait_for_the_end, item=answer.item)

        self._after("long_data", act, operations, times)

    def stale_tid(self, times: int = 1, operations: Ops = None) -> None:
        """The late answer to an abandoned request comes before the right one."""

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            if operations is None and transaction.code in SETTING_UP:
                return None
            old = transaction.id - 1
            stale = (
                encode_data_header(old, 100, last=True) + bytes(100),
                encode(OperationResponse(Rc.OK, old)),
            )
            return dataclasses.replace(answer, raw_before=stale)

        self._after("stale_tid", act, operations, times)

    def short_read(self, times: int = 1, size: int = 1000) -> None:
        """A partial read brings fewer bytes than asked for, and says so; 0 is possible."""

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            if answer.size is None or answer.size <= size:
                return None
            return dataclasses.replace(answer, size=size, params=(size,))

        self._after("short_read", act, PARTIAL_READS, times)

    def object_not_ready(self, times: int = 1, name: str | None = None) -> None:
        """0xA102: the data of a new object is not there yet."""
        self._on_item("object_not_ready", name, READS | INFOS, Answer(Rc.OBJECT_NOT_READY), times)

    def unreadable(self, name: str, code: int = Rc.GENERAL_ERROR) -> None:
        """One object that can be listed but never read."""
        self._on_item("unreadable", name, READS, Answer(code), None)

    def missing_thumbnail(self, name: str | None = None) -> None:
        """NoThumbnailPresent for one object, or for all."""
        self._on_item("missing_thumbnail", name, THUMBS, Answer(Rc.NO_THUMBNAIL_PRESENT), None)

    def _on_item(self, verb: str, name: str | None, operations: Ops, said: Answer, times: int | None) -> None:
        wanted = None if name is None else self._camera.find(name)

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            item = self._camera.item(transaction.params[0])
            return said if item is not None and (wanted is None or item is wanted) else None

        self._before(verb, act, operations, times)

    def deleted_mid_transfer(self, name: str, at: int = 1) -> None:
        """The first read from offset `at` on finds the file deleted: GeneralError, then InvalidObjectHandle."""
        item = self._camera.find(name)

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            if transaction.params[0] != item.handle or transaction.params[1] < at:
                return None
            self._camera.forget(self._camera.card_of(item), item)
            return Answer(Rc.GENERAL_ERROR)

        self._before("deleted_mid_transfer", act, PARTIAL_READS, 1)

    def close_after_get_object(self) -> None:
        """A 2000D closes the connection after each whole-object read."""
        self._after(
            "close_after_get_object",
            lambda transaction, answer: dataclasses.replace(answer, then=_hang_up),
            WHOLE_READS,
            None,
        )

    def big_chunk_reset(self, limit: int = 2 << 20) -> None:
        """An EOS R resets on partial reads above `limit`."""

        def act(transaction: Transaction, answer: Answer) -> None:
            if answer.size is not None and answer.size > limit:
                raise Reset("too big a chunk")

        self._after("big_chunk_reset", act, PARTIAL_READS, None)

    def listing_empty_when_big(self, limit: int = 0x2000) -> None:
        """A 6D answers the listing of a big folder with nothing, whatever maximum was asked for."""

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            return data(datasets.listing([]), 0, 4) if (answer.size or 0) > limit else None

        self._after("listing_empty_when_big", act, BULK_LISTINGS, None)

    def partial_64_form(self, form: str) -> None:
        """ "A": 0x9172 takes offset low, size, offset high. "B": offset low, offset high, size."""
        self._camera.profile = dataclasses.replace(self._camera.profile, partial_64_form=form)

    # --- events

    def lost_event(self, times: int = 1) -> None:
        """The next bundles of records never reach the queue."""
        self._camera.loses_events = times

    def event_silent(self) -> None:
        """Neither GetEvent nor the event socket says anything."""
        self.event_socket("silent")
        self._before(
            "event_silent", lambda transaction, answer: data(datasets.TERMINATOR), Op.EOS_GET_EVENT, None
        )

    def empty_answer(self, times: int = 1) -> None:
        """GetEvent says "nothing new" although there is something; it comes later."""
        self._before(
            "empty_answer", lambda transaction, answer: data(datasets.TERMINATOR), Op.EOS_GET_EVENT, times
        )

    def event_socket(self, style: str) -> None:
        """ "silent", "c101" (call GetEvent) or "4002" (standard events)."""
        self._camera.profile = dataclasses.replace(self._camera.profile, event_socket=style)

    def events_per_answer(self, count: int | None) -> None:
        """Records are spread over several GetEvent answers."""
        self._camera.events_per_answer = count

    def trailing_zeros(self, count: int) -> None:
        """Zero bytes behind the terminator, as a 1300D sends."""
        self._camera.trailing_zeros = count

    def event_flood(self, count: int = 100_000) -> None:
        """Standard ObjectAdded events that mean nothing."""
        for number in range(count):
            self._server.send_event(Event(Ev.OBJECT_ADDED, 0xFFFFFFFF, (number,)))

    def stall_on_unread_events(self) -> None:
        """The command side stands still while the event socket is full."""
        self._gate.stalls_on_unread_events = True

    def will_shut_down(self) -> None:
        """C18D: somebody should send KeepDeviceOn."""
        self._camera.tell(datasets.u32_record(Ev.EOS_WILL_SOON_SHUTDOWN, 10))

    def clock_offset(self, seconds: float) -> None:
        """The camera's clock is wrong by so much (negative: it goes back)."""
        self._camera.clock_offset_seconds = seconds

    # --- the cards

    def renumber_handles(self, reconnect: bool = True) -> None:
        """Every handle belongs to another file of its folder afterwards; `reconnect` ends the session first, as a real
        camera would not do it within one."""
        if reconnect:
            self._server.hang_up()
        with self._camera.lock:
            for card in self._camera.cards:
                card.rotate_handles()

    def swap_card(self, slot: int = 0, size_change: int = 0, seconds_later: float = 86_400) -> None:
        """Another card with the same names and handles: other content, capture times and, if wanted, sizes."""
        with self._camera.lock:
            old = self._camera.slots[slot].card
            assert old is not None, f"no card in slot {slot}"
            card = Card(old.storage, capacity_bytes=old.capacity_bytes, is_eos=old.is_eos)
            fill.copy(old, card, later=timedelta(seconds=seconds_later), size_change=size_change)
            self.pull_card(slot)
            self._pulled[slot] = card
            self.insert_card(slot)

    def pull_card(self, slot: int = 0) -> None:
        with self._camera.lock:
            place = self._camera.slots[slot]
            assert place.card is not None, f"no card in slot {slot}"
            self._pulled[slot], place.card, place.is_listed = place.card, None, False
            place.listings = {}
            self._store_event(Ev.EOS_STORE_REMOVED, Ev.STORE_REMOVED, place.storage)

    def insert_card(self, slot: int = 0) -> None:
        """Put back what `pull_card` took."""
        with self._camera.lock:
            place = self._camera.slots[slot]
            place.card, place.is_listed = self._pulled.pop(slot), True
            self._store_event(Ev.EOS_STORE_ADDED, Ev.STORE_ADDED, place.storage)

    def format_and_reuse_handles(self, slot: int = 0, size_change: int = 0) -> None:
        """Format the card, then shoot as many files with the counter reset: same names and handles, other pictures."""
        self.swap_card(slot, size_change, seconds_later=172_800)

    def _store_event(self, eos: Ev, standard: Ev, storage: int) -> None:
        self._camera.tell(
            datasets.u32_record(eos, storage), datasets.u32_record(Ev.EOS_STORAGE_STATUS_CHANGED, storage)
        )
        self._camera.hint(standard, storage)

    def same_name_twice(self, name: str | None = None, size_change: int = 0) -> str:
        """A new folder gets a file of the same name (the first file's unless said). Returns its path."""
        with self._camera.lock:
            twin = self._camera.find(name) if name else self._camera.cards[0].files()[0]
            card = self._camera.card_of(twin)
            assert twin.source is not None
            number = int(card.current.name[:3]) + 1
            folder = card.add_folder(f"{number}{card.current.name[3:]}", self._camera.now())
            source = Synthetic(f"{card.salt}{folder.path}/{twin.name}", twin.source.size + size_change)
            return self._appear(card, folder, twin.name, source)

    def hostile_name(self, name: str = "../../x", size: int = 1000) -> str:
        """A new file of this name, whatever that does to a path. Returns its path."""
        with self._camera.lock:
            card = self._camera.cards[0]
            folder, _ = card.next_name(self._camera.now())
            return self._appear(card, folder, name, Synthetic(f"{card.salt}{folder.path}/{name}", size))

    def _appear(self, card: Card, folder: Item, name: str, source: Synthetic) -> str:
        now = self._camera.now().replace(microsecond=0)
        item = card.add(folder, name, source, now)
        shot = Shot([], [], source.size, time.monotonic(), time.time())
        self._camera.stats.shots.append(shot)
        self._camera.announce(card, [item], shot)
        return item.path

    def roll_over_9999(self, slot: int = 0) -> None:
        """The next shot is number 9999, the one after it 0001 in a new folder."""
        with self._camera.lock:
            card = self._camera.slots[slot].card
            assert card is not None, f"no card in slot {slot}"
            card.file_number = 9998

    def lying_size(self, name: str, listed: int, real: int | None = None) -> None:
        """The camera says `listed`; reads find `real` bytes (unless given, what was there)."""
        with self._camera.lock:
            item = self._camera.find(name)
            if real is not None:
                assert isinstance(item.source, Synthetic), "only a synthetic file can change its size"
                item.source = Synthetic(item.source.key, real)
            self._camera.resize(item, listed)

    def wrong_header(self, name: str) -> None:
        """The file does not begin as one of its kind does."""
        item = self._camera.find(name)
        assert isinstance(item.source, Synthetic), "only a synthetic file can change its content"
        item.source = Synthetic(f"{item.source.key}.wrong", item.source.size)

    def size_final_at_second_look(self, name: str | None = None, first: int = 0, looks: int = 1) -> None:
        """A file (None: every new one) is listed with size `first` until `looks` answers have shown it so; then C187."""
        if name is None:
            self._camera.on_written.append(lambda item: self._unsettle(item, first, looks))
        else:
            self._unsettle(self._camera.find(name), first, looks)

    def _unsettle(self, item: Item, first: int, looks: int) -> None:
        final = item.listed_size
        shown = iter(range(looks - 1))
        self._camera.resize(item, first)

        def act(transaction: Transaction, answer: Answer) -> Answer | None:
            params = transaction.params
            is_shown = params[0] == item.handle if transaction.code in INFOS else params[1] == item.parent
            if is_shown and item.listed_size != final and next(shown, None) is None:
                self._camera.resize(item, final, tell=True)
                return answer
            return None

        self._after("size_final_at_second_look", act, INFOS | BULK_LISTINGS, None)

    def delete(self, name: str) -> None:
        """Somebody deletes a file in playback."""
        with self._camera.lock:
            item = self._camera.find(name)
            self._camera.forget(self._camera.card_of(item), item)

    def protect(self, name: str) -> None:
        """Somebody protects a file in playback: C187, and ObjectInfo says so from then on."""
        with self._camera.lock:
            item = self._camera.find(name)
            item.is_protected, item.recorded_info = True, None
            self._camera.card_of(item).changes += 1
            self._camera.tell(events.added(self._camera.profile, item, is_change=True))

    def read_only_card(self, slot: int = 0) -> None:
        """The lock switch of the card is on."""
        card = self._camera.slots[slot].card
        assert card is not None, f"no card in slot {slot}"
        card.is_read_only = True

    def _accident(self, verb: str, error: Hangup) -> Callable[[Wire], None]:
        def act(wire: Wire) -> None:
            self._gate.struck[verb] += 1
            raise error

        return act


def _codes(operations: Ops) -> Collection[int] | None:
    return (operations,) if isinstance(operations, int) else operations


def _hang_up(wire: Wire) -> None:
    raise Hangup("on purpose")


def _wait_for_the_end(wire: Wire) -> None:
    wire.idle(None)
    raise Hangup("on purpose")
