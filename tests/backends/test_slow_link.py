"""The suite's case for a slow link, at every server."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.backends.slow_link import on_a_slow_link


@pytest.mark.server
def test_no_timeout_counts_a_whole_transfer() -> None:
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    tests = ["-m", "pytest", "-q", "-m", "slow_link", "-p", "no:cacheprovider", "tests/backends"]
    done = subprocess.run(
        on_a_slow_link([sys.executable, *tests]),
        env={**os.environ, "HOTSHOE_SLOW_LINK": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    print(done.stdout[-4000:], done.stderr[-2000:])
    assert done.returncode == 0
