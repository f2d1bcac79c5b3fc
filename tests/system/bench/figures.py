"""Figures as text: spreads of several runs, aligned tables, and aims that are met or missed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

MEGABYTE = 1e6
MEBIBYTE = 1 << 20


def spread(values: Sequence[float], digits: int = 0) -> str:
    """ "median (min–max)"; the median alone when all look alike, "–" for none."""
    if not values:
        return "–"
    low, middle, high = (
        f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values))
    )
    return middle if low == high else f"{middle} ({low}–{high})"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def percentiles(values: Sequence[float], digits: int = 2) -> list[str]:
    """p50, p95 and max as text, for three columns."""
    if not values:
        return ["–"] * 3
    found = (percentile(values, 50), percentile(values, 95), max(values))
    return [f"{value:.{digits}f}" for value in found]


def begin(name: str, what: str) -> None:
    """Print the headline of a bench."""
    print(f"\n== {name}: {what}", flush=True)


def say(text: str) -> None:
    print(f"   {text}", flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns; the first is text, the others are figures."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("   " + "  ".join(cells).rstrip())
        if number == 0:
            print("   " + "  ".join("-" * width for width in widths))
    print(flush=True)


def aim(what: str, found: str, is_met: bool) -> None:
    """Print one aim and whether it is met."""
    print(f"   aim: {what}: {found}  {'met' if is_met else 'MISSED'}", flush=True)
