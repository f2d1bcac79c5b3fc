"""Latency and pace are what benchmarks rest on; the counters are what they are compared with."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.simcam import SimCamera
from tests.simcam.dial import Dial

ATTEMPTS = 400


def fastest(measure: Callable[[], float], *, at_least: float, wanted: float) -> float:
    """Return the least of some measurements, the first below `wanted` being enough: others who work here make it slower.
    Nobody can make it faster than it may be, not once."""
    found: list[float] = []
    while len(found) < ATTEMPTS and min(found, default=wanted) >= wanted:
        found.append(measure())
        assert found[-1] >= at_least
    return min(found)


def test_every_transaction_takes_its_round_trip() -> None:
    with SimCamera("eos-r7", card="1:10K", rtt_ms=10) as cam, Dial(cam.port) as dial:

        def measure() -> float:
            began = time.monotonic()
            for _ in range(50):
                dial.ask(0x1004)
            return time.monotonic() - began

        assert fastest(measure, at_least=0.50, wanted=0.75) < 0.75


@pytest.mark.parametrize("mbit", [50, 400])
def test_data_comes_at_its_pace(mbit: float) -> None:
    with SimCamera("eos-r7", card="1:8M", mbit=mbit) as cam, Dial(cam.port) as dial:
        [item] = cam.files()
        size = int(
            mbit * 1e6 / 8 * 0.05
        )  # so little that a busy machine lets it pass undisturbed now and then
        sent = -(-size // (1 << 18)) * (1 << 18)

        def measure() -> float:
            began = time.monotonic()
            for offset in range(0, size, 1 << 18):
                dial.ask(0x101B, item.handle, offset % (7 << 20), 1 << 18)
            return time.monotonic() - began

        ideal = sent * 8 / mbit / 1e6
        assert fastest(measure, at_least=ideal / 1.05, wanted=ideal / 0.85) < ideal / 0.85


def test_counters() -> None:
    with SimCamera("generic", card="2:100K") as cam:
        began = time.monotonic()
        with Dial(cam.port) as dial:
            first, second = cam.files()
            dial.ask(0x101B, first.handle, 0, 1000)
            dial.ask(0x1009, second.handle)
            dial.ask(0x1004)
        assert cam.stats.operations == {"0x1002": 1, "0x101b": 1, "0x1009": 1, "0x1004": 1}
        assert cam.stats.transactions == 4
        overhead = 20 + 12 + 14
        assert cam.stats.reads == {first.path: 1000 + overhead + 4, second.path: 102_400 + overhead}
        assert cam.stats.object_bytes == sum(cam.stats.reads.values())
        assert began < cam.stats.objects_began < cam.stats.objects_ended < time.monotonic()
        assert cam.stats.connections == 2 and cam.stats.handshakes == 1
        cam.stats.reset()
        assert cam.stats.transactions == 0 and not cam.stats.reads and not cam.stats.objects_began
