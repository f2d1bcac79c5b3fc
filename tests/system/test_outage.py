"""A destination that is down for long, in its scaled form; the full one is `scripts/soak outage`."""

from pathlib import Path

import pytest

from tests.system.kills import new_seed
from tests.system.outage import Outage


@pytest.mark.system
def test_an_outage_fails_nothing_and_the_others_never_notice(tmp_path: Path) -> None:
    series = Outage(before=6, outage=24, shot_every=0.5, seed=new_seed(), folder=tmp_path)
    series.run()
    assert not series.problems
