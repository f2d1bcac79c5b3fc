"""The suite's case for a slow link, at every server: all of it in a network namespace whose loopback is slow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RATE = "2mbit"
_SETUP = (
    "ip link set lo mtu 1500 up && "
    f"tc qdisc add dev lo root tbf rate {RATE} burst 16kb latency 400ms && "
    'exec "$@"'
)


@pytest.mark.server
def test_no_timeout_counts_a_whole_transfer() -> None:
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "slow_link",
        "-p",
        "no:cacheprovider",
        "tests/backends",
    ]
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", _SETUP, "sh", *command],
        env={**os.environ, "HOTSHOE_SLOW_LINK": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    print(done.stdout[-4000:], done.stderr[-2000:])
    assert done.returncode == 0
