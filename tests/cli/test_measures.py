from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.cli import measures


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (25_100_000, "25.1 MB"),
        (6 << 30, "6.4 GB"),
        (None, "?"),
    ],
)
def test_sizes(count: int | None, said: str) -> None:
    assert measures.size(count) == said


@pytest.mark.parametrize("count", [10**n - 1 for n in range(1, 18)] + [10**n // 2 for n in range(1, 18)])
def test_no_size_is_wider_than_its_column(count: int) -> None:
    assert len(measures.size(count)) <= 7


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3570, "1 h"),
        (3599, "1 h"),
        (7800, "2 h 10 min"),
        (90_000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_spans(seconds: float, said: str) -> None:
    assert measures.span(seconds) == said


def test_the_next_try_is_told_by_the_clock_and_from_now() -> None:
    now = datetime(2024, 5, 1, 18, 0, 0, tzinfo=UTC)
    local = datetime(2024, 5, 1, 18, 0, 12, tzinfo=UTC).astimezone().strftime("%H:%M:%S")
    assert measures.until("2024-05-01T18:00:12.000Z", now) == f"next try at {local}, in 12 s"
    assert measures.until("2024-05-01T17:59:00.000Z", now) == "next try now"
    assert measures.until(None, now) == ""


def test_a_rate_is_that_of_the_last_ten_seconds() -> None:
    meter = measures.Meter()
    assert meter.note(0.0, 0) == 0.0
    for second in range(1, 31):
        rate = meter.note(float(second), 100 * min(second, 20))
    assert rate == 0.0  # nothing moved since second 20
    assert measures.Meter().note(5.0, 50) == 0.0


def test_a_transfer_that_begins_again_has_no_negative_rate() -> None:
    meter = measures.Meter()
    meter.note(0.0, 0)
    meter.note(1.0, 500)
    assert meter.note(2.0, 10) == 0.0
    assert meter.note(3.0, 110) == 100.0
