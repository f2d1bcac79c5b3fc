"""A recording reverse proxy in front of an S3 server: counts what goes by, and makes trouble on demand.

It forwards every byte as it came, the Host header too, which is what signatures are made over; so the client is
configured with the proxy's address and the store knows nothing of it. Path-style addressing only. It counts at
the moment the store has answered, whether or not the client lives to hear it.

    async with S3Proxy(upstream_port) as proxy: ...          # in a loop
    with proxy_in_thread(upstream_port) as proxy: ...        # beside blocking code
"""

from __future__ import annotations

import asyncio
import threading
import urllib.parse
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

_BLOCK = 64 * 1024
_MOST_HEAD = 64 * 1024
_MOST_KEPT_ANSWER = 4096


@dataclass
class Stats:
    """What went by since the start or the last `reset`."""

    request_body_bytes: int = 0  # from the client, whether or not the request came to its end
    response_body_bytes: int = 0
    operations: Counter[str] = field(default_factory=Counter)  # requests seen, by name
    publishes: Counter[str] = field(default_factory=Counter)  # successful ones, by bucket/key
    reads: Counter[str] = field(default_factory=Counter)  # successful GetObject, by bucket/key


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    @property
    def key(self) -> str:
        """bucket/key, or the bucket alone."""
        return urllib.parse.unquote(self.path).strip("/")

    @property
    def operation(self) -> str:
        """The name that S3 has for it."""
        has = self.query.__contains__
        if "/" not in self.key:
            bucket = {"GET": "ListMultipartUploads" if has("uploads") else "ListObjects"}
            return bucket.get(self.method, f"{self.method} bucket")
        on_upload = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "GET": "ListParts"}
        if has("uploadId"):
            return on_upload.get(self.method, "AbortMultipartUpload")
        if has("uploads"):
            return "CreateMultipartUpload"
        plain = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
        return plain.get(self.method, self.method)


class Cut(Exception):
    """The connection was ordered to break here."""


class S3Proxy:
    def __init__(self, upstream_port: int, *, port: int = 0):
        self.stats = Stats()
        self.port = port
        self.bytes_per_second: float | None = None
        self._upstream_port = upstream_port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flow = asyncio.Event()
        self._flow.set()
        self._cut_at: int | None = None
        self._deaf_to = ""

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        self.stats = Stats()

    # Troubles.

    def cut_after(self, body_bytes: int) -> None:
        """Break the connection that carries the `body_bytes`-th byte of request bodies from now. Once."""
        self._cut_at = self.stats.request_body_bytes + body_bytes

    def lose_answer(self, operation: str) -> None:
        """Let the next `operation` through to the store, and break before its answer reaches the client. Once."""
        self._deaf_to = operation

    def stall(self) -> None:
        """Hold every byte, in both directions, until `flow`."""
        self._flow.clear()

    def flow(self) -> None:
        self._flow.set()

    async def refuse(self) -> None:
        """Break what is open and refuse connections until `accept`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._flow.set()
        for connection in list(self._connections):
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def accept(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port, limit=_MOST_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    # The way of a request.

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_writer: asyncio.StreamWriter | None = None
        try:
            store_reader, store_writer = await asyncio.open_connection(
                "127.0.0.1", self._upstream_port, limit=_MOST_HEAD
            )
            while await self._exchange(reader, writer, store_reader, store_writer):
                pass
        except (Cut, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
            if store_writer is not None:
                store_writer.transport.abort()
        finally:
            for each in (writer, store_writer):
                if each is not None:
                    each.close()

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        store_reader: asyncio.StreamReader,
        store_writer: asyncio.StreamWriter,
    ) -> bool:
        """Carry one request and its answer. False at the end of the connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise
            return False
        await self._flow.wait()
        request = _parse_request(head)
        self.stats.operations[request.operation] += 1
        store_writer.write(head)
        body = asyncio.create_task(self._send_body(request, reader, store_writer))
        answer = asyncio.create_task(self._answer(request, store_reader, writer))
        try:
            await asyncio.wait({body, answer}, return_when=asyncio.FIRST_EXCEPTION)
            if body.done() and body.exception():
                await body
            keeps = await answer
            return keeps and body.done()  # an answer before the whole body ends the connection
        finally:
            for task in (body, answer):
                task.cancel()
            await asyncio.wait({body, answer})

    async def _send_body(
        self, request: Request, reader: asyncio.StreamReader, store_writer: asyncio.StreamWriter
    ) -> None:
        async for block in _body(reader, request.headers):
            await self._flow.wait()
            self.stats.request_body_bytes += len(block)
            if self._cut_at is not None and self.stats.request_body_bytes >= self._cut_at:
                self._cut_at = None
                raise Cut
            store_writer.write(block)
            await store_writer.drain()
            if self.bytes_per_second:
                await asyncio.sleep(len(block) / self.bytes_per_second)

    async def _answer(
        self, request: Request, store_reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        while True:
            head = await store_reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
            await self._flow.wait()
            writer.write(head)
        headers = _parse_headers(head)
        kept = b""
        has_body = request.method != "HEAD" and status not in (204, 304)
        if request.operation == "GetObject" and status in (200, 206):
            self.stats.reads[request.key] += 1
        if request.operation != "CompleteMultipartUpload":
            self._note(request, status, kept)
        await self._flow.wait()
        if self._deaf_to != request.operation:
            writer.write(head)
        if has_body:
            async for block in _body(store_reader, headers, to_the_end=True):
                await self._flow.wait()
                self.stats.response_body_bytes += len(block)
                kept = (kept + block)[:_MOST_KEPT_ANSWER]
                if self._deaf_to != request.operation:
                    await _forward(writer, block)
        if request.operation == "CompleteMultipartUpload":
            self._note(request, status, kept)
        if self._deaf_to == request.operation:
            self._deaf_to = ""
            raise Cut
        await _forward(writer, b"")
        return headers.get("connection", "").lower() != "close"

    def _note(self, request: Request, status: int, answer: bytes) -> None:
        """Count a publish. CompleteMultipartUpload may say 200 and then an error in its body."""
        if status != 200 or b"<Error>" in answer:
            return
        if request.operation in ("PutObject", "CompleteMultipartUpload"):
            self.stats.publishes[request.key] += 1


async def _forward(writer: asyncio.StreamWriter, block: bytes) -> None:
    """Send to the client, if it still lives: what the store did is counted either way."""
    with suppress(ConnectionError):
        writer.write(block)
        await writer.drain()


def _parse_request(head: bytes) -> Request:
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    path, _, query = target.partition("?")
    return Request(method, path, urllib.parse.parse_qs(query, keep_blank_values=True), _parse_headers(head))


def _parse_headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _body(
    reader: asyncio.StreamReader, headers: dict[str, str], *, to_the_end: bool = False
) -> AsyncIterator[bytes]:
    """Yield a message's body as it stands on the wire, chunk framing included."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            yield line + await reader.readexactly(size + 2)
            if size == 0:
                return
    elif "content-length" in headers:
        left = int(headers["content-length"])
        while left:
            block = await reader.read(min(left, _BLOCK))
            if not block:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(block)
            yield block
    elif to_the_end:
        while block := await reader.read(_BLOCK):
            yield block


class ProxyHandle:
    """The proxy in a loop of its own thread, steered from outside of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, proxy: S3Proxy):
        self._loop = loop
        self.proxy = proxy

    @property
    def url(self) -> str:
        return self.proxy.url

    @property
    def stats(self) -> Stats:
        return self.proxy.stats

    def do(self, order: Callable[[S3Proxy], object]) -> None:
        """Run `order` in the proxy's loop and wait for it: ``handle.do(lambda proxy: proxy.cut_after(5))``."""

        async def obey() -> None:
            result = order(self.proxy)
            if asyncio.iscoroutine(result):
                await result

        asyncio.run_coroutine_threadsafe(obey(), self._loop).result(timeout=10)


@contextmanager
def proxy_in_thread(upstream_port: int) -> Iterator[ProxyHandle]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="s3-proxy")
    thread.start()
    try:
        handle = ProxyHandle(loop, S3Proxy(upstream_port))
        handle.do(lambda proxy: proxy.accept())
        try:
            yield handle
        finally:
            handle.do(lambda proxy: proxy.refuse())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
