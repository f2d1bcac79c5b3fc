"""The READMEs are true: every example is a configuration, and every word that can be set, matched or typed is explained."""

from __future__ import annotations

import argparse
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agent import keys
from agent.backends import BACKENDS
from agent.backends.base import DestinationConfig
from agent.cli import arguments
from agent.keys import fields
from agent.schedule import parse
from agent.settings import DeleteSettings, Match, Route, Settings, SettingsError, load, secrets
from agent.settings.problems import path_of
from agent.settings.tree import CameraSettings, LogSettings, SpoolSettings, UploadSettings
from tests.test_routing_cookbook import RECIPES

ROOT = Path(__file__).parent.parent
FRONT = (ROOT / "README.md").read_text("utf-8")
REFERENCE = (ROOT / "agent/settings/README.md").read_text("utf-8")
TEXTS = {"README.md": FRONT, "agent/settings/README.md": REFERENCE}
TEXTS["agent/backends/README.md"] = (ROOT / "agent/backends/README.md").read_text("utf-8")

_FENCE = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECRET = re.compile(r"hotshoe secret set (destinations[\w.-]+\w)")
_A_SECRET = "c2VjcmV0"  # also what Azure takes for a key


EXAMPLES = {
    f"{name}:{text[: found.start()].count(chr(10)) + 1}": found[1]
    for name, text in TEXTS.items()
    for found in _FENCE.finditer(text)
}
WITH_SECRETS = {name: text for name, text in EXAMPLES.items() if _SECRET.search(text)}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.upper().startswith("HOTSHOE_") or name == secrets.CREDENTIALS_VARIABLE:
            monkeypatch.delenv(name)


def surroundings(example: str) -> str:
    """What an example leaves to the rest of a file: the cameras and destinations that it names without making them."""
    raw = tomllib.loads(example)
    routes = raw.get("routes", [])
    matches = [route.get("match", {}) for route in routes]
    named = [raw.get("delete", {}).get("destinations", []), *(route["destinations"] for route in routes)]
    destinations = _flat(named) - raw.get("destinations", {}).keys()
    cameras = _flat([match.get("camera", []) for match in matches])
    parts = [f'[destinations.{name}]\nkind = "folder"\npath = "./{name}"\n' for name in sorted(destinations)]
    if not raw.get("cameras"):
        parts += [f'[[cameras]]\nname = "{name}"\nhost = "{name}.local"\n' for name in sorted(cameras)]
    return ('site = "here"\n' if "site" not in raw else "") + example + "\n" + "".join(parts)


def _flat(named: list[Any]) -> set[str]:
    return {name for each in named for name in ([each] if isinstance(each, str) else each)}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_is_a_configuration_once_its_secrets_are_kept(example: str, tmp_path: Path) -> None:
    path = tmp_path / "hotshoe.toml"
    text = surroundings(example)
    path.write_text(text)
    raw = tomllib.loads(text)
    known = {path_of(loc) for loc in secrets.places(raw)}
    folder = secrets.folder_of(raw, tmp_path)
    assert folder is not None
    for name in _SECRET.findall(example):
        assert name in known, f"{name} is no secret"
        secrets.keep(folder, name, _A_SECRET)
    load(path)


@pytest.mark.parametrize("example", WITH_SECRETS.values(), ids=WITH_SECRETS)
def test_what_an_example_says_of_secrets_is_needed(example: str, tmp_path: Path) -> None:
    """But for FTP: it knows logins without a password."""
    path = tmp_path / "hotshoe.toml"
    path.write_text(surroundings(example))
    with pytest.raises(SettingsError) as refused:
        load(path)
    told = str(refused.value)
    kinds = {name: table["kind"] for name, table in tomllib.loads(example)["destinations"].items()}
    missed = [name for name in _SECRET.findall(example) if name.rpartition(".")[0] not in told]
    assert [kinds[name.split(".")[1]] for name in missed] in ([], ["ftp"])


def test_every_kind_has_an_example_and_a_line() -> None:
    shown = {found for text in TEXTS.values() for found in re.findall(r'^kind = "(\w+)"', text, re.MULTILINE)}
    assert shown == BACKENDS.keys()
    assert {kind for kind in BACKENDS if f"| `{kind}` |" in FRONT} == BACKENDS.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_that_is_tried_is_shown(name: str) -> None:
    assert f"```toml\n{RECIPES[name]}```" in REFERENCE


@pytest.mark.parametrize(
    "section", [Match, Route, CameraSettings, UploadSettings, SpoolSettings, LogSettings, DeleteSettings, Settings]
)  # fmt: skip
def test_every_setting_is_explained(section: type[BaseModel]) -> None:
    absent = [
        name
        for name in section.model_fields
        if f"`{name}`" not in REFERENCE
        and not re.search(rf"^(?:{name} = |\[+{name}\b)", REFERENCE, re.MULTILINE)
    ]
    assert absent == []


def test_what_every_destination_takes_is_explained() -> None:
    assert [name for name in DestinationConfig.model_fields if f"| `{name}` |" not in FRONT] == []


def test_every_field_of_a_template_is_explained() -> None:
    """And nothing that is shown as one is unknown."""
    table = REFERENCE.partition("## Names")[2].partition("## Limits")[0]
    shown = set(re.findall(r"`\{(\w+)", table))
    assert shown == {*fields.LISTED, *fields.PICTURED, *fields.TIMES}
    with pytest.raises(keys.TemplateError) as refused:
        keys.parse("{date:%Q}_{name}")
    assert set(re.findall(r"`(%\w)`", table)) == set(re.findall(r"%\w", str(refused.value))) - {"%Q"}
    for found in re.findall(r"`(\{[^`]*\})`", table):
        keys.parse(f"{found}/{{name}}")


def test_every_word_of_a_limit_is_one() -> None:
    table = REFERENCE.partition("## Limits")[2].partition("```")[0]
    words = re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    assert len(words) > 10
    for word in words:
        parse(word if word[0].isdigit() and ":" not in word or word in ("off", "pause") else f"1k {word}")


def test_every_command_is_in_the_table() -> None:
    table = FRONT.partition("### The command line")[2].partition("### States")[0]
    [commands] = [
        each.choices
        for each in arguments.parser()._actions
        if isinstance(each, argparse._SubParsersAction)
    ]  # fmt: skip
    assert commands is not None
    shown = set(re.findall(r"`hotshoe (\w+)", table))
    assert shown == set(commands)
    options = {option for each in commands.values() for option in each._option_string_actions}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", table)) <= options
