"""Orders about files: try again, give up, send somewhere."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent.commands.parts import Agent
from agent.faults import Advice, Kind, Scope, fault
from agent.keys import TemplateError, suffixed
from agent.ledger import NewDelivery, Row
from agent.routing import Owed, facts_of, override, owed
from agent.settings import Route
from agent.settings.problems import near

FAULTS = {
    "order.unknown_destination": Advice(
        Kind.PERMANENT, "There is no destination of that name: hotshoe destinations lists them.", Scope.ITEM
    ),
    "order.bad_template": Advice(
        Kind.PERMANENT, "No name can be made of this template, and nothing was sent.", Scope.ITEM
    ),
}


class Retried(msgspec.Struct, frozen=True):
    deliveries: int  # queued again
    unknown: tuple[int, ...] = ()  # ids of no file


class Skipped(msgspec.Struct, frozen=True):
    files: int  # that something was given up of
    unknown: tuple[int, ...] = ()


class Sent(msgspec.Struct, frozen=True):
    """What came of one file at one destination."""

    id: int
    name: str
    destination: str | None
    outcome: (
        str  # queued · under way · delivered already · not ready · gone · off its card · no route · unknown
    )
    key: str | None = None  # what it is called there


class Requeued(msgspec.Struct, frozen=True):
    files: tuple[int, ...]  # that are sent again


async def retry(agent: Agent, ids: Sequence[int] | None) -> Retried:
    """Queue what failed or was skipped of these files again; None: what failed of any, and try everything that waits.

    A destination that was stopped by a fault is tried again as well; one that a person paused stays paused.
    """
    known, unknown = await _told_apart(agent, ids)
    deliveries = await agent.ledger.orders.retry(None if ids is None else known)
    for subject in await agent.ledger.cameras.subjects():
        is_stopped = subject.state == "waiting" or (
            subject.state == "paused" and subject.paused_by == "agent"
        )
        if subject.kind == "destination" and is_stopped and subject.name in agent.uploader.targets:
            await agent.uploader.resume(subject.name)
    agent.look_again()
    return Retried(deliveries, tuple(unknown))


async def skip(agent: Agent, ids: Sequence[int], *, reason: str, by: str) -> Skipped:
    """Give up whatever these files still owe. What is under way ends; what is delivered stays."""
    known, unknown = await _told_apart(agent, ids)
    files = await agent.ledger.orders.skip(known, by, reason)
    await agent.uploader.drop(known)
    for collector in agent.collectors.values():
        collector.drop(known)
    return Skipped(files, tuple(unknown))


async def requeue(agent: Agent, delivery_ids: Sequence[int]) -> Requeued:
    """Deliver again what turned out not to lie where it was delivered. What the spool has not got is fetched again."""
    files = await agent.ledger.orders.requeue(delivery_ids)
    for file_id in files:
        agent.want(file_id)
    agent.look_again()
    return Requeued(tuple(files))


async def note_verified(agent: Agent, *, lost: Sequence[int], found: Sequence[int]) -> None:
    """Keep what was found where deliveries were looked for: no file is deleted from its card for one that is lost."""
    await agent.ledger.journal.doubt(lost)
    await agent.ledger.journal.trust(found)


async def send(agent: Agent, ids: Sequence[int], to: str | None, template: str | None = None) -> list[Sent]:
    """Owe these files to `to`, or to wherever a route names, its `auto` aside. `template`: what they are called at `to`.

    The promise is durable when this returns. A file that is not in the spool is fetched. Raises Fault
    ``order.unknown_destination``, ``order.bad_template``.
    """
    if to is not None and to not in agent.settings.destinations:
        raise fault(FAULTS, "order.unknown_destination", f"{to}; {near(to, agent.settings.destinations)}")
    outcomes: list[Sent] = []
    for file_id in ids:
        rows = await agent.ledger.views.files(after_id=file_id - 1, limit=1)
        if rows and rows[0]["id"] == file_id:
            outcomes += await _send(agent, rows[0], to, template)
        else:
            outcomes.append(Sent(file_id, "", to, "unknown"))
    agent.look_again()
    return outcomes


async def _send(agent: Agent, row: Row, to: str | None, template: str | None) -> list[Sent]:
    file_id, name = row["id"], row["name"]
    if row["state"] == "gone":
        return [Sent(file_id, name, to, "gone")]
    if row["identity"] is None:
        return [Sent(file_id, name, to, "not ready")]
    wanted = _deliveries(agent, row, to, template)
    if not wanted:
        return [Sent(file_id, name, to, "no route")]
    before = {delivery["destination"]: delivery for delivery in row["deliveries"]}
    states = {destination: delivery["state"] for destination, delivery in before.items()}
    if row["state"] == "evicted" and await agent.ledger.journal.is_deleted(file_id):
        return [
            Sent(file_id, name, each.destination, "delivered already" if is_done else "off its card")
            for each in wanted
            for is_done in [states.get(each.destination) == "done"]
        ]
    again = [each.destination for each in wanted if states.get(each.destination) in ("failed", "skipped")]
    if row["state"] == "skipped" or again:
        await agent.ledger.orders.retry([file_id], destinations=again)
    await agent.ledger.files.owe(file_id, wanted)
    agent.want(file_id)
    words = {"done": "delivered already", "queued": "under way", "uploading": "under way"}
    return [
        Sent(
            file_id,
            name,
            each.destination,
            words.get(states.get(each.destination, ""), "queued"),
            before[each.destination]["key"] if each.destination in before else each.keys[0],
        )
        for each in wanted
    ]


def _deliveries(agent: Agent, row: Row, to: str | None, template: str | None) -> list[NewDelivery]:
    facts = facts_of(row, site=agent.settings.site, zone=agent.settings.zone)
    destinations = agent.settings.destinations
    if to is not None and template is not None:
        try:
            found: tuple[Owed, ...] = (override(facts, to, template),)
        except TemplateError as error:
            raise fault(FAULTS, "order.bad_template", str(error)) from error
    else:
        found = owed(facts, agent.settings.routes, destinations, by_hand=True)
        if to is not None:
            named = tuple(each for each in found if each.destination == to)
            found = named or owed(facts, (Route(destinations=(to,)),), destinations)
    return [
        NewDelivery(each.destination, (each.key, each.suffixed_key, suffixed(each.key, row["identity"], 16)))
        for each in found
    ]


async def _told_apart(agent: Agent, ids: Sequence[int] | None) -> tuple[list[int], list[int]]:
    """Return which of `ids` are files, and which are not."""
    known: list[int] = []
    unknown: list[int] = []
    for file_id in ids or ():
        (unknown if await agent.ledger.files.file(file_id) is None else known).append(file_id)
    return known, unknown
