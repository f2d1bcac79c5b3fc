"""`hotshoe doctor` in health and in sickness."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.backends.base import Check, Exclusive, Proof
from agent.camera import Identity
from agent.cli import checks, doctor, reach
from agent.commands.cards import Cards
from tests.cli.conftest import Hotshoe, Said, running, until, write_config
from tests.simcam import SimCamera


def steps(said: Said, part: str, name: str | None = None) -> dict[str, dict[str, Any]]:
    return {
        row["step"]: row for row in said.json if row["part"] == part and (name is None or row["name"] == name)
    }


async def test_all_is_well(tmp_path: Path, hotshoe: Hotshoe) -> None:
    async with SimCamera("generic", card="2:300k") as camera:
        write_config(tmp_path, camera.port)
        said = await hotshoe("doctor", "--json")
        assert said.code == 0, said.out
        assert all(row["ok"] is not False for row in said.json)
        assert list(steps(said, "camera", "main")) == ["connect", "camera", "serial", "card"]
        tried = steps(said, "destination", "archive")
        assert [*tried][:5] == ["write", "read back", "list", "refuse overwrite", "delete"]
        assert all(tried[step]["seconds"] is not None for step in [*tried][:5])
        assert tried["proof"]["detail"] == "readback, exclusive: atomic"
        assert said.json[-1]["part"] == "summary" and said.json[-1]["ok"] is True
        text = await hotshoe("doctor")
        assert text.code == 0 and text.out.endswith("✓ All is well.\n")
        assert max(map(len, text.out.splitlines())) <= 80
    assert [entry.name for entry in os.scandir(tmp_path / "photos")] == [], "a probe was left behind"
    assert os.listdir(tmp_path / "state") == ["guid"]


async def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, hotshoe: Hotshoe) -> None:
    (tmp_path / "drawer").write_text("a file where a folder should be")
    async with SimCamera("generic") as camera:
        camera.trouble.refuse_pairing()
        write_config(tmp_path, camera.port, 1)
        said = await hotshoe("doctor", "--json")
    assert said.code == 1
    assert steps(said, "camera", "main")["connect"]["code"] == "camera.not_paired"
    assert steps(said, "camera", "cam1")["connect"]["code"] == "camera.port_closed"
    assert steps(said, "camera", "cam1")["connect"]["hint"]
    drawer = steps(said, "destination", "drawer")
    assert drawer["write"]["ok"] is False and drawer["write"]["code"].startswith("folder.")
    assert steps(said, "destination", "archive")["delete"]["ok"] is True
    assert said.json[-1]["wrong"] == [
        "camera main: connect", "camera cam1: connect", "destination drawer: write",
    ]  # fmt: skip
    text = await hotshoe("doctor")
    assert text.code == 1 and "▲ 3 things to put right." in text.out and "[camera.port_closed]" in text.out


async def test_mistakes_in_the_configuration(config: Path, hotshoe: Hotshoe) -> None:
    config.write_text(config.read_text().replace("path", "paht") + "[upload]\nworkers = 0\n")
    said = await hotshoe("doctor", "--json")
    assert said.code == 1
    found = steps(said, "configuration")
    assert {"destinations.archive.paht", "destinations.drawer.paht", "upload.workers"} <= set(found)
    assert "did you mean path?" in found["destinations.archive.paht"]["detail"]
    assert "Traceback" not in said.err
    missing = await hotshoe("doctor", "--config", "none.toml")
    assert missing.code == 1 and "does not exist" in missing.out


async def test_what_nothing_is_sent_to_is_worth_a_word(config: Path, hotshoe: Hotshoe) -> None:
    said = await hotshoe("doctor")
    assert said.code == 1 and "Add a [[cameras]]" in said.out
    assert "no route names the destination drawer" in said.out


async def test_a_state_folder_that_cannot_be_written(tmp_path: Path, hotshoe: Hotshoe) -> None:
    (tmp_path / "state").write_text("a file")
    write_config(tmp_path)
    said = await hotshoe("doctor", "--json")
    assert said.code == 1 and steps(said, "state")["write"]["ok"] is False
    assert steps(said, "destination", "archive")["delete"]["ok"] is True


async def test_a_camera_without_a_card(
    tmp_path: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def describe(state_dir: Path, host: str, port: int) -> tuple[dict[str, Any], bool]:
        who = Identity("S1", "Canon EOS R7", "1.0", "Canon.Inc", is_serial_reported=True)
        return msgspec.to_builtins(Cards(who, (), battery_percent=None)), False

    monkeypatch.setattr(reach, "describe", describe)  # a real one is waited for, ten seconds
    write_config(tmp_path, 1)
    said = await hotshoe("doctor", "--json")
    assert said.code == 1 and steps(said, "camera", "main")["card"]["ok"] is False


async def test_a_camera_of_a_running_agent_is_asked_through_it(tmp_path: Path, hotshoe: Hotshoe) -> None:
    async with (
        SimCamera("generic", card="2:300k") as camera,
        running(write_config(tmp_path, camera.port)) as agent,
    ):

        async def is_scanned() -> bool:
            return bool(agent.collectors) and agent.collectors["main"].has_scanned

        await until(agent, is_scanned)
        said = await hotshoe("doctor", "--json")
        assert said.code == 0, said.out
        assert "through the running hotshoe" in steps(said, "camera", "main")["connect"]["detail"]
        assert camera.stats.handshakes == 1
        assert "is running" in steps(said, "state")["hotshoe"]["detail"]
        assert steps(said, "state")["ledger"]["detail"] == "2 files"


async def test_what_never_answers_does_not_hold_up_the_rest(
    config: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    probe = checks.probe

    def stuck(settings: Any, owner: str) -> Check:
        if settings.path.name == "archive-that-hangs":
            release.wait(20)
        return probe(settings, owner)

    monkeypatch.setattr(checks, "probe", stuck)
    monkeypatch.setattr(doctor, "DEADLINE_SECONDS", 0.5)
    config.write_text(config.read_text().replace('"photos"', '"archive-that-hangs"'))
    began = time.monotonic()
    said = await hotshoe("doctor", "--json")
    assert time.monotonic() - began < 10
    release.set()
    assert said.code == 1
    assert steps(said, "destination", "archive")["answer"]["ok"] is False
    assert steps(said, "destination", "drawer")["delete"]["ok"] is True


@pytest.mark.parametrize(
    ("proof", "wanted", "ok"),
    [
        (Proof.CHECKSUM, Proof.READBACK, True),
        (Proof.READBACK, Proof.READBACK, True),
        (Proof.SIZE, Proof.READBACK, False),
        (Proof.READBACK, Proof.CHECKSUM, False),
        (Proof.SIZE, Proof.SIZE, True),
    ],
)
def test_a_proof_that_would_never_do(proof: Proof, wanted: Proof, ok: bool) -> None:
    finding = checks.judge_proof(Check((), Exclusive.ATOMIC, proof), wanted)
    assert finding.ok is ok and bool(finding.hint) is not ok


async def test_long_names_of_settings_stay_within_the_terminal(tmp_path: Path, hotshoe: Hotshoe) -> None:
    path = tmp_path / "hotshoe.toml"
    path.write_text(
        '[destinations.studio-archive]\nkind = "smb"\naddress = "smb://nas/photos"\nuser = "x"\n'
        '[destinations.nas]\nkind = "ftp"\nhost = "ftp://nas"\nuser = "x"\n'
    )
    said = await hotshoe("doctor")
    assert said.code == 1
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 80
    [short] = [line for line in lines if "destinations.nas.host" in line]
    assert short.index("does not") == 33, "short names stand beside what is said of them"
    long = next(line for line in lines if line.endswith("destinations.studio-archive.password"))
    assert lines[lines.index(long) + 1].startswith(" " * 33 + "is missing")
