"""Every destination at once in trouble, in its scaled form; the full one is `scripts/soak destinations`."""

from pathlib import Path

import pytest

from tests.system.destinations import Destinations
from tests.system.kills import new_seed


@pytest.mark.system
def test_every_destination_gets_each_file_once(tmp_path: Path) -> None:
    series = Destinations(5, 60, new_seed(), tmp_path)
    series.run()
    assert not series.problems
