"""What the simulated camera answers to each operation (protocol.md §3 and §4): one function each, in one table.

An operation gets the camera, the session and the request's parameters, and returns an `Answer`. Whether a body lists
the operation, pacing, troubles and bytes on the wire are not its business. `camera.lock` is held while one runs; object
data is only described here (`views`) and read while it is sent.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.simcam import encode, recordings
from tests.simcam.camera import Camera
from tests.simcam.card import Card, Item
from tests.simcam.codes import ALL_STORAGES, PARENT_ROOT, WIDE_OPS, Op, Prop, Rc
from tests.simcam.wire import Wire


@dataclass(slots=True)
class Session:
    """What the camera remembers of one initiator between its operations."""

    is_open: bool = False
    was_closed: bool = False
    remote_mode: int = 0
    opened_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and before it a data phase of `size` bytes unless that is None."""

    code: int = Rc.OK
    params: tuple[int, ...] = ()
    size: int | None = None
    views: Iterable[memoryview | bytes] = ()
    item: Item | None = None  # whose content it is
    # What only troubles set:
    promised_more: int = 0  # StartData announces so many bytes that never come
    raw_before: tuple[bytes, ...] = ()
    raw: Iterable[bytes] | None = None  # in place of everything else
    then: Callable[[Wire], None] | None = None  # after the answer


def data(payload: bytes, *params: int) -> Answer:
    return Answer(params=params, size=len(payload), views=(payload,))


Operation = Callable[[Camera, Session, Sequence[int], bytes], Answer]
OPERATIONS: dict[int, Operation] = {}


def answers(*codes: int) -> Callable[[Operation], Operation]:
    def register(operation: Operation) -> Operation:
        OPERATIONS.update(dict.fromkeys(codes, operation))
        return operation

    return register


def perform(camera: Camera, session: Session, code: int, params: Sequence[int], payload: bytes) -> Answer:
    """Carry out one operation; `params` are five, those that were not sent are 0. Listed but unknown to us: GeneralError, Canon's favourite way to say no."""
    if code not in camera.profile.operations or (session.was_closed and camera.profile.closes_badly):
        return Answer(Rc.OPERATION_NOT_SUPPORTED)
    if not session.is_open and code not in (Op.GET_DEVICE_INFO, Op.OPEN_SESSION):
        return Answer(Rc.SESSION_NOT_OPEN)
    for refused, answer in camera.profile.refuses:
        if code == refused:
            return Answer(answer)
    operation = OPERATIONS.get(code)
    if operation is None:
        return Answer(Rc.GENERAL_ERROR)
    with camera.lock:
        return operation(camera, session, params, payload)


# --- session


@answers(Op.GET_DEVICE_INFO)
def device_info(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return data(camera.profile.device_info())


@answers(Op.OPEN_SESSION)
def open_session(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    if params[0] == 0:
        return Answer(Rc.INVALID_PARAMETER)
    if session.is_open:
        return Answer(Rc.SESSION_ALREADY_OPEN, (1,))
    session.is_open, session.opened_at = True, time.monotonic()
    camera.new_session()
    return Answer()


@answers(Op.CLOSE_SESSION)
def close_session(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    session.is_open, session.was_closed = False, True
    return Answer()


# --- storages


@answers(Op.GET_STORAGE_IDS, Op.EOS_GET_STORAGE_IDS)
def storage_ids(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    if camera.profile.is_eos:
        return data(encode.u32_array([slot.storage for slot in camera.slots if slot.is_listed]))
    return data(encode.u32_array([slot.storage for slot in camera.slots if slot.card]))


@answers(Op.GET_STORAGE_INFO, Op.EOS_GET_STORAGE_INFO)
def storage_info(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    slot = camera.slot(params[0])
    if slot is None:
        return Answer(Rc.INVALID_STORAGE_ID)
    card = slot.card
    return data(
        encode.storage_info(
            capacity_bytes=card.capacity_bytes if card else 0,
            free_bytes=max(0, card.capacity_bytes - card.used_bytes) if card else 0,
            description=slot.description,
            access=1 if card and card.is_read_only else 0,
        )
        + (b"\0\0" if camera.profile.is_eos else b"")  # the 60D recording has two bytes too many
    )


# --- listing


def _chosen_cards(camera: Camera, storage: int) -> list[Card] | None:
    if storage == ALL_STORAGES:
        return camera.cards
    slot = camera.slot(storage)
    return None if slot is None else [slot.card] if slot.card else []


@answers(Op.GET_OBJECT_HANDLES)
def object_handles(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    """Third parameter: 0 everything flat, all ones the roots, a handle its direct children."""
    storage, format, parent = params[:3]
    cards = _chosen_cards(camera, storage)
    if cards is None:
        return Answer(Rc.INVALID_STORAGE_ID)
    if format not in (0, 0xFFFFFFFF):
        return Answer(Rc.SPECIFICATION_BY_FORMAT_UNSUPPORTED)
    if parent == 0:
        return data(encode.u32_array([item.handle for card in cards for item in card.all()]))
    if parent == PARENT_ROOT:
        return data(encode.u32_array([item.handle for card in cards for item in card.children(card.root)]))
    card = next((card for card in cards if card.has_folder(parent)), None)
    if card is None:
        return Answer(Rc.INVALID_PARENT_OBJECT)
    return data(encode.u32_array([item.handle for item in card.children(parent)]))


@answers(Op.GET_NUM_OBJECTS)
def num_objects(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    answer = object_handles(camera, session, params, payload)
    return answer if answer.size is None else Answer(params=(answer.size // 4 - 1,))


def listing_of(camera: Camera, storage: int, parent: int, *, is_wide: bool, max_bytes: int) -> Answer:
    """The bulk listing of one folder, encoded once for as long as nothing changes there. Longer than the
    initiator allows: empty (protocol.md §7.10)."""
    slot = camera.slot(storage)
    if slot is None:
        return Answer(Rc.INVALID_STORAGE_ID)
    if (card := slot.card) is None:
        return data(encode.listing([]), 0, 4)
    parent = card.root if parent == PARENT_ROOT else parent
    if not card.has_folder(parent):
        return Answer(Rc.INVALID_PARENT_OBJECT)
    key = (parent, int(is_wide), card.changes)
    if key not in slot.listings:
        body = encode.body_64 if is_wide else encode.body_32
        slot.listings = {old: kept for old, kept in slot.listings.items() if old[2] == card.changes}
        slot.listings[key] = encode.listing(map(body, card.children(parent)))
    payload = slot.listings[key]
    if len(payload) > max_bytes:
        payload = encode.listing([])
    return data(payload, 0, len(payload))


@answers(Op.EOS_GET_OBJECT_INFO_EX)
def object_info_ex(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return listing_of(camera, params[0], params[1], is_wide=False, max_bytes=params[2])


@answers(Op.EOS_GET_OBJECT_INFO_EX_64)
def object_info_ex_64(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return listing_of(camera, params[0], params[1], is_wide=True, max_bytes=params[2])


def _object_info(camera: Camera, handle: int, *, is_wide: bool) -> Answer:
    item = camera.item(handle)
    if item is None:
        return Answer(Rc.INVALID_OBJECT_HANDLE)
    if item.recorded_info is not None and not is_wide:
        return data(item.recorded_info)
    parent = item.parent if camera.item(item.parent) else 0
    suffix = camera.profile.date_suffix
    return data(encode.object_info(item, parent, date_suffix=suffix, wide=is_wide))


@answers(Op.GET_OBJECT_INFO, Op.EOS_GET_OBJECT_INFO)
def object_info(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return _object_info(camera, params[0], is_wide=False)


@answers(Op.EOS_GET_OBJECT_INFO_64)
def object_info_64(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return _object_info(camera, params[0], is_wide=True)


# --- content


def read(camera: Camera, handle: int, offset: int, length: int) -> Answer:
    """Part of a file. At or behind its end: InvalidParameter (what a real body does there is not known)."""
    item = camera.item(handle)
    if item is None or item.source is None:
        return Answer(Rc.INVALID_OBJECT_HANDLE)
    size = item.source.size
    if offset > size or (offset == size and length):
        return Answer(Rc.INVALID_PARAMETER)
    take = min(length, size - offset)
    return Answer(params=(take & 0xFFFFFFFF,), size=take, views=item.source.views(offset, take), item=item)


@answers(Op.GET_OBJECT, Op.EOS_GET_OBJECT, Op.EOS_GET_OBJECT_64)
def whole_object(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    answer = read(camera, params[0], 0, 1 << 62)
    return answer if answer.size is None else Answer(size=answer.size, views=answer.views, item=answer.item)


@answers(Op.GET_PARTIAL_OBJECT, Op.EOS_GET_PARTIAL_OBJECT, Op.EOS_GET_PARTIAL_OBJECT_EX)
def partial_object(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return read(camera, params[0], params[1], params[2])


@answers(Op.EOS_GET_PARTIAL_OBJECT_64)
def partial_object_64(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    """Form A: offset low, size, offset high. Form B: offset low, offset high, size. Nobody knows which is right."""
    low, second, third = params[1:4]
    high, size = (third, second) if camera.profile.partial_64_form == "A" else (second, third)
    return read(camera, params[0], high << 32 | low, size)


@answers(Op.EOS_GET_PARTIAL_OBJECT_EX_64)
def partial_object_ex_64(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return read(camera, params[0], params[2] << 32 | params[1], params[3])


@answers(Op.GET_THUMB, Op.EOS_GET_THUMB_EX)
def thumb(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    item = camera.item(params[0])
    if item is None:
        return Answer(Rc.INVALID_OBJECT_HANDLE)
    return Answer(Rc.NO_THUMBNAIL_PRESENT) if item.thumbnail is None else data(item.thumbnail)


# --- changing the card


@answers(Op.DELETE_OBJECT, Op.EOS_DELETE_OBJECT)
def delete_object(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    item = camera.item(params[0])
    if item is None:
        return Answer(Rc.INVALID_OBJECT_HANDLE)
    card = camera.card_of(item)
    if card.is_read_only:
        return Answer(Rc.STORE_READ_ONLY)
    if item.is_protected or item.is_folder:
        return Answer(Rc.OBJECT_WRITE_PROTECTED)
    camera.forget(card, item)
    if card.folder_path is not None:
        (card.folder_path / item.path).unlink(missing_ok=True)
    return Answer()


@answers(Op.SET_OBJECT_PROTECTION)
def set_object_protection(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    item = camera.item(params[0])
    if item is None:
        return Answer(Rc.INVALID_OBJECT_HANDLE)
    item.is_protected = params[1] != 0
    return Answer()


# --- properties and events


@answers(Op.GET_DEVICE_PROP_DESC)
def device_prop_desc(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    if params[0] != Prop.BATTERY_PERCENT:
        return Answer(Rc.DEVICE_PROP_NOT_SUPPORTED)
    if camera.profile.is_eos:
        return data(recordings.payload("eos60d_getdevicepropdesc_5001"))
    return data(struct.pack("<HHBBBBBBB", Prop.BATTERY_PERCENT, 2, 0, 100, 80, 1, 0, 100, 1))


@answers(Op.GET_DEVICE_PROP_VALUE)
def device_prop_value(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    if params[0] == Prop.BATTERY_PERCENT:
        return data(b"\x50")
    if params[0] == Prop.DATE_TIME and Prop.DATE_TIME in camera.profile.properties:
        return data(encode.date(camera.now(), camera.profile.date_suffix))
    return Answer(Rc.DEVICE_PROP_NOT_SUPPORTED)


@answers(Op.EOS_SET_REMOTE_MODE)
def set_remote_mode(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    session.remote_mode = params[0]
    return Answer()


@answers(Op.EOS_GET_REMOTE_MODE)
def get_remote_mode(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return Answer(params=(session.remote_mode,))


@answers(Op.EOS_SET_EVENT_MODE)
def set_event_mode(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    if params[0]:
        camera.turn_events_on()
    else:
        camera.new_session()
    return Answer()


@answers(Op.EOS_GET_EVENT)
def get_event(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return data(camera.queue.fetch(camera.events_per_answer, camera.trailing_zeros))


@answers(Op.EOS_REQUEST_DEVICE_PROP_VALUE)
def request_device_prop_value(
    camera: Camera, session: Session, params: Sequence[int], payload: bytes
) -> Answer:
    """The value follows as a record; unaligned, as in the 60D recording."""
    texts = {
        Prop.OWNER: b"\0",
        Prop.ARTIST: bytes(64),
        Prop.COPYRIGHT: bytes(64),
        Prop.BODY_SERIAL: b"680422199\0",
    }
    if params[0] not in texts:
        return Answer(Rc.GENERAL_ERROR)
    camera.tell(encode.prop_changed(params[0], texts[Prop(params[0])]))
    return Answer()


@answers(Op.EOS_SET_DEVICE_PROP_VALUE_EX)
def set_device_prop_value_ex(
    camera: Camera, session: Session, params: Sequence[int], payload: bytes
) -> Answer:
    """u32 length, u32 property, value; the change comes back as a record."""
    if len(payload) < 8 or struct.unpack_from("<I", payload)[0] != len(payload):
        return Answer(Rc.INVALID_PARAMETER)
    camera.tell(encode.prop_changed(struct.unpack_from("<I", payload, 4)[0], payload[8:]))
    return Answer()


@answers(Op.EOS_GET_DEVICE_INFO_EX)
def device_info_ex(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return data(recordings.payload("eos60d_getdeviceinfoex_9108"))


@answers(Op.GET_MAC_ADDRESS)
def mac_address(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return data(camera.profile.guid[-6:])


@answers(
    Op.EOS_KEEP_DEVICE_ON,
    Op.EOS_SET_UI_LOCK,
    Op.EOS_RESET_UI_LOCK,
    Op.EOS_PC_HDD_CAPACITY,
    Op.EOS_SET_NULL_PACKET_MODE,
    Op.EOS_SET_REQUEST_OLC_INFO_GROUP,
    Op.EOS_GET_CAMERA_SUPPORT,
    Op.EOS_TRANSFER_COMPLETE,
    Op.EOS_CANCEL_TRANSFER,
)
def nothing_visible(camera: Camera, session: Session, params: Sequence[int], payload: bytes) -> Answer:
    return Answer()


assert set(Op) <= set(OPERATIONS) and set(OPERATIONS) >= WIDE_OPS, "an operation without an answer"
