"""`hotshoe secret set, list, clear`: passwords and keys that stand in no file for people. Their values are never told."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from agent.cli import lines, orders
from agent.cli.stop import DONE, MISUSED, WRONG, Stop
from agent.cli.text import Table, emit, hint, safe, say
from agent.settings import loading, secrets
from agent.settings.problems import Loc, path_of


class _Store:
    """The secrets that a configuration can have, and where they are kept."""

    def __init__(self, config: Path):
        self.raw, self.layers = loading.raw_settings(config)
        self.base = config.parent.absolute()
        self.fields = secrets.places(self.raw)
        folder = secrets.folder_of(self.raw, self.base)
        if folder is None:
            raise Stop(f"{config}: state_dir must be text in quotes", MISUSED)
        self.folder = folder

    def named(self, name: str) -> Loc:
        """Return which setting `name` means. Raises Stop."""
        by_name = {path_of(loc): loc for loc in self.fields}
        if name in by_name:
            return by_name[name]
        close = get_close_matches(name, by_name, n=1)
        known = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(by_name)) or 'none'}."
        raise Stop(f"{name!r} is no secret of this configuration: {known}", MISUSED)

    def source(self, loc: Loc, kept: secrets.Kept) -> str | None:
        return loading.source_of(self.layers, loc) or kept.sources.get(loc)


def set_secret(arguments: argparse.Namespace) -> int:
    """Exit code: 0 kept; 1 it cannot be kept; 2 no such setting, or a value that does not fit."""
    store = _Store(Path(arguments.config))
    loc = store.named(arguments.path)
    name = path_of(loc)
    value = _asked_for(name)
    if wrong := loading.complaints(_with(store.raw, loc, value), loc):
        raise Stop(f"{name} {'; '.join(wrong)}. Nothing was changed.", MISUSED)
    try:
        secrets.keep(store.folder, name, value)
    except secrets.SecretError as error:
        raise Stop(f"{store.folder / name} {error}") from error
    if stronger := loading.source_of(store.layers, loc):
        hint(f"hotshoe: {stronger} gives {name} a value too, and counts: remove it there.")
    return _tell(arguments, store, name, "kept")


def clear_secret(arguments: argparse.Namespace) -> int:
    """Exit code: 0 removed; 1 there was none."""
    store = _Store(Path(arguments.config))
    name = arguments.path
    try:
        if name not in secrets.names_kept(
            store.folder
        ):  # also of a destination that is gone from the configuration
            store.named(name)
            raise Stop(f"No secret {name} is kept in {store.folder}.")
        secrets.forget(store.folder, name)
    except secrets.SecretError as error:
        raise Stop(f"{store.folder / name} {error}") from error
    return _tell(arguments, store, name, "removed")


def list_secrets(arguments: argparse.Namespace) -> int:
    """Exit code: 0 told; 1 something is wrong with where they are kept."""
    store = _Store(Path(arguments.config))
    kept = secrets.read(store.raw, store.base)
    rows: list[dict[str, Any]] = [
        {
            "path": path_of(loc),
            "source": store.source(loc, kept),
            "is_required": field.is_required(),
            "problem": next((each.message for each in kept.problems if each.path == path_of(loc)), None),
        }
        for loc, field in sorted(store.fields.items(), key=lambda item: path_of(item[0]))
    ]
    names = {row["path"] for row in rows}
    try:
        unused = [name for name in secrets.names_kept(store.folder) if name not in names]
    except secrets.SecretError as error:
        raise Stop(f"{store.folder} {error}") from error
    rows += [
        {"path": name, "source": str(store.folder / name), "is_required": False, "problem": "of no setting"}
        for name in unused
    ]
    table = Table((34, 0))
    for row in rows:
        if arguments.json:
            emit(row)
        else:
            say(table.line([(safe(row["path"]), "bold"), _words(row)]))
    if not rows and not arguments.json:
        hint("No setting of this configuration is a secret.")
    return WRONG if kept.problems else DONE


def _words(row: Mapping[str, Any]) -> tuple[str, str]:
    if row["problem"]:
        return safe(f"{row['problem']} ({row['source']})" if row["source"] else row["problem"]), "red"
    if row["source"]:
        return safe(f"from {row['source']}"), ""
    return ("is missing", "red") if row["is_required"] else ("not set", "dim")


def _asked_for(name: str) -> str:
    """Return the value, from a prompt that shows nothing or from stdin. Raises Stop."""
    try:
        if sys.stdin.isatty():
            data = getpass.getpass(f"{name}: ").encode()
        else:
            data = sys.stdin.buffer.read(secrets.LONGEST_BYTES + 2)
        return secrets.text_of(data)
    except EOFError:
        raise Stop("no value was given; nothing was changed.", MISUSED) from None
    except secrets.SecretError as error:
        raise Stop(f"{name} {error}. Nothing was changed.", MISUSED) from error


def _with(raw: Mapping[str, Any], loc: Loc, value: str) -> dict[str, Any]:
    """Return `raw` with a value at `loc`, as a copy."""
    copy = dict(raw)
    key = str(loc[0])
    copy[key] = value if len(loc) == 1 else _with(copy.get(key) or {}, loc[1:], value)
    return copy


def _tell(arguments: argparse.Namespace, store: _Store, name: str, done: str) -> int:
    is_taken_over = _take_over(store.folder.parent)
    if arguments.json:
        emit({"path": name, "done": done, "is_taken_over": is_taken_over})
    else:
        say(f"{name} is {done}." + (" The running hotshoe has taken it over." if is_taken_over else ""))
    return DONE


def _take_over(state_dir: Path) -> bool:
    """Let a running agent read its settings again; what keeps it from that is told."""
    try:
        asyncio.run(orders.give(state_dir, lines.Reload()))
    except orders.NotRunning:
        return False
    except Stop as stop:
        hint(f"hotshoe: the running hotshoe did not take it over: {stop}")
        return False
    return True
