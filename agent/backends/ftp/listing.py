"""Lines of MLSD and MLST (RFC 3659 §7), of LIST where it looks like ls, and of NLST."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.backends.base import Entry

# -rw-r--r--    1 0        0          200000 Nov 22 18:07 name, or a year for the time. One space goes before the name.
_AS_BY_LS = re.compile(
    r"(?P<type>[-d])[-rwxsStT]{9}[.+@]?\s+\d+\s+\S+\s+\S+\s+(?P<size>\d+)\s+\w{3}\s+\d\d?\s+(?:\d\d:\d\d|\d{4}) (?P<name>.+)"
)


def entry_of(line: str) -> Entry | None:
    """Read ``facts name``. None for the folder itself, the one above, and what cannot be read."""
    facts, _, name = line.partition(" ")
    kind, size = facts_of(facts)
    if not is_name(name) or kind in ("cdir", "pdir") or "=" not in facts:
        return None
    if kind == "dir":
        return Entry(name=name, is_folder=True)
    return Entry(name=name, is_folder=False, size=size)


def facts_of(text: str) -> tuple[str, int | None]:
    """Return type (in lower case) and size of ``type=file;size=123;``."""
    facts = {}
    for fact in text.strip().split(";"):
        name, _, value = fact.partition("=")
        facts[name.lower()] = value
    size = facts.get("size", "")
    return facts.get("type", "").lower(), int(size) if size.isascii() and size.isdigit() else None


def ls_entries_of(lines: Iterable[str]) -> list[Entry] | None:
    """Read what LIST says. None where a line is not plainly a file's or a folder's as ls writes it.

    The format is no standard: what is in doubt is asked for in another way.
    """
    entries = []
    for line in lines:
        if not line or re.fullmatch(r"total \d+", line):
            continue
        match = _AS_BY_LS.fullmatch(line)
        if match is None:
            return None
        if is_name(match["name"]):
            is_folder = match["type"] == "d"
            size = None if is_folder else int(match["size"])
            entries.append(Entry(name=match["name"], is_folder=is_folder, size=size))
    return entries


def name_of(line: str) -> str | None:
    """Return the name in a line of NLST, which some servers write as a path. None for what is no name."""
    name = line.rstrip("/").rpartition("/")[2]
    return name if is_name(name) else None


def is_name(name: str) -> bool:
    return name not in ("", ".", "..") and not {"/", "\0", "\n", "\r"} & set(name)
