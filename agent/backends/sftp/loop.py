"""The one thread in which asyncssh runs for a backend, and the way into it from others.

Callers block, each for a bounded time; what they gave up on is cancelled in the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_CLOSE_SECONDS = 5.0
_RESOLVER_THREADS = 2  # names are looked up there: that call has no timeout of its own


class Connection(Protocol):
    """What is known here of asyncssh's connection."""

    def abort(self) -> None: ...

    def wait_closed(self) -> Awaitable[None]: ...


class Loop:
    """Starts its thread with the first call."""

    def __init__(self, name: str):
        self.connections: set[Connection] = set()
        """Touched in the loop's thread alone; `close` ends those that are left."""
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def run(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Return what `work` returns. TimeoutError after `seconds`, ConnectionAbortedError after `close`."""
        with self._lock:
            if self._is_closed:
                work.close()
                raise ConnectionAbortedError("the destination was closed")
            future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result(seconds)
        except asyncio.CancelledError:
            raise ConnectionAbortedError("the destination was closed") from None
        finally:
            future.cancel()

    def close(self) -> None:
        """End the thread; calls that are under way end with ConnectionAbortedError."""
        with self._lock:
            self._is_closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_CLOSE_SECONDS)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._serve, args=(self._loop,), name=self._name, daemon=True
            )
            self._thread.start()
        return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        resolvers = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix=f"{self._name}-names")
        loop.set_default_executor(resolvers)
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            loop.run_until_complete(self._end())
        finally:
            resolvers.shutdown(wait=False, cancel_futures=True)
            loop.close()

    async def _end(self) -> None:
        connections = list(self.connections)
        for connection in connections:
            connection.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        closing = asyncio.gather(
            *tasks, *(connection.wait_closed() for connection in connections), return_exceptions=True
        )
        await asyncio.wait([closing], timeout=_CLOSE_SECONDS / 2)
        await asyncio.get_running_loop().shutdown_asyncgens()
