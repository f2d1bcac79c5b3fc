"""The order of turns, with a session that only records who used it."""

from __future__ import annotations

import asyncio
import random
from typing import cast

import pytest

from agent.camera.link import Link, Urgency
from agent.camera.session import Session


class Recorder:
    """Stands for a session: its one transaction lasts until `finish` is called."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.users = 0
        self.running = asyncio.Event()
        self._end = asyncio.Event()

    async def transact(self, who: str) -> None:
        self.users += 1
        assert self.users == 1, "two holders at once"
        self.order.append(who)
        self.running.set()
        try:
            await self._end.wait()
        finally:
            self._end.clear()
            self.running.clear()
            self.users -= 1

    async def finish(self) -> None:
        """End the transaction under way, once there is one, and let whoever comes next begin."""
        await self.running.wait()
        self._end.set()
        await moments()


async def moments() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def make() -> tuple[Link, Recorder]:
    recorder = Recorder()
    return Link(cast(Session, recorder)), recorder


async def use(link: Link, urgency: Urgency, who: str) -> None:
    async with link.turn(urgency) as session:
        await cast(Recorder, session).transact(who)


async def started(link: Link, *turns: tuple[Urgency, str]) -> list[asyncio.Task[None]]:
    """Tasks that have asked for their turn, in this order."""
    tasks = []
    for urgency, who in turns:
        tasks.append(asyncio.create_task(use(link, urgency, who)))
        await asyncio.sleep(0)
    return tasks


async def test_the_most_urgent_goes_first_and_within_an_urgency_whoever_came_first() -> None:
    link, session = make()
    tasks = await started(
        link,
        (Urgency.BULK, "bulk 1"),
        (Urgency.BULK, "bulk 2"),
        (Urgency.LOOK, "look 1"),
        (Urgency.PERSON, "person 1"),
        (Urgency.LOOK, "look 2"),
        (Urgency.PERSON, "person 2"),
    )
    for _ in tasks:
        await session.finish()
    await asyncio.gather(*tasks)
    assert session.order == ["bulk 1", "person 1", "person 2", "look 1", "look 2", "bulk 2"]


async def test_while_chunks_run_without_end_a_person_waits_for_one_and_looks_are_not_starved() -> None:
    link, session = make()

    async def bulk() -> None:
        while True:
            await use(link, Urgency.BULK, "bulk")

    readers = [asyncio.create_task(bulk()) for _ in range(3)]
    for number in range(20):
        await session.running.wait()
        before = len(session.order)
        tasks = await started(link, (Urgency.LOOK, "look"), (Urgency.PERSON, "person"))
        for _ in range(2 + number % 3):
            await session.finish()
        await asyncio.wait_for(tasks[1], 1)
        assert session.order[before : before + 2] == ["person", "look"]
        if not tasks[0].done():
            await session.finish()
        await asyncio.wait_for(tasks[0], 1)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)


async def test_cancelled_while_waiting_is_as_if_never_asked() -> None:
    link, session = make()
    tasks = await started(
        link, (Urgency.BULK, "first"), (Urgency.LOOK, "left"), (Urgency.LOOK, "second"), (Urgency.BULK, "x")
    )
    tasks[1].cancel()
    for _ in range(3):
        await session.finish()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert session.order == ["first", "second", "x"]


async def test_cancelled_while_holding_passes_the_link_on() -> None:
    link, session = make()
    tasks = await started(link, (Urgency.BULK, "first"), (Urgency.BULK, "second"))
    tasks[0].cancel()
    await moments()
    assert session.order == ["first", "second"]
    await session.finish()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_cancelled_in_the_moment_of_the_grant_passes_the_link_on() -> None:
    link, session = make()
    await link.acquire(Urgency.BULK)
    left, second = await started(link, (Urgency.BULK, "left"), (Urgency.BULK, "second"))
    link.pass_on()  # the grant is given, its task has not run yet
    left.cancel()
    await session.finish()
    await asyncio.gather(left, second, return_exceptions=True)
    assert session.order == ["second"]


async def test_an_error_of_the_holder_passes_the_link_on() -> None:
    link, session = make()

    async def fail() -> None:
        async with link.turn(Urgency.BULK):
            raise ValueError

    with pytest.raises(ValueError):
        await fail()
    (task,) = await started(link, (Urgency.BULK, "next"))
    await session.finish()
    await task


@pytest.mark.parametrize("seed", range(5))
async def test_no_mix_of_turns_and_cancellations_loses_the_link(seed: int) -> None:
    dice = random.Random(seed)
    link, served = Link(cast(Session, None)), 0
    holders = 0

    async def turn() -> None:
        nonlocal served, holders
        async with link.turn(Urgency(dice.randrange(3))):
            holders += 1
            assert holders == 1
            try:
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                holders -= 1
            served += 1

    tasks = []
    for _ in range(300):
        tasks.append(asyncio.create_task(turn()))
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
        if dice.random() < 0.4:
            dice.choice(tasks).cancel()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    print(f"seed {seed}: {served} of {len(tasks)} served")
    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
    async with asyncio.timeout(1), link.turn(Urgency.BULK):
        pass
