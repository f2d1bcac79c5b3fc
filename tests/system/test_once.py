"""`hotshoe run --once` over a full card: all of it arrives once; a second run reads and publishes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simcam import fill
from tests.simcam.card import Card
from tests.simcam.simcam import SimCamera
from tests.system.kills import agent, configuration, place

pytestmark = pytest.mark.system


def first_card(card: Card) -> None:
    """1,200 files of 600 shots: 9750 to 9999 in 100CANON, then 0001 on in 101CANON."""
    fill.by_formula(card, fill.parse_batches("600:60K+180K:JPG+CR3"), first_number=9750)


def second_card(card: Card) -> None:
    """800 files in 102CANON, with names that stand on the first card too."""
    fill.by_formula(card, fill.parse_batches("800:70K:JPG"), first_folder="102CANON", first_number=1)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_two_cards_arrive_once_and_a_second_run_does_nothing(kind: str, tmp_path: Path) -> None:
    with SimCamera("eos-r7", cards=[first_card, second_card]) as camera, place(kind, tmp_path) as where:
        camera.trouble.same_name_twice()
        camera.trouble.same_name_twice()
        config = configuration(tmp_path, camera, where, budget="2 GB")
        log = tmp_path / "agent.log"
        assert agent(["run", "--config", str(config), "--once"], log).wait(300) == 0, log.read_text()[-3000:]

        card, held = camera.contents(), where.visible()
        assert len(card) == 2002
        assert Counter(where.digest(key) for key in held) == Counter(card.values())
        assert where.publishes() == Counter(dict.fromkeys(held, 1))
        assert where.leftovers() == []
        names = Counter(path.rsplit("/", 1)[1] for path in card)
        assert max(names.values()) >= 2, "the cards must share names, or this tests nothing"

        read, published = camera.stats.object_bytes, where.publishes().copy()
        assert agent(["run", "--config", str(config), "--once"], log).wait(120) == 0
        assert camera.stats.object_bytes == read
        assert where.publishes() == published

        _check_files_command(config, card)


def _check_files_command(config: Path, card: dict[str, str]) -> None:
    """What `hotshoe files` says agrees with the card."""
    command = [sys.executable, "-m", "agent", "files", "--config", str(config), "--json"]
    lines = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout.splitlines()
    files = [json.loads(line) for line in lines]
    assert Counter(file["sha256"] for file in files) == Counter(card.values())
    assert {file["status"] for file in files} == {"done"}
    assert all(delivery["verified"] for file in files for delivery in file["deliveries"])
