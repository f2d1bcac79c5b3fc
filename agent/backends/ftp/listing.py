"""Lines of MLSD and MLST (RFC 3659 §7), and of NLST."""

from __future__ import annotations

from agent.backends.base import Entry


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


def name_of(line: str) -> str | None:
    """Return the name in a line of NLST, which some servers write as a path. None for what is no name."""
    name = line.rstrip("/").rpartition("/")[2]
    return name if is_name(name) else None


def is_name(name: str) -> bool:
    return name not in ("", ".", "..") and not {"/", "\0", "\n", "\r"} & set(name)
