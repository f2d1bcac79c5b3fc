"""The kill lane in its scaled form; the full one is `scripts/soak kills`."""

from pathlib import Path

import pytest

from tests.system.kills import Kills, new_seed


@pytest.mark.system
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_kill_9_loses_and_doubles_nothing(kind: str, tmp_path: Path) -> None:
    series = Kills(kind, 20, new_seed(), tmp_path)
    series.run()
    assert not series.problems
