"""Handshake and transactions against literal bytes: what we send, what we make of the answers, and every way to fail."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from agent.camera.session import Session
from agent.faults import Fault, Kind
from tests.camera.responder import (
    EVENT_ACK,
    GUID,
    PROBE,
    PROBE_ANSWER,
    QUICK,
    T6_ACK,
    Peer,
    Script,
    camera,
    data_packet,
    device_info,
    event,
    response,
    scripted,
    start_data,
)

Test = Callable[[Session], Awaitable[None]]


async def open_session(
    port: int, *, pairing: bool = False, session_id: int = 1, name: str = "edge"
) -> Session:
    return await Session.open(
        "127.0.0.1", port, guid=GUID, name=name, pairing=pairing, session_id=session_id, timing=QUICK
    )


async def with_session(test: Test, *scripts: Script, info: bytes = device_info(0x1001)) -> None:
    async with scripted(*camera(*scripts, info=info)) as port:
        session = await open_session(port)
        try:
            await test(session)
        finally:
            session.close()
            await session.wait_closed()


async def opening_fails(*scripts: Script, pairing: bool = False) -> Fault:
    async with scripted(*scripts) as port:
        with pytest.raises(Fault) as caught:
            await open_session(port, pairing=pairing)
    return caught.value


# --- the handshake


async def test_the_handshake_is_byte_for_byte_that_of_the_fact_sheet() -> None:
    """protocol.md §10.1."""
    peers: list[Peer] = []

    async def command(peer: Peer) -> None:
        peers.append(peer)
        await peer.packet()
        await peer.say(T6_ACK)
        _, tid, _ = await peer.request()
        await peer.respond(tid)
        _, tid, _ = await peer.request()
        await peer.respond(tid, device_info(0x1001, 0x1002, model="Canon EOS Rebel T6"))
        await peer.gone()

    async def events(peer: Peer) -> None:
        peers.append(peer)
        await peer.packet()
        await peer.say(EVENT_ACK)
        await peer.gone()

    async with scripted(command, events) as port:
        session = await open_session(port)
        assert session.responder_guid.hex() == "00000000000000000001" + "00bbc1859fab"
        assert session.responder_name == "EOST6{"
        assert session.info.model == "Canon EOS Rebel T6"
        assert session.round_trips == 2
        session.close()
        await session.wait_closed()
    assert peers[0].sent == bytes.fromhex(
        "26000000 01000000 00112233445566778899aabbccddeeff 65006400670065000000 00000100"
        "16000000 06000000 01000000 0210 00000000 01000000"
        "12000000 06000000 01000000 0110 01000000"
    )
    assert peers[1].sent == bytes.fromhex("0c000000 03000000 01000000")


async def test_the_session_id_can_be_the_one_of_eos_utility() -> None:
    async def command(peer: Peer) -> None:
        await peer.packet()
        await peer.say(T6_ACK)
        assert await peer.request() == (0x1002, 0, (0x41,))
        await peer.respond(0)
        await peer.request()
        await peer.respond(1, device_info())
        await peer.gone()

    async with scripted(command, camera()[1]) as port:
        session = await open_session(port, session_id=0x41)
        session.close()
        await session.wait_closed()


async def test_a_session_left_open_on_the_camera_will_do() -> None:
    async def command(peer: Peer) -> None:
        await peer.packet()
        await peer.say(T6_ACK)
        await peer.request()
        await peer.respond(0, None, 0x201E)
        assert (await peer.request())[0] == 0x1001, "and nothing is closed"
        await peer.respond(1, device_info())
        await peer.gone()

    async with scripted(command, camera()[1]) as port:
        session = await open_session(port)
        session.close()
        await session.wait_closed()


async def test_a_camera_that_is_busy_at_first_is_asked_again() -> None:
    async def command(peer: Peer) -> None:
        await peer.packet()
        await peer.say(T6_ACK)
        for tid in range(3):
            assert await peer.request() == (0x1002, tid, (1,))
            await peer.respond(tid, None, 0x2019 if tid < 2 else 0x2001)
        for tid in range(3, 6):
            assert await peer.request() == (0x1001, tid, ())
            await peer.respond(tid, *((None, 0x2019) if tid < 5 else (device_info(),)))
        await peer.gone()

    async with scripted(command, camera()[1]) as port:
        session = await open_session(port)
        session.close()
        await session.wait_closed()


async def test_the_event_connection_is_tried_again_when_it_is_refused_for_a_moment() -> None:
    closed = asyncio.Event()

    async def command(peer: Peer) -> None:
        await peer.packet()
        server.close()  # nobody listens
        await peer.say(T6_ACK)
        closed.set()
        for tid in range(2):
            await peer.request()
            await peer.respond(tid, device_info() if tid else None)
        await peer.gone()

    tasks: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = camera()[1] if closed.is_set() else command
        tasks.append(asyncio.ensure_future(script(Peer(reader, writer))))
        tasks[-1].add_done_callback(lambda task: writer.close())

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def open_again() -> None:
        await closed.wait()
        await asyncio.sleep(QUICK.event_channel_retry * 1.5)  # after the second attempt, before the third
        nonlocal server
        server = await asyncio.start_server(accept, "127.0.0.1", port)

    again = asyncio.create_task(open_again())
    session = await open_session(port)
    session.close()
    await session.wait_closed()
    await asyncio.gather(again, *tasks)
    server.close()


@pytest.mark.parametrize(
    ("reason", "code", "kind", "seconds"),
    [
        (1, "camera.not_paired", Kind.NEEDS_USER, 60),
        (2, "camera.busy_elsewhere", Kind.RETRYABLE, 10),
        (3, "camera.refused", Kind.RETRYABLE, 30),
        (77, "camera.refused", Kind.RETRYABLE, 30),
    ],
)
async def test_init_fail_says_what_to_do(reason: int, code: str, kind: Kind, seconds: float) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.packet()
        await peer.say(struct.pack("<III", 12, 5, reason))
        await peer.gone()

    async def refuse_and_hang_up(peer: Peer) -> None:
        await peer.packet()
        await peer.say(struct.pack("<III", 12, 5, reason))

    for script in (refuse, refuse_and_hang_up):
        fault = await opening_fails(script)
        assert (fault.code, fault.kind, fault.retry_after_seconds) == (code, kind, seconds)


async def test_a_command_socket_that_ends_while_the_event_channel_is_opened() -> None:
    is_opening = asyncio.Event()

    async def command(peer: Peer) -> None:
        await peer.packet()
        await peer.say(T6_ACK)
        await is_opening.wait()

    async def events(peer: Peer) -> None:
        await peer.packet()
        is_opening.set()
        await peer.gone()

    assert (await opening_fails(command, events)).code == "camera.link_lost"


@pytest.mark.parametrize("host", ["no-such-camera.invalid", "\0", "x" * 70, ""])
async def test_names_that_nobody_knows(host: str) -> None:
    with pytest.raises(Fault) as caught:
        await Session.open(host, 1, guid=GUID, name="edge", pairing=False, timing=QUICK)
    assert caught.value.code in ("camera.unknown_host", "camera.port_closed")


async def test_init_fail_on_the_event_connection() -> None:
    async def refuse(peer: Peer) -> None:
        await peer.packet()
        await peer.say(bytes.fromhex("0c000000 05000000 02000000"))
        await peer.gone()

    async def command(peer: Peer) -> None:
        await peer.packet()
        await peer.say(T6_ACK)
        await peer.gone()

    assert (await opening_fails(command, refuse)).code == "camera.busy_elsewhere"


async def silent(peer: Peer) -> None:
    await peer.gone()


@pytest.mark.parametrize(("pairing", "code"), [(True, "camera.pairing_timeout"), (False, "camera.no_answer")])
async def test_a_camera_that_waits_for_a_person_is_waited_for_so_long(pairing: bool, code: str) -> None:
    started = asyncio.get_running_loop().time()
    fault = await opening_fails(silent, pairing=pairing)
    waited = asyncio.get_running_loop().time() - started
    assert fault.code == code
    assert waited >= (QUICK.pairing if pairing else QUICK.greeting)


async def test_an_event_connection_that_is_not_acknowledged() -> None:
    async def command(peer: Peer) -> None:
        await peer.packet()
        await peer.say(T6_ACK)
        await peer.gone()

    assert (await opening_fails(command, silent)).code == "camera.no_event_channel"


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        bytes(64),
        bytes.fromhex("04000000 02000000"),
        bytes.fromhex("08000000 04000000"),
    ],
)
async def test_something_that_does_not_speak_ptp_ip(words: bytes) -> None:
    async def chatter(peer: Peer) -> None:
        await peer.say(words)
        await peer.gone()

    assert (await opening_fails(chatter)).code == "camera.wrong_host"


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_camera_that_hangs_up_during_the_handshake(how: str) -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.packet()
        if how == "rst":
            peer.reset()

    assert (await opening_fails(hang_up)).code == "camera.hung_up"


async def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Fault) as caught:
            await open_session(taken.getsockname()[1])
    assert caught.value.code == "camera.port_closed"


async def test_a_host_that_does_not_answer_is_a_sleeping_camera() -> None:
    """A listener whose queue is full drops what comes, as a sleeping camera's network does."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with pytest.raises(Fault) as caught:
            await Session.open(
                *full.getsockname(), guid=GUID, name="edge", pairing=False, timing=type(QUICK)(connect=0.1)
            )
        for filler in fillers:
            filler.close()
    assert caught.value.code == "camera.asleep"


async def test_a_device_info_that_cannot_be_read() -> None:
    fault = await opening_fails(*camera(info=b"\1\2\3"))
    assert fault.code == "camera.protocol_error"


# --- transactions


async def test_transaction_ids_count_up_and_parameters_are_sent_as_they_are() -> None:
    async def answer(peer: Peer) -> None:
        assert await peer.request() == (0x101B, 2, (0x9191D602, 0, 0x100000))
        await peer.respond(2, b"data", 0x2001, 4)
        assert await peer.request() == (0x9116, 3, ())
        await peer.respond(3, None, 0x2019)
        await peer.gone()

    async def test(session: Session) -> None:
        reply = await session.operate(0x101B, 0x9191D602, 0, 0x100000)
        assert (reply.code, reply.params, reply.data, reply.received) == (0x2001, (4,), b"data", 4)
        reply = await session.operate(0x9116)
        assert (reply.code, reply.data, reply.is_ok) == (0x2019, b"", False)
        assert session.transactions[0x9116] == 1

    await with_session(test, answer)


async def test_transaction_ids_wrap_to_one() -> None:
    async def answer(peer: Peer) -> None:
        for expected in (0xFFFFFFFE, 1):
            _, tid, _ = await peer.request()
            assert tid == expected
            await peer.respond(tid)
        await peer.gone()

    async def test(session: Session) -> None:
        session._transaction_id = 0xFFFFFFFE
        await session.operate(0x9116)
        await session.operate(0x9116)

    await with_session(test, answer)


async def test_any_split_of_a_data_phase_into_packets_and_segments_gives_the_same_bytes() -> None:
    content = bytes(range(256)) * 40

    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        whole = start_data(tid, len(content))
        for at in range(0, len(content), 1000):
            whole += data_packet(tid, content[at : at + 1000], last=False)
        whole += data_packet(tid, b"", last=True) + response(tid)
        for at in range(0, len(whole), 617):
            await peer.say(whole[at : at + 617])
            await asyncio.sleep(0)
        await peer.gone()

    async def test(session: Session) -> None:
        buffer = bytearray(len(content) + 10)
        reply = await session.read_into(0x101B, 1, 0, len(buffer), buffer=memoryview(buffer))
        assert reply.received == len(content) == reply.announced
        assert bytes(buffer) == content + bytes(10)

    await with_session(test, answer)


async def test_more_data_than_was_asked_for_ends_the_session_and_touches_nothing_else() -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.respond(tid, bytes(11))
        await peer.gone()

    async def test(session: Session) -> None:
        buffer = bytearray(b"\xaa" * 20)
        with pytest.raises(Fault) as caught:
            await session.read_into(0x101B, 1, 0, 10, buffer=memoryview(buffer)[:10])
        assert caught.value.code == "camera.protocol_error"
        assert buffer[10:] == b"\xaa" * 10
        with pytest.raises(Fault) as again:
            await session.operate(0x9116)
        assert again.value.code == "camera.protocol_error"

    await with_session(test, answer)


@pytest.mark.parametrize("code", [0x2003, 0x2004])
async def test_a_camera_without_our_session_is_a_lost_link(code: int) -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.respond(tid, None, code)
        await peer.gone()

    async def test(session: Session) -> None:
        with pytest.raises(Fault) as caught:
            await session.operate(0x9116)
        assert caught.value.code in ("ptp.session_not_open", "ptp.invalid_transaction_id")
        assert session.failure is not None

    await with_session(test, answer)


async def test_silence_ends_the_session_after_the_deadline() -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.say(start_data(tid, 100) + data_packet(tid, bytes(10), last=False))
        await peer.gone()

    async def test(session: Session) -> None:
        started = asyncio.get_running_loop().time()
        with pytest.raises(Fault) as caught:
            await session.operate(0x9116)
        assert caught.value.code == "camera.silent"
        assert QUICK.silence <= asyncio.get_running_loop().time() - started < 3 * QUICK.silence

    await with_session(test, answer)


async def test_a_drip_that_never_ends_is_given_up_although_it_is_never_silent() -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.say(start_data(tid, 0xFFFFFFFFFFFFFFFF))
        while not peer.reader.at_eof() and not peer.writer.is_closing():
            await peer.say(data_packet(tid, b"x", last=False))
            try:
                async with asyncio.timeout(QUICK.silence / 4):
                    await peer.gone()
            except TimeoutError:
                continue
            return

    async def test(session: Session) -> None:
        with pytest.raises(Fault) as caught:
            await session.operate(0x9116)
        assert caught.value.code == "camera.too_slow"

    await with_session(test, answer)


async def test_an_endless_dataset_stops_at_its_limit() -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.say(start_data(tid, 0xFFFFFFFFFFFFFFFF))
        try:
            while True:
                await peer.say(data_packet(tid, bytes(1 << 16), last=False))
        except ConnectionError:
            pass

    async def test(session: Session) -> None:
        with pytest.raises(Fault) as caught:
            await session.operate(0x1007, limit=1 << 20)
        assert caught.value.code == "camera.protocol_error"
        assert session.bytes_received <= (1 << 20) + 512 * 1024

    await with_session(test, answer)


@pytest.mark.parametrize("how", ["fin", "rst", "garbage"])
async def test_a_link_that_breaks_in_the_middle(how: str) -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.say(start_data(tid, 100) + data_packet(tid, bytes(50), last=False))
        if how == "garbage":
            await peer.say(b"\xff" * 64)
            await peer.gone()
        elif how == "rst":
            peer.reset()

    async def test(session: Session) -> None:
        with pytest.raises(Fault) as caught:
            await session.operate(0x1007)
        assert caught.value.code in ("camera.link_lost", "camera.protocol_error")
        assert session.hinted.is_set(), "whoever waits for news must not go on waiting"

    await with_session(test, answer)


async def test_the_end_of_the_event_socket_is_the_end_of_the_session() -> None:
    hang_up = asyncio.Event()

    async def events(peer: Peer) -> None:
        await hang_up.wait()

    async def test(session: Session) -> None:
        hang_up.set()
        async with asyncio.timeout(2):
            await session.hinted.wait()
        with pytest.raises(Fault) as caught:
            await session.operate(0x9116)
        assert caught.value.code == "camera.link_lost"

    await with_session(test, Peer.gone, events)


async def test_probes_are_answered_on_both_sockets_and_events_are_hints() -> None:
    is_answered = [asyncio.Event(), asyncio.Event()]

    async def command(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.say(PROBE)
        assert await peer.packet() == PROBE_ANSWER
        is_answered[0].set()
        await peer.respond(tid)
        await peer.gone()

    async def events(peer: Peer) -> None:
        await peer.say(PROBE + event(0xC101))
        assert await peer.packet() == PROBE_ANSWER
        is_answered[1].set()
        await peer.say(event(0x4002, 7) * 10_000)
        await peer.gone()

    async def test(session: Session) -> None:
        await session.operate(0x9116)
        async with asyncio.timeout(2):
            await is_answered[0].wait()
            await is_answered[1].wait()
            await session.hinted.wait()
            while not any(event.code == 0x4002 for event in session.events):
                session.hinted.clear()
                await session.hinted.wait()
        assert len(session.events) <= 256

    await with_session(test, command, events)


async def test_events_right_behind_the_acknowledgement_are_not_lost() -> None:
    async def events(peer: Peer) -> None:
        await peer.packet()
        await peer.say(EVENT_ACK + event(0x4002, 7))
        await peer.gone()

    async with scripted(camera()[0], events) as port:
        session = await open_session(port)
        assert [(found.code, found.params) for found in session.events] == [(0x4002, (7,))]
        session.close()
        await session.wait_closed()


async def test_events_about_properties_are_no_hints() -> None:
    is_told = asyncio.Event()

    async def events(peer: Peer) -> None:
        await peer.say(event(0x4006, 0xD11B) * 3 + PROBE)
        assert await peer.packet() == PROBE_ANSWER
        is_told.set()
        await peer.gone()

    async def test(session: Session) -> None:
        async with asyncio.timeout(2):
            await is_told.wait()
        assert len(session.events) == 3 and not session.hinted.is_set()

    await with_session(test, Peer.gone, events)


async def test_late_answers_to_another_transaction_are_skipped() -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.say(start_data(tid - 1, 4) + data_packet(tid - 1, b"late", last=True) + response(tid - 1))
        await peer.respond(tid, b"right")
        await peer.gone()

    async def test(session: Session) -> None:
        assert (await session.operate(0x9116)).data == b"right"

    await with_session(test, answer)


async def test_whoever_leaves_a_transaction_does_not_disturb_the_next_one() -> None:
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        is_asked.set()
        await may_answer.wait()
        await peer.respond(tid, b"for nobody")
        _, tid, _ = await peer.request()
        await peer.respond(tid, b"for us")
        await peer.gone()

    async def test(session: Session) -> None:
        buffer = bytearray(b"\xaa" * 10)
        left = asyncio.create_task(session.read_into(0x101B, 1, 0, 10, buffer=memoryview(buffer)))
        await is_asked.wait()
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        follower = asyncio.create_task(session.operate(0x9116))
        impatient = asyncio.create_task(asyncio.wait_for(asyncio.shield(follower), 0.02))
        with pytest.raises(TimeoutError):
            await impatient
        may_answer.set()
        assert (await follower).data == b"for us"
        assert buffer == b"\xaa" * 10, "the buffer is its owner's again"

    await with_session(test, answer)


# --- streams


async def test_a_stream_is_not_read_while_its_sink_is_busy() -> None:
    """Backpressure: what the camera could not send is bounded by socket buffers, not by us."""
    piece, pieces = bytes(range(256)) * 256, 400
    sent = 0

    async def answer(peer: Peer) -> None:
        nonlocal sent
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        peer.writer.transport.set_write_buffer_limits(1 << 16)
        _, tid, _ = await peer.request()
        await peer.say(start_data(tid, len(piece) * pieces))
        for number in range(pieces):
            await peer.say(data_packet(tid, piece, last=number == pieces - 1))
            sent += len(piece)
        await peer.respond(tid)
        await peer.gone()

    async def test(session: Session) -> None:
        may_go_on, is_stopped = asyncio.Event(), asyncio.Event()
        digest = hashlib.sha256()

        async def sink(view: memoryview) -> None:
            is_stopped.set()
            await may_go_on.wait()
            digest.update(view)

        task = asyncio.create_task(session.stream(0x1009, 1, sink=sink))
        await is_stopped.wait()
        before = -1
        while before != sent:  # until the camera can send no more
            before = sent
            await asyncio.sleep(0.05)
        received = session.bytes_received
        assert received <= 512 * 1024
        assert sent < len(piece) * pieces / 2
        assert session.failure is None
        may_go_on.set()
        reply = await task
        assert reply.received == len(piece) * pieces
        assert digest.hexdigest() == hashlib.sha256(piece * pieces).hexdigest()

    await with_session(test, answer)


async def test_a_sink_that_takes_longer_than_the_deadline_is_not_the_cameras_fault() -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.respond(tid, b"data")
        await peer.gone()

    async def test(session: Session) -> None:
        async def sink(view: memoryview) -> None:
            await asyncio.sleep(QUICK.silence * 1.5)

        assert (await session.stream(0x1009, 1, sink=sink)).is_ok

    await with_session(test, answer)


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_error_of_the_sink_is_raised_as_it_is_and_ends_the_session(is_async: bool) -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.say(start_data(tid, 100) + data_packet(tid, bytes(50), last=False))
        await peer.gone()

    class DiskFull(Exception):
        pass

    async def fail_later(view: memoryview) -> None:
        raise DiskFull

    def fail(view: memoryview) -> None:
        raise DiskFull

    async def test(session: Session) -> None:
        with pytest.raises(DiskFull):
            await session.stream(0x1009, 1, sink=fail_later if is_async else fail)
        assert session.failure is not None

    await with_session(test, answer)


async def test_leaving_a_stream_ends_the_session() -> None:
    is_running = asyncio.Event()

    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.say(start_data(tid, 100) + data_packet(tid, bytes(50), last=False))
        await peer.gone()

    async def test(session: Session) -> None:
        task = asyncio.create_task(session.stream(0x1009, 1, sink=lambda view: is_running.set()))
        await is_running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.failure is not None and session.failure.code == "camera.closed"

    await with_session(test, answer)


@pytest.mark.parametrize(("total", "expected"), [(6 << 30, 6 << 30), (0xFFFFFFFFFFFFFFFF, None)])
async def test_measuring_hangs_up_as_soon_as_the_length_is_known(total: int, expected: int | None) -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.say(start_data(tid, total) + data_packet(tid, bytes(1000), last=False))
        await peer.gone()

    async def test(session: Session) -> None:
        assert await session.measure(0x1009, 1) == expected
        assert session.failure is not None

    await with_session(test, answer)


async def test_measuring_something_that_is_not_there() -> None:
    async def answer(peer: Peer) -> None:
        _, tid, _ = await peer.request()
        await peer.respond(tid, None, 0x2009)
        await peer.gone()

    async def test(session: Session) -> None:
        with pytest.raises(Fault) as caught:
            await session.measure(0x1009, 1)
        assert caught.value.code == "ptp.invalid_object_handle"

    await with_session(test, answer)


# --- sockets


async def test_the_sockets_send_at_once_and_notice_a_peer_that_vanished() -> None:
    async def test(session: Session) -> None:
        for wire in (session._command, session._event):
            assert wire._transport is not None
            sock = wire._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15

    await with_session(test)


async def test_closing_sends_nothing() -> None:
    """Neither CloseSession nor Cancel (protocol.md §1.7, §3)."""
    sent: list[bytes] = []

    async def watch(peer: Peer) -> None:
        sent.append(await peer.packet())

    async def test(session: Session) -> None:
        session.close()
        session.close()
        await session.wait_closed()
        with pytest.raises(Fault) as caught:
            await session.operate(0x9116)
        assert caught.value.code == "camera.closed"

    await with_session(test, watch, watch)
    assert sent == [b"", b""]
