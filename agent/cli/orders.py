"""The client of the agent's socket: give one order, take the answer.

Only a running agent answers; a socket file that was left behind counts as none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from agent.cli import lines, places
from agent.cli.stop import Stop, sentence

_CONNECT_SECONDS = 5.0
_CONTENT_BYTES = 4 * lines.CHUNK_BYTES  # the most that one piece may claim


class NotRunning(Stop):
    """No agent runs with this state folder."""

    def __init__(self, state_dir: Path):
        super().__init__(
            f"hotshoe is not running with the state folder {state_dir}: start it with hotshoe run, or name another"
            " configuration with --config."
        )


class Refused(Stop):
    """The agent answered with a fault."""

    def __init__(self, code: str, hint: str, detail: str):
        super().__init__(sentence(code, hint, detail))
        self.fault_code = code
        self.hint = hint
        self.detail = detail


class Answer:
    """What comes back, in order. Ends after the result, which is then in `result`."""

    def __init__(self, reader: asyncio.StreamReader):
        self._reader = reader
        self.result: dict[str, Any] = {}

    async def __aiter__(self) -> AsyncIterator[tuple[str, Any]]:
        """Give ("card", …), ("item", …) and ("bytes", chunk). Raises Refused, or Stop when the agent is gone."""
        while True:
            try:
                line = await lines.receive(self._reader, lines.SILENCE_SECONDS)
                message: dict[str, Any] = msgspec.json.decode(line) if line else {}
                found: tuple[str, Any] = next(iter(message.items()), ("end", None))
                kind, value = found
                if kind == "bytes":
                    async with asyncio.timeout(lines.SILENCE_SECONDS):
                        value = await self._reader.readexactly(min(int(value), _CONTENT_BYTES))
            except TimeoutError:
                raise Stop(f"hotshoe did not answer for {lines.SILENCE_SECONDS:.0f} s.") from None
            except (OSError, EOFError, ValueError) as error:
                raise Stop(f"hotshoe broke off its answer ({type(error).__name__}).") from error
            if kind == "end":
                raise Stop("hotshoe ended before it had answered.")
            if kind == "fault":
                raise Refused(value["code"], value["hint"], value["detail"])
            if kind == "result":
                self.result = value
                return
            yield kind, value


@asynccontextmanager
async def asked(state_dir: Path, request: lines.Request) -> AsyncIterator[Answer]:
    """Give `request` to the agent and hold the connection while its answer is read. Raises NotRunning."""
    path = places.readable(state_dir) / lines.SOCKET
    try:
        with lines.address(path) as name:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(name, limit=lines.LINE_BYTES)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        raise NotRunning(state_dir) from None
    except PermissionError:
        raise Stop(f"{path} belongs to another user: run this as the user that hotshoe runs as.") from None
    except TimeoutError:
        raise Stop(f"hotshoe does not answer at {path}.") from None
    try:
        await lines.send(writer, request)
        yield Answer(reader)
    finally:
        writer.close()


async def give(state_dir: Path, request: lines.Request) -> dict[str, Any]:
    """Give an order and return its result. Raises NotRunning, Refused, Stop."""
    async with asked(state_dir, request) as answer:
        async for _ in answer:
            pass
        return answer.result


def socket_exists(state_dir: Path) -> bool:
    return (state_dir / lines.SOCKET).exists()
