"""The handshake against literal bytes: what we send, what we make of the answers, and every way to fail."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from agent.camera.session import Session
from agent.faults import Fault, Kind
from tests.camera.responder import (
    EVENT_ACK,
    GUID,
    QUICK,
    T6_ACK,
    Peer,
    camera,
    device_info,
    scripted,
)
from tests.camera.sessions import open_session, opening_fails


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
