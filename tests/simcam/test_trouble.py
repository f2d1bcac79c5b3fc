"""Every trouble strikes as its verb says. A verb without a test here fails the last test."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simcam import SimCamera, upnp
from tests.simcam.control import verbs
from tests.simcam.dial import Answer, Dial, Refused
from tests.simcam.trouble import Trouble

OK, BUSY, GENERAL = 0x2001, 0x2019, 0x2002
ALL = 0xFFFFFFFF
STORAGE = 0x00010001
EMPTY = bytes.fromhex("0800000000000000")
TESTED: set[str] = set()
Gone = (EOFError, ConnectionResetError)


def tries(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Note which verbs a test is about."""
    TESTED.update(names)
    return lambda test: test


@pytest.fixture
def cam() -> Iterator[SimCamera]:
    with SimCamera("eos-r7", card="3:300K+700K:JPG+CR3") as camera:
        yield camera


@pytest.fixture
def dial(cam: SimCamera) -> Iterator[Dial]:
    with Dial(cam.port) as initiator:
        yield initiator


def handle(cam: SimCamera, name: str = "IMG_0001.JPG") -> int:
    return cam.camera.find(name).handle


def content(cam: SimCamera, name: str = "IMG_0001.JPG") -> bytes:
    source = cam.camera.find(name).source
    assert source is not None
    return b"".join(source.views(0, source.size))


def events(dial: Dial) -> list[tuple[int, bytes]]:
    """Code and payload of each record of one GetEvent."""
    data, at, found = dial.ask(0x9116).data or b"", 0, []
    while struct.unpack_from("<II", data, at) != (8, 0):
        size, code = struct.unpack_from("<II", data, at)
        found.append((code, data[at + 8 : at + size]))
        at += size
    return found


def listen(dial: Dial) -> None:
    """Turn events on and take the first flood away."""
    dial.ask(0x9115, 1)
    dial.ask(0x9116), dial.ask(0x9116)


def listed(cam: SimCamera, dial: Dial, name: str = "IMG_0001.JPG") -> tuple[int, int]:
    """Handle and size as the bulk listing says."""
    parent = cam.camera.find(name).parent
    data = dial.ask(0x9109, STORAGE, parent, 1 << 20).data or b""
    for at in range(4, len(data), 56):
        if data[at + 36 : at + 52].rstrip(b"\0").decode("latin-1") == name:
            found: tuple[int, int] = struct.unpack_from("<I16xI", data, at + 4)
            return found
    raise KeyError(name)


# --- the handshake


@tries("refuse_pairing", "initiator_busy", "refuse", "forget_pairing", "heal")
def test_refusals(cam: SimCamera) -> None:
    cam.trouble.refuse_pairing(times=2)
    for _ in range(2):
        with pytest.raises(Refused, match="1"):
            Dial(cam.port)
    cam.trouble.initiator_busy()
    with pytest.raises(Refused, match="2"):
        Dial(cam.port)
    cam.trouble.refuse(3)
    with pytest.raises(Refused, match="3"):
        Dial(cam.port)
    Dial(cam.port).close()
    cam.trouble.refuse_pairing()
    for _ in range(3):
        with pytest.raises(Refused, match="1"):
            Dial(cam.port)
    cam.trouble.heal()
    Dial(cam.port).close()


@tries("pairing_delay", "linger_busy")
def test_a_dead_initiator_is_noticed_late(cam: SimCamera) -> None:
    cam.trouble.pairing_delay(0)
    cam.trouble.linger_busy(0.8)
    Dial(cam.port).close()
    with pytest.raises(Refused, match="2"):
        Dial(cam.port)
    time.sleep(0.4)
    Dial(cam.port).close()


@tries("reset_on_connect")
def test_reset_on_connect(cam: SimCamera) -> None:
    cam.trouble.reset_on_connect(times=2)
    for _ in range(2):
        with pytest.raises(Gone):
            Dial(cam.port)
    Dial(cam.port).close()
    assert cam.stats.troubles["reset_on_connect"] == 2


@tries("not_a_camera")
def test_not_a_camera(cam: SimCamera) -> None:
    cam.trouble.not_a_camera()
    with pytest.raises(Gone):
        Dial(cam.port, timeout=0.5)


@tries("refuse_event_connect")
def test_refuse_event_connect(cam: SimCamera) -> None:
    cam.trouble.refuse_event_connect(0.1)
    with pytest.raises(ConnectionRefusedError):
        Dial(cam.port)
    until = time.monotonic() + 2
    while time.monotonic() < until:
        try:
            cam.trouble.heal()
            Dial(cam.port).close()
            return
        except (ConnectionRefusedError, Refused):
            continue
    raise AssertionError("the port stays closed")


@tries("delay_event_ack")
def test_delay_event_ack(cam: SimCamera) -> None:
    cam.trouble.delay_event_ack(0.2)
    began = time.monotonic()
    Dial(cam.port).close()
    assert time.monotonic() - began >= 0.2


@tries("one_shot_listener", "arm")
def test_one_shot_listener(cam: SimCamera) -> None:
    cam.trouble.one_shot_listener()
    Dial(cam.port).close()
    with pytest.raises(ConnectionRefusedError):
        Dial(cam.port)
    cam.trouble.arm()
    Dial(cam.port).close()


@tries("armed_by_description")
def test_armed_by_the_description() -> None:
    with SimCamera("eos-6d", card="1:10K", upnp=0) as cam:
        cam.trouble.armed_by_description()
        assert cam.upnp is not None
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                Dial(cam.port)
            with urllib.request.urlopen(f"http://127.0.0.1:{cam.upnp.port}{upnp.PATH}", timeout=5) as answer:
                body = answer.read()
                assert len(body) == 1395 == int(answer.headers["Content-Length"]), "the recorded length"
            Dial(cam.port).close()


@tries("dangling_session")
def test_dangling_session(cam: SimCamera) -> None:
    cam.trouble.dangling_session()
    with Dial(cam.port, opens_session=False) as dial:
        assert dial.ask(0x1002, 1).code == 0x201E
        assert dial.ask(0x1004).code == OK


# --- the link


@tries("drop")
def test_drop(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.drop()
    assert dial.command.recv(1) == b"" and dial.event is not None and dial.event.recv(1) == b""


@tries("cut_after", "hang_up_after")
@pytest.mark.parametrize("verb, error", [("cut_after", ConnectionResetError), ("hang_up_after", EOFError)])
@pytest.mark.parametrize("size", [0, 1, 13, 20, 100_000, 262_200])
def test_cut_after(cam: SimCamera, dial: Dial, verb: str, error: type[Exception], size: int) -> None:
    getattr(cam.trouble, verb)(size)
    dial.write(6, struct.pack("<IHIIII", 1, 0x101B, 1, handle(cam), 0, 1 << 20))
    got = 0
    try:
        while piece := dial.command.recv(1 << 16):
            got += len(piece)
        assert error is EOFError
    except ConnectionResetError:
        assert error is ConnectionResetError and got <= size
    else:
        assert got == size
    assert cam.stats.troubles[verb] == 1


@tries("stall")
def test_stall(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.stall(after=100_000, seconds=0.3)
    began = time.monotonic()
    assert dial.ask(0x101B, handle(cam), 0, 1 << 20).data == content(cam)
    assert time.monotonic() - began >= 0.3
    cam.trouble.stall()
    dial.command.settimeout(0.2)
    with pytest.raises(TimeoutError):
        dial.ask(0x1004)


@tries("sleep_after", "wake", "sleep")
def test_sleep(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.sleep_after(0.3)
    for _ in range(4):
        time.sleep(0.1)
        dial.ask(0x911D)
    assert dial.command.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        Dial(cam.port)
    cam.trouble.wake()
    Dial(cam.port).close()
    cam.trouble.sleep()
    with pytest.raises(ConnectionRefusedError):
        Dial(cam.port)


@tries("quiet_after_open")
def test_quiet_after_open(cam: SimCamera) -> None:
    cam.trouble.quiet_after_open(0.2)
    with Dial(cam.port) as dial, pytest.raises(Gone):
        dial.ask(0x1008, handle(cam))
    with Dial(cam.port) as dial:
        time.sleep(0.2)
        assert dial.ask(0x1008, handle(cam)).code == OK
    with SimCamera("eos-2000d", card="1:10K") as young, Dial(young.port) as dial, pytest.raises(Gone):
        dial.ask(0x1008, handle(young))


@tries("store_not_available")
def test_store_not_available(cam: SimCamera) -> None:
    cam.trouble.store_not_available(0.2)
    with Dial(cam.port) as dial:
        assert dial.ask(0x9101).code == 0x2013
        time.sleep(0.2)
        assert dial.ask(0x9101).code == OK


@tries("odd_packet_sizes", "single_end_data", "empty_end_data", "unknown_total")
@pytest.mark.parametrize("verb", ["odd_packet_sizes", "single_end_data", "empty_end_data", "unknown_total"])
def test_framing(cam: SimCamera, dial: Dial, verb: str) -> None:
    getattr(cam.trouble, verb)()
    answer = dial.ask(0x101B, handle(cam), 0, 1 << 20)
    assert answer.data == content(cam)
    assert answer.announced == (0xFFFFFFFFFFFFFFFF if verb == "unknown_total" else 300 << 10)
    dial.write(6, struct.pack("<IHIIII", 1, 0x101B, 2, handle(cam), 0, 1 << 20))
    sizes = []
    while (packet := dial.read())[0] != 7:
        sizes.append((packet[0], len(packet[1]) - 4))
    assert {
        "odd_packet_sizes": len(sizes) > 6,
        "single_end_data": sizes[1:] == [(12, 300 << 10)],
        "empty_end_data": sizes[-1] == (12, 0) and len(sizes) == 4,
        "unknown_total": len(sizes) == 3,
    }[verb]


@tries("honour_cancel")
def test_honour_cancel(dial: Dial, cam: SimCamera) -> None:
    cam.shoot("MP4:1G")
    cam.trouble.honour_cancel()
    dial.write(6, struct.pack("<IHII", 1, 0x1009, 1, handle(cam, "MVI_0004.MP4")))
    assert dial.read()[0] == 9 and dial.event is not None
    dial.event.sendall(struct.pack("<III", 12, 11, 1))
    count = 0
    while (packet := dial.read())[0] == 10:
        count += 1
    assert packet == (12, struct.pack("<I", 1)) and count < 4000
    assert dial.read() == (7, struct.pack("<HI", 0x201F, 1))
    dial.transaction = 2
    assert dial.ask(0x1004).code == OK


@tries("ignore_odd_phases")
def test_ignore_odd_phases(cam: SimCamera, dial: Dial) -> None:
    dial.write(6, struct.pack("<IHI", 0, 0x1004, 1))
    assert [dial.read()[0] for _ in range(3)] == [9, 12, 7]
    cam.trouble.ignore_odd_phases()
    dial.write(6, struct.pack("<IHI", 3, 0x1004, 2))
    dial.command.settimeout(0.2)
    with pytest.raises(TimeoutError):
        dial.read()


@tries("probe")
def test_probe(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.probe()
    assert dial.read(dial.event) == (13, b"")


# --- answers


@tries("busy", "fail_op")
def test_busy_and_failing(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.busy(2)
    assert [dial.ask(0x1004).code for _ in range(3)] == [BUSY, BUSY, OK]
    cam.trouble.busy(1, operations=0x1005)
    assert dial.ask(0x1004).code == OK and dial.ask(0x1005, STORAGE).code == BUSY
    cam.trouble.fail_op(0x9109, GENERAL)
    assert dial.ask(0x9109, STORAGE, ALL, 1 << 20) == Answer(GENERAL, (), None)
    cam.trouble.heal("fail_op")
    assert dial.ask(0x9109, STORAGE, ALL, 1 << 20).code == OK


@tries("reset_on")
def test_reset_on(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.reset_on(0x9109, skip=1)
    assert dial.ask(0x9109, STORAGE, ALL, 1 << 20).code == OK
    with pytest.raises(ConnectionResetError):
        dial.ask(0x9109, STORAGE, ALL, 1 << 20)
    with Dial(cam.port) as again:
        assert again.ask(0x9109, STORAGE, ALL, 1 << 20).code == OK


@tries("without_op")
def test_without_op(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.without_op(0x9109, 0x9173)
    assert dial.ask(0x9109, STORAGE, ALL, 1 << 20).code == 0x2005
    assert struct.pack("<H", 0x9109) not in (dial.ask(0x1001).data or b"")[:400]


@tries("no_data")
def test_no_data(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.no_data(0x1004)
    assert dial.ask(0x1004) == Answer(OK, (), None)
    assert dial.ask(0x1004).data


@tries("garbage")
def test_garbage(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.garbage()
    dial.write(6, struct.pack("<IHI", 1, 0x1004, 1))
    length, kind = struct.unpack("<II", dial.command.recv(8))
    assert kind not in range(15)
    dial.close()
    with Dial(cam.port) as again:
        assert again.ask(0x1004).code == OK


@tries("endless_dataset")
def test_endless_dataset(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.endless_dataset(0x9109)
    dial.write(6, struct.pack("<IHIIII", 1, 0x9109, 1, STORAGE, ALL, 1 << 20))
    assert dial.read() == (9, struct.pack("<IQ", 1, 0xFFFFFFFFFFFFFFFF))
    for _ in range(100):
        assert dial.read()[0] == 10


@tries("short_data", "long_data")
def test_data_of_the_wrong_length(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.short_data(missing=7)
    answer = dial.ask(0x101B, handle(cam), 0, 1000)
    assert answer.announced == 1007 and len(answer.data or b"") == 1000
    cam.trouble.long_data(surplus=7)
    answer = dial.ask(0x101B, handle(cam), 0, 1000)
    assert answer.announced == 1000 and len(answer.data or b"") == 1007


@tries("stale_tid")
def test_stale_tid(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.stale_tid()
    dial.write(6, struct.pack("<IHI", 1, 0x1004, 5))
    kinds = [
        (kind, body[:10][-4:] if kind == 7 else body[:4]) for kind, body in (dial.read() for _ in range(5))
    ]
    ours, theirs = struct.pack("<I", 5), struct.pack("<I", 4)
    assert kinds == [(12, theirs), (7, theirs), (9, ours), (12, ours), (7, ours)]


@tries("short_read")
def test_short_read(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.short_read(size=500)
    answer = dial.ask(0x101B, handle(cam), 0, 1 << 20)
    assert answer.data == content(cam)[:500] and answer.params == (500,)
    assert dial.ask(0x101B, handle(cam), 0, 1 << 20).data == content(cam)


@tries("object_not_ready", "unreadable", "missing_thumbnail")
def test_single_objects(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.object_not_ready(2)
    codes = [dial.ask(0x1008, handle(cam)).code for _ in range(3)]
    assert codes == [0xA102, 0xA102, OK]
    cam.trouble.unreadable("IMG_0002.JPG")
    assert dial.ask(0x101B, handle(cam, "IMG_0002.JPG"), 0, 100).code == GENERAL
    assert dial.ask(0x1008, handle(cam, "IMG_0002.JPG")).code == OK
    assert dial.ask(0x101B, handle(cam, "IMG_0003.JPG"), 0, 100).code == OK
    cam.trouble.missing_thumbnail("IMG_0001.JPG")
    assert dial.ask(0x100A, handle(cam)).code == 0x2010
    assert dial.ask(0x100A, handle(cam, "IMG_0002.JPG")).code == OK
    cam.trouble.missing_thumbnail()
    assert dial.ask(0x910A, handle(cam, "IMG_0002.JPG"), 0x32000).code == 0x2010


@tries("deleted_mid_transfer", "delete", "protect")
def test_deleted_mid_transfer(cam: SimCamera, dial: Dial) -> None:
    gone = handle(cam)
    cam.trouble.protect("IMG_0001.JPG")
    assert (dial.ask(0x1008, gone).data or b"")[6:8] == b"\1\0"
    cam.trouble.deleted_mid_transfer("IMG_0001.JPG")
    assert [dial.ask(0x101B, gone, offset, 1000).code for offset in (0, 1000, 2000)] == [OK, GENERAL, 0x2009]
    gone = handle(cam, "IMG_0002.JPG")
    cam.trouble.delete("IMG_0002.JPG")
    assert dial.ask(0x1008, gone).code == 0x2009


@tries("close_after_get_object", "big_chunk_reset")
def test_big_reads(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.big_chunk_reset(limit=200_000)
    assert dial.ask(0x101B, handle(cam), 0, 200_000).code == OK
    with pytest.raises(Gone):
        dial.ask(0x101B, handle(cam), 0, 200_001)
    cam.trouble.close_after_get_object()
    with Dial(cam.port) as again:
        assert again.ask(0x1009, handle(cam)).data == content(cam)
        assert again.command.recv(1) == b""


@tries("listing_empty_when_big")
def test_listing_empty_when_big(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.listing_empty_when_big(limit=4 + 2 * 56)
    assert len(dial.ask(0x9109, STORAGE, ALL, 1 << 20).data or b"") == 4 + 2 * 56
    assert dial.ask(0x9109, STORAGE, cam.cards[0].current.handle, 1 << 20).data == bytes(4)


@tries("partial_64_form")
def test_partial_64_form(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.partial_64_form("B")
    assert dial.ask(0x9172, handle(cam), 16, 0, 32).data == content(cam)[16:48]
    assert dial.ask(0x9172, handle(cam), 16, 32, 0).code == 0x201D


# --- events


@tries("lost_event", "event_silent", "empty_answer", "events_per_answer", "trailing_zeros", "will_shut_down")
def test_get_event(cam: SimCamera, dial: Dial) -> None:
    listen(dial)
    cam.trouble.lost_event()
    cam.shoot("JPG:10K")
    assert events(dial) == []
    cam.shoot("JPG:10K")
    cam.trouble.empty_answer()
    assert events(dial) == []
    cam.trouble.events_per_answer(4)
    codes = [code for _ in range(3) for code, _ in events(dial)]
    assert codes == [0xC189, 0xC18B, 0xC185, 0xC1A7, 0xC189, 0xC18B, 0xC18E]
    cam.trouble.trailing_zeros(117)
    assert dial.ask(0x9116).data == EMPTY + bytes(117)
    cam.trouble.heal()
    cam.trouble.will_shut_down()
    assert [code for code, _ in events(dial)] == [0xC18D]
    cam.trouble.event_silent()
    cam.shoot("JPG:10K")
    assert dial.ask(0x9116).data == EMPTY


@tries("event_socket", "event_flood")
def test_event_socket(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.event_socket("c101")
    cam.shoot("JPG:10K")
    assert dial.read(dial.event) == (8, bytes.fromhex("01c1ffffffff"))
    cam.trouble.event_socket("4002")
    [shot] = cam.shoot("JPG:10K")
    assert dial.read(dial.event) == (8, struct.pack("<HII", 0x4002, ALL, shot.handles[0]))
    cam.trouble.event_flood(10)
    assert [dial.read(dial.event)[0] for _ in range(10)] == [8] * 10


@tries("stall_on_unread_events")
def test_stall_on_unread_events(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.stall_on_unread_events()
    assert dial.event is not None
    dial.event.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    full = 0
    while full < 4:  # the kernel goes on making room for a moment
        before = cam.stats.troubles["unread_events"]
        cam.trouble.event_flood(1000)
        full = full + 1 if cam.stats.troubles["unread_events"] - before == 1000 else 0
        time.sleep(0.1 if full else 0)
    dial.command.settimeout(0.3)
    with pytest.raises(TimeoutError):
        dial.ask(0x1004)
    dial.command.settimeout(10)
    dial.event.settimeout(0.02)
    while not select.select([dial.command], [], [], 0)[0]:
        with contextlib.suppress(TimeoutError):
            assert dial.event.recv(1 << 20)
    assert dial.read()[0] == 9


@tries("clock_offset")
def test_clock_offset(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.clock_offset(-86_400)
    cam.shoot("JPG:10K")
    year = (cam.camera.now()).strftime("%Y%m%d")
    assert year.encode("utf-16-le") in (dial.ask(0x1008, handle(cam, "IMG_0004.JPG")).data or b"")


# --- the cards


@tries("renumber_handles")
def test_renumber_handles(cam: SimCamera, dial: Dial) -> None:
    before = {item.name: item.handle for item in cam.files()}
    cam.trouble.renumber_handles()
    assert dial.command.recv(1) == b""
    after = {item.name: item.handle for item in cam.files()}
    assert set(before.values()) == set(after.values())
    assert all(before[name] != after[name] for name in before)
    with Dial(cam.port) as again:
        assert listed(cam, again)[0] == after["IMG_0001.JPG"]
        assert again.ask(0x1009, after["IMG_0001.JPG"]).data == content(cam)


@tries("swap_card", "format_and_reuse_handles")
@pytest.mark.parametrize("verb", ["swap_card", "format_and_reuse_handles"])
def test_swap_card(cam: SimCamera, dial: Dial, verb: str) -> None:
    listen(dial)
    before = {item.handle: (item.path, item.captured_at, item.listed_size) for item in cam.files()}
    old = cam.contents()
    getattr(cam.trouble, verb)()
    after = {item.handle: (item.path, item.captured_at, item.listed_size) for item in cam.files()}
    assert {number: (path, size) for number, (path, _, size) in before.items()} == {
        number: (path, size) for number, (path, _, size) in after.items()
    }
    assert all(before[number][1] != after[number][1] for number in before)
    assert all(old[path] != digest for path, digest in cam.contents().items())
    assert [code for code, _ in events(dial)] == [0xC193, 0xC184, 0xC192, 0xC184]
    assert dial.ask(0x1009, handle(cam)).data == content(cam)


@tries("pull_card", "insert_card")
def test_pull_card(cam: SimCamera, dial: Dial) -> None:
    listen(dial)
    number = handle(cam)
    cam.trouble.pull_card()
    assert events(dial) == [(0xC193, struct.pack("<I", STORAGE)), (0xC184, struct.pack("<I", STORAGE))]
    assert dial.ask(0x9109, STORAGE, ALL, 1 << 20).code == 0x2008
    assert dial.ask(0x101B, number, 0, 10).code == 0x2009
    assert dial.ask(0x9101).data == struct.pack("<II", 1, 0x00020001)
    cam.trouble.insert_card()
    assert dial.ask(0x101B, number, 0, 10).code == OK


@tries("same_name_twice", "hostile_name", "roll_over_9999")
def test_names(cam: SimCamera, dial: Dial) -> None:
    listen(dial)
    assert cam.trouble.same_name_twice("IMG_0001.JPG") == "DCIM/101CANON/IMG_0001.JPG"
    assert cam.contents()["DCIM/101CANON/IMG_0001.JPG"] != cam.contents()["DCIM/100CANON/IMG_0001.JPG"]
    cam.trouble.hostile_name("../../x")
    assert listed(cam, dial, "../../x")[1] == 1000
    cam.trouble.roll_over_9999()
    assert cam.shoot("JPG:10K+CR3:20K")[0].names == ["IMG_9999.JPG", "IMG_9999.CR3"]
    cam.shoot("JPG:10K")
    assert cam.files()[-1].path == "DCIM/102CANON/IMG_0001.JPG"
    kinds = [struct.unpack_from("<H", body, 8)[0] for code, body in events(dial) if code == 0xC1A7]
    assert kinds == [0x3801, 0x3000, 0x3801, 0xB108, 0x3001, 0x3801], "a record for the new folder, too"


@tries("lying_size")
@pytest.mark.parametrize("lie", [100, 10_000_000])
def test_lying_size(cam: SimCamera, dial: Dial, lie: int) -> None:
    cam.trouble.lying_size("IMG_0001.JPG", lie)
    assert listed(cam, dial)[1] == lie
    assert struct.unpack_from("<I", dial.ask(0x1008, handle(cam)).data or b"", 8)[0] == lie
    assert len(dial.ask(0x1009, handle(cam)).data or b"") == 300 << 10
    cam.trouble.lying_size("IMG_0001.JPG", lie, real=5000)
    assert len(dial.ask(0x1009, handle(cam)).data or b"") == 5000


@tries("wrong_header")
def test_wrong_header(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.wrong_header("IMG_0001.JPG")
    data = dial.ask(0x101B, handle(cam), 0, 1 << 20).data or b""
    assert data == content(cam) and len(data) == 300 << 10 and not data.startswith(b"\xff\xd8")


@tries("size_final_at_second_look")
@pytest.mark.parametrize("first", [0, ALL])
def test_size_final_at_second_look(cam: SimCamera, dial: Dial, first: int) -> None:
    listen(dial)
    cam.trouble.size_final_at_second_look("IMG_0001.JPG", first)
    assert listed(cam, dial)[1] == first
    assert events(dial)[0][0] == 0xC1A8
    assert listed(cam, dial)[1] == 300 << 10
    cam.trouble.size_final_at_second_look(first=first, looks=2)
    cam.shoot("JPG:10K")
    assert struct.pack("<IQ", 0x20, first) in next(body for code, body in events(dial) if code == 0xC1A7)
    sizes = [listed(cam, dial, "IMG_0004.JPG")[1] for _ in range(3)]
    assert sizes == [first, first, 10_240]
    assert listed(cam, dial, "IMG_0002.JPG")[1] == 300 << 10


@tries("read_only_card")
def test_read_only_card(cam: SimCamera, dial: Dial) -> None:
    cam.trouble.read_only_card()
    assert (dial.ask(0x1005, STORAGE).data or b"")[4:6] == b"\1\0"
    assert dial.ask(0x100B, handle(cam), 0).code == 0x200E


def test_every_verb_is_tried_and_documented(cam: SimCamera) -> None:
    known = {name for name in vars(Trouble) if not name.startswith("_")}
    assert known == TESTED
    assert known < set(verbs(cam))
    readme = Path(__file__).with_name("README.md").read_text()
    assert not {name for name in known if f"`{name}" not in readme}
