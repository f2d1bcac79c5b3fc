"""The two pipelines: blocks on their way to a file, and blocks on their way from it.

Both keep several requests under way, so that a round trip is not paid for each, and at most `WINDOW_BYTES` in memory.
They run in the loop's thread, on asyncssh's file handles, each call of which is one request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

WINDOW_BYTES = 1 << 20
_SAFE_BLOCK_BYTES = 32 << 10  # what every server takes: draft-ietf-secsh-filexfer-02 §3
_LARGEST_BLOCK_BYTES = 255 << 10  # OpenSSH hangs up over a packet of more than 256 KiB

_IN_ORDER = ("OpenSSH", "AsyncSSH", "dropbear", "mod_sftp", "libssh")


def keeps_order(server_version: str) -> bool:
    """Say whether the server is known to carry out one request after the other.

    Go's (github.com/pkg/sftp: SFTPGo, rclone) writes with eight threads.
    """
    return any(name in server_version for name in _IN_ORDER)


def block_bytes(limit: int) -> int:
    """Return the size of a request for a server that takes `limit`, as limits@openssh.com tells."""
    return min(limit, _LARGEST_BLOCK_BYTES) if limit > _SAFE_BLOCK_BYTES else _SAFE_BLOCK_BYTES


async def send(
    file: Any, offset: int, chunk: memoryview, block: int, stall_seconds: float, in_order: bool
) -> None:
    """Write `chunk` at `offset`, and wait until all of it is answered.

    The file's length is always where everything before it has arrived, so that it can be gone on with after a cut.
    A server that carries out one request after the other is sent many at once; another one, one at a time. When a
    write fails, those behind it may have succeeded (somebody freed some space), so the file is cut back to the
    failure.

    Blocks go to fixed places and not "to the end": one that comes late, through an earlier connection, can only
    write the same bytes to the same place.
    """
    window = WINDOW_BYTES if in_order else block
    under_way: deque[asyncio.Task[int]] = deque()
    done = sent = 0
    try:
        while done < len(chunk):
            while sent < len(chunk) and sent - done < window:
                piece = chunk[sent : sent + block]
                under_way.append(asyncio.ensure_future(file.write(piece, offset + sent)))
                sent += len(piece)
            await _answer(under_way[0], stall_seconds)
            under_way.popleft()
            done = min(done + block, len(chunk))
    except TimeoutError:
        raise
    except Exception:
        await asyncio.wait(under_way, timeout=stall_seconds)
        with suppress(Exception):  # the first failure says more
            await asyncio.wait_for(file.truncate(offset + done), stall_seconds)
        raise
    finally:
        forget(under_way)


class Receiver:
    """Reads a file from its beginning, ahead of the reader."""

    def __init__(self, file: Any, block: int, stall_seconds: float):
        self._file = file
        self._block = block
        self._stall_seconds = stall_seconds
        self._asked = 0
        self._under_way: deque[tuple[int, asyncio.Task[bytes]]] = deque()

    async def next(self) -> list[bytes]:
        """Return the next pieces, in order and not empty; nothing at the end."""
        while len(self._under_way) * self._block < WINDOW_BYTES:
            self._under_way.append((self._asked, self._ask(self._asked, self._block)))
            self._asked += self._block
        pieces: list[bytes] = []
        while self._under_way and (not pieces or self._under_way[0][1].done()):
            offset, task = self._under_way.popleft()
            piece = await _answer(task, self._stall_seconds)
            end = offset + self._block
            while piece and offset + len(piece) < end:  # the end of the file, or a server that likes less
                pieces.append(piece)
                offset += len(piece)
                piece = await _answer(self._ask(offset, end - offset), self._stall_seconds)
            if not piece:
                self.give_up()
                break
            pieces.append(piece)
        return pieces

    def give_up(self) -> None:
        forget(task for _, task in self._under_way)
        self._under_way.clear()

    def _ask(self, offset: int, length: int) -> asyncio.Task[bytes]:
        return asyncio.ensure_future(self._file.read(length, offset))


async def _answer(task: asyncio.Task[Any], stall_seconds: float) -> Any:
    done, _ = await asyncio.wait([task], timeout=stall_seconds)
    if not done:
        forget([task])
        raise TimeoutError(f"no answer for {stall_seconds:g} seconds")
    return task.result()


def forget(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Give up waiting for `tasks`. To cancel one that has failed also keeps asyncio from complaining of it."""
    for task in tasks:
        task.cancel()
