"""The cut lane in its scaled form; the full one is `scripts/soak cuts`."""

from pathlib import Path

import pytest

from tests.system.cuts import Cuts
from tests.system.kills import new_seed


@pytest.mark.system
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_link_that_breaks_and_a_store_that_dies_lose_and_double_nothing(kind: str, tmp_path: Path) -> None:
    series = Cuts(kind, 10, new_seed(), tmp_path)
    series.run()
    assert not series.problems
