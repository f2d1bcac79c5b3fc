from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli import places
from agent.cli.stop import Stop
from agent.settings import SettingsError, load


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.168.1.2", "192.168.1.2", 15740),
        ("192.168.1.2:15999", "192.168.1.2", 15999),
        ("camera.local", "camera.local", 15740),
        ("[fe80::1%wlan0]", "fe80::1%wlan0", 15740),
        ("[::1]:80", "::1", 80),
        ("fe80::1", "fe80::1", 15740),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert places.address_of(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "a:b", "a:0", "a:65536", "[::1", "[::1]:", "a b", "http://x", "x/y", ":15740"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Stop, match=r"\[ADDRESS\]:PORT"):
        places.address_of(text)


@pytest.mark.parametrize(
    "line", ["", 'state_dir = "elsewhere"', 'state_dir = "/var/lib/hotshoe"', 'state_dir = "~/x"']
)
@pytest.mark.parametrize("variable", [None, "from-the-environment"])
def test_the_state_folder_is_the_one_that_a_run_uses(
    line: str, variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "deep" / "hotshoe.toml"
    config.parent.mkdir()
    config.write_text(line)
    if variable:
        monkeypatch.setenv("HOTSHOE_STATE_DIR", variable)
    monkeypatch.chdir(tmp_path)
    assert places.state_folder(Path("deep/hotshoe.toml")) == load(Path("deep/hotshoe.toml")).state_dir


def test_it_is_found_in_a_configuration_that_lacks_a_secret(tmp_path: Path) -> None:
    config = tmp_path / "hotshoe.toml"
    config.write_text('state_dir = "s"\n[destinations.cloud]\nkind = "s3"\n')
    assert places.state_folder(config) == tmp_path / "s"
    with pytest.raises(SettingsError):
        load(config)


def test_a_broken_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "hotshoe.toml").write_text("state_dir = ")
    with pytest.raises(SettingsError, match="not valid TOML"):
        places.state_folder(tmp_path / "hotshoe.toml")
    with pytest.raises(SettingsError, match="does not exist"):
        places.state_folder(tmp_path / "other.toml")
    (tmp_path / "hotshoe.toml").write_text("state_dir = 3")
    with pytest.raises(Stop, match="text in quotes"):
        places.state_folder(tmp_path / "hotshoe.toml")


def test_which_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.config_path(None) == Path("hotshoe.toml")
    monkeypatch.setenv("HOTSHOE_CONFIG", "/etc/hotshoe.toml")
    assert places.config_path(None) == Path("/etc/hotshoe.toml")
    assert places.config_path("mine.toml") == Path("mine.toml")
