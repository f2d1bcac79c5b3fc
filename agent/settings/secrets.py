"""Secrets at rest: values of settings that stand in no configuration file.

Each is a file of its own, named by the setting's path (``destinations.archive.password``): in ``state_dir/secrets``
(folder 0700, files 0600), or among systemd's credentials (LoadCredential=, $CREDENTIALS_DIRECTORY). They fill what file,
edits and environment leave out. One newline at the end does not count. A value goes to whoever validates settings, and
into no text.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import msgspec
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from agent.backends import BACKENDS
from agent.settings.problems import Loc, Problem, path_of

FOLDER = "secrets"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
LONGEST_BYTES = 64 << 10
_STATE_DEFAULT = "state"


class SecretError(Exception):
    """A secret cannot be kept or read; the text says what to do, and never the value."""


class Kept(msgspec.Struct, frozen=True):
    """What is at rest for the settings at hand. `values` must be shown to nobody."""

    values: Mapping[Loc, str]
    sources: Mapping[Loc, str]
    problems: tuple[Problem, ...]

    def __repr__(self) -> str:
        return f"Kept({', '.join(map(path_of, self.sources))})"

    def as_layer(self) -> dict[str, Any]:
        """The values as a tree, like a layer of settings."""
        tree: dict[str, Any] = {}
        for loc, value in self.values.items():
            table = tree
            for part in loc[:-1]:
                table = table.setdefault(str(part), {})
            table[str(loc[-1])] = value
        return tree


def places(raw: Mapping[str, Any]) -> dict[Loc, FieldInfo]:
    """Return every setting that is a secret, given raw settings whose destinations name their kinds."""
    found: dict[Loc, FieldInfo] = {}
    destinations = raw.get("destinations")
    for name, table in destinations.items() if isinstance(destinations, dict) else ():
        kind = table.get("kind") if isinstance(table, dict) else None
        if isinstance(kind, str) and kind in BACKENDS:
            found |= dict(_secrets_of(BACKENDS[kind][0], ("destinations", name)))
    return found


def _secrets_of(section: type[BaseModel], loc: Loc) -> Iterator[tuple[Loc, FieldInfo]]:
    for name, field in section.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if kind is SecretStr:
                yield (*loc, name), field
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _secrets_of(kind, (*loc, name))


def folder_of(raw: Mapping[str, Any], base: Path) -> Path | None:
    """Return where the secrets of these settings are kept; None if the state folder is not said in text."""
    state_dir = raw.get("state_dir", _STATE_DEFAULT)
    return base / Path(state_dir).expanduser() / FOLDER if isinstance(state_dir, str | Path) else None


def read(raw: Mapping[str, Any], base: Path) -> Kept:
    """Look up every secret that `raw` leaves out. What is wrong with the store itself becomes problems."""
    values: dict[Loc, str] = {}
    sources: dict[Loc, str] = {}
    problems: list[Problem] = []
    for loc in places(raw):
        if _holds(raw, loc):
            continue
        for folder, is_ours in _folders(raw, base):
            try:
                value = _value(folder, path_of(loc), is_ours=is_ours)
            except SecretError as error:
                problems.append(Problem(path_of(loc), str(error), str(folder)))
                break
            if value is not None:
                values[loc], sources[loc] = value, str(folder / path_of(loc))
                break
    return Kept(values, sources, tuple(problems))


def names_kept(folder: Path) -> list[str]:
    """Return the names of all secrets in `folder`, of settings that are there or not. Raises SecretError."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SecretError(f"cannot be read: {error.strerror}") from error


def keep(folder: Path, name: str, value: str) -> None:
    """Keep a secret in `folder`, in place of one of that name; durable when it returns. Raises SecretError."""
    new = folder / f".{secrets.token_hex(8)}"
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        _check_mode(folder.lstat(), folder, stat.S_ISDIR, "700")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(value.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, folder / name)
        _sync(folder)
        _sync(folder.parent)
    except OSError as error:
        raise SecretError(f"cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def forget(folder: Path, name: str) -> bool:
    """Remove a secret, durably; say whether there was one. Raises SecretError."""
    try:
        (folder / name).unlink()
        _sync(folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SecretError(f"cannot be removed: {error.strerror}") from error
    return True


def _folders(raw: Mapping[str, Any], base: Path) -> Iterator[tuple[Path, bool]]:
    """Where to look, the strongest first, and whether we keep it ourselves."""
    if (own := folder_of(raw, base)) is not None:
        yield own, True
    if credentials := os.environ.get(CREDENTIALS_VARIABLE):
        yield Path(credentials), False


def _value(folder: Path, name: str, *, is_ours: bool) -> str | None:
    """Return one secret, None if there is none. How systemd keeps its credentials is systemd's to say."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SecretError(
            f"cannot be read: {error.strerror}; its owner must be who hotshoe runs as"
        ) from error
    try:
        status = os.fstat(descriptor)
        if is_ours:
            _check_mode(os.stat(folder), folder, stat.S_ISDIR, "700")
            _check_mode(status, folder / name, stat.S_ISREG, "600")
        elif not stat.S_ISREG(status.st_mode):
            raise SecretError(f"{folder / name} is no plain file")
        return text_of(os.read(descriptor, LONGEST_BYTES + 1))
    finally:
        os.close(descriptor)


def text_of(data: bytes) -> str:
    """Return the text of a secret, without one newline at its end. Raises SecretError for what cannot be one."""
    if len(data) > LONGEST_BYTES:
        raise SecretError(f"must have at most {LONGEST_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise SecretError("must be UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\0" in text:
        raise SecretError("must not be empty" if not text else "must be text without zero bytes")
    return text


def _check_mode(status: os.stat_result, path: Path, is_right: Any, mode: str) -> None:
    if not is_right(status.st_mode):
        raise SecretError(f"{path} is no plain {'folder' if mode == '700' else 'file'}: remove it")
    if status.st_mode & 0o077:
        raise SecretError(
            f"may be read by others: chmod {mode} {path}, and change the secret where it is used"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise SecretError(f"{path} belongs to another user: give it to the one that hotshoe runs as")


def _holds(raw: Any, loc: Loc) -> bool:
    for part in loc:
        if not isinstance(raw, dict) or part not in raw:
            return False
        raw = raw[part]
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
