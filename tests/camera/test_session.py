"""Transactions against literal bytes: any shape of an answer, silence, breaks, and callers who leave."""

from __future__ import annotations

import asyncio
import socket

import pytest

from agent.camera.session import Session
from agent.faults import Fault
from tests.camera.responder import (
    EVENT_ACK,
    PROBE,
    PROBE_ANSWER,
    QUICK,
    Peer,
    camera,
    data_packet,
    event,
    response,
    scripted,
    start_data,
)
from tests.camera.sessions import open_session, with_session


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
