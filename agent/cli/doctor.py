"""`hotshoe doctor`: try everything that a run would need, and say of each step whether it worked, and if not what to do.

Configuration, state folder, cameras and destinations are tried side by side; each has a deadline, and each is told as
soon as all before it are. A camera that a running agent holds is asked through the agent.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from agent.cli import measures
from agent.cli.checks import Finding, check_camera, check_destination, check_settings, check_state
from agent.cli.stop import DONE, WRONG
from agent.cli.text import emit, fold, paint, safe, safe_lines, say
from agent.settings import SettingsError, load

DEADLINE_SECONDS = 120.0
_DETAIL_COLUMN = 33


class Section(msgspec.Struct, frozen=True):
    """One thing that was tried."""

    part: str  # configuration, state, camera, destination
    name: str
    findings: tuple[Finding, ...]


def doctor(arguments: argparse.Namespace) -> int:
    """Exit code: 0 all is well; 1 something is wrong."""
    return asyncio.run(_doctor(arguments.config, is_json=arguments.json))


async def _doctor(config: Path, *, is_json: bool) -> int:
    began = time.monotonic()
    wrong: list[str] = []
    async for section in _sections(config):
        wrong += [
            f"{section.part} {section.name}: {each.step}" for each in section.findings if each.ok is False
        ]
        for each in section.findings if is_json else ():
            emit({"part": section.part, "name": section.name, **msgspec.structs.asdict(each)})
        if not is_json:
            say_section(section)
    if is_json:
        emit(
            {
                "part": "summary",
                "ok": not wrong,
                "wrong": wrong,
                "seconds": round(time.monotonic() - began, 3),
            }
        )
    elif wrong:
        say(paint(f"▲ {measures.several(len(wrong), 'thing')} to put right.", "bold red"))
    else:
        say(paint("✓ All is well.", "bold green"))
    return WRONG if wrong else DONE


async def _sections(config: Path) -> AsyncIterator[Section]:
    try:
        settings = load(config)
    except SettingsError as error:
        problems = (
            Finding(each.path or "the file", False, f"{each.message} ({each.source})")
            for each in error.problems
        )
        yield Section("configuration", str(config), tuple(problems))
        return
    yield Section("configuration", str(config), tuple(check_settings(settings)))
    state = settings.state_dir
    tries: list[tuple[str, str, Coroutine[Any, Any, list[Finding]]]] = [
        ("state", str(state), check_state(settings)),
        *(("camera", each.name, check_camera(each, state)) for each in settings.cameras),
        *(
            ("destination", name, check_destination(each, state))
            for name, each in settings.destinations.items()
        ),
    ]
    tasks = [(part, name, asyncio.create_task(bounded(work))) for part, name, work in tries]
    try:
        for part, name, task in tasks:
            yield Section(part, name, tuple(await task))
    finally:
        for _, _, task in tasks:
            task.cancel()
        await asyncio.wait([task for _, _, task in tasks])


async def bounded(work: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await work
    except TimeoutError:
        return [Finding("answer", False, f"nothing for {DEADLINE_SECONDS:.0f} s", DEADLINE_SECONDS)]


# -- telling ---------------------------------------------------------------------------------------------


def say_section(section: Section) -> None:
    say(paint(f"{section.part.capitalize()} {safe(section.name)}", "bold"))
    for each in section.findings:
        mark, colour = {True: ("✓", "green"), False: ("▲", "red"), None: ("·", "yellow")}[each.ok]
        seconds = f"{each.seconds:.3f} s" if each.seconds is not None else ""
        named = f"{each.step:<17} {seconds:>9}" if seconds else f"{each.step:<27}"
        lines = fold(safe_lines(each.detail), _DETAIL_COLUMN)
        first = "" if len(named) > 27 or not lines else lines.pop(0).strip()
        say(f"  {paint(mark, colour)} {named}  {first}".rstrip())
        for line in lines:
            say(line)
        if each.hint:
            for line in fold(safe(each.hint) + (f" [{each.code}]" if each.code else ""), 6):
                say(paint(line, colour))
    say()
