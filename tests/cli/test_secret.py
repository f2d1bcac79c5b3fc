"""`hotshoe secret`: values go in and never come out; a running agent takes them over; nothing that is told holds one."""

from __future__ import annotations

import getpass
import io
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.backends import BACKENDS
from agent.settings import load, secrets
from tests.cli.conftest import Hotshoe, running, until, write_config

PLANTED = "hunter2"
CLOUD = """
[destinations.cloud]
kind = "s3"
bucket = "photos"
endpoint_url = "http://127.0.0.1:9"
region = "x"
access_key_id = "someone"
connect_timeout_seconds = 1
"""
NAME = "destinations.cloud.secret_access_key"

SECTIONS = {
    "azure": [
        ('account = "someone"\ncontainer = "photos"\nendpoint = "http://127.0.0.1:9/someone"', "account_key"),
        ('account = "someone"\ncontainer = "photos"\nendpoint = "http://127.0.0.1:9/someone"', "sas"),
        ('container = "photos"', "connection_string"),
    ],
    "ftp": [('host = "127.0.0.1"\nport = 9\nuser = "someone"', "password")],
    "gcs": [('bucket = "photos"', "key_json")],
    "s3": [(CLOUD.partition('"s3"')[2], "secret_access_key"), (CLOUD.partition('"s3"')[2], "session_token")],
    "sftp": [
        ('host = "127.0.0.1"\nport = 9\nuser = "someone"', "password"),
        ('host = "127.0.0.1"\nport = 9\nuser = "someone"\nkey_file = "key"', "key_passphrase"),
    ],
    "smb": [('address = "smb://127.0.0.1:9/photos"\nuser = "someone"', "password")],
}
"""A section for every secret that a backend has, of a place that nobody serves."""


class _Stdin(io.TextIOWrapper):
    def __init__(self, data: bytes, *, is_terminal: bool = False):
        super().__init__(io.BytesIO(data), "utf-8")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(secrets.CREDENTIALS_VARIABLE, raising=False)
    return write_config(tmp_path, more=CLOUD)


def given(monkeypatch: pytest.MonkeyPatch, value: str, *, is_terminal: bool = False) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(value.encode(), is_terminal=is_terminal))


def kept(config: Path) -> str:
    return str(load(config).destinations["cloud"].secret_access_key.get_secret_value())  # type: ignore[union-attr]


async def test_a_secret_is_set_listed_replaced_and_cleared(
    config: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await hotshoe("secret", "list", "--config", config)
    assert said.code == 0 and "not set" in said.out
    for value in ("first", PLANTED):
        given(monkeypatch, value + "\n")
        said = await hotshoe("secret", "set", NAME, "--config", config)
        assert (said.code, kept(config)) == (0, value)
        assert value not in said.out + said.err
    (row,) = [
        row
        for row in (await hotshoe("secret", "list", "--json", "--config", config)).json
        if row["path"] == NAME
    ]
    assert row["source"].endswith(f"state/secrets/{NAME}") and PLANTED not in str(row)
    said = await hotshoe("secret", "clear", NAME, "--config", config, "--json")
    assert said.json == [{"path": NAME, "done": "removed", "is_taken_over": False}]
    said = await hotshoe("secret", "clear", NAME, "--config", config)
    assert said.code == 1 and "No secret" in said.err


async def test_a_terminal_is_asked_without_an_echo(
    config: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return PLANTED

    monkeypatch.setattr(getpass, "getpass", answer)
    given(monkeypatch, "not this", is_terminal=True)
    assert (await hotshoe("secret", "set", NAME, "--config", config)).code == 0
    assert asked == [f"{NAME}: "] and kept(config) == PLANTED


async def test_a_secret_is_no_argument(config: Path, hotshoe: Hotshoe) -> None:
    said = await hotshoe("secret", "set", NAME, PLANTED, "--config", config)
    assert said.code == 2
    assert not (config.parent / "state" / "secrets").exists()


@pytest.mark.parametrize(
    "name", ["destinations.cloud.secret_acces_key", "destinations.x.password", "state_dir", "../x"]
)
async def test_an_unknown_path_is_refused_in_words(
    config: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    given(monkeypatch, PLANTED)
    for action in ("set", "clear"):
        said = await hotshoe("secret", action, name, "--config", config)
        assert said.code == 2 and "destinations.cloud." in said.err
        assert PLANTED not in said.out + said.err
    assert not (config.parent / "state" / "secrets").exists()


@pytest.mark.parametrize("value", ["", "\n", "a\0b"])
async def test_a_value_that_cannot_be_one_is_refused(
    config: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    given(monkeypatch, value)
    said = await hotshoe("secret", "set", NAME, "--config", config)
    assert said.code == 2 and "Nothing was changed" in said.err


async def test_a_stronger_value_is_told(
    config: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(config.read_text() + 'secret_access_key = "file"\n')
    given(monkeypatch, PLANTED)
    said = await hotshoe("secret", "set", NAME, "--config", config)
    assert said.code == 0 and "hotshoe.toml gives" in said.err
    assert kept(config) == "file"


async def test_a_secret_of_a_destination_that_is_gone_can_be_cleared(config: Path, hotshoe: Hotshoe) -> None:
    secrets.keep(config.parent / "state" / "secrets", "destinations.old.password", PLANTED)
    said = await hotshoe("secret", "list", "--config", config)
    assert "destinations.old.password" in said.out and "of no setting" in said.out and PLANTED not in said.out
    assert (await hotshoe("secret", "clear", "destinations.old.password", "--config", config)).code == 0


async def test_a_running_agent_takes_a_new_secret_over(
    config: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, "first")
    await hotshoe("secret", "set", NAME, "--config", config)
    async with running(config) as agent:

        async def is_up() -> bool:
            return "cloud" in agent.uploader.targets

        await until(agent, is_up)
        given(monkeypatch, PLANTED)
        said = await hotshoe("secret", "set", NAME, "--config", config)
        assert said.code == 0 and "taken it over" in said.out
        held = agent.settings.destinations["cloud"].secret_access_key  # type: ignore[union-attr]
        assert held is not None and held.get_secret_value() == PLANTED


def test_the_table_below_has_every_secret() -> None:
    raw = {"destinations": {kind: {"kind": kind} for kind in BACKENDS}}
    found = {(str(loc[1]), str(loc[-1])) for loc in secrets.places(raw)}
    assert found == {(kind, field) for kind, rows in SECTIONS.items() for _, field in rows}


@pytest.mark.parametrize(
    ("kind", "section", "field"), [(kind, *row) for kind, rows in SECTIONS.items() for row in rows]
)
async def test_a_planted_secret_is_in_nothing_that_is_told(
    tmp_path: Path,
    hotshoe: Hotshoe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    logged: list[Any],
    kind: str,
    section: str,
    field: str,
) -> None:
    """Whether it fits or not: not in status, files, doctor, secret, journal, their JSON, the log, or what is refused."""
    caplog.set_level(logging.DEBUG)
    planted = (
        f"AccountName={PLANTED};x"
        if field == "connection_string"
        else f"sig={PLANTED}"
        if field == "sas"
        else PLANTED
    )
    config = write_config(tmp_path, more=f'[destinations.there]\nkind = "{kind}"\n{section}\n')
    name = f"destinations.there.{field}"
    given(monkeypatch, planted)
    told = [await hotshoe("secret", "set", name, "--config", config)]
    secrets.keep(tmp_path / "state" / "secrets", name, planted)
    for words in (
        ["status"],
        ["files"],
        ["doctor"],
        ["secret", "list"],
        ["journal"],
        ["delete", "--dry-run"],
    ):
        told.append(await hotshoe(*words, "--config", config))
        told.append(await hotshoe(*words, "--json", "--config", config))
    for said in told:
        assert PLANTED not in said.out + said.err
    assert PLANTED not in caplog.text + str(logged)
