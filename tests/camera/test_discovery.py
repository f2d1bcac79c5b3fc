"""Fetching the description: harmless, bounded, and never an error."""

from __future__ import annotations

import asyncio
import socket

from agent.camera.discovery import MAX_BYTES, knock
from tests.camera.responder import Peer, scripted


async def test_the_request_is_the_one_that_a_6d_waits_for() -> None:
    heard: list[bytes] = []

    async def serve(peer: Peer) -> None:
        heard.append(await peer.reader.readuntil(b"\r\n\r\n"))
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\n<root/>")

    async with scripted(serve) as port:
        assert await knock("127.0.0.1", port) == b"HTTP/1.1 200 OK\r\n\r\n<root/>"
    lines = heard[0].decode().split("\r\n")
    assert lines[0] == "GET /upnp/CameraDevDesc.xml HTTP/1.1"
    assert "User-Agent: Microsoft-Windows/10.0 UPnP/1.0" in lines


async def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert await knock("127.0.0.1", taken.getsockname()[1]) == b""
    assert await knock("no-such-camera.invalid") == b""
    assert await knock("\0") == b""


async def test_somebody_who_says_nothing_costs_a_moment() -> None:
    async def hold(peer: Peer) -> None:
        await peer.reader.read()

    async with scripted(hold) as port:
        started = asyncio.get_running_loop().time()
        assert await knock("127.0.0.1", port, seconds=0.1) == b""
        assert asyncio.get_running_loop().time() - started < 1


async def test_somebody_who_never_stops_is_cut_short() -> None:
    async def talk(peer: Peer) -> None:
        try:
            while True:
                await peer.say(bytes(1 << 16))
        except ConnectionError:
            pass

    async with scripted(talk) as port:
        assert len(await knock("127.0.0.1", port)) == MAX_BYTES
