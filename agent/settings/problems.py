"""What is wrong with settings, in words: path of the field, what would be right, and where it was written.

Values are never repeated, as any of them may be a secret in the wrong place; names of keys, cameras and
destinations are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

import msgspec
from pydantic_core import ErrorDetails

from agent.settings.tree import Settings

Loc = tuple[str | int, ...]
"""Where a value stands in the merged settings; list positions count from 0."""


class Problem(msgspec.Struct, frozen=True):
    """One thing to put right."""

    path: str  # "destinations.archive.path", "cameras[1].host" (counted from 1); "" for the file as a whole
    message: str  # fits behind the path
    source: str  # "hotshoe.toml", "environment: HOTSHOE_UPLOAD__WORKERS"

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.message} ({self.source})" if self.path else f"{self.source} {self.message}"
        )


class SettingsError(Exception):
    """Everything that is wrong with the settings, at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        title = "There is a problem" if count == 1 else f"There are {count} problems"
        super().__init__(
            f"{title} with the settings:\n" + "\n".join(f"  {problem}" for problem in self.problems)
        )


def path_of(loc: Loc) -> str:
    """Return `loc` as it is written in a configuration file; tables in a list are counted from 1."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f".{part}" if re.fullmatch(r"[\w-]+", part) else f'."{part}"'
    return text.removeprefix(".")


_WORDS = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text in quotes",
    "path_type": "must be text in quotes",
    "string_too_short": "must have at least {min_length} characters",
    "string_pattern_mismatch": "does not have the form that is wanted",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "union_tag_not_found": "needs a kind: {kinds}",
    "union_tag_invalid": "has an unknown kind; there are {kinds}",
    "value_error": "{error}",
}


_EXPLAINED = {
    "string_pattern_mismatch",
    "tuple_type",
    "list_type",
    "dict_type",
    "model_type",
    "model_attributes_type",
}
"""After these the field's description says what is right."""


def field_problem(error: ErrorDetails) -> tuple[Loc, str]:
    """Turn one finding of pydantic's into the place where the user wrote it, and words."""
    at, schema = _resolve(error["loc"])
    _, parent = _resolve(error["loc"][:-1])
    context = {**error.get("ctx", {}), "kinds": ", ".join(_kinds(schema))}
    match error["type"]:
        case "missing":
            return at, "is missing" + _meaning(schema)
        case "extra_forbidden":
            return at, "is unknown; " + near(str(at[-1]), parent.get("properties", {}))
        case "union_tag_invalid":
            return at, "has an unknown kind; " + near(str(context.get("tag", "")), _kinds(schema))
        case kind if kind in _EXPLAINED:
            return at, _WORDS[kind] + _meaning(schema)
        case kind if kind in _WORDS:
            return at, _WORDS[kind].format(**context)
    return at, error["msg"].replace("Input should", "must")


def near(name: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" or, if nothing is near, what there is."""
    names = sorted(set(known))
    if close := get_close_matches(name, names, n=1):
        return f"did you mean {close[0]}?"
    return f"there are {', '.join(names)}" if names else "there are none"


def _meaning(schema: Mapping[str, Any]) -> str:
    sentence = schema.get("description", "").partition("\n")[0].partition(". ")[0].rstrip(".")
    return f": {sentence}" if sentence else ""


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    return sorted(schema.get("discriminator", {}).get("mapping", {}))


@cache
def _schema() -> dict[str, Any]:
    return Settings.model_json_schema()


def _resolve(loc: Loc) -> tuple[Loc, Mapping[str, Any]]:
    """Walk the schema along a pydantic `loc`: return it without pydantic's own parts, and the field's schema.

    Its own parts are the tag of a union's member behind the name of a destination, and ``[key]`` behind a key.
    """
    at: list[str | int] = []
    schema: Mapping[str, Any] = _schema()
    for part in loc:
        if part == "[key]":
            continue
        if part in _kinds(schema):
            schema = _referred({"$ref": schema["discriminator"]["mapping"][part]})
            continue
        at.append(part)
        inner = (
            schema.get("properties", {}).get(part)
            or schema.get("items")
            or schema.get("additionalProperties")
        )
        schema = _referred(inner) if isinstance(inner, dict) else {}
    return tuple(at), schema


def _referred(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference; the description beside it is nearer than the one behind it."""
    if "$ref" not in schema:
        return schema
    return {
        **_schema()["$defs"][schema["$ref"].rpartition("/")[2]],
        **{k: v for k, v in schema.items() if k != "$ref"},
    }
