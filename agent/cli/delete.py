"""`hotshoe delete`: what is deleted from the cards, what is not and why; and the order to do it now.

A dry run reads settings and ledger and asks no camera: whether a file is still on its card, and still the same, is
found out right before it is deleted.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.cli import lines, measures, orders, places
from agent.cli.steer import who
from agent.cli.stop import DONE
from agent.cli.text import emit, hint, paint, safe, say
from agent.collector.deletable import REASONS, Verdict, judged, named_by_routes
from agent.ledger import Ledger, Row, as_text
from agent.settings import Settings, load

PAGE_FILES = 500
_OVER = ("not fetched", "deleted")
"""Reasons of files that are no question: they are counted, and listed only with --verbose."""


def delete(arguments: argparse.Namespace) -> int:
    """Exit code: 0 told, or ordered; 1 it is switched off, or no hotshoe is running."""
    if arguments.dry_run:
        return asyncio.run(_dry_run(load(Path(arguments.config)), arguments))
    state_dir = places.state_folder(arguments.config)
    result = asyncio.run(orders.give(state_dir, lines.Delete(by=who(), is_confirmed=arguments.yes)))
    if arguments.json:
        emit(result)
    elif result["cameras"]:
        say(f"Looking at the cards of {', '.join(result['cameras'])}: hotshoe journal tells what is deleted.")
    for name in result["away"]:
        hint(f"hotshoe: {name} is not connected; nothing is deleted from its cards.")
    return DONE


async def _dry_run(settings: Settings, arguments: argparse.Namespace) -> int:
    ledger = await Ledger.open_to_read(places.readable(settings.state_dir))
    counts: Counter[str] = Counter()
    bytes_to_go = 0
    try:
        async for row, verdict in _verdicts(ledger, settings):
            counts[verdict.reason or ""] += 1
            bytes_to_go += row["size_bytes"] if verdict.reason is None else 0
            if arguments.json:
                emit(_as_json(row, verdict))
            elif verdict.reason is None or (arguments.verbose and verdict.reason not in _OVER):
                _say_file(row, verdict)
    finally:
        await ledger.close()
    if not arguments.json:
        _say_sums(counts, bytes_to_go, is_on=settings.delete.enabled)
    return DONE


async def _verdicts(ledger: Ledger, settings: Settings) -> AsyncIterator[tuple[Row, Verdict]]:
    after, now = 0, datetime.now(UTC)
    while page := await ledger.journal.page(after, PAGE_FILES):
        after = page[-1]["id"]
        for row in page:
            named = named_by_routes(row, row["camera"], settings.routes)
            yield row, judged(row, settings.delete, named, now)


def _as_json(row: Row, verdict: Verdict) -> dict[str, Any]:
    return {
        "id": row["id"],
        "camera": row["camera"],
        "storage": f"{row['storage']:08x}",
        "folder": row["folder"],
        "filename": row["name"],
        "size_bytes": row["size_bytes"],
        "captured": row["captured"],
        "would_delete": verdict.reason is None,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "due_at": None if verdict.due_at is None else as_text(verdict.due_at),
        "proofs": [{"destination": each.destination, "proof": each.proof} for each in verdict.proofs],
    }


def _say_file(row: Row, verdict: Verdict) -> None:
    place = safe("/".join(filter(None, (row["camera"], row["folder"], row["name"]))))
    if verdict.reason is None:
        proofs = ", ".join(f"{each.destination} {each.proof}" for each in verdict.proofs)
        say(f"{paint('would delete', 'yellow')}  {row['id']:>6}  {place}  ({safe(proofs)})")
        return
    detail = f" ({safe(verdict.detail)})" if verdict.detail else ""
    due = f", due {measures.clock(as_text(verdict.due_at))}" if verdict.due_at else ""
    say(f"{paint('stays       ', 'dim')}  {row['id']:>6}  {place}: {REASONS[verdict.reason]}{detail}{due}")


def _say_sums(counts: Counter[str], bytes_to_go: int, *, is_on: bool) -> None:
    ready = counts.pop("", 0)
    say(f"{measures.several(ready, 'file')} ({measures.size(bytes_to_go)}) would be deleted from the cards.")
    for reason, count in counts.most_common():
        say(f"{measures.several(count, 'file')}: {REASONS[reason]}.")
    if not is_on:
        say("Deleting is switched off: set enabled = true under [delete] to let it happen by itself.")
