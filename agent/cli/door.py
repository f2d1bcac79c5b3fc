"""The agent's end of ``state_dir/hotshoe.sock``: takes orders of the command line and carries them out.

The file is made under another name, closed to everybody else (0600), and then put in place: there is no moment at
which a stranger could connect, and a file that a killed agent left behind is replaced. Whoever holds the ledger's
lock owns the state folder, so no living agent can lose its socket this way. Without a socket the agent works
as well; it only takes no orders.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import structlog

from agent.camera import Body
from agent.cli import lines, places
from agent.cli.agent import Agent
from agent.cli.stop import Stop
from agent.commands import cards, deletion, deliveries, steering
from agent.faults import Advice, Fault, Kind, Scope, fault
from agent.settings import SettingsError

log = structlog.get_logger("door")

FAULTS = {
    "order.misunderstood": Advice(
        Kind.PERMANENT, "The running hotshoe is of another version and does not know this order.", Scope.ITEM
    ),
    "order.too_many": Advice(Kind.RETRYABLE, "Too many orders at once: try again in a moment.", Scope.ITEM),
    "order.settings": Advice(
        Kind.NEEDS_USER, "The configuration has mistakes; hotshoe keeps the one that it has.", Scope.ITEM
    ),
    "order.not_ours": Advice(
        Kind.PERMANENT, "No camera of the running hotshoe has this address.", Scope.ITEM
    ),
    "order.not_connected": Advice(
        Kind.RETRYABLE, "hotshoe looks after this camera, but has no connection to it now.", Scope.ITEM
    ),
    "order.unclassified": Advice(
        Kind.RETRYABLE, "Something unexpected went wrong; hotshoe's log has the details.", Scope.ITEM
    ),
}
MOST_ORDERS = 16
REQUEST_SECONDS = 10.0
_LINGER_SECONDS = 2.0
_RESOLVE_SECONDS = 3.0


@asynccontextmanager
async def serve(agent: Agent, config: Path | None = None) -> AsyncIterator[None]:
    """Take orders while the body runs. `config`: what `hotshoe reload` reads again."""
    door = Door(agent, config or places.config_path(None))
    path = agent.settings.state_dir / lines.SOCKET
    try:
        server = await asyncio.start_unix_server(door.answer, sock=_listen(path), limit=lines.LINE_BYTES)
    except (OSError, Stop) as error:
        log.warning(
            "no orders", detail=str(error), hint="The command line can only look; everything else works."
        )
        yield
        return
    try:
        yield
    finally:
        server.close()
        await door.close()
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _listen(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        new.unlink(missing_ok=True)
        with lines.address(new) as name:
            found.bind(name)
        new.chmod(0o600)
        new.replace(path)
    except BaseException:
        found.close()
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    return found


class Door:
    def __init__(self, agent: Agent, config: Path):
        self._agent = agent
        self._config = config
        self._began = time.monotonic()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one order."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._answer(reader, writer)
            await _linger(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # whoever asked has gone, or we have to
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=REQUEST_SECONDS)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await self._request(reader)
            if len(self._tasks) > MOST_ORDERS:
                raise fault(FAULTS, "order.too_many")
            result = await self._carry_out(request, writer)
            await lines.send(writer, {"result": result})
        except Fault as caught:
            await lines.send(writer, _told(caught))
        except SettingsError as error:
            await lines.send(writer, _told(fault(FAULTS, "order.settings", str(error))))
        except (OSError, TimeoutError):
            raise
        except Exception as error:  # a bug must cost one order, not the agent its life
            log.exception("unclassified")
            await lines.send(writer, _told(fault(FAULTS, "order.unclassified", type(error).__name__)))

    async def _request(self, reader: asyncio.StreamReader) -> lines.Request:
        try:
            line = await lines.receive(reader, REQUEST_SECONDS)
            request: lines.Request = msgspec.json.decode(line, type=lines.Request)
            return request
        except ValueError as error:  # msgspec's errors and a line without an end alike
            raise fault(FAULTS, "order.misunderstood", str(error)) from error

    async def _carry_out(self, request: lines.Request, writer: asyncio.StreamWriter) -> Any:
        agent = self._agent
        if not isinstance(request, lines.Status):
            log.info("order", order=type(request).__name__.lower(), **_details(request))
        match request:
            case lines.Status():
                return self._status()
            case lines.Retry():
                return await deliveries.retry(agent, request.ids)
            case lines.Skip():
                return await deliveries.skip(agent, request.ids, reason=request.reason, by=request.by)
            case lines.Send():
                return await deliveries.send(agent, request.ids, request.to, request.template)
            case lines.Requeue():
                return await deliveries.requeue(agent, request.deliveries)
            case lines.Verified():
                return await deliveries.note_verified(agent, lost=request.lost, found=request.found)
            case lines.Pause():
                return await steering.pause(agent, request.name, by=request.by)
            case lines.Resume():
                return await steering.resume(agent, request.name)
            case lines.Delete():
                return deletion.delete(agent, by=request.by, is_confirmed=request.is_confirmed)
            case lines.Scan():
                return await steering.scan(agent)
            case lines.Reload():
                return await steering.reload(agent, self._config)
            case lines.Card():
                return await cards.describe(await self._body(request.host, request.port))
            case lines.Ls():
                return await self._list(await self._body(request.host, request.port), writer)
            case lines.Get():
                return await self._get(await self._body(request.host, request.port), request, writer)

    # -- looking -----------------------------------------------------------------------------------------

    def _status(self) -> dict[str, Any]:
        progress = self._agent.progress
        return {
            "pid": os.getpid(),
            "running_seconds": round(time.monotonic() - self._began, 1),
            "fetched_files": progress.fetched_files,
            "fetched_bytes": progress.fetched_bytes,
            "delivered_files": progress.delivered_files,
            "delivered_bytes": progress.delivered_bytes,
            "deletes_from_cards": self._agent.settings.delete.enabled,
            "spool_bytes": self._agent.spool.used_bytes,
            "spool_budget_bytes": self._agent.spool.budget_bytes,
            "configured": {
                "camera": [camera.name for camera in self._agent.settings.cameras],
                "destination": list(self._agent.settings.destinations),
            },
            "cameras": [
                {
                    "name": name,
                    "model": body.identity.model,
                    "serial": body.identity.serial,
                    "battery_percent": body.status.battery_percent,
                    "saves_to_host": body.status.saves_to_host,
                }
                for name, collector in self._agent.collectors.items()
                if (body := collector.body) is not None
            ],
            "transfers": [
                {
                    "file_id": transfer.file_id,
                    "name": transfer.name,
                    "stage": transfer.stage,
                    "total_bytes": transfer.total_bytes,
                    "done_bytes": transfer.done_bytes,
                    "bytes_per_second": round(transfer.bytes_per_second),
                }
                for transfer in progress.transfers
            ],
        }

    # -- cameras that the agent holds --------------------------------------------------------------------

    async def _body(self, host: str, port: int) -> Body:
        """Return the camera at this address. Raises Fault ``order.not_ours``, ``order.not_connected``."""
        for camera in self._agent.settings.cameras:
            if camera.port == port and await is_same_host(camera.host, host):
                break
        else:
            raise fault(FAULTS, "order.not_ours", f"{host} port {port}")
        collector = self._agent.collectors.get(camera.name)
        if collector is None:  # paused or off: the agent has let go of it
            raise fault(FAULTS, "order.not_ours", f"{host} port {port}")
        if collector.body is None:
            subject = await self._agent.ledger.cameras.subject("camera", camera.name)
            raise fault(FAULTS, "order.not_connected", subject.reason if subject else "")
        return collector.body

    async def _list(self, body: Body, writer: asyncio.StreamWriter) -> dict[str, int]:
        await lines.send(writer, {"card": await cards.describe(body)})
        count = 0
        async for folder in body.scan():
            for item in folder.objects:
                await lines.send(writer, {"item": item})
                count += 1
        return {"files": count}

    async def _get(self, body: Body, request: lines.Get, writer: asyncio.StreamWriter) -> dict[str, int]:
        item = await cards.find(body, request.name)
        await lines.send(writer, {"item": item})
        if request.thumb:
            small = await cards.thumbnail(body, item)
            await lines.send_content(writer, small)
            return {"size_bytes": len(small)}

        async def sink(view: memoryview) -> None:
            await lines.send_content(writer, bytes(view))

        return {"size_bytes": await cards.read(body, item, sink)}


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let the other side close first: what it sent and we did not read would cost it our answer (ECONNRESET)."""
    writer.write_eof()
    async with asyncio.timeout(_LINGER_SECONDS):
        while await reader.read(lines.LINE_BYTES):
            pass


async def is_same_host(first: str, second: str) -> bool:
    """Return whether two names or addresses mean one host, as far as that can be found out quickly."""
    if first.casefold() == second.casefold():
        return True
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = [
                {entry[4][0] for entry in await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
                for host in (first, second)
            ]
    except (OSError, TimeoutError, UnicodeError):
        return False
    return bool(found[0] & found[1])


def _told(caught: Fault) -> dict[str, dict[str, str]]:
    return {"fault": {"code": caught.code, "hint": caught.hint, "detail": caught.detail}}


def _details(request: lines.Request) -> dict[str, Any]:
    fields = {
        key: value for key, value in msgspec.structs.asdict(request).items() if value not in (None, False)
    }
    if len(fields.get("ids") or ()) > 8:
        fields["ids"] = f"{len(fields['ids'])} files"
    fields["of"] = fields.pop("name", None)
    return fields
