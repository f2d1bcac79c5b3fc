"""Who may use the command channel next.

A camera does one thing at a time. `Link` grants its session for one bounded transaction, by urgency, and in order of
arrival within one: a person's thumbnail waits for the chunk that is being read and for nothing else. Nothing is
preempted, and a steady stream of more urgent turns does starve the rest: what is bulk must come in pieces, and what is
urgent must be rare.

A turn that is cancelled while it waits is as if it had never been asked for; one that is cancelled while it holds
the session passes it on (the session itself finishes or discards what is under way).
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import IntEnum

from agent.camera.session import Session


class Urgency(IntEnum):
    PERSON = 0  # somebody waits for it at a screen
    LOOK = 1  # looking for new files
    BULK = 2  # the chunks of files


class Turn:
    """One grant of a link, from its ``async with``."""

    __slots__ = ("_link", "_urgency")

    def __init__(self, link: Link, urgency: Urgency) -> None:
        self._link = link
        self._urgency = urgency

    async def __aenter__(self) -> Session:
        await self._link.acquire(self._urgency)
        return self._link.session

    async def __aexit__(self, *error: object) -> None:
        self._link.pass_on()


class Link:
    """Grants `session` to one holder at a time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._is_held = False
        self._waiting: dict[Urgency, deque[asyncio.Future[None]]] = {urgency: deque() for urgency in Urgency}

    def turn(self, urgency: Urgency) -> Turn:
        """Use as ``async with link.turn(urgency) as session``: waits for the session, holds it, passes it on."""
        return Turn(self, urgency)

    async def acquire(self, urgency: Urgency) -> None:
        if not self._is_held:
            self._is_held = True
            return
        grant = asyncio.get_running_loop().create_future()
        self._waiting[urgency].append(grant)
        try:
            await grant
        except asyncio.CancelledError:
            if grant.cancelled():
                self._waiting[urgency].remove(grant)
            else:  # granted in the same moment: it is ours, and nobody else will pass it on
                self.pass_on()
            raise

    def pass_on(self) -> None:
        for urgency in Urgency:
            for grant in self._waiting[urgency]:
                if not grant.done():
                    self._waiting[urgency].remove(grant)
                    grant.set_result(None)
                    return
        self._is_held = False
