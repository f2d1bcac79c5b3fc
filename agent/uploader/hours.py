"""Deliveries outside the hours of their destination wait, and say until when."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent.keys import Media
from agent.ledger import Ledger
from agent.uploader.pace import Pace
from agent.uploader.target import Target


class Hours:
    """`alarm`: look again at that time of the clock on the wall; returns it as the ledger writes it."""

    def __init__(self, ledger: Ledger, alarm: Callable[[float], str]):
        self._ledger = ledger
        self._alarm = alarm
        self.every = Pace()  # of all destinations together

    def closed_until(self, target: Target, kind: Media) -> float | None:
        """When files of this kind may go to it again, None if now."""
        found = [
            until for pace in (target.pace, self.every) if (until := pace.closed_until(kind)) is not None
        ]
        return max(found, default=None)

    async def begin(self, target: Target) -> bool:
        """Its hours, or we, are new: nothing may be fetched again for it only to wait. Says what `open_up` says."""
        target.held.clear()
        is_missed = await self._ledger.deliveries.release(target.name)
        await self.hold(target)
        return is_missed

    async def hold(self, target: Target) -> None:
        """Whatever is queued and may not go now says so, and until when."""
        closed: dict[float, list[Media]] = {}
        for kind in Media:
            if (until := self.closed_until(target, kind)) is not None:
                closed.setdefault(until, []).append(kind)
        for until, kinds in closed.items():
            target.held.update(kinds)
            await self._ledger.deliveries.hold(target.name, kinds, self._alarm(until))

    async def open_up(self, targets: Iterable[Target]) -> bool:
        """Hours that begin are seen by the clock as it is: it may have been set since. Says whether the spool lacks
        any of what may go now."""
        is_missed = False
        for target in list(targets):
            opened = [
                kind
                for kind in target.held
                if not (target.pace.is_closed(kind) or self.every.is_closed(kind))
            ]
            if opened:
                target.held.difference_update(opened)
                is_missed |= await self._ledger.deliveries.release(target.name, opened)
        return is_missed
