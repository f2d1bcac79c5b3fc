"""Read the layers of settings, put them together, and check the whole at once.

Relative paths, wherever they were set, count from the folder of the configuration file. The file is only read;
edits come as a mapping of the same shape from whoever keeps them. Lists (cameras, routes) are replaced as a
whole by a stronger layer, tables are merged.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Set
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from agent import keys
from agent.backends import BACKENDS, is_installed
from agent.settings import secrets
from agent.settings.problems import Loc, Problem, SettingsError, field_problem, near, path_of
from agent.settings.tree import ENV_PREFIX, ENV_SEPARATOR, Settings

EXAMPLE = """\
state_dir = "./state"
[[cameras]]
name = "main"
host = "192.168.1.2"        # port = 15740
[destinations.archive]
kind = "folder"
path = "./photos"
template = "{date:%Y-%m-%d}/{name}"
[[routes]]
destinations = ["archive"]  # match = { kind = ["jpeg", "raw", "video"], camera = "main" }
auto = true
"""
"""A complete configuration file."""


class _Layer(msgspec.Struct, frozen=True):
    name: str
    data: dict[str, Any]


class _Environment(EnvSettingsSource):
    """Variables such as ``HOTSHOE_UPLOAD__WORKERS``; lists and tables as JSON."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Leave what is no JSON to validation, which can say what is wanted and where."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def load(path: Path | None, edits: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings from `path` (TOML), `edits` and the environment.

    Raises SettingsError with every problem found. Without a `path` there is no file, and relative paths count
    from the working directory.
    """
    layers = _layers(path, edits)
    merged = _merged(layers)
    base = (path.parent if path else Path()).absolute()
    kept = secrets.read(merged, base)
    known = secrets.places(merged)
    merged = _merge(kept.as_layer(), merged)
    found = list(_cross_check(merged))
    settings: Settings | None = None
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        found = [
            field_problem(details) for details in error.errors(include_url=False, include_input=False)
        ] + found
    sections = list(Settings.model_fields)
    found.sort(
        key=lambda item: (sections.index(item[0][0]) if item[0][0] in sections else -1, str(item[0][1:2]))
    )
    problems = [
        Problem(
            path_of(loc),
            message + _where_it_may_be(loc, message, known.keys() - kept.values.keys()),
            kept.sources.get(loc) or _source(layers, loc),
        )
        for loc, message in found
    ]
    problems += [*kept.problems, *_unknown_variables()]
    if problems or settings is None:
        raise SettingsError(problems)
    anchored: Settings = _anchored(settings, base)
    return anchored


def raw_settings(path: Path, edits: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], list[_Layer]]:
    """Return what file, edits and environment say together, unchecked and without secrets at rest, and each alone.

    Raises SettingsError for a file that cannot be read.
    """
    layers = _layers(path, edits)
    return _merged(layers), layers


def complaints(raw: Mapping[str, Any], loc: Loc) -> list[str]:
    """Return, in words, what is wrong with the value at `loc` and nothing else."""
    try:
        Settings(**raw)
    except ValidationError as error:
        found = [field_problem(each) for each in error.errors(include_url=False, include_input=False)]
        return [message for at, message in found if at == loc]
    return []


def source_of(layers: list[_Layer], loc: Loc) -> str | None:
    """Name the strongest layer that gives `loc` a value, None if none does."""
    return _source(layers, loc) if any(_holds(layer.data, loc) for layer in layers) else None


def _layers(path: Path | None, edits: Mapping[str, Any] | None) -> list[_Layer]:
    return [
        _Layer(path.name if path else "file", _read(path) if path else {}),
        _Layer("edits", dict(edits or {})),
        _Layer("environment", _Environment(Settings)()),
    ]


def _merged(layers: list[_Layer]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer.data)
    return merged


def _where_it_may_be(loc: Loc, message: str, absent: Set[Loc]) -> str:
    """Say of a secret that is missing where it can be put, be it the field itself or one that its section asks for."""
    asked = [each for each in absent if each == loc or (each[:-1] == loc and str(each[-1]) in message)]
    if not asked or (loc in absent and not message.startswith("is missing")):
        return ""
    wanted = sorted(asked, key=str)[0]
    return (
        f"; a secret can stand in this file, or be kept with: hotshoe secret set {path_of(wanted)}, or be given in"
        f" the environment as {ENV_PREFIX}{ENV_SEPARATOR.join(map(str, wanted)).upper()}"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        message = f"does not exist. A file to begin with:\n\n{EXAMPLE}"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        message = "is not UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        message = f"is not valid TOML: {error}"
    raise SettingsError([Problem("", message, str(path))])


def _merge(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(weak)
    for key, value in strong.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _cross_check(raw: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Check what one field alone cannot show, on raw values, so that nothing hides behind another mistake."""
    destinations = raw.get("destinations")
    destinations = destinations if isinstance(destinations, dict) else {}
    cameras = _tables(raw.get("cameras"))
    for name, destination in destinations.items():
        if isinstance(destination, dict):
            yield from _check_template(("destinations", name, "template"), destination.get("template"), raw)
            if (kind := destination.get("kind")) in list(BACKENDS) and not is_installed(kind):
                yield (
                    ("destinations", name, "kind"),
                    f"needs packages that are not installed: pip install 'hotshoe[{kind}]', in a checkout '.[{kind}]'",
                )
    for index, camera in enumerate(cameras):
        for other in cameras[:index]:
            if camera.get("name") and camera.get("name") == other.get("name"):
                yield ("cameras", index, "name"), "is the name of another camera as well"
            elif camera.get("host") and _address(camera) == _address(other):
                yield ("cameras", index, "host"), "is the address of another camera as well"
    if isinstance(delete := raw.get("delete"), dict):
        yield from _check_names(
            ("delete", "destinations"), delete.get("destinations"), destinations, "destination"
        )
    names = [camera["name"] for camera in cameras if isinstance(camera.get("name"), str)]
    for index, route in enumerate(_tables(raw.get("routes"))):
        yield from _check_template(("routes", index, "template"), route.get("template"), raw)
        yield from _check_names(
            ("routes", index, "destinations"), route.get("destinations"), destinations, "destination"
        )
        if isinstance(match := route.get("match"), dict):
            yield from _check_names(
                ("routes", index, "match", "camera"), match.get("camera"), names, "camera"
            )


def _tables(value: object) -> list[Mapping[str, Any]]:
    return (
        [entry if isinstance(entry, dict) else {} for entry in value]
        if isinstance(value, list | tuple)
        else []
    )


def _address(camera: Mapping[str, Any]) -> tuple[str, str]:
    return str(camera.get("host")), str(camera.get("port", 15740))


def _check_template(loc: Loc, template: object, raw: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    if isinstance(template, str):
        try:
            parsed = keys.parse(template)
        except keys.TemplateError as error:
            yield loc, str(error)
        else:
            if "site" in parsed.fields and not raw.get("site"):
                yield loc, 'contains {site}, and no site is set: write site = "…" at the top of the file'


def _check_names(
    loc: Loc, value: object, known: Mapping[str, Any] | list[str], what: str
) -> Iterator[tuple[Loc, str]]:
    named = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    for name in named:
        if isinstance(name, str) and name not in known:
            yield loc, f"names {name!r}, which is no {what}; {near(name, known)}"


def _source(layers: list[_Layer], loc: Loc) -> str:
    """Name the strongest layer that holds `loc`, or the longest part of it that anything holds."""
    for length in range(len(loc), 0, -1):
        for layer in reversed(layers):
            if _holds(layer.data, loc[:length]):
                return (
                    f"environment: {_variable(loc[:length])}" if layer.name == "environment" else layer.name
                )
    return layers[0].name


def _holds(data: Any, loc: Loc) -> bool:
    for part in loc:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _variable(loc: Loc) -> str:
    """Name the variable that set `loc`: its own, one above it that held JSON, or one below it."""
    present = {name.upper(): name for name in os.environ}
    own = ENV_PREFIX + ENV_SEPARATOR.join(str(part) for part in loc).upper()
    above = [own.rsplit(ENV_SEPARATOR, count)[0] for count in range(len(loc))]
    below = sorted(name for name in present if name.startswith(own + ENV_SEPARATOR))
    return next((present[name] for name in [*above, *below] if name in present), own)


def _unknown_variables() -> Iterator[Problem]:
    """Find variables that were meant as settings.

    Not every HOTSHOE_… is ours: Kubernetes gives every pod HOTSHOE_PORT and HOTSHOE_SERVICE_HOST when a service
    is called hotshoe. Ours have a double underscore, or almost the name of a setting.
    """
    for variable in sorted(os.environ):
        name = variable.upper()
        if not name.startswith(ENV_PREFIX):
            continue
        setting, nested, _ = name.removeprefix(ENV_PREFIX).lower().partition(ENV_SEPARATOR)
        if setting not in Settings.model_fields and (
            nested or get_close_matches(setting, Settings.model_fields, cutoff=0.8)
        ):
            yield Problem(
                setting, f"is unknown; {near(setting, Settings.model_fields)}", f"environment: {variable}"
            )


def _anchored(value: Any, base: Path) -> Any:
    """Return `value` with every relative path in it, also in a backend's Config, counted from `base`."""
    match value:
        case Path():
            return base / value.expanduser()
        case BaseModel():
            return value.model_copy(
                update={name: _anchored(getattr(value, name), base) for name in type(value).model_fields}
            )
        case tuple():
            return tuple(_anchored(entry, base) for entry in value)
        case dict():
            return {key: _anchored(entry, base) for key, entry in value.items()}
    return value
