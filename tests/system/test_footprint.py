"""An agent pays for the destinations that it has, and for no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.backends import BACKENDS
from tests.system.bench.figures import MEBIBYTE
from tests.system.bench.footprint import SDKS, measured

MOST_ADDED_MIB = 40  # boto3 is the heaviest


@pytest.mark.link
@pytest.mark.parametrize("kind", BACKENDS)
def test_only_the_sdk_of_the_destination_is_loaded(kind: str, tmp_path: Path) -> None:
    found = measured(kind, tmp_path)
    assert set(found.loaded) <= SDKS[kind]
    assert bool(found.loaded) == bool(SDKS[kind]), "or else nothing was measured"
    assert found.bytes - found.base_bytes < MOST_ADDED_MIB * MEBIBYTE
    assert found.code or kind == "folder"
