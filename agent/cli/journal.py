"""`hotshoe journal`: what was deleted from which card, when, on whose order, and what justified it."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from agent.cli import measures, places
from agent.cli.hints import hint_of
from agent.cli.stop import DONE
from agent.cli.text import emit, fold, hint, paint, safe, say
from agent.ledger import Ledger, Row

PAGE_ENTRIES = 500
_WORDS = {
    "deleted": ("deleted", "green"),
    "refused": ("refused", "red"),
    "kept": ("kept", "dim"),
    "started": ("begun", "blue"),
    "unknown": ("unknown", "yellow"),
}


def journal(arguments: argparse.Namespace) -> int:
    """Exit code: 0 told; 2 there is no ledger."""
    return asyncio.run(_journal(places.state_folder(arguments.config), is_json=arguments.json))


async def _journal(state_dir: Path, *, is_json: bool) -> int:
    ledger = await Ledger.open_to_read(places.readable(state_dir))
    after = 0
    try:
        while page := await ledger.journal.entries(after_id=after, limit=PAGE_ENTRIES):
            after = page[-1]["id"]
            for entry in page:
                if is_json:
                    emit({**entry, "storage": f"{entry['storage']:08x}", "hint": _hint(entry)})
                else:
                    _say_entry(entry)
    finally:
        await ledger.close()
    if not after and not is_json:
        hint("Nothing was deleted from any card.")
    return DONE


def _say_entry(entry: Row) -> None:
    word, colour = _WORDS[entry["state"]]
    place = "/".join(filter(None, (entry["camera"], entry["folder"], entry["name"])))
    proofs = ", ".join(f"{each['destination']} {each['proof']}" for each in entry["proofs"])
    by = "" if entry["asked_by"] == "agent" else f", by {entry['asked_by']}"
    say(
        f"{measures.clock(entry['started_at']):16}  {paint(f'{word:9}', colour)}  {safe(place)}"
        f"  {measures.size(entry['size_bytes'])}  ({safe(proofs)}{safe(by)})"
    )
    if entry["state"] == "unknown":
        told = "It was interrupted: the card is looked at when it is in the camera again."
    else:
        told = entry["detail"] if entry["fault_code"] is None else f"{_hint(entry)} [{entry['fault_code']}]"
    if told:
        for line in fold(safe(told), 18):
            say(paint(line, "dim"))


def _hint(entry: Row) -> str | None:
    return None if entry["fault_code"] is None else hint_of(entry["fault_code"])
