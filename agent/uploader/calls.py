"""Calling a backend: blocking code in a thread, and never two threads at once for one upload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a backend in a thread, and wait for its end even when cancelled: two threads must never share one upload."""
    return await settled(asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs)))


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
