"""`hotshoe status` and `hotshoe files`: what the ledger knows, and what a running agent has in its hands.

The ledger is only read, beside a running agent or after it. Listings go through it page by page and hold one page.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent.cli import lines, measures, orders, places, words
from agent.cli.stop import DONE, WRONG, Stop
from agent.cli.terminal import CAMERA, stage_words
from agent.cli.text import Table, columns, emit, fold, hint, is_terminal, paint, safe, say
from agent.ledger import Ledger, LedgerUnusable, Subject

PAGE_FILES = 500
_FACTS_COLUMN = 32


def status(arguments: argparse.Namespace) -> int:
    """Exit code: 0 told; 1 nothing has run here yet."""
    return asyncio.run(_status(places.state_folder(arguments.config), is_json=arguments.json))


def files(arguments: argparse.Namespace) -> int:
    """Exit code: 0 told; 2 there is no ledger."""
    return asyncio.run(_files(places.state_folder(arguments.config), arguments.state, is_json=arguments.json))


# -- status ----------------------------------------------------------------------------------------------


async def _status(state_dir: Path, *, is_json: bool) -> int:
    agent = await _ask_agent(state_dir)
    known = await _look_up(places.readable(state_dir))
    whole = {"running": agent is not None, "state_dir": str(state_dir), **(agent or {}), **(known or {})}
    if is_json:
        emit(_as_json(whole))
    else:
        _say_status(whole)
    return DONE if agent or known else WRONG


async def _ask_agent(state_dir: Path) -> dict[str, Any] | None:
    try:
        return await orders.give(state_dir, lines.Status())
    except orders.NotRunning:
        return None
    except Stop as stop:
        hint(f"hotshoe: {stop}")
        return None


async def _look_up(state_dir: Path) -> dict[str, Any] | None:
    """Return what the ledger says, None if there is none yet."""
    try:
        ledger = await Ledger.open_to_read(state_dir)
    except LedgerUnusable:
        if (state_dir / "ledger.db").exists():
            raise
        return None
    try:
        subjects = await ledger.cameras.subjects()
        return {
            "subjects": subjects,
            **await ledger.views.counts(),
            "backlog": await ledger.views.backlog(),
            "deleted_from_cards": await ledger.journal.summary(),
        }
    finally:
        await ledger.close()


def _subjects(whole: Mapping[str, Any], kind: str) -> list[Subject]:
    """Cameras or destinations: those that the running agent has, else all that were ever met."""
    found = {subject.name: subject for subject in whole.get("subjects", ()) if subject.kind == kind}
    if not whole["running"]:
        return list(found.values())
    blank = Subject(kind, "", "waiting", None, "begins", None, None, "", None, None, None)
    return [
        found.get(name) or msgspec.structs.replace(blank, name=name) for name in whole["configured"][kind]
    ]


def _as_json(whole: dict[str, Any]) -> dict[str, Any]:
    connected = {camera["name"]: camera for camera in whole.pop("cameras", ())}
    cameras = [
        {
            **_subject_json(subject),
            "is_connected": subject.name in connected,
            **connected.get(subject.name, {}),
        }
        for subject in _subjects(whole, "camera")
    ]
    destinations = [_subject_json(subject) for subject in _subjects(whole, "destination")]
    rest = {key: value for key, value in whole.items() if key not in ("subjects", "configured")}
    return {**rest, "cameras": cameras, "destinations": destinations}


def _subject_json(subject: Subject) -> dict[str, Any]:
    hidden = ("kind", "fingerprint")
    return {key: value for key, value in msgspec.structs.asdict(subject).items() if key not in hidden}


def _say_status(whole: Mapping[str, Any]) -> None:
    if whole["running"]:
        say(
            f"{paint('hotshoe is running', 'bold green')} for {measures.span(whole['running_seconds'])}, process {whole['pid']}"
        )
    else:
        say(paint("hotshoe is not running", "bold yellow"))
    if "files" not in whole:
        for line in fold(
            f"Nothing has run with the state folder {whole['state_dir']} yet: hotshoe run begins.", 0
        ):
            say(line)
        return
    connected = {camera["name"]: camera for camera in whole.get("cameras", ())}
    for title, kind in (("Cameras", "camera"), ("Destinations", "destination")):
        say()
        say(paint(title, "bold"))
        _say_subjects(
            _subjects(whole, kind), connected if kind == "camera" else {}, is_running=whole["running"]
        )
    say()
    _say_counts(whole)
    _say_deleting(whole)
    if whole.get("transfers"):
        say()
        say(paint("Moving now", "bold"))
        _say_transfers(whole["transfers"])


def _say_deleting(whole: Mapping[str, Any]) -> None:
    """A line where files are deleted from cards, or were."""
    is_on, deleted = whole.get("deletes_from_cards"), whole["deleted_from_cards"]
    if not (is_on or deleted["files"]):
        return
    switch = [] if is_on is None else ["on" if is_on else "off"]
    told = "nothing deleted from the cards yet"
    if deleted["files"]:
        told = (
            f"{measures.several(deleted['files'], 'file')} so far, last {measures.clock(deleted['last_at'])}"
        )
    say(f"{'Deleting':<14}{', '.join((*switch, told))}")


def _say_subjects(
    subjects: Sequence[Subject], connected: Mapping[str, Mapping[str, Any]], *, is_running: bool
) -> None:
    table = Table((2, 12, 8, 0))
    for subject in subjects:
        word = words.of_subject(subject.state, subject.paused_by)
        colour = word.colour if is_running else "dim"
        facts = _facts(connected.get(subject.name, {}))
        if subject.state in ("waiting", "paused") and is_running:
            facts.append(measures.until(subject.next_try_at) or _since(subject))
        beside = " · ".join(filter(None, facts))
        fits = len(beside) <= columns() - _FACTS_COLUMN
        cells = (
            (word.mark, colour),
            (subject.name, "bold"),
            (word.word, colour),
            (beside if fits else "", ""),
        )
        say("  " + table.line(cells))
        for line in () if fits else fold(beside, 6):
            say(line)
        if subject.reason and subject.state != "ready":
            code = f" [{subject.fault_code}]" if subject.fault_code else ""
            for line in fold(safe(subject.reason + code), 6):
                say(line)
    if not subjects:
        say("  none yet")


def _since(subject: Subject) -> str:
    return f"since {measures.clock(subject.since_at)}" if subject.since_at else ""


def _facts(camera: Mapping[str, Any]) -> list[str]:
    if not camera:
        return []
    facts = [safe(camera["model"]), safe(camera["serial"])]
    if camera["battery_percent"] is not None:
        facts.append(f"battery {camera['battery_percent']} %")
    if camera["saves_to_host"]:
        facts.append("saves to a computer, not to its card!")
    return facts


def _say_counts(whole: Mapping[str, Any]) -> None:
    in_state, deliveries, backlog = whole["files"], whole["deliveries"], whole["backlog"]
    verified, done = deliveries.get("verified", 0), deliveries.get("done", 0)
    named = [(in_state.get(state, 0), _FILE_WORDS.get(state, state)) for state in words.FILE_STATES]
    _say_figure("Files", sum(in_state.values()), named)
    waiting = backlog["waiting"]
    _say_figure(
        "Deliveries",
        sum(count for state, count in deliveries.items() if state != "verified"),
        [
            (verified, "verified"),
            (done - verified, "sent, only their size checked"),
            (deliveries.get("uploading", 0), "sending"),
            (deliveries.get("queued", 0) - waiting, "queued"),
            (waiting, "waiting"),
            (deliveries.get("skipped", 0), "skipped"),
        ],
    )
    to_go = [
        f"{measures.size(backlog['to_fetch_bytes'])} on the cards" if backlog["to_fetch"] else "",
        f"{measures.size(backlog['owed_bytes'])} to destinations" if backlog["owed"] else "",
    ]
    say(f"{'Still to go':<14}{', '.join(filter(None, to_go)) or 'nothing'}")
    if "spool_bytes" in whole:
        budget = whole["spool_budget_bytes"]
        say(
            f"{'Spool':<14}{measures.size(whole['spool_bytes'])}"
            + (f" of {measures.size(budget)}" if budget else "")
        )
    needs_you = backlog["needs_you"]
    if needs_you:
        mark = words.NEEDS_YOU
        said = f"{mark.mark} {measures.number(needs_you)}"
        say(f"{'Needs you':<14}{paint(said, mark.colour)}: see hotshoe files --state failed")


_FILE_WORDS = {"discovered": "new", "fetched": "on agent", "evicted": "delivered and no longer here"}


def _say_figure(title: str, count: int, named: Iterable[tuple[int, str]]) -> None:
    parts = [f"{measures.number(each)} {word}" for each, word in named if each]
    head = f"{title:<14}{measures.number(count)}"
    first, *others = fold(" · ".join(parts), 24) or [""]
    say(f"{head:<24}{first.strip()}".rstrip())
    for line in others:
        say(line)


def _say_transfers(transfers: Sequence[Mapping[str, Any]]) -> None:
    table = Table((14, 14, -5, -7, -7, -9))
    for each in sorted(transfers, key=lambda each: (each["stage"] != CAMERA, each["stage"], each["name"])):
        percent = 100 * each["done_bytes"] // each["total_bytes"] if each["total_bytes"] else 100
        cells = (
            safe(each["name"]),
            stage_words(each["stage"]),
            f"{percent} %",
            measures.size(each["done_bytes"]),
            measures.size(each["total_bytes"]),
            measures.rate(each["bytes_per_second"]),
        )
        say("  " + table.line([(cell, "") for cell in cells]))


# -- files -----------------------------------------------------------------------------------------------


async def _files(state_dir: Path, wanted: str | None, *, is_json: bool) -> int:
    ledger = await Ledger.open_to_read(places.readable(state_dir))
    try:
        count = await _page_through(ledger, wanted, is_json=is_json)
    finally:
        await ledger.close()
    if not count and not is_json:
        hint("No files yet." if wanted is None else f"No file is {wanted}.")
    return DONE


async def _page_through(ledger: Ledger, wanted: str | None, *, is_json: bool) -> int:
    state, keeps = words.selector(wanted)
    subjects = await ledger.cameras.subjects()
    stopped = {
        each.name: each.fault_code
        for each in subjects
        if each.kind == "destination" and each.state != "ready"
    }
    table, count, after = Table((-6, 2, 9, 26, -8, 16)), 0, 0
    while page := await ledger.views.files(state=state, after_id=after, limit=PAGE_FILES):
        after = page[-1]["id"]
        for row in filter(keeps, (words.with_destinations(row, stopped) for row in page)):
            count += 1
            if is_json:
                emit(words.as_json(row))
            else:
                if count == 1 and is_terminal():
                    say(
                        table.line([(title, "dim") for title in ("ID", "", "STATE", "FILE", "SIZE", "TAKEN")])
                    )
                _say_file(row, table)
    return count


def _say_file(row: words.Row, table: Table) -> None:
    word = words.word_of(row)
    place = "/".join(filter(None, (row["camera"], row["folder"], row["name"])))
    cells = (
        (str(row["id"]), "dim"),
        (word.mark, word.colour),
        (word.word, word.colour),
        (safe(place), ""),
        (measures.size(row["size_bytes"]), ""),
        (safe(measures.taken(row["captured"])), "dim"),
    )
    say(table.line(cells))
    if word == words.NEEDS_YOU:
        for line in fold(safe(words.trouble_of(row) or row["waiting_for"] or ""), 12):
            say(paint(line, word.colour))
    elif why := _why(row, word):
        say(" " * 12 + paint(safe(why), "dim"))


def _why(row: words.Row, word: words.Word) -> str:
    if word == words.SKIPPED:
        part = row if row["skip_reason"] else next(iter(row["deliveries"]), row)
        return f"by {part['skipped_by']}: {part['skip_reason']}"
    if word == words.SENDING:
        return "to " + ", ".join(
            each["destination"] for each in row["deliveries"] if each["state"] == "uploading"
        )
    if word == words.SENT:
        return "only the size was checked"
    if word != words.WAITING:
        return ""
    parts = [row] if row["waiting_for"] else [each for each in row["deliveries"] if each["waiting_for"]]
    told = []
    for part in parts:
        target = f"{part['destination']} " if "destination" in part else ""
        code = f" [{part['fault_code']}]" if part["fault_code"] else ""
        told.append(
            " ".join(
                filter(
                    None,
                    (f"{target}waits for {part['waiting_for']}{code}", measures.until(part["next_try_at"])),
                )
            )
        )
    return "; ".join(told)
