"""When to look again."""

from __future__ import annotations

import time

import pytest

from agent.uploader.alarms import Alarms


def test_thousands_that_wait_for_one_hour_are_one_alarm_or_two() -> None:
    alarms, opens = Alarms(), time.time() + 3600
    told = {alarms.at_clock(opens) for _ in range(5000)}
    assert len(told) == 1 and len(alarms._due) < 200
    assert 3590 < alarms.seconds_left(7200) <= 3601 and alarms.seconds_left(60) == 60


def test_an_alarm_rings_once_and_not_early(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    alarms = Alarms()
    assert not alarms.ring()
    alarms.after(2.0)
    alarms.at(1005.0)
    now = 1002.0
    assert not alarms.ring() and 0 < alarms.seconds_left(60) < 0.02
    now = 1002.02
    assert alarms.ring() and not alarms.ring() and 2.9 < alarms.seconds_left(60) < 3.0
    now = 1006.0
    assert alarms.seconds_left(60) == 0.0 and alarms.ring() and alarms.seconds_left(60) == 60
