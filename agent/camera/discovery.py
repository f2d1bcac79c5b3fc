"""Waking a camera's listener before it is connected to.

[1] An EOS 6D listens on its PTP/IP port only once somebody has fetched its UPnP description (protocol.md §7.2). Fetching it
is harmless, so it is tried before every handshake, for a moment, and whatever comes of it is ignored.
"""

from __future__ import annotations

import asyncio
import contextlib

UPNP_PORT = 49152
MAX_BYTES = 16 * 1024

_REQUEST = (
    "GET /upnp/CameraDevDesc.xml HTTP/1.1\r\n"
    "Host: {host}:{port}\r\n"
    "User-Agent: Microsoft-Windows/10.0 UPnP/1.0\r\n"
    "Connection: close\r\n\r\n"
)


async def knock(host: str, port: int = UPNP_PORT, *, seconds: float = 1.0) -> bytes:
    """Return the beginning of the answer, at most 16 KiB, or nothing; never raises, never takes longer than `seconds`."""
    answer = bytearray()
    with contextlib.suppress(OSError, ValueError):  # ValueError: not a host's name at all
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=MAX_BYTES)
            try:
                writer.write(_REQUEST.format(host=host, port=port).encode())
                while len(answer) < MAX_BYTES and (piece := await reader.read(MAX_BYTES - len(answer))):
                    answer += piece
            finally:
                writer.transport.abort()
    return bytes(answer)
