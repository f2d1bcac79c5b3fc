"""`hotshoe destinations`: how each stands, and with `check` whether it works, step by step."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agent.cli import measures, words
from agent.cli.checks import Finding, check_destination
from agent.cli.doctor import Section, bounded, say_section
from agent.cli.stop import DONE, MISUSED, WRONG, Stop
from agent.cli.text import Table, emit, fold, hint, paint, safe, say
from agent.ledger import Ledger, Subject
from agent.settings import Settings, load
from agent.settings.problems import near

Row = dict[str, Any]

_NOTHING: Row = {
    "queued": 0, "waiting": 0, "uploading": 0, "failed": 0, "done": 0, "verified": 0, "owed_bytes": 0,
    "scheduled": 0, "opens_at": None, "proven_at": None, "proof": None,
}  # fmt: skip


def destinations(arguments: argparse.Namespace) -> int:
    """Exit code: 0 told, or all is well; 1 with check: something is wrong; 2 wrong usage or configuration."""
    action, names = "list", list(arguments.names)
    if names and names[0] in ("list", "check"):
        action = names.pop(0)
    settings = load(arguments.config)
    if action == "check":
        return asyncio.run(_check(settings, chosen(settings, names), is_json=arguments.json))
    rows = asyncio.run(_standing(settings))
    if names:
        known = [row["name"] for row in rows]
        for name in names:
            if name not in known:
                raise Stop(f"{safe(name)} is no destination that is known here; {near(name, known)}", MISUSED)
        rows = [row for row in rows if row["name"] in names]
    for row in rows if arguments.json else ():
        emit(row)
    if not arguments.json:
        _say(rows)
    return DONE


def chosen(settings: Settings, names: Sequence[str]) -> list[str]:
    """Return these destinations, or all. Raises Stop for one that is not in the settings."""
    for name in names:
        if name not in settings.destinations:
            raise Stop(
                f"{safe(name)} is no destination of this configuration; {near(name, settings.destinations)}",
                MISUSED,
            )
    return list(dict.fromkeys(names)) or list(settings.destinations)


# -- how it stands ---------------------------------------------------------------------------------------


async def _standing(settings: Settings) -> list[Row]:
    """What is configured first, then what only the ledger knows."""
    subjects: dict[str, Subject] = {}
    known: dict[str, Row] = {}
    if (settings.state_dir / "ledger.db").exists():
        ledger = await Ledger.open_to_read(settings.state_dir)
        try:
            found = await ledger.cameras.subjects()
            subjects = {each.name: each for each in found if each.kind == "destination"}
            known = await ledger.views.destinations()
        finally:
            await ledger.close()
    names = dict.fromkeys([*settings.destinations, *sorted(subjects.keys() | known.keys())])
    return [_row(name, settings, subjects.get(name), known.get(name, _NOTHING)) for name in names]


def _row(name: str, settings: Settings, subject: Subject | None, counts: Mapping[str, Any]) -> Row:
    config = settings.destinations.get(name)
    return {
        "name": name,
        "kind": config.kind if config else None,
        "is_configured": config is not None,
        "state": subject.state if subject else None,
        "reason": subject.reason if subject else "",
        "fault_code": subject.fault_code if subject else None,
        "paused_by": subject.paused_by if subject else None,
        "next_try_at": subject.next_try_at if subject else None,
        "since_at": subject.since_at if subject else None,
        "exclusive": subject.exclusive if subject else None,
        **{field: counts[field] for field in _NOTHING},
    }


def _say(rows: Sequence[Row]) -> None:
    if not rows:
        hint("There is no destination: add a [destinations.NAME] to the configuration.")
    table = Table((2, 12, 7, 8, 0))
    for row in rows:
        state = row["state"] if row["is_configured"] or row["state"] == "paused" else "off"
        word = words.of_subject(state, row["paused_by"]) if state else words.NEW
        cells = (
            (word.mark, word.colour),
            (safe(row["name"]), "bold"),
            (row["kind"] or "?", "dim"),
            (word.word, word.colour),
            (_backlog(row), ""),
        )
        say(table.line(cells))
        for line in _facts(row):
            for part in fold(safe(line), 4):
                say(part)


def _backlog(row: Row) -> str:
    parts = [
        f"{measures.number(row[field])} {word}"
        for field, word in (("uploading", "sending"), ("queued", "queued"), ("failed", "need you"))
        if row[field]
    ]
    if row["waiting"]:
        parts.append(f"{measures.number(row['waiting'])} of them waiting")
    return f"{', '.join(parts)}: {measures.size(row['owed_bytes'])} to go" if parts else "nothing to go"


def _facts(row: Row) -> list[str]:
    facts = []
    if not row["is_configured"]:
        facts.append("is not in the configuration any more")
    elif row["reason"] and row["state"] not in (None, "ready"):
        code = f" [{row['fault_code']}]" if row["fault_code"] else ""
        facts.append(" ".join(filter(None, (row["reason"] + code, measures.until(row["next_try_at"])))))
    if row["scheduled"]:
        facts.append(
            f"{measures.number(row['scheduled'])} outside the hours of its limit, {measures.until(row['opens_at'])}"
        )
    if row["done"]:
        newest = f"newest {measures.clock(row['proven_at'])}, proof: {row['proof']}"
        facts.append(
            f"{measures.number(row['done'])} delivered, {measures.number(row['verified'])} verified; {newest}"
        )
    return facts


# -- check -----------------------------------------------------------------------------------------------


async def _check(settings: Settings, names: Sequence[str], *, is_json: bool) -> int:
    """All at once; each is told as soon as all before it are."""
    tasks = {
        name: asyncio.create_task(bounded(check_destination(settings.destinations[name], settings.state_dir)))
        for name in names
    }
    is_well = bool(tasks)
    if not tasks:
        hint("There is no destination: add a [destinations.NAME] to the configuration.")
    try:
        for name, task in tasks.items():
            findings: list[Finding] = await task
            is_well &= all(each.ok is not False for each in findings)
            for each in findings if is_json else ():
                emit({"destination": name, **msgspec.structs.asdict(each)})
            if not is_json:
                say_section(Section("destination", name, tuple(findings)))
    finally:
        for task in tasks.values():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks.values())
    if not is_json and is_well:
        say(paint("✓ All is well.", "bold green"))
    return DONE if is_well else WRONG
