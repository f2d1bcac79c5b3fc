"""Orders about cameras, destinations and the agent itself: pause, go on, look again, read the settings again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from agent.commands.parts import Agent
from agent.faults import Advice, Kind, Scope, fault
from agent.settings import load

FAULTS = {
    "order.unknown_name": Advice(
        Kind.PERMANENT,
        "There is no camera or destination of that name: hotshoe status lists them.",
        Scope.ITEM,
    ),
    "order.two_of_that_name": Advice(
        Kind.PERMANENT,
        "A camera and a destination have that name: write camera:NAME or destination:NAME.",
        Scope.ITEM,
    ),
    "order.just_begun": Advice(
        Kind.RETRYABLE, "hotshoe has just begun and does not know it yet: try again in a moment.", Scope.ITEM
    ),
    "order.switched_off": Advice(
        Kind.PERMANENT,
        "The camera is switched off in the configuration: set enabled = true there, then hotshoe reload.",
        Scope.ITEM,
    ),
}
KINDS = ("camera", "destination")


class Steered(msgspec.Struct, frozen=True):
    """What an order was carried out on."""

    kind: str
    name: str


class Reloaded(msgspec.Struct, frozen=True):
    after_restart: tuple[str, ...]  # names of settings that are taken over only then


async def pause(agent: Agent, name: str, *, by: str) -> Steered:
    """Let go of a camera, or stop delivering to a destination, until a person resumes it; a restart changes nothing."""
    found = _named(agent, name)
    if found.kind == "camera":
        await agent.pause_camera(found.name, by)
    else:
        await agent.uploader.pause(found.name, by)
    return found


async def resume(agent: Agent, name: str) -> Steered:
    """Go on with a camera or destination, or try it again at once."""
    found = _named(agent, name)
    if found.kind == "destination":
        await agent.uploader.resume(found.name)
        return found
    camera = next(each for each in agent.settings.cameras if each.name == found.name)
    if not camera.enabled:
        raise fault(FAULTS, "order.switched_off", found.name)
    if found.name not in agent.collectors:
        await agent.ledger.cameras.set_subject(
            "camera", found.name, "waiting", reason="is being connected to"
        )
        agent.resume_camera(found.name)
    agent.collectors[found.name].hurry()
    return found


async def scan(agent: Agent) -> list[str]:
    """Let every camera read its cards anew; return which ones are connected."""
    agent.look_again()
    return sorted(name for name, collector in agent.collectors.items() if collector.body is not None)


async def reload(agent: Agent, config: Path) -> Reloaded:
    """Take over what changed in the configuration. Raises SettingsError; everything then stays as it was."""
    return Reloaded(tuple(await agent.apply(load(config))))


def _named(agent: Agent, name: str) -> Steered:
    kind, colon, rest = name.partition(":")
    kinds, wanted = ((kind,), rest) if colon and kind in KINDS else (KINDS, name)
    names = {
        "camera": {camera.name for camera in agent.settings.cameras},
        "destination": set(agent.settings.destinations),
    }
    found = [Steered(each, wanted) for each in kinds if wanted in names[each]]
    if not found:
        raise fault(FAULTS, "order.unknown_name", name)
    if len(found) > 1:
        raise fault(FAULTS, "order.two_of_that_name", name)
    if found[0].kind == "destination" and wanted not in agent.uploader.targets:
        raise fault(FAULTS, "order.just_begun", name)
    return found[0]
