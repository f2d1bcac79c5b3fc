"""Which files a person means: by number, by name, by the end of camera/folder/name, or by a pattern over these.

A name without a pattern must mean one file. Upper and lower case are one. What has only numbers in it is told to the
agent as it is, without a look into the ledger.
"""

from __future__ import annotations

from pathlib import Path

from agent.cli import measures, places
from agent.cli.stop import Stop
from agent.ledger import Ledger, Row

MOST_LISTED = 10
_LARGEST_NUMBER = 2**63 - 1


async def numbers_of(state_dir: Path, words: list[str]) -> list[int]:
    """Return the numbers of the files that `words` name, each once, in their order. Raises Stop, LedgerUnusable."""
    if all(map(_is_number, words)):
        return list(dict.fromkeys(map(int, words)))
    ledger = await Ledger.open_to_read(places.readable(state_dir))
    try:
        found: dict[int, None] = {}
        for word in words:
            found |= dict.fromkeys([int(word)] if _is_number(word) else await _named(ledger, word))
        return list(found)
    finally:
        await ledger.close()


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and 0 < int(word) <= _LARGEST_NUMBER


async def _named(ledger: Ledger, word: str) -> list[int]:
    rows = await ledger.views.named(word, is_glob=False, limit=MOST_LISTED + 1)
    if len(rows) > 1:
        listed = "".join(f"\n  {_told(row)}" for row in rows[:MOST_LISTED])
        more = "\n  and others" if len(rows) > MOST_LISTED else ""
        raise Stop(
            f"several files are called {word}: say which, by its number or with what stands before it.{listed}{more}"
        )
    if not rows and any(sign in word for sign in "*?["):
        rows = await ledger.views.named(word, is_glob=True)
    if not rows:
        raise Stop(f"no file that hotshoe knows is called {word}: hotshoe files lists them.")
    return [row["id"] for row in rows]


def _told(row: Row) -> str:
    path = "/".join(filter(None, (row["camera"], row["folder"], row["name"])))
    return (
        f"{row['id']}  {path}  {measures.size(row['size_bytes'])}  {measures.taken(row['captured'])}".rstrip()
    )
