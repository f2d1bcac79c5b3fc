"""The front door: help, versions, exit codes, and that nothing is loaded that is not needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent import cli
from agent.cli import arguments, hints
from agent.cli.stop import Stop, told
from agent.faults import Advice, Fault, Kind
from tests.cli.conftest import Hotshoe

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "run", "status", "files", "doctor", "ls", "get", "send", "retry", "skip", "destinations", "verify", "pause", "resume",
    "scan", "reload", "guid", "delete", "journal", "secret",
)  # fmt: skip


def loaded_by(*words: str) -> set[str]:
    script = (
        "import sys\nfrom agent.cli import main\n"
        f"try:\n    main({list(words)!r})\nexcept SystemExit:\n    pass\nprint('modules:', *sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return set(run.stdout.rpartition("modules:")[2].split())


@pytest.mark.parametrize("command", [*COMMANDS, "secret set", "secret clear", "secret list"])
async def test_every_command_has_help_with_examples_and_exit_codes(command: str, hotshoe: Hotshoe) -> None:
    said = await hotshoe(*command.split(), "--help")
    assert said.code == 0 and f"hotshoe {command}" in said.out
    assert "examples:" in said.out and "Exit codes: 0" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert re.search(r"--json", said.out)


async def test_the_overview_names_every_command(hotshoe: Hotshoe) -> None:
    said = await hotshoe("--help")
    assert said.code == 0
    assert re.findall(r"^    (\w+)(?: +\w|$)", said.out, re.MULTILINE) == list(COMMANDS)
    nothing = await hotshoe()
    assert nothing.code == 2 and "usage: hotshoe" in nothing.err


def test_every_command_leads_somewhere() -> None:
    words = {
        "ls": ["h"],
        "get": ["h", "n"],
        "retry": ["1"],
        "skip": ["1", "--reason", "r"],
        "send": ["1"],
        "verify": ["--all"],
        "secret": ["list"],
    }
    for command in COMMANDS:
        given = arguments.parser().parse_args(
            [command, *words.get(command, ["n"] if command in ("pause", "resume") else [])]
        )
        assert callable(cli._handler(given.handler))


async def test_the_version(hotshoe: Hotshoe) -> None:
    said = await hotshoe("--version")
    assert said.code == 0 and said.out.startswith("hotshoe ")


@pytest.mark.parametrize(
    "words",
    [
        ("dance",), ("files", "--state", "lost"), ("retry",), ("retry", "x"), ("retry", "0"), ("retry", "--all", "3"),
        ("skip", "1"), ("skip", "1", "--reason", " "), ("run", "--patience", "-1"), ("get", "h"), ("run", "--onc"),
        ("status", "--config", "missing.toml"), ("ls", "a/b"),
    ],
)  # fmt: skip
async def test_wrong_usage(words: tuple[str, ...], hotshoe: Hotshoe) -> None:
    said = await hotshoe(*words)
    assert said.code == 2 and said.err and "Traceback" not in said.err and said.out == ""


def test_help_loads_next_to_nothing() -> None:
    loaded = loaded_by("--help")
    heavy = {
        "pydantic",
        "msgspec",
        "structlog",
        "rich",
        "boto3",
        "aiosqlite",
        "asyncio",
        "agent.settings",
        "agent.ledger",
    }
    assert loaded & heavy == set()


def test_looking_and_ordering_load_no_settings_and_no_sdk(config: Path) -> None:
    for words in (["status"], ["files"], ["scan"], ["guid"]):
        loaded = loaded_by(*words, "--config", str(config))
        assert (
            loaded & {"pydantic", "boto3", "agent.collector", "agent.uploader", "agent.camera.session"}
            == set()
        ), words


async def test_ctrl_c_is_no_traceback(
    hotshoe: Hotshoe, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("agent.cli.show.status", interrupted)
    said = await hotshoe("status")
    assert said.code == 130 and said.err == "\n"


async def test_a_bug_is_a_traceback(hotshoe: Hotshoe, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise AssertionError("a bug")

    monkeypatch.setattr("agent.cli.show.status", broken)
    with pytest.raises(AssertionError):
        await hotshoe("status")


def test_expected_failures_are_told_in_a_sentence() -> None:
    fault = Fault("x.y", Advice(Kind.RETRYABLE, "Do this."), "because")
    assert told(fault) == ("Do this. [x.y]\n  because", 1)
    assert told(Stop("No.", 2)) == ("No.", 2)
    assert told(KeyError("bug")) is None
    assert hints.hint_of("camera.asleep").endswith(".")


async def test_what_servers_say_cannot_command_the_terminal(
    hotshoe: Hotshoe, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise Fault("x.y", Advice(Kind.RETRYABLE, "Do this."), "\x1b[2Jevil\r\n")

    monkeypatch.setattr("agent.cli.show.status", refused)
    said = await hotshoe("status")
    assert said.code == 1 and "\x1b" not in said.err and "\\x1b[2Jevil" in said.err
