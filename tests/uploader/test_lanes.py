"""Who goes when: lanes, hours, limits, a destination that hangs or is down for long, and what is swept."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from agent.backends.base import Receipt
from agent.backends.folder import FolderConfig
from agent.backends.folder.backend import FolderBackend
from agent.keys import Media
from agent.ledger import as_text
from agent.schedule import Schedule
from agent.uploader import attempt as attempt_module
from agent.uploader import sweeping
from agent.uploader import uploader as uploader_module
from agent.uploader.pace import Pace
from tests.uploader.scripted import Destination, Hold, scripted
from tests.uploader.workbench import Workbench, until_set

NOON = datetime(2035, 5, 7, 12, 0).timestamp()  # to come, as the end of every wait is


MINUTE = uploader_module._PROBE_SECONDS


class Clock:
    """The clock on the wall, set by hand."""

    def __init__(self, at: float = NOON):
        self.at = at

    def __call__(self) -> float:
        return self.at


# -- one that hangs


@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("verb", ["check", "find", "start", "write", "commit", "close upload", "drop"])
async def test_one_that_hangs_in_any_call_delays_no_other(bench: Workbench, verb: str, workers: int) -> None:
    """Also when it may have more uploads than a common pool has threads."""
    bench.uploader.workers = workers
    dead, quick, third = Destination(), Destination(), Destination()
    await (bench.add if verb == "check" else bench.checked)(dead, "dead", workers=16)
    await bench.checked(quick, "quick", workers=2)
    await bench.checked(third, "third", workers=2)
    hold = Hold()
    dead.script[verb] = [hold] * 100
    files = [await bench.fetched(f"{n}.JPG", 150, to=["dead", "quick", "third"]) for n in range(20)]
    if verb == "drop":
        dead.published = {file.key: file.data for file in files}
    bench.run()
    await until_set(hold.reached)
    files += [await bench.fetched(f"{n}.JPG", 150, to=["dead", "quick", "third"]) for n in range(20, 30)]
    for name in ("quick", "third"):
        await bench.until_done(*files, destination=name)
    assert dead.count(verb) <= 17
    hold.let_go()
    await bench.until_done(*files, destination="dead")
    assert dead.misuse == quick.misuse == third.misuse == []


# -- an outage


async def test_an_outage_costs_one_probe_a_minute_whatever_waits(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute is 0.1 s here. All that reaches the server is counted, of five hundred files that wait for it."""
    minute = 0.1
    monkeypatch.setattr(uploader_module, "_PROBE_SECONDS", minute)
    other = Destination()
    await bench.checked(memory)
    await bench.checked(other, "other")
    memory.script["find"] = [scripted("down")] * 10_000
    first = await bench.fetched("first.JPG", 50)
    bench.run()
    await bench.until_subject("waiting", "scripted.down")
    for number in range(500):
        kind = (Media.VIDEO, Media.RAW, Media.JPEG)[number % 3]
        await bench.fetched(
            f"{number}.{kind}", 20, kind=kind, captured=f"2024-05-01T10:{number // 60:02}:{number % 60:02}"
        )
    calls, began = len(memory.calls), time.monotonic()
    while time.monotonic() < began + 20 * minute:
        name = f"other{time.monotonic()}.JPG"
        await bench.until_done(await bench.fetched(name, 20, to=["other"]), destination="other")
    probes, minutes = len(memory.calls) - calls, (time.monotonic() - began) / minute
    assert 5 <= probes <= minutes + 1, f"{probes} calls in {minutes:.1f} minutes"
    counts = await bench.ledger.views.counts()
    assert counts["deliveries"].get("failed", 0) == 0 and counts["deliveries"]["queued"] >= 500
    memory.script["find"] = []

    async def drained() -> bool:
        left = (await bench.ledger.views.counts())["deliveries"]
        return not left.get("queued") and not left.get("uploading")  # the last one may not have begun yet

    await bench.until(drained, seconds=90)  # five hundred files on a busy machine
    order = [key.rpartition(".")[2] for verb, key in memory.calls if verb == "start"]
    assert sorted(order) == sorted(["JPG"] + ["video"] * 167 + ["raw"] * 167 + ["jpeg"] * 166)
    lanes = [{"JPG": 0, "jpeg": 0, "raw": 1, "video": 2}[each] for each in order]
    assert all(lane >= max(lanes[: max(1, n - 4)]) for n, lane in enumerate(lanes)), "four go at once"
    shots = [
        int(key.partition(".")[0]) for verb, key in memory.calls if verb == "start" and key.endswith("jpeg")
    ]
    assert all(min(shots[:n]) + 4 * 3 > shot for n, shot in enumerate(shots) if n), (
        "newest first, four at once"
    )
    await bench.until_done(first)


async def test_while_it_may_be_down_a_probe_is_one_call(bench: Workbench, memory: Destination) -> None:
    """Trouble in the middle of a file is tried again at once only where nothing else is wrong."""
    await bench.checked(memory)
    memory.script["find"] = [scripted("down")]
    memory.script["start"] = [scripted("down")] * 2
    file = await bench.fetched()
    bench.run()
    await bench.until_done(file)
    assert Counter(verb for verb, _ in memory.calls)["start"] == 3
    assert [verb for verb, _ in memory.calls[:5]] == ["find", "find", "start", "find", "start"]


def test_probes_are_a_minute_apart_once_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploader_module, "_PROBE_SECONDS", MINUTE)
    waits = [uploader_module._probe_seconds(failures) for failures in range(1, 2000)]
    assert 1.0 <= waits[0] <= 1.1 and all(60 <= wait <= 66 for wait in waits[6:])
    assert sum(waits[:6]) < 70, "and a short outage is over soon"


# -- lanes


async def test_a_photo_does_not_wait_for_a_movie_that_is_on_its_way(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploader_module, "_LONG_BYTES", 500)
    await bench.checked(memory, workers=1)
    hold, late = Hold(), Hold()
    memory.script["write"] = [None, hold, late]
    movie = await bench.fetched("A.MP4", 2000, kind=Media.VIDEO)
    bench.run()
    await until_set(hold.reached)
    photo = await bench.fetched("B.JPG", 100)
    raw = await bench.fetched("C.CR3", 100, kind=Media.RAW)

    async def is_told() -> bool:
        return bool(bench.uploader.targets["archive"].overtaken)

    await bench.until(is_told)
    hold.let_go()
    late.let_go()
    await bench.until_done(photo, raw, movie)
    assert [key for verb, key in memory.calls if verb == "commit"] == ["B.JPG", "C.CR3", "A.MP4"]
    assert memory.sent == 2200, "nothing was sent twice"


async def test_what_is_short_or_goes_first_itself_is_not_overtaken(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploader_module, "_LONG_BYTES", 5000)
    await bench.checked(memory, workers=1)
    hold = Hold()
    memory.script["write"] = [hold]
    movie = await bench.fetched("A.MP4", 2000, kind=Media.VIDEO)
    bench.run()
    await until_set(hold.reached)
    photo = await bench.fetched("B.JPG", 100)
    assert not bench.uploader.targets["archive"].overtaken
    hold.let_go()
    await bench.until_done(photo, movie)
    assert [key for verb, key in memory.calls if verb == "commit"] == ["A.MP4", "B.JPG"]


async def test_a_photo_does_not_wait_for_a_small_movie_that_a_limit_holds(
    bench: Workbench, memory: Destination
) -> None:
    """At 1,000 bytes a second the movie would take most of a minute."""
    await bench.checked(memory, workers=1, limit=["1k video"])
    movie = await bench.fetched("A.MP4", 50_000, kind=Media.VIDEO)
    bench.run()
    await bench.until_sent(memory, 100)
    photo = await bench.fetched("B.JPG", 900)
    await bench.until_done(photo)
    await bench.until_delivery(movie, "uploading")
    await bench.stop()
    assert [key for verb, key in memory.calls if verb == "commit"] == ["B.JPG"]


# -- hours


async def closed_for_movies(bench: Workbench, memory: Destination) -> Clock:
    target = await bench.checked(memory, workers=2)
    clock = Clock()
    target.pace = Pace(Schedule.of(["pause 08:00-22:00 video"]), wall=clock)
    return clock


async def test_outside_its_hours_a_delivery_waits_and_says_until_when(
    bench: Workbench, memory: Destination
) -> None:
    clock = await closed_for_movies(bench, memory)
    movies = [await bench.fetched(f"{n}.MP4", kind=Media.VIDEO) for n in range(20)]
    photo = await bench.fetched("A.JPG")
    bench.run()
    await bench.until_done(photo)
    opens = as_text(datetime.fromtimestamp(NOON + 10 * 3600, UTC))
    for movie in movies:
        await bench.until_delivery(movie, "queued", waiting_for="schedule", next_try_at=opens)
    assert not any(key.endswith("MP4") for _, key in memory.calls), "nobody was asked"
    tries = sum([int(str((await bench.delivery(movie))["tries"])) for movie in movies])
    assert tries <= 2, "one look shows it for all"
    late = await bench.fetched("late.MP4", kind=Media.VIDEO)
    await bench.until_delivery(late, "queued", waiting_for="schedule", next_try_at=opens)
    clock.at = NOON + 10 * 3600
    bench.ledger.wake()  # else the loop looks at the clock within a minute
    await bench.until_done(*movies, late)


async def test_hours_that_end_stop_an_upload_at_its_next_chunk_and_it_goes_on_from_there(
    bench: Workbench, memory: Destination
) -> None:
    clock = await closed_for_movies(bench, memory)
    clock.at = NOON - 12 * 3600
    hold = Hold()
    memory.script["write"] = [None, None, hold]
    movie = await bench.fetched("A.MP4", kind=Media.VIDEO)
    bench.run()
    await until_set(hold.reached)
    clock.at = NOON
    hold.let_go()
    await bench.until_delivery(movie, "queued", waiting_for="schedule")
    assert memory.sent == 300 and [len(each) for each in memory.partials.values()] == [300]
    assert not memory.open, "no connection is held over it"
    clock.at = NOON + 11 * 3600
    bench.ledger.wake()
    await bench.until_done(movie)
    assert memory.sent == 950 and (await bench.delivery(movie))["fault_code"] is None


async def test_other_hours_count_at_once_and_so_does_a_restart(bench: Workbench, memory: Destination) -> None:
    await closed_for_movies(bench, memory)
    movie = await bench.fetched("A.MP4", kind=Media.VIDEO)
    bench.run()
    await bench.until_delivery(movie, "queued", waiting_for="schedule")
    await bench.uploader.limit(Schedule.of(["pause mon-sun video", "1M"]), "archive")
    await bench.until_delivery(movie, "queued", waiting_for="schedule")
    await bench.uploader.limit(Schedule.of(["pause raw"]), "archive")
    await bench.until_done(movie)
    await bench.uploader.limit(Schedule.of(["pause"]))
    photo = await bench.fetched("B.JPG")
    await bench.until_delivery(photo, "queued", waiting_for="schedule")
    await bench.stop()
    bench.uploader.targets.clear()
    bench.uploader.hours.every.schedule = Schedule()
    again = Destination()
    await bench.add(again)
    bench.run()
    await bench.until_done(photo)


async def test_what_the_spool_gave_up_is_wanted_from_the_camera_when_its_hours_come(
    bench: Workbench, memory: Destination
) -> None:
    clock = await closed_for_movies(bench, memory)
    wanted: list[str] = []
    bench.uploader.on_back = lambda: wanted.append("again")
    movies = [await bench.fetched(f"{n}.MP4", kind=Media.VIDEO) for n in range(2)]
    bench.run()
    for movie in movies:
        await bench.until_delivery(movie, "queued", waiting_for="schedule")
    await bench.spool.evict(movies[0].id)
    await bench.ledger.files.mark_evicted(movies[0].id)
    assert not wanted
    clock.at = NOON + 10 * 3600
    bench.ledger.wake()
    await bench.until_done(movies[1])
    assert wanted == ["again"] and (await bench.delivery(movies[0]))["waiting_for"] == "camera"


async def test_a_restart_outside_the_hours_wants_nothing_from_the_camera(
    bench: Workbench, memory: Destination
) -> None:
    await bench.ledger.cameras.set_subject("destination", "archive", "ready")
    movie = await bench.fetched("A.MP4", kind=Media.VIDEO)
    await bench.spool.evict(movie.id)
    await bench.ledger.files.mark_evicted(movie.id)
    await bench.add(memory, limit=["pause video"])
    assert (await bench.delivery(movie))["waiting_for"] == "schedule", (
        "before any file is fetched to find out"
    )


# -- limits


async def test_a_limited_upload_holds_nothing_open_over_a_long_wait(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 bytes a chunk and 1,000 bytes a second: a tenth of a second of waiting, where a hundredth may stand open."""
    monkeypatch.setattr(attempt_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(attempt_module, "IDLE_SECONDS", 0.02)
    await bench.checked(memory, limit=["1k"])
    file = await bench.fetched(size=1250)
    bench.run()
    began = time.monotonic()
    await bench.until_delivery(file, "uploading")

    await bench.until_calls(memory, "close upload", 2)
    assert len(bench.progress.transfers) == 1, "and it is still shown"
    await bench.until_done(file)
    assert time.monotonic() - began >= 0.2 and memory.sent == 1250 and memory.count("start") >= 3
    assert (await bench.delivery(file))["tries"] == 1


async def test_a_limit_is_kept_with_files_on_a_real_disk(bench: Workbench, tmp_path: Path) -> None:
    """Four uploads at once share it; the folder's chunks are a mebibyte."""
    backend = FolderBackend(FolderConfig.model_validate({"path": tmp_path / "photos"}), owner="x")
    await bench.add(backend, limit=["8M"])
    files = [await bench.fetched(f"{n}.JPG", 4 << 20) for n in range(6)]
    began = time.monotonic()
    bench.run()
    await bench.until_done(*files)
    took = time.monotonic() - began
    rate = (24 << 20) / took
    print(f"{rate / 1e6:.2f} MB/s with a limit of 8 MB/s")
    assert 0.5 * 8e6 <= rate <= 1.05 * 8e6 + (8e6 / took), "a second's worth may be saved up"


@pytest.mark.parametrize("how", ["skip", "pause", "stop"])
async def test_whoever_waits_for_a_limit_can_be_stopped_at_once(
    bench: Workbench, memory: Destination, how: str
) -> None:
    await bench.checked(memory, limit=["1k"])
    bench.uploader.targets["archive"].pace.schedule = Schedule.of(["1k"])
    file = await bench.fetched(size=50_000)
    bench.run()
    await bench.until_sent(memory, 300)
    began = time.monotonic()
    if how == "skip":
        await bench.ledger.orders.skip([file.id], "somebody", "no")
        await bench.uploader.drop([file.id])
    elif how == "pause":
        await bench.uploader.pause("archive", "somebody")
    else:
        await bench.stop()
    assert time.monotonic() - began < 20 and not memory.open, "it waits for no 250 KB at 1 KB/s"
    await bench.stop()


# -- what is left behind


class Clinging(Destination):
    """Does not let go of what an earlier attempt left until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.clings = True

    def receipt(self, key: str) -> Receipt:
        return msgspec.structs.replace(super().receipt(key), has_leftovers=self.clings)

    def drop(self, key: str, token: str) -> None:
        super().drop(key, token)
        if self.clings:
            raise scripted("busy")


async def test_what_a_done_delivery_left_is_asked_for_until_it_is_gone(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "AGAIN_SECONDS", 0.1)
    clinging = Clinging()
    await bench.checked(clinging)
    bench.run()
    files = [await bench.fetched(f"{n}.JPG", 50) for n in range(3)]
    await bench.until_done(*files)
    assert all([(await bench.delivery(file))["has_partial"] for file in files])
    await bench.until_calls(clinging, "drop", 9)
    began = clinging.count("drop"), time.monotonic()
    await bench.until_calls(clinging, "drop", began[0] + 9)
    assert time.monotonic() - began[1] >= 0.2, "three a round, and a tenth of a second between two rounds"
    clinging.clings = False

    async def clean() -> bool:
        bench.ledger.wake()
        return not any([(await bench.delivery(file))["has_partial"] for file in files])

    await bench.until(clean)
    assert clinging.published == {file.key: file.data for file in files} and clinging.misuse == []
    found = await bench.ledger.cameras.subject("destination", "archive")
    assert found is not None and found.state == "ready"


async def test_one_that_is_held_does_not_keep_the_others_from_being_swept(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinging = Clinging()
    await bench.checked(clinging)
    let_go = Destination.drop

    def drop(key: str, token: str) -> None:
        let_go(clinging, key, token)
        if key == "0.JPG":
            raise scripted("busy")

    monkeypatch.setattr(clinging, "drop", drop)
    bench.run()
    files = [await bench.fetched(f"{n}.JPG", 50) for n in range(30)]
    await bench.until_done(*files)

    async def swept() -> bool:
        bench.ledger.wake()
        left = [file.key for file in files if (await bench.delivery(file))["has_partial"]]
        return left == ["0.JPG"]

    await bench.until(swept)


async def test_what_lies_there_is_done_though_an_earlier_attempt_holds_its_partial(
    bench: Workbench, memory: Destination
) -> None:
    await bench.checked(memory)
    file = await bench.fetched()
    memory.published[file.key] = file.data
    memory.script["drop"] = [scripted("busy")]
    bench.run()
    delivery = await bench.until_delivery(file, "done")
    assert delivery["tries"] == 1

    async def swept() -> bool:
        bench.ledger.wake()
        return not (await bench.delivery(file))["has_partial"]

    await bench.until(swept) if not await swept() else None
    assert memory.count("drop") >= 1


# -- destinations that are gone


async def test_a_destination_that_left_the_settings_while_nobody_ran_is_off(
    bench: Workbench, memory: Destination
) -> None:
    for name in ("old", "older"):
        await bench.ledger.cameras.set_subject("destination", name, "ready")
    await bench.ledger.cameras.set_subject("destination", "held", "paused", reason="x", by="anna")
    await bench.ledger.cameras.set_subject("camera", "main", "ready")
    await bench.checked(memory)
    await bench.uploader.retire()
    states = {each.name: (each.state, each.reason) for each in await bench.ledger.cameras.subjects()}
    assert states["old"] == states["older"] == ("off", "not in the settings")
    assert states["archive"][0] == states["main"][0] == "ready" and states["held"][0] == "paused"


# -- looks


async def test_a_look_that_would_be_in_vain_is_not_taken(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.checked(memory)
    given: list[bool] = []
    claim = bench.ledger.deliveries.claim

    async def counted(*what: object) -> object:
        job = await claim(*what)  # type: ignore[arg-type]
        given.append(job is not None)
        return job

    monkeypatch.setattr(bench.ledger.deliveries, "claim", counted)
    bench.run()
    for number in range(40):
        await bench.until_done(await bench.fetched(f"{number}.JPG", 50))
    vain = given.count(False) / given.count(True)
    print(f"{vain:.2f} looks in vain for a delivery")
    assert given.count(True) == 40 and vain <= 2


async def test_a_large_backlog_that_waits_for_its_hours_costs_nothing_to_look_at(
    bench: Workbench, memory: Destination
) -> None:
    """By the plan of the query: what waits is not in the index that a look begins with."""
    store = bench.ledger._store
    rows = await store.all("SELECT sql FROM sqlite_master WHERE name = 'delivery_next'")
    assert "waiting_for IS NOT 'schedule'" in rows[0]["sql"]
    await closed_for_movies(bench, memory)
    movies = [await bench.fetched(f"{n}.MP4", 10, kind=Media.VIDEO) for n in range(50)]
    bench.run()
    for movie in movies:
        await bench.until_delivery(movie, "queued", waiting_for="schedule")
    photo = await bench.fetched("A.JPG", 10)
    await bench.until_done(photo)
    await bench.ledger.orders.retry([movie.id for movie in movies])
    await bench.until_done(await bench.fetched("B.JPG", 10))
    assert not any(key.endswith("MP4") for _, key in memory.calls), "an order to try again opens no window"
