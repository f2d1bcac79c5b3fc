"""Who we are for cameras: a GUID and a name. The GUID is made once per installation and kept in ``state_dir/guid``.

A camera remembers the GUID it was paired with and refuses every other, so it is never made anew while the file is
there, and an unreadable file is an error. Sixteen bytes, written in the order in which they are sent, without the
mixed byte order of Microsoft's notation.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from agent.cli import orders, places, text
from agent.cli.stop import DONE, MISUSED, Stop

INITIATOR_NAME = "hotshoe"
"""What a camera shows when it asks for the pairing: ASCII, at most 15 characters."""

FILE = "guid"


def parse(text: str) -> bytes:
    """Return the 16 bytes of a GUID in hex, with or without dashes, colons, spaces and braces. ValueError otherwise."""
    digits = re.sub(r"[-:\s{}]", "", text.strip().removeprefix("0x"))
    if not re.fullmatch(r"[0-9A-Fa-f]{32}", digits):
        raise ValueError("a GUID has 32 hexadecimal digits, such as 00112233-4455-6677-8899-aabbccddeeff")
    if not int(digits, 16):
        raise ValueError("a GUID of zeros alone would be taken for none")
    return bytes.fromhex(digits)


def show(guid: bytes) -> str:
    digits = guid.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def load(state_dir: Path) -> bytes | None:
    """Return the GUID of this installation, None if none was made yet. Raises Stop if it cannot be read."""
    path = state_dir / FILE
    try:
        return parse(path.read_text("ascii"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Stop(
            f"cannot read {path}: {error.strerror}. Run this as the user that hotshoe runs as."
        ) from error
    except ValueError as error:
        raise Stop(
            f"{path} holds no GUID ({error}). Import the one that your cameras know with hotshoe guid --import,"
            " or remove the file and pair them again.",
            MISUSED,
        ) from error


def load_or_make(state_dir: Path) -> bytes:
    """Return the GUID of this installation, made at the first call. Two first calls at once agree on one."""
    if found := load(state_dir):
        return found
    made = secrets.token_bytes(16)
    with _written(state_dir, made) as new:
        _publish(new, state_dir / FILE)
    return load(state_dir) or made


def replace(state_dir: Path, guid: bytes) -> None:
    """Make `guid` the one of this installation; durable when it returns."""
    with _written(state_dir, guid) as new:
        os.replace(new, state_dir / FILE)


@contextlib.contextmanager
def _written(state_dir: Path, guid: bytes) -> Iterator[Path]:
    """Make the GUID durable under a name of its own; the caller gives it the name that counts."""
    new = state_dir / f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            file.write(show(guid) + "\n")
            file.flush()
            os.fsync(file.fileno())
        yield new
        descriptor = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Stop(f"cannot write {state_dir / FILE}: {error.strerror}") from error
    finally:
        new.unlink(missing_ok=True)


def _publish(new: Path, path: Path) -> None:
    """Give `new` the name `path` unless there is one of that name."""
    try:
        os.link(new, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not path.exists():
            os.rename(new, path)


def guid(arguments: argparse.Namespace) -> int:
    """`hotshoe guid`: show the GUID, or take over another."""
    state_dir = places.installation_folder(arguments)
    imported: str | None = arguments.imported
    if imported is None:
        mine = load_or_make(state_dir)
        return _tell(arguments, state_dir, mine)
    try:
        new = parse(imported)
    except ValueError as error:
        raise Stop(f"{imported!r} is no GUID: {error}", MISUSED) from error
    before = load(state_dir) if _is_readable(state_dir) else None
    replace(state_dir, new)
    if before and before != new and not arguments.json:
        text.say(f"Was {show(before)}; cameras that were paired with it must be paired again.")
    _tell(arguments, state_dir, new)
    if orders.socket_exists(state_dir):
        text.hint("If hotshoe is running, start it anew: it still uses the GUID that it began with.")
    return DONE


def _is_readable(state_dir: Path) -> bool:
    """A file that holds no GUID is replaced without asking what it was."""
    try:
        load(state_dir)
    except Stop as stop:
        return stop.code != MISUSED
    return True


def _tell(arguments: argparse.Namespace, state_dir: Path, mine: bytes) -> int:
    if arguments.json:
        text.emit({"guid": show(mine), "name": INITIATOR_NAME, "path": str(state_dir / FILE)})
    else:
        text.say(show(mine))
    return DONE
