"""Routes as people write them: each recipe is a part of a configuration file, with what becomes of a card under it.

The text of a recipe is what the README shows.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from agent.keys import Facts
from agent.pictures import Picture
from agent.routing import Shot, kind_of, owed
from agent.settings import load

HEAD = """\
site = "Hall 3"
time_zone = "Europe/Zurich"
[[cameras]]
name = "main"
host = "192.168.1.2"
[[cameras]]
name = "second"
host = "192.168.1.3"
[destinations.nas]
kind = "folder"
path = "/mnt/nas"
template = "{date:%Y-%m-%d}/{name}"
[destinations.agency]
kind = "folder"
path = "/mnt/agency"
template = "{camera}/{name}"
"""

FOLDER_PAIRING = """\
# A folder of the card goes to a folder of the share.
[[routes]]
match = { folder = "100CANON" }
destinations = "nas"
template = "Weddings/Meier/{name}"

[[routes]]
match = { folder = "101CANON" }
destinations = "nas"
template = "Weddings/Huber/{name}"
auto = false                      # only what is sent by hand
"""

JPEG_NOW = """\
# JPEG to the agency, everything to the NAS.
[[routes]]
match = { kind = "jpeg" }
destinations = "agency"

[[routes]]
destinations = "nas"
"""

CHOSEN_ON_THE_CAMERA = """\
# What is protected on the camera, or has three stars or more, goes to the agency, RAW and voice memo with it.
[[routes]]
match = { kind = "jpeg", protected = true }
destinations = "agency"
whole_shot = true

[[routes]]
match = { kind = "jpeg", min_rating = 3 }
destinations = "agency"
whole_shot = true

[[routes]]
destinations = "nas"
"""

NO_DOUBLES = """\
# JPEG only where there is no RAW of the same shot.
[[routes]]
match = { kind = "raw" }
destinations = "nas"

[[routes]]
match = { kind = "jpeg", without_kind = "raw" }
destinations = "nas"
"""

PROGRAMME = """\
# By the programme: the evening show, then the party, then whatever is left. Each file takes the first that fits.
[[routes]]
match = { since = 2024-05-03T19:00:00, until = 2024-05-03T22:30:00 }
destinations = ["nas", "agency"]
template = "Show/{name}"
stop = true

[[routes]]
match = { weekdays = "fri", hours = "22:30-04:00" }
destinations = "nas"
template = "Party/{name}"
stop = true

[[routes]]
destinations = "nas"
"""

TWO_PHOTOGRAPHERS = """\
# Two cameras whose clocks differ, in one folder, in the order in which the pictures were taken.
[[routes]]
destinations = "nas"
template = "{site}/{local:%Y-%m-%d}/{local:%H%M%S}_{camera}_{sequence}.{ext}"
"""

BY_EQUIPMENT = """\
# By photographer and lens, as the files themselves say.
[[routes]]
match = { kind = ["jpeg", "raw"] }
destinations = "nas"
template = "{artist}/{lens}/{taken:%Y%m%d}_{name}"

[[routes]]
match = { kind = "video", camera = "second", name = "MVI_*" }
destinations = "nas"
template = "Films/{name}"
"""

RECIPES = {
    name: text
    for name, text in globals().items()
    if name.isupper() and isinstance(text, str) and name != "HEAD"
}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("HOTSHOE_"):
            monkeypatch.delenv(name)


def a_file(name: str, folder: str = "100CANON", *, camera: str = "main", stars: int = 0, is_protected: bool = False, at: str = "") -> Facts:  # fmt: skip
    return Facts(
        camera=camera,
        serial="0123456789",
        storage=1,
        folder=folder,
        name=name,
        size=1000,
        captured=at or "2024-05-03T10:00:00",
        kind=kind_of(name, 0),
        local="2024-05-03T12:00:02",
        is_protected=is_protected,
        picture=Picture(rating=stars, artist="Ann Lee", lens="RF50mm", taken="2024-05-03T10:00:00"),
    )


def sent(recipe: str, tmp_path: Path, facts: Facts, *others: Facts, by_hand: bool = False) -> set[str]:
    path = tmp_path / "hotshoe.toml"
    path.write_text(HEAD + recipe)
    settings = load(path)
    facts = msgspec.structs.replace(facts, site=settings.site)
    found = owed(facts, settings.routes, settings.destinations, by_hand=by_hand, shot=Shot(others))
    return {f"{each.destination}:{each.key}" for each in found}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_is_a_configuration(recipe: str, tmp_path: Path) -> None:
    sent(recipe, tmp_path, a_file("IMG_0001.JPG"))


def test_folder_pairing(tmp_path: Path) -> None:
    assert sent(FOLDER_PAIRING, tmp_path, a_file("IMG_0001.CR3")) == {"nas:Weddings/Meier/IMG_0001.CR3"}
    other = a_file("IMG_0001.CR3", "101CANON")
    assert sent(FOLDER_PAIRING, tmp_path, other) == set()
    assert sent(FOLDER_PAIRING, tmp_path, other, by_hand=True) == {"nas:Weddings/Huber/IMG_0001.CR3"}
    assert sent(FOLDER_PAIRING, tmp_path, a_file("IMG_0001.CR3", "102CANON"), by_hand=True) == set()


def test_jpeg_now(tmp_path: Path) -> None:
    jpeg = {"agency:main/IMG_1.JPG", "nas:2024-05-03/IMG_1.JPG"}
    assert sent(JPEG_NOW, tmp_path, a_file("IMG_1.JPG")) == jpeg
    assert sent(JPEG_NOW, tmp_path, a_file("IMG_1.CR3")) == {"nas:2024-05-03/IMG_1.CR3"}


def test_chosen_on_the_camera(tmp_path: Path) -> None:
    raw, memo = a_file("IMG_1.CR3"), a_file("IMG_1.WAV")
    for chosen in (a_file("IMG_1.JPG", is_protected=True), a_file("IMG_1.JPG", stars=4)):
        for one, *others in ([chosen, raw, memo], [raw, memo, chosen], [memo, chosen, raw]):
            keys = {f"agency:main/{one.name}", f"nas:2024-05-03/{one.name}"}
            assert sent(CHOSEN_ON_THE_CAMERA, tmp_path, one, *others) == keys
    plain = a_file("IMG_1.JPG", stars=2)
    assert sent(CHOSEN_ON_THE_CAMERA, tmp_path, raw, plain, memo) == {"nas:2024-05-03/IMG_1.CR3"}


def test_no_doubles(tmp_path: Path) -> None:
    raw, jpeg = a_file("IMG_1.CR3"), a_file("IMG_1.JPG")
    assert sent(NO_DOUBLES, tmp_path, jpeg, raw) == set()
    assert sent(NO_DOUBLES, tmp_path, jpeg) == {"nas:2024-05-03/IMG_1.JPG"}
    assert sent(NO_DOUBLES, tmp_path, raw, jpeg) == {"nas:2024-05-03/IMG_1.CR3"}


@pytest.mark.parametrize(
    ("at", "keys"),
    [
        ("2024-05-03T19:00:00", {"nas:Show/A.JPG", "agency:Show/A.JPG"}),
        ("2024-05-03T22:30:00", {"nas:Show/A.JPG", "agency:Show/A.JPG"}),
        ("2024-05-03T22:30:01", {"nas:Party/A.JPG"}),
        ("2024-05-04T03:59:59", {"nas:Party/A.JPG"}),
        ("2024-05-04T04:00:00", {"nas:2024-05-04/A.JPG"}),
    ],
)
def test_programme(at: str, keys: set[str], tmp_path: Path) -> None:
    assert sent(PROGRAMME, tmp_path, a_file("A.JPG", at=at)) == keys


def test_two_photographers(tmp_path: Path) -> None:
    keys = {"nas:Hall 3/2024-05-03/120002_second_0412.JPG"}
    assert sent(TWO_PHOTOGRAPHERS, tmp_path, a_file("IMG_0412.JPG", camera="second")) == keys


def test_by_equipment(tmp_path: Path) -> None:
    assert sent(BY_EQUIPMENT, tmp_path, a_file("A.CR3")) == {"nas:Ann Lee/RF50mm/20240503_A.CR3"}
    assert sent(BY_EQUIPMENT, tmp_path, a_file("MVI_1.MP4", camera="second")) == {"nas:Films/MVI_1.MP4"}
    assert sent(BY_EQUIPMENT, tmp_path, a_file("MVI_1.MP4")) == set()
