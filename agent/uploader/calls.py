"""Calling a backend: blocking code in a thread, and never two threads at once for one upload.

Every destination has threads of its own: in a common pool, one that hangs in each call would leave none for the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Calls:
    """The threads of one destination."""

    def __init__(self, name: str, threads: int):
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, partial(function, *args, **kwargs))

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a backend in a thread, and wait for its end even when cancelled: two threads must never share one upload."""
        return await settled(self.start(function, *args, **kwargs))

    def close(self) -> None:
        """Nothing is called any more; what hangs ends by itself."""
        self._pool.shutdown(wait=False)


async def settled(future: asyncio.Future[T]) -> T:
    """Wait for the end of `future`, and only then let a cancellation through."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        future.exception()
        raise cancelled
    return future.result()
