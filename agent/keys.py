"""The key of a file at a destination: templates, clean names, suffixes. Pure.

A key is relative, has `/` between its folders, and is made of components that are names on POSIX, Windows and
object stores alike: whatever a camera calls its files, the key stays below the destination's root and is never
empty. The same file under the same template always gets the same key, on any machine.

Cleaning may give two files one key. That is not prevented here but where keys are UNIQUE, in the ledger: the
second file takes `suffixed(key, identity)`. Room for the suffix is kept from the start, so adding it never
cuts, and two files of one key get different suffixed keys unless their digests agree in every digit asked for.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterator
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache

import msgspec

SUFFIX_DIGITS = 6
MOST_SUFFIX_DIGITS = 16
COMPONENT_BYTES = 255 - 1 - MOST_SUFFIX_DIGITS
"""Longest component before a suffix: file systems take 255 bytes."""
KEY_BYTES = 1000 - 1 - MOST_SUFFIX_DIGITS
"""Longest key before a suffix: S3 takes 1,024 bytes, other stores more."""
MOST_COMPONENTS = 16
TEMPLATE_CHARACTERS = 500

_EXTENSION_BYTES = 16  # what follows the last dot and is longer is no extension
_RESERVED_CHARACTERS = '<>:"/\\|?*'  # Windows; the slash everywhere
_RESERVED_NAMES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])", re.IGNORECASE)


class Media(StrEnum):
    """What a file is, for routes and for what goes first."""

    JPEG = "jpeg"
    RAW = "raw"
    HEIF = "heif"
    VIDEO = "video"
    AUDIO = "audio"
    OTHER = "other"


class Facts(msgspec.Struct, frozen=True):
    """What is known of a file from the camera's listing, without reading it."""

    camera: str  # its name in the settings
    serial: str
    storage: int
    folder: str  # as the camera calls it: "100CANON"
    name: str  # as the camera calls it: "IMG_0001.CR3"
    size: int
    captured: str  # camera-local, without a zone: "2012-02-02T14:16:54", or ""
    kind: Media
    group: int = 0


class TemplateError(ValueError):
    """A template that cannot give keys. Its text says in words what would be right."""


class _Part(msgspec.Struct, frozen=True):
    text: str
    value: Callable[[Facts], str] | None = None  # None: `text` itself


class Template(msgspec.Struct, frozen=True):
    """A parsed template: `parse` once, `key` per file."""

    components: tuple[tuple[_Part, ...], ...]

    def key(self, facts: Facts) -> str:
        names = [_component("".join(_fill(part, facts) for part in parts)) for parts in self.components]
        if sum(len(name.encode()) + 1 for name in names) > KEY_BYTES:
            names = [_component(name, KEY_BYTES // len(names) - 1) for name in names]
        return "/".join(names)


def _last_folder(facts: Facts) -> str:
    return re.split(r"[/\\]", facts.folder.rstrip("/\\"))[-1]


_FIELDS: dict[str, Callable[[Facts], str]] = {
    "camera": lambda facts: facts.camera,
    "serial": lambda facts: facts.serial,
    "storage": lambda facts: f"{facts.storage:08x}",
    "folder": _last_folder,
    "name": lambda facts: facts.name,
    "stem": lambda facts: split(facts.name)[0],
    "ext": lambda facts: split(facts.name)[1].removeprefix("."),
    "kind": lambda facts: facts.kind.value,
}

# Only what reads the same in every language: the key of a file must not depend on the machine's locale.
_DIRECTIVES: dict[str, Callable[[datetime], str]] = {
    "Y": lambda at: f"{at.year:04d}",
    "y": lambda at: f"{at.year % 100:02d}",
    "m": lambda at: f"{at.month:02d}",
    "d": lambda at: f"{at.day:02d}",
    "j": lambda at: f"{at.timetuple().tm_yday:03d}",
    "G": lambda at: f"{at.isocalendar().year:04d}",
    "V": lambda at: f"{at.isocalendar().week:02d}",
    "H": lambda at: f"{at.hour:02d}",
    "M": lambda at: f"{at.minute:02d}",
    "S": lambda at: f"{at.second:02d}",
}


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
    return _component(_clean(name))


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


@lru_cache(maxsize=256)
def parse(text: str) -> Template:
    """Parse a destination template such as ``{camera}/{date:%Y-%m-%d}/{name}``.

    Raises TemplateError for whatever could give no key, a key outside the root, or a file without its type.
    """
    if len(text) > TEMPLATE_CHARACTERS:
        raise TemplateError(f"is longer than {TEMPLATE_CHARACTERS} characters")
    components: list[list[_Part]] = [[]]
    for part in _parts(text):
        if part.value:
            components[-1].append(part)
            continue
        first, *further = part.text.split("/")
        components[-1].append(_Part(first))
        components += [[_Part(piece)] for piece in further]
    if len(components) > MOST_COMPONENTS:
        raise TemplateError(f"has more than {MOST_COMPONENTS} folders")
    for component in components:
        _check_component(component)
    if not {"name", "ext"} & {part.text for part in components[-1] if part.value}:
        raise TemplateError(
            "must contain {name} or {ext} behind its last /, or the files would lose their type"
        )
    return Template(tuple(tuple(part for part in component if part.text) for component in components))


def _parts(text: str) -> Iterator[_Part]:
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError:
        raise TemplateError("has a { or } without its partner (a brace itself is written twice)") from None
    for literal, name, spec, conversion in pieces:
        yield _Part(literal)
        if name is None:
            continue
        if name == "date" and not conversion:
            yield from _date_parts(spec or "%Y-%m-%d")
        elif name not in _FIELDS:
            near = get_close_matches(name, [*_FIELDS, "date"], n=1)
            hint = f"did you mean {{{near[0]}}}?" if near else f"there are {_known_fields()}"
            raise TemplateError(f"has an unknown field {{{name}}}; {hint}")
        elif spec or conversion:
            raise TemplateError(
                f"has more than a name in {{{name}…}}: write {{{name}}}; only date takes a format"
            )
        else:
            yield _Part(name, _FIELDS[name])


def _known_fields() -> str:
    return ", ".join(f"{{{name}}}" for name in [*_FIELDS, "date:%Y-%m-%d"])


def _date_parts(spec: str) -> Iterator[_Part]:
    """Split ``%Y/%m`` at its slashes, so that they make folders here too."""
    for index, segment in enumerate(spec.split("/")):
        if index:
            yield _Part("/")
        if segment:
            yield _Part("date", _dated(segment))


def _dated(segment: str) -> Callable[[Facts], str]:
    pieces: list[str] = re.findall(r"%.?|[^%]+", segment)
    for piece in pieces:
        if not piece.startswith("%"):
            _check_characters(piece)
        elif piece[1:] not in _DIRECTIVES:
            known = " ".join(f"%{letter}" for letter in _DIRECTIVES)
            raise TemplateError(f"has {piece} in its date; there are {known}")

    def value(facts: Facts) -> str:
        try:
            at = datetime.fromisoformat(facts.captured)
        except ValueError:
            return "undated"
        return "".join(_DIRECTIVES[piece[1:]](at) if piece.startswith("%") else piece for piece in pieces)

    return value


def _check_component(component: list[_Part]) -> None:
    fixed = "".join(part.text for part in component if not part.value)
    _check_characters(fixed)
    if any(part.value for part in component):
        if component[0].text.startswith("."):
            raise TemplateError("makes hidden names: a name must not begin with a dot")
    elif not fixed:
        raise TemplateError("must be relative, without a / at its start or end or two in a row")
    elif _component(fixed) != unicodedata.normalize("NFC", fixed):
        raise TemplateError(f"has a folder {fixed!r}, which is no name that every system takes")


def _check_characters(fixed: str) -> None:
    if wrong := sorted({char for char in fixed if _replacement(char) != char}):
        raise TemplateError(f"contains {' '.join(map(repr, wrong))}, which not every system takes in a name")


def _fill(part: _Part, facts: Facts) -> str:
    return _clean(part.value(facts)) if part.value else part.text


def _replacement(char: str) -> str:
    """Return what stands for `char` in a name: controls, invisible marks and lone surrogates become ``_``."""
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    return "_" if char in _RESERVED_CHARACTERS or category in ("Cc", "Cf", "Cs", "Zl", "Zp") else char


def _clean(value: str) -> str:
    """Replace what must not stand in a name; may be empty."""
    return "".join(map(_replacement, unicodedata.normalize("NFC", value)))


def _component(text: str, limit: int = COMPONENT_BYTES) -> str:
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
