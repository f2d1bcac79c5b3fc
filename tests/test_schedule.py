"""Timetables: what a line means at any minute of a week, when a pause ends over a change of the clocks, and bad lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agent.keys import Media
from agent.schedule import DAYS, NO_LIMIT, Rule, Schedule, parse
from agent.settings import SettingsError, load

MONDAY = datetime(2024, 5, 6)
WEEK_MINUTES = 7 * 24 * 60


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def lines(draw: st.DrawFn) -> str:
    words = [draw(st.sampled_from(["512k", "1M", "8Mbit", "off", "pause"]))]
    first, last = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    words += draw(
        st.sampled_from([[], [DAYS[first]], [f"{DAYS[first]}-{DAYS[last]}"], [f"{DAYS[first]},{DAYS[last]}"]])
    )
    for _ in range(draw(st.integers(0, 2))):
        begin, end = draw(st.integers(0, 1439)), draw(st.integers(1, 1440))
        if begin != end:
            words.append(f"{clock(begin)}-{clock(end)}")
    words += draw(st.lists(st.sampled_from(list(Media)), max_size=2))
    return " ".join(draw(st.permutations(words)))


def minutes_of(rule: Rule) -> set[int]:
    """The minutes of a week, from Monday on, in which a line applies: counted window by window, from its beginning on."""
    found: set[int] = set()
    for day in rule.days or range(7):
        for begin, end in rule.windows or [(0, 1440)]:
            length = end - begin if end > begin else end - begin + 1440
            found |= {(day * 1440 + begin + each) % WEEK_MINUTES for each in range(length)}
    return found


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(lines(), max_size=4), kind=st.sampled_from(list(Media)), data=st.data())
def test_the_first_line_that_applies_counts_at_every_minute_of_the_week(
    lines: list[str], kind: Media, data: st.DataObject
) -> None:
    schedule = Schedule.of(lines)
    applying = [(rule, minutes_of(rule)) for rule in schedule.rules if not rule.kinds or kind in rule.kinds]
    edges = [
        (day * 1440 + mark + around) % WEEK_MINUTES
        for rule, _ in applying
        for window in rule.windows
        for mark in window
        for day in range(7)
        for around in (-1, 0, 1)
    ]
    for minute in [*edges, *data.draw(st.lists(st.integers(0, WEEK_MINUTES - 1), max_size=50))]:
        wanted = next((rule for rule, minutes in applying if minute in minutes), NO_LIMIT)
        moment = MONDAY + timedelta(
            minutes=minute, seconds=data.draw(st.integers(0, 59)) if minute % 7 == 0 else 0
        )
        assert schedule.at(moment, kind) is wanted, (moment, lines)


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(lines(), min_size=1, max_size=4),
    kind=st.sampled_from(list(Media)),
    zone=st.sampled_from(
        ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]
    ),
    start=st.sampled_from(
        [
            datetime(2024, 3, 31),
            datetime(2024, 10, 27),
            datetime(2024, 3, 10),
            datetime(2024, 11, 3),
            datetime(2024, 4, 6, 15),
        ]
    ),
    offset=st.integers(-86_400, 86_400),
)
def test_a_pause_ends_at_the_very_minute_also_where_the_clocks_change(
    lines: list[str], kind: Media, zone: str, start: datetime, offset: int
) -> None:
    schedule = Schedule.of(lines)
    tz = ZoneInfo(zone)
    now = start.replace(tzinfo=UTC).timestamp() + offset

    def local(moment: float) -> datetime:
        return datetime.fromtimestamp(moment, tz)

    found = schedule.opens_at(now, kind, local)
    step = now
    for _ in range(3 * 1440):  # three days, minute by minute
        if not schedule.at(local(step), kind).is_pause:
            break
        step = step - step % 60 + 60
    else:
        assert found is None or found > step - 61
        return
    assert found == step


def test_a_window_in_an_hour_that_does_not_exist_and_in_one_that_comes_twice() -> None:
    tz = ZoneInfo("Europe/Berlin")
    schedule = Schedule.of(["off 02:30-04:00", "pause"])

    def opens(*when: int) -> str:
        found = schedule.opens_at(
            datetime(*when, tzinfo=UTC).timestamp(),  # type: ignore[arg-type,misc]
            Media.JPEG,
            lambda moment: datetime.fromtimestamp(moment, tz),
        )
        assert found is not None
        return datetime.fromtimestamp(found, UTC).strftime("%H:%M")

    assert opens(2024, 3, 31, 0, 10) == "01:00", "the clock goes from 01:59 to 03:00"
    assert opens(2024, 10, 27, 0, 10) == "00:30", "02:30 by summer time"
    assert opens(2024, 10, 27, 1, 10) == "01:30", "and again by winter time"


def test_what_is_written_is_what_is_meant() -> None:
    assert parse("512k").rate == 512_000
    assert parse("512Ki").rate == 512 * 1024
    assert parse("1.5M/s").rate == 1_500_000
    assert parse("8Mbit").rate == 1_000_000
    assert parse("2GB").rate == 2_000_000_000
    assert parse("off") == Rule()
    assert parse("pause video").kinds == {Media.VIDEO} and parse("pause video").is_pause
    assert parse("mon-fri 2M 18:00-23:00") == parse("2M 18:00 \u2013 23:00 MON - FRI")
    assert parse("fri-mon off").days == {4, 5, 6, 0}
    assert parse("off sat, sun").days == {5, 6}
    assert parse("1M 22:00-06:00 12:00-24:00").windows == ((1320, 360), (720, 1440))


def test_off_at_night_for_movies_and_slow_by_day() -> None:
    schedule = Schedule.of(["pause 08:00-22:00 video", "512k 08:00-22:00"])
    day, night = MONDAY.replace(hour=12), MONDAY.replace(hour=22)
    assert schedule.at(day, Media.VIDEO).is_pause and schedule.at(day, Media.JPEG).rate == 512_000
    assert schedule.at(night, Media.VIDEO) == schedule.at(night, Media.JPEG) == NO_LIMIT


def test_what_is_always_paused_never_opens() -> None:
    assert Schedule.of(["pause video"]).opens_at(0.0, Media.VIDEO) is None
    assert Schedule.of(["pause video"]).opens_at(5.5, Media.JPEG) == 5.5
    assert Schedule.of(["pause mon-sat", "pause sun 00:00-23:59"]).opens_at(0.0, Media.RAW) is not None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "must say how fast: a rate such as 512k, off for no limit, or pause"),
        ("08:00-22:00", "must say how fast"),
        ("1M 2M", "must say only once how fast"),
        ("off pause", "must say only once how fast"),
        ("512", "must say what 512 counts: 512k is 512 kB a second"),
        ("0", "off is no limit, pause is nothing"),
        ("0k", "must be at least 1k"),
        ("999999G", "at most 100G"),
        ("1M 25:00-26:00", "has a time that no clock shows, 25:00-26:00"),
        ("1M 08:00-24:01", "has a time that no clock shows"),
        ("1M 08:60-10:00", "has a time that no clock shows"),
        ("1M 08:00-08:00", "has a window without length"),
        ("1M 08:00", "has a word that is not understood, '08:00'"),
        ("1M vidoe", "did you mean video?"),
        ("1M monday", "did you mean mon?"),
        ("1M mon-", "has a word that is not understood"),
        ("fast", "lines are such as"),
        ("1M " + "08:00-22:00 " * 20, "at most 200 characters"),
    ],
)
def test_a_bad_line_says_what_would_be_right(line: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(line)
    assert words in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from([*DAYS, "-", ",", "1", "k", ":", "08:00", " "])).map("".join),
    )
)
def test_nothing_but_a_rule_or_an_error_comes_of_any_text(line: str) -> None:
    try:
        rule = parse(line)
    except ValueError:
        return
    assert rule.rate is None or rule.rate > 0


@settings(max_examples=100, deadline=None)
@given(lines(), st.sampled_from(["  ", " "]))
def test_spaces_and_case_mean_nothing(line: str, space: str) -> None:
    assume("  " not in line)
    assert parse(line) == parse(f" {line.upper().replace(' ', space)} ")


def test_the_path_of_a_bad_line_is_told(tmp_path: Path) -> None:
    file = tmp_path / "hotshoe.toml"
    file.write_text(
        '[upload]\nlimit = ["1M", "2M vidoe"]\n[destinations.archive]\nkind = "folder"\npath = "x"\nlimit = "512"\n'
    )
    with pytest.raises(SettingsError) as caught:
        load(file)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert found["upload.limit[2]"].endswith("did you mean video?")
    assert "512k is 512 kB a second" in found["destinations.archive.limit[1]"]


def test_one_line_needs_no_list_and_the_environment_may_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hotshoe.toml"
    file.write_text('[destinations.archive]\nkind = "folder"\npath = "x"\nlimit = "512k"\n')
    monkeypatch.setenv("HOTSHOE_UPLOAD__LIMIT", "1M 08:00-22:00")
    found = load(file)
    assert found.upload.limit == ("1M 08:00-22:00",) and found.destinations["archive"].limit == ("512k",)
    monkeypatch.setenv("HOTSHOE_UPLOAD__LIMIT", '["1M", "off"]')
    assert load(file).upload.limit == ("1M", "off")
