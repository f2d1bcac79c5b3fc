"""Templates: text with fields in, a key per file out. The fields are in `fields`."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterator
from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache

import msgspec

from agent.keys.facts import Facts
from agent.keys.fields import LISTED, NEEDING_PICTURE, PICTURED, TIMES, Value
from agent.keys.names import KEY_BYTES, MOST_COMPONENTS, cleaned, component, replacement

TEMPLATE_CHARACTERS = 500

_PLAIN = {**LISTED, **PICTURED}

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


class TemplateError(ValueError):
    """A template that cannot give keys. Its text says in words what would be right."""


class _Part(msgspec.Struct, frozen=True):
    text: str
    value: Value | None = None  # None: `text` itself


class Template(msgspec.Struct, frozen=True):
    """A parsed template: `parse` once, `key` per file."""

    components: tuple[tuple[_Part, ...], ...]

    @property
    def fields(self) -> frozenset[str]:
        """The names of its fields."""
        return frozenset(part.text for parts in self.components for part in parts if part.value)

    @property
    def needs_picture(self) -> bool:
        """Whether it names what only the file itself says."""
        return bool(self.fields & NEEDING_PICTURE)

    def key(self, facts: Facts) -> str:
        names = [component("".join(_fill(part, facts) for part in parts)) for parts in self.components]
        if sum(len(name.encode()) + 1 for name in names) > KEY_BYTES:
            names = [component(name, KEY_BYTES // len(names) - 1) for name in names]
        return "/".join(names)


@lru_cache(maxsize=256)
def parse(text: str, *, is_for_one: bool = False) -> Template:
    """Parse a destination template such as ``{camera}/{date:%Y-%m-%d}/{name}``. `is_for_one`: one for a single file,
    which may be called anything.

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
    for parts in components:
        _check_component(parts)
    if not is_for_one and not {"name", "ext"} & {part.text for part in components[-1] if part.value}:
        raise TemplateError(
            "must contain {name} or {ext} behind its last /, or the files would lose their type"
        )
    return Template(tuple(tuple(part for part in parts if part.text) for parts in components))


def _parts(text: str) -> Iterator[_Part]:
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError:
        raise TemplateError("has a { or } without its partner (a brace itself is written twice)") from None
    for literal, name, spec, conversion in pieces:
        yield _Part(literal)
        if name is None:
            continue
        if name in TIMES and not conversion:
            yield from _time_parts(name, spec or "%Y-%m-%d")
        elif name not in _PLAIN and (name not in TIMES or conversion):
            near = get_close_matches(name, [*_PLAIN, *TIMES], n=1)
            hint = f"did you mean {{{near[0]}}}?" if near else f"there are {_known_fields()}"
            raise TemplateError(f"has an unknown field {{{name}}}; {hint}")
        elif spec or conversion:
            raise TemplateError(
                f"has more than a name in {{{name}…}}: write {{{name}}}; only {', '.join(TIMES)} take a format"
            )
        else:
            yield _Part(name, _PLAIN[name])


def _known_fields() -> str:
    return ", ".join(f"{{{name}}}" for name in [*_PLAIN, *(f"{time}:%Y-%m-%d" for time in TIMES)])


def _time_parts(name: str, spec: str) -> Iterator[_Part]:
    """Split ``%Y/%m`` at its slashes, so that they make folders here too."""
    for index, segment in enumerate(spec.split("/")):
        if index:
            yield _Part("/")
        if segment:
            yield _Part(name, _timed(TIMES[name], segment))


def _timed(time: Value, segment: str) -> Value:
    pieces: list[str] = re.findall(r"%.?|[^%]+", segment)
    for piece in pieces:
        if not piece.startswith("%"):
            _check_characters(piece)
        elif piece[1:] not in _DIRECTIVES:
            known = " ".join(f"%{letter}" for letter in _DIRECTIVES)
            raise TemplateError(f"has {piece} in its date; there are {known}")

    def value(facts: Facts) -> str:
        try:
            at = datetime.fromisoformat(time(facts))
        except ValueError:
            return "undated"
        return "".join(_DIRECTIVES[piece[1:]](at) if piece.startswith("%") else piece for piece in pieces)

    return value


def _check_component(parts: list[_Part]) -> None:
    fixed = "".join(part.text for part in parts if not part.value)
    _check_characters(fixed)
    if any(part.value for part in parts):
        if parts[0].text.startswith("."):
            raise TemplateError("makes hidden names: a name must not begin with a dot")
    elif not fixed:
        raise TemplateError("must be relative, without a / at its start or end or two in a row")
    elif component(fixed) != unicodedata.normalize("NFC", fixed):
        raise TemplateError(f"has a folder {fixed!r}, which is no name that every system takes")


def _check_characters(fixed: str) -> None:
    if wrong := sorted({char for char in fixed if replacement(char) != char}):
        raise TemplateError(f"contains {' '.join(map(repr, wrong))}, which not every system takes in a name")


def _fill(part: _Part, facts: Facts) -> str:
    return cleaned(part.value(facts)) if part.value else part.text
