from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.cli import guid
from agent.cli.stop import Stop
from tests.cli.conftest import Hotshoe

GUID = bytes.fromhex("00112233445566778899aabbccddeeff")


@pytest.mark.parametrize(
    "text",
    [
        "00112233445566778899aabbccddeeff",
        "00112233-4455-6677-8899-AABBCCDDEEFF\n",
        "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff",  # as gphoto2 keeps it
        "{00112233-4455-6677-8899-aabbccddeeff}",
        "0x00112233445566778899aabbccddeeff",
    ],
)
def test_every_way_to_write_a_guid(text: str) -> None:
    assert guid.parse(text) == GUID


@pytest.mark.parametrize("text", ["", "00112233", "00112233445566778899aabbccddeefg", "0" * 32, "00" * 17])
def test_what_is_no_guid(text: str) -> None:
    with pytest.raises(ValueError):
        guid.parse(text)


def test_it_is_shown_as_it_is_parsed() -> None:
    assert guid.parse(guid.show(GUID)) == GUID


def test_it_is_made_once_and_kept_private(tmp_path: Path) -> None:
    made = guid.load_or_make(tmp_path / "state")
    assert guid.load_or_make(tmp_path / "state") == made != guid.load_or_make(tmp_path / "other")
    assert stat.S_IMODE((tmp_path / "state" / "guid").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert os.listdir(tmp_path / "state") == ["guid"]


def test_many_first_calls_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: guid.load_or_make(tmp_path), range(16)))) == 1


def test_a_damaged_file_is_never_replaced_by_itself(tmp_path: Path) -> None:
    (tmp_path / "guid").write_text("not a guid")
    with pytest.raises(Stop, match="--import"):
        guid.load_or_make(tmp_path)
    assert (tmp_path / "guid").read_text() == "not a guid"


async def test_the_command_shows_and_imports(hotshoe: Hotshoe, config: Path) -> None:
    shown = await hotshoe("guid")
    assert shown.code == 0
    before = guid.parse(shown.out)
    assert guid.load(config.parent / "state") == before
    imported = await hotshoe("guid", "--import", guid.show(GUID))
    assert imported.code == 0 and guid.show(before) in imported.out
    assert (await hotshoe("guid", "--json")).json == [
        {"guid": guid.show(GUID), "name": "hotshoe", "path": str(config.parent / "state" / "guid")}
    ]


async def test_a_damaged_file_can_be_imported_over(hotshoe: Hotshoe, config: Path) -> None:
    (config.parent / "state").mkdir()
    (config.parent / "state" / "guid").write_text("\xff?", "latin-1")
    assert (await hotshoe("guid")).code == 2
    assert (await hotshoe("guid", "--import", GUID.hex())).code == 0
    assert guid.load(config.parent / "state") == GUID


async def test_a_wrong_guid_changes_nothing(hotshoe: Hotshoe, config: Path) -> None:
    before = (await hotshoe("guid")).out
    said = await hotshoe("guid", "--import", "12345")
    assert said.code == 2 and "32 hexadecimal digits" in said.err
    assert (await hotshoe("guid")).out == before


async def test_without_a_configuration_it_lives_in_the_home(hotshoe: Hotshoe, tmp_path: Path) -> None:
    shown = await hotshoe("guid")
    assert guid.load(tmp_path / "home-state" / "hotshoe") == guid.parse(shown.out)
