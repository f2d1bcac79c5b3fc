"""`hotshoe retry, skip, send, pause, resume, scan, reload`: orders to a running agent, and what came of them."""

from __future__ import annotations

import argparse
import asyncio
import getpass
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.cli import lines, naming, orders, places
from agent.cli.measures import several
from agent.cli.stop import DONE, MISUSED, WRONG, Stop
from agent.cli.text import emit, hint, safe, say


def retry(arguments: argparse.Namespace) -> int:
    if arguments.all:
        results = _give(arguments, [lines.Retry(None)])
    else:
        results = _give(arguments, [lines.Retry(ids) for ids in _parts(_numbers(arguments))])
    count = sum(result["deliveries"] for result in results)
    told = f"{several(count, 'delivery', 'deliveries')} queued again" if count else "Nothing had failed here"
    return _conclude(arguments, f"{told}; whatever waits is tried now.", results)


def skip(arguments: argparse.Namespace) -> int:
    numbers = _numbers(arguments)
    results = _give(arguments, [lines.Skip(ids, arguments.reason, who()) for ids in _parts(numbers)])
    count = sum(result["files"] for result in results)
    told = (
        f"{several(count, 'file')} given up." if count else "There was nothing to give up: nothing is owed."
    )
    return _conclude(arguments, told, results)


def send(arguments: argparse.Namespace) -> int:
    """Exit code 1 if not every file is on its way or there."""
    if arguments.template is not None:
        _check_template(arguments)
    results: list[list[dict[str, Any]]] = _give(
        arguments,
        [lines.Send(ids, arguments.to, arguments.template) for ids in _parts(_numbers(arguments))],
    )
    rows = [row for result in results for row in result]
    if arguments.json:
        for row in rows:
            emit(row)
    else:
        for row in rows:
            file = f"{row['id']} {safe(row['name'])}".strip()
            target = f" to {row['destination']}" if row["destination"] else ""
            key = f", as {safe(row['key'])}" if row["key"] and arguments.template is not None else ""
            say(f"{file}{target}: {_OUTCOMES.get(row['outcome'], row['outcome'])}{key}")
        if len(rows) > 1:
            say(
                ", ".join(
                    f"{count} {outcome}" for outcome, count in Counter(row["outcome"] for row in rows).items()
                )
            )
    return DONE if all(row["outcome"] in _GOOD for row in rows) else WRONG


_GOOD = ("queued", "under way", "delivered already")
_OUTCOMES = {
    "not ready": "its size is not final yet; try again in a moment",
    "gone": "is neither on its card nor here any more",
    "off its card": "was deleted from its card once it was delivered, and is not here any more: take it from where it lies",
    "no route": "no route names a destination for it; say where with --to",
    "unknown": "there is no file of that number (hotshoe files lists them)",
}


def _check_template(arguments: argparse.Namespace) -> None:
    """Before anything is asked of anybody: the agent says what cannot be made of it for one file."""
    from agent import keys

    if arguments.to is None:
        raise Stop("--as needs --to: say at which destination the files are called so.", MISUSED)
    text = arguments.template
    try:
        keys.parse(text + "{name}" if text.endswith("/") else text, is_for_one=True)
    except keys.TemplateError as error:
        raise Stop(f"--as {safe(error)}", MISUSED) from error


def _numbers(arguments: argparse.Namespace) -> list[int]:
    return asyncio.run(naming.numbers_of(places.state_folder(arguments.config), arguments.files))


def pause(arguments: argparse.Namespace) -> int:
    return _steer(arguments, lines.Pause(arguments.name, who()), "is paused until hotshoe resume.")


def resume(arguments: argparse.Namespace) -> int:
    return _steer(arguments, lines.Resume(arguments.name), "goes on.")


def scan(arguments: argparse.Namespace) -> int:
    [names] = _give(arguments, [lines.Scan()])
    if arguments.json:
        emit({"cameras": names})
    elif names:
        say(f"Reading the cards of {', '.join(names)} again.")
    else:
        say("No camera is connected; each is tried at once.")
    return DONE


def reload(arguments: argparse.Namespace) -> int:
    [result] = _give(arguments, [lines.Reload()])
    if arguments.json:
        emit(result)
    elif result["after_restart"]:
        say(f"Taken over, but for {', '.join(result['after_restart'])}: these need a restart.")
    else:
        say("Taken over.")
    return DONE


def _steer(arguments: argparse.Namespace, request: lines.Request, what: str) -> int:
    [result] = _give(arguments, [request])
    if arguments.json:
        emit(result)
    else:
        say(f"{result['kind'].capitalize()} {result['name']} {what}")
    return DONE


def _conclude(arguments: argparse.Namespace, told: str, results: Sequence[dict[str, Any]]) -> int:
    unknown = [file_id for result in results for file_id in result["unknown"]]
    if arguments.json:
        for result in results:
            emit(result)
    else:
        say(told)
    if unknown:
        hint(
            f"hotshoe: no file has the number {', '.join(map(str, unknown[:20]))}{' …' if len(unknown) > 20 else ''}"
        )
    return WRONG if unknown else DONE


def _give(arguments: argparse.Namespace, requests: Sequence[lines.Request]) -> list[Any]:
    async def give_all(state_dir: Path) -> list[Any]:
        return [await orders.give(state_dir, request) for request in requests]

    return asyncio.run(give_all(places.state_folder(arguments.config)))


def _parts(ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(ids), lines.IDS_PER_ORDER):
        yield tuple(ids[start : start + lines.IDS_PER_ORDER])


def who() -> str:
    """Who gives the order, as it is shown to others. Never a word that the agent uses for itself."""
    try:
        return f"{getpass.getuser()} at the command line"
    except (OSError, KeyError):  # a user without a name
        return "somebody at the command line"
