"""Responders made of literal bytes, for what no well-meant simulated camera would do.

`scripted` serves one coroutine per accepted connection, in order. The bytes are protocol.md §10's; of the agent nothing but
its table of deadlines is used here.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

from agent.camera import Timing

GUID = bytes.fromhex("00112233445566778899aabbccddeeff")
T6_ACK = bytes.fromhex(  # recorded: tests/cameras
    "2e000000 02000000 01000000 00000000000000000001 00bbc1859fab 45004f005300540036007b000000 00000100"
)
EVENT_ACK = bytes.fromhex("08000000 04000000")
PROBE, PROBE_ANSWER = bytes.fromhex("08000000 0d000000"), bytes.fromhex("08000000 0e000000")
OK = 0x2001

QUICK = Timing(
    connect=2.0,
    pairing=0.4,
    greeting=0.3,
    event_channel=0.3,
    event_channel_retry=0.02,
    silence=0.4,
    busy=0.4,
    busy_first=0.01,
    busy_longest=0.05,
    store=0.4,
    store_pause=0.02,
    object=0.5,
    object_pause=0.02,
    settle=0.5,
    settle_pause=0.01,
    poll_idle=0.05,
    poll_active=0.03,
    poll_least=0.01,
    poll_listing=0.05,
    active=0.3,
    keep_awake=10.0,
)


class Peer:
    """One accepted socket. `sent` is everything that came from the initiator."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.sent = b""

    async def packet(self) -> bytes:
        """The next whole packet; b"" when the initiator has hung up."""
        try:
            head = await self.reader.readexactly(4)
            rest = await self.reader.readexactly(struct.unpack("<I", head)[0] - 4)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        self.sent += head + rest
        return head + rest

    async def request(self) -> tuple[int, int, tuple[int, ...]]:
        """The next OperationRequest: code, transaction id, parameters. Code 0 at the end."""
        packet = await self.packet()
        if not packet:
            return 0, 0, ()
        assert struct.unpack_from("<II", packet, 4) == (6, 1), packet.hex()
        code, tid = struct.unpack_from("<HI", packet, 12)
        return code, tid, struct.unpack_from(f"<{(len(packet) - 18) // 4}I", packet, 18)

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def respond(self, tid: int, data: bytes | None = None, code: int = OK, *params: int) -> None:
        await self.say((b"" if data is None else data_phase(tid, data)) + response(tid, code, *params))

    async def gone(self) -> None:
        """Wait until the initiator has hung up."""
        while await self.packet():
            pass

    def reset(self) -> None:
        """RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER, no seconds
        self.writer.transport.abort()


def response(tid: int, code: int = OK, *params: int) -> bytes:
    return struct.pack(f"<IIHI{len(params)}I", 14 + 4 * len(params), 7, code, tid, *params)


def start_data(tid: int, total: int) -> bytes:
    return struct.pack("<IIIQ", 20, 9, tid, total)


def data_packet(tid: int, data: bytes, *, last: bool) -> bytes:
    return struct.pack("<III", 12 + len(data), 12 if last else 10, tid) + data


def data_phase(tid: int, data: bytes) -> bytes:
    return start_data(tid, len(data)) + data_packet(tid, data, last=True)


def event(code: int, *params: int) -> bytes:
    return struct.pack(f"<IIHI{len(params)}I", 14 + 4 * len(params), 8, code, 0xFFFFFFFF, *params)


def ptp_text(text: str) -> bytes:
    return bytes([len(text) + 1]) + text.encode("utf-16-le") + b"\0\0" if text else b"\0"


def device_info(
    *operations: int, model: str = "Fake", serial: str = "1", manufacturer: str = "Acme"
) -> bytes:
    words = struct.pack(f"<I{len(operations)}H", len(operations), *operations)
    texts = (manufacturer, model, "1.0", serial)
    return struct.pack("<HIHBH", 100, 6, 100, 0, 0) + words + bytes(16) + b"".join(map(ptp_text, texts))


Script = Callable[[Peer], Awaitable[None]]


@contextlib.asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[int]:
    """Listen; the n-th connection meets the n-th script, further ones the last. Errors of a script are raised."""
    tasks: list[asyncio.Task[None]] = []
    waiting = list(scripts)

    async def serve(script: Script, peer: Peer) -> None:
        try:
            await script(peer)
        finally:
            peer.writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        tasks.append(asyncio.ensure_future(serve(script, Peer(reader, writer))))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        done, late = await asyncio.wait(tasks, timeout=3) if tasks else (set(), set())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    assert not late, "a script still waits for the initiator"


def camera(*after: Script, info: bytes = device_info(0x1001)) -> tuple[Script, Script]:
    """The scripts of both sockets of a camera: handshake, OpenSession and DeviceInfo, then `after` on the command
    socket and, if there is a second one, on the event socket."""

    async def command(peer: Peer) -> None:
        assert (await peer.packet())[4:8] == b"\x01\0\0\0"
        await peer.say(T6_ACK)
        assert await peer.request() == (0x1002, 0, (1,))
        await peer.respond(0)
        assert await peer.request() == (0x1001, 1, ())
        await peer.respond(1, info)
        await (after[0] if after else Peer.gone)(peer)

    async def events(peer: Peer) -> None:
        assert await peer.packet() == bytes.fromhex("0c000000 03000000 01000000")
        await peer.say(EVENT_ACK)
        await (after[1] if len(after) > 1 else Peer.gone)(peer)

    return command, events
