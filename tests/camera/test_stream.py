"""Whole objects against literal bytes: backpressure, sinks that fail, and sizes found out by hanging up."""

from __future__ import annotations

import asyncio
import hashlib
import socket

import pytest

from agent.camera.session import Session
from agent.faults import Fault
from tests.camera.responder import (
    QUICK,
    Peer,
    data_packet,
    start_data,
)
from tests.camera.sessions import with_session


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
