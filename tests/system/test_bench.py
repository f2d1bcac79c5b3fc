"""`scripts/bench` measures what it says: one cheap bench from the command line, and its arithmetic."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.system.bench.figures import percentile, percentiles, spread
from tests.system.bench.options import in_turns
from tests.system.bench.processes import ROOT


def test_a_spread_is_median_least_and_most() -> None:
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0–3.0)"
    assert spread([1234.0, 1234.0]) == "1,234"
    assert spread([]) == "–"


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(each) for each in range(1, 21)]
    assert percentile(values, 50) == 10
    assert percentile(values, 95) == 19
    assert percentiles([0.5], 1) == ["0.5", "0.5", "0.5"]


def test_each_round_begins_with_another_contender() -> None:
    assert list(in_turns("ab", 3)) == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]


@pytest.mark.system
def test_the_scan_bench_counts_round_trips_of_everybody() -> None:
    command = [sys.executable, "-m", "tests.system.bench", "scan", "--quick", "--seed", "7"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    print(said.stdout, said.stderr)
    assert said.returncode == 0
    assert "seed 7" in said.stdout
    listed = re.findall(r"^   (\S.*?)  +\d+  +([\d,]+)  +([\d,]+)  +[\d.]+ ", said.stdout, re.MULTILINE)
    figures = [
        (way, int(files.replace(",", "")), int(trips.replace(",", ""))) for way, files, trips in listed
    ]
    bulk, single = figures[: len(figures) // 2], figures[len(figures) // 2 :]
    assert {way for way, _, _ in bulk} >= {"hotshoe ls --json", "hotshoe run, first scan"}
    assert all(files == 10_000 and trips < 100 for _, files, trips in bulk)
    assert all(files >= 200 and trips > 200 for _, files, trips in single)
