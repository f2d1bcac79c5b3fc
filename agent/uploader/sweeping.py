"""What settled deliveries left at a destination is removed, beside the loop: one that hangs holds up no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import structlog

from agent.faults import Fault, Scope
from agent.ledger import Ledger
from agent.uploader.target import Target

log = structlog.get_logger("uploader")

SWEEP_SECONDS = 1.0
AGAIN_SECONDS = 60.0
"""Between two questions after something that the destination does not let go of."""


class Sweeper:
    """`ask`: find out whether a destination is back. `stop`: it does not answer. `look_at`: come back at that monotonic time."""

    def __init__(
        self,
        ledger: Ledger,
        ask: Callable[[Target], Awaitable[None]],
        stop: Callable[[Target, Fault], Awaitable[None]],
        look_at: Callable[[float], None],
    ):
        self._ledger = ledger
        self._ask = ask
        self._stop = stop
        self._look_at = look_at

    def begin(self, targets: Iterable[Target]) -> None:
        """Sweep the destinations that have nothing else to do."""
        now = time.monotonic()
        for target in targets:
            if target.tasks or target.room <= 0 or not target.is_dry:
                continue
            due = self._due(target)
            if due > now:
                if due < float("inf"):
                    self._look_at(due)
                continue
            target.sweep_at = now + SWEEP_SECONDS
            target.sweeping = asyncio.create_task(self._sweep(target), name=f"sweep {target.name}")
            target.sweeping.add_done_callback(partial(self._swept, target))

    def _due(self, target: Target) -> float:
        """When it may be swept: after a change, or when something that it held is to be asked for again."""
        if target.failures or target.swept_changes != self._ledger.changes:
            return target.sweep_at
        return max(target.sweep_at, min(target.left.values(), default=float("inf")))

    async def _sweep(self, target: Target) -> None:
        """Find out whether a destination is back that no file in the spool can ask, and remove what skipped or done
        deliveries left there."""
        try:
            if target.failures:
                await self._ask(target)
            after, seen = 0, set()
            while found := await self._ledger.deliveries.leftovers(target.name, after):
                for delivery_id, key, token in found:
                    await self._sweep_one(target, delivery_id, key, token)
                    seen.add(delivery_id)
                after = found[-1][0]
            target.left = {each: at for each, at in target.left.items() if each in seen}
        except Fault as caught:  # the next sweep meets it again; nobody waits for it
            log.info("partials are left", destination=target.name, code=caught.code, detail=caught.detail)
            await self._stop(target, caught)

    async def _sweep_one(self, target: Target, delivery_id: int, key: str, token: str) -> None:
        """Raises Fault if the destination as a whole does not answer; what it holds on to is asked for again later."""
        if target.left.get(delivery_id, 0.0) > time.monotonic():
            return
        try:
            await target.call(target.backend.drop, key, token)
        except Fault as caught:
            if caught.scope is Scope.WHOLE:
                raise
            target.left[delivery_id] = time.monotonic() + AGAIN_SECONDS
            log.info("a partial is left", destination=target.name, key=key, code=caught.code)
        else:
            target.left.pop(delivery_id, None)
            await self._ledger.deliveries.note_swept(delivery_id)

    def _swept(self, target: Target, task: asyncio.Task[None]) -> None:
        target.sweeping = None
        if not task.cancelled() and (error := task.exception()):
            log.error("not swept", destination=target.name, exc_info=error)
        if target.is_awaited or target.left:  # else the loop would not see when to ask again
            target.is_awaited = False
            self._ledger.wake()
        target.swept_changes = self._ledger.changes
