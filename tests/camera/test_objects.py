"""When two descriptions mean one file."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.camera.objects import (
    Handle,
    Object,
    are_same_time,
    captured_text,
    is_continued,
    is_dcf_folder,
    is_same_file,
)

moments = st.datetimes(datetime(1980, 1, 1), datetime(2107, 12, 31)).map(captured_text)
objects = st.builds(
    Object,
    handle=st.integers(1, 3).map(Handle),
    storage=st.sampled_from([0x10001, 0x20001]),
    folder=st.sampled_from(["100CANON", "101CANON"]),
    name=st.sampled_from(["IMG_0001.JPG", "IMG_0001.CR3", "../../x"]),
    size=st.none() | st.integers(1, 3) | st.just(6 << 30),
    captured=st.just("") | st.sampled_from(["2024-05-04T10:00:00", "2024-05-04T10:00:02"]) | moments,
    format=st.just(0x3801),
    group=st.integers(0, 2),
    is_just_written=st.booleans(),
    is_protected=st.none() | st.booleans(),
)


def later(text: str, seconds: int) -> str:
    return captured_text(datetime.fromisoformat(text) + timedelta(seconds=seconds))


@given(objects, objects)
def test_it_does_not_matter_which_comes_first(first: Object, second: Object) -> None:
    assert is_same_file(first, second) == is_same_file(second, first)


@given(objects)
def test_a_file_is_itself_unless_its_size_is_not_known(item: Object) -> None:
    assert is_same_file(item, item) == (item.size is not None)
    assert is_continued(item, item)


@given(objects, st.integers(1, 3).map(Handle), st.booleans())
def test_handles_groups_and_protection_are_not_identity(
    item: Object, handle: Handle, is_protected: bool
) -> None:
    other = msgspec.structs.replace(item, handle=handle, group=99, is_protected=is_protected, format=1)
    assert is_same_file(item, other) == (item.size is not None)


@given(objects, st.sampled_from(["storage", "folder", "name", "size"]))
def test_another_place_name_or_size_is_another_file(item: Object, field: str) -> None:
    changed = {"storage": 7, "folder": "999OTHER", "name": "IMG_9999.JPG", "size": 123_456}[field]
    assert not is_same_file(item, msgspec.structs.replace(item, **{field: changed}))


@given(moments, st.integers(-5, 5))
def test_times_may_differ_by_rounding_and_no_more(text: str, seconds: int) -> None:
    try:
        other = later(text, seconds)
    except OverflowError:
        return
    assert are_same_time(text, other) == (abs(seconds) <= 2)
    assert not are_same_time(text, "")
    assert are_same_time("", "")


@given(objects, objects)
def test_the_same_file_is_a_continued_one(first: Object, second: Object) -> None:
    assert not is_same_file(first, second) or is_continued(first, second)


@given(objects)
def test_a_final_size_does_not_change_and_another_one_may(item: Object) -> None:
    grown = msgspec.structs.replace(item, size=999)
    assert is_continued(item, grown) == (item.size is None or item.is_just_written)


@pytest.mark.parametrize("name", ["100CANON", "999EOS_1", "101_0504", "100APPLE"])
def test_folders_that_cameras_put_pictures_into(name: str) -> None:
    assert is_dcf_folder(name)


@pytest.mark.parametrize(
    "name", ["DCIM", "MISC", "099CANON", "100CANO", "100CANON1", "100 ANON", "../CANON", "100ÄNON1", ""]
)
def test_other_folders(name: str) -> None:
    assert not is_dcf_folder(name)


def test_capture_times_are_text_without_a_zone_and_with_whole_seconds() -> None:
    moment = datetime.fromisoformat("2012-02-02T14:16:54.500+02:00")
    assert captured_text(moment) == "2012-02-02T14:16:54"
    assert captured_text(None) == ""
