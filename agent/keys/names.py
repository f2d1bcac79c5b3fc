"""Names that every system takes: components, extensions, suffixes."""

from __future__ import annotations

import re
import unicodedata

SUFFIX_DIGITS = 6
MOST_SUFFIX_DIGITS = 16
COMPONENT_BYTES = 255 - 1 - MOST_SUFFIX_DIGITS
"""Longest component before a suffix: file systems take 255 bytes."""
KEY_BYTES = 1000 - 1 - MOST_SUFFIX_DIGITS
"""Longest key before a suffix: S3 takes 1,024 bytes, other stores more."""
MOST_COMPONENTS = 16

_EXTENSION_BYTES = 16  # what follows the last dot and is longer is no extension
_RESERVED_CHARACTERS = '<>:"/\\|?*'  # Windows; the slash everywhere
_RESERVED_NAMES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])", re.IGNORECASE)


def split(name: str) -> tuple[str, str]:
    """Split into stem and extension with its dot; ``"IMG_1"`` and ``".hidden"`` have none."""
    stem, dot, extension = name.rpartition(".")
    if not stem or not extension or len(extension.encode(errors="replace")) >= _EXTENSION_BYTES:
        return name, ""
    return stem, dot + extension


def clean(name: str) -> str:
    """Return `name` as one safe component: never empty, ``.`` or ``..``, hidden, or reserved on Windows.

    A name that is safe comes back unchanged (but in Unicode's composed form), so cleaning twice is cleaning once.
    """
    return component(cleaned(name))


def suffixed(key: str, identity: str, digits: int = SUFFIX_DIGITS) -> str:
    """Return `key` with the first `digits` of `identity` (hex, see `routing.identity_of`) behind its stem.

    A function of the file, never a counter: a ledger that is built anew gives the same key. Ask for more digits
    if the key with fewer is taken as well.
    """
    if not SUFFIX_DIGITS <= digits <= min(MOST_SUFFIX_DIGITS, len(identity)):
        raise ValueError(f"a suffix has {SUFFIX_DIGITS} to {MOST_SUFFIX_DIGITS} digits")
    folders, slash, name = key.rpartition("/")
    stem, extension = split(name)
    return f"{folders}{slash}{stem}-{identity[:digits]}{extension}"


def replacement(char: str) -> str:
    """Return what stands for `char` in a name: controls, invisible marks and lone surrogates become ``_``."""
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    return "_" if char in _RESERVED_CHARACTERS or category in ("Cc", "Cf", "Cs", "Zl", "Zp") else char


def cleaned(value: str) -> str:
    """Replace what must not stand in a name; may be empty."""
    return "".join(map(replacement, unicodedata.normalize("NFC", value)))


def component(text: str, limit: int = COMPONENT_BYTES) -> str:
    """Make a component of cleaned text: composed, visible, cut at its stem, and nothing that Windows would change."""
    name = unicodedata.normalize("NFC", text).strip(" ")
    visible = name.lstrip(".")
    name = ("_" * (len(name) - len(visible)) + visible).rstrip(". ")
    stem, extension = split(name)
    room = limit - len(extension.encode())
    name = (stem.encode()[:room].decode(errors="ignore") + extension).rstrip(". ")
    device = name.partition(".")[0].rstrip(" ")
    if _RESERVED_NAMES.fullmatch(device):
        name = f"{device[:-1]}_{name[len(device) :]}"
    return name or "_"
