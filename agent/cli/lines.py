"""The language of ``state_dir/hotshoe.sock``: one order a connection, both ways in JSON lines, content as raw bytes.

The client sends one request. The agent answers with any number of ``{"card": …}``, ``{"item": …}`` and
``{"bytes": n}`` (followed by n raw bytes), and ends with ``{"result": …}`` or ``{"fault": …}``. Whoever may open the
socket file (0600) may give every order. Lines have a limit, and so has every wait.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from agent.cli.stop import Stop

SOCKET = "hotshoe.sock"
LINE_BYTES = 64 << 10
CHUNK_BYTES = 1 << 20
IDS_PER_ORDER = 1000
SILENCE_SECONDS = 120.0
_LONGEST_ADDRESS = 100
"""unix(7): sun_path has 108 bytes with its end mark; macOS has 104."""


class _Order(msgspec.Struct, frozen=True, tag_field="order", tag=str.lower, forbid_unknown_fields=True):
    pass


class Status(_Order, frozen=True):
    pass


class Retry(_Order, frozen=True):
    ids: tuple[int, ...] | None  # None: everything that failed or waits


class Skip(_Order, frozen=True):
    ids: tuple[int, ...]
    reason: str
    by: str


class Send(_Order, frozen=True):
    ids: tuple[int, ...]
    to: str | None = None
    template: str | None = None


class Requeue(_Order, frozen=True):
    """Deliveries that do not lie where they were delivered."""

    deliveries: tuple[int, ...]


class Verified(_Order, frozen=True):
    """What was found where deliveries were looked for: `lost` ones do not lie there, `found` ones do after all."""

    lost: tuple[int, ...] = ()
    found: tuple[int, ...] = ()


class Pause(_Order, frozen=True):
    name: str
    by: str


class Resume(_Order, frozen=True):
    name: str


class Delete(_Order, frozen=True):
    """Delete from the cards now what the settings allow."""

    by: str
    is_confirmed: bool = False  # also if it is switched off


class Scan(_Order, frozen=True):
    pass


class Reload(_Order, frozen=True):
    pass


class Card(_Order, frozen=True):
    """Who a camera is and what cards it has."""

    host: str
    port: int


class Ls(_Order, frozen=True):
    host: str
    port: int


class Get(_Order, frozen=True):
    host: str
    port: int
    name: str
    thumb: bool = False


Request = (
    Status
    | Retry
    | Skip
    | Send
    | Requeue
    | Verified
    | Pause
    | Resume
    | Delete
    | Scan
    | Reload
    | Card
    | Ls
    | Get
)


@contextmanager
def address(path: Path) -> Iterator[str]:
    """Give a name for `path` that fits a socket's address: where the path is too long, one through its folder's descriptor."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield os.fspath(path)
        return
    if not Path("/proc/self/fd").is_dir():
        raise Stop(f"{path} is too long for a socket: give the state folder a shorter path.")
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def receive(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """Return the next line, b"" at the end. TimeoutError after `seconds`; ValueError for a line without an end."""
    async with asyncio.timeout(seconds):
        return await reader.readline()


async def send(writer: asyncio.StreamWriter, message: Any, seconds: float = SILENCE_SECONDS) -> None:
    """Send one line. TimeoutError if the other side does not take it in time."""
    writer.write(msgspec.json.encode(message) + b"\n")
    async with asyncio.timeout(seconds):
        await writer.drain()


async def send_content(writer: asyncio.StreamWriter, chunk: bytes, seconds: float = SILENCE_SECONDS) -> None:
    """Send a piece of content. `chunk` must not change any more."""
    writer.write(msgspec.json.encode({"bytes": len(chunk)}) + b"\n")
    writer.write(chunk)
    async with asyncio.timeout(seconds):
        await writer.drain()
