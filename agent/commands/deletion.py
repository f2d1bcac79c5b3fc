"""The order to delete from the cards now what is delivered and proven."""

from __future__ import annotations

import msgspec

from agent.commands.parts import Agent
from agent.faults import Advice, Kind, Scope, fault

FAULTS = {
    "order.delete_off": Advice(
        Kind.NEEDS_USER,
        "Deleting from cards is switched off: set enabled = true under [delete], or say --yes for this one time.",
        Scope.ITEM,
    ),
}


class Begun(msgspec.Struct, frozen=True):
    cameras: tuple[str, ...]  # whose cards are looked at now; what came of it, the journal tells
    away: tuple[str, ...]  # not connected, so nothing is deleted there


def delete(agent: Agent, *, by: str, is_confirmed: bool) -> Begun:
    """Let one round of deleting begin on every connected camera, by the rules of the settings.

    Raises Fault ``order.delete_off`` when it is switched off and not confirmed.
    """
    if not (agent.settings.delete.enabled or is_confirmed):
        raise fault(FAULTS, "order.delete_off")
    begun = {name: collector.delete_now(by) for name, collector in sorted(agent.collectors.items())}
    return Begun(
        tuple(name for name, is_begun in begun.items() if is_begun),
        tuple(name for name, is_begun in begun.items() if not is_begun),
    )
