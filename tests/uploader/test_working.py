"""Many deliveries: faults and who acts next, limits, pauses, and a ledger or a spool that fails at any point."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from agent.spool import FAULTS as SPOOL_FAULTS
from agent.uploader import uploader as uploader_module
from tests.ledger.failing import Failing
from tests.uploader.scripted import Destination, Hold, Transfer, scripted
from tests.uploader.workbench import Growing, Workbench, until_set

# -- faults


async def test_a_destination_that_needs_a_person_pauses_alone(bench: Workbench, memory: Destination) -> None:
    other = Destination()
    await bench.checked(memory)
    await bench.checked(other, "cloud")
    memory.script["write"] = [scripted("password")]
    bench.run()
    first = await bench.fetched("A.JPG", to=["archive", "cloud"])
    found = await bench.until_subject("paused", "scripted.password")
    assert (found.reason, found.paused_by, found.next_try_at) == ("Enter the password.", "agent", None)
    second = await bench.fetched("B.JPG", to=["archive", "cloud"])
    await bench.until_done(first, second, destination="cloud")
    starts = memory.count("start")
    for file in (first, second):
        assert (await bench.delivery(file))["state"] == "queued"
    await bench.uploader.resume("archive")
    await bench.until_subject("ready")
    await bench.until_done(first, second)
    assert memory.count("start") == starts + 2, "and nothing burnt tries meanwhile"
    assert other.published == memory.published


async def test_an_outage_is_met_by_one_probe_until_it_is_over(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.checked(memory)
    back = asyncio.Event()
    bench.uploader.on_back = back.set
    memory.script["find"] = [scripted("down")] * 6
    files = [await bench.fetched(f"{n}.JPG", 50) for n in range(6)]
    bench.run()
    found = await bench.until_subject("waiting", "scripted.down")
    assert found.reason == "It does not answer." and found.next_try_at
    await bench.until_done(*files)
    await bench.until_subject("ready")
    assert back.is_set()
    assert len(memory.published) == 6


async def test_while_it_is_down_one_at_a_time_is_tried(bench: Workbench, memory: Destination) -> None:
    target = await bench.checked(memory)
    hold = Hold()
    memory.script["find"] = [scripted("down"), hold]
    files = [await bench.fetched("0.JPG", 50)]
    bench.run()
    await bench.until_subject("waiting", "scripted.down")
    files += [await bench.fetched(f"{n}.JPG", 50) for n in range(1, 6)]
    await until_set(hold.reached)
    assert len(target.tasks) == 1 and memory.count("find") == 2
    hold.let_go()
    await bench.until_done(*files)


async def test_several_uploads_that_meet_one_outage_count_it_once(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []

    def backoff(attempt: int) -> float:
        attempts.append(attempt)
        return 0.05

    monkeypatch.setattr(uploader_module, "_probe_seconds", backoff)
    await bench.checked(memory, workers=4)
    holds = [Hold() for _ in range(3)]

    def fail_after(hold: Hold) -> object:
        def step() -> None:
            hold()
            raise scripted("down")

        return step

    memory.script["find"] = [fail_after(hold) for hold in holds]  # type: ignore[misc]
    files = [await bench.fetched(f"{n}.JPG", 50) for n in range(3)]
    bench.run()
    for hold in holds:
        await until_set(hold.reached)
    for hold in holds:
        hold.let_go()
    await bench.until_done(*files)
    assert attempts == [1]


async def test_a_busy_file_waits_for_the_clock_and_the_others_go_on(
    bench: Workbench, memory: Destination
) -> None:
    await bench.checked(memory, workers=1)
    memory.script["find"] = [scripted("busy", retry_after_seconds=3600.0)]
    newer = await bench.fetched("A.JPG", captured="2024-05-01T12:00:00")
    older = await bench.fetched("B.JPG")
    bench.run()
    delivery = await bench.until_delivery(newer, "queued", "scripted.busy", waiting_for="retry")
    assert delivery["next_try_at"] and delivery["tries"] == 1
    await bench.until_done(older)
    assert (await bench.delivery(newer))["state"] == "queued"
    found = await bench.ledger.cameras.subject("destination", "archive")
    assert found is not None and found.state == "ready"
    await bench.ledger.orders.retry([newer.id])
    await bench.until_done(newer)


async def test_a_busy_file_is_tried_again_by_itself(bench: Workbench, memory: Destination) -> None:
    """Though nothing else happens: an alarm, not a change of the ledger, wakes the loop."""
    await bench.checked(memory)
    memory.script["find"] = [scripted("busy")] * 3
    file = await bench.fetched()
    bench.run()
    began = time.monotonic()
    await bench.until_done(file)
    assert time.monotonic() - began < 10 and (await bench.delivery(file))["tries"] == 4


async def test_trouble_in_the_middle_is_retried_within_the_attempt(
    bench: Workbench, memory: Destination
) -> None:
    await bench.checked(memory)
    memory.script["write"] = [None, None, scripted("down"), None, scripted("down")]
    file = await bench.fetched()
    bench.run()
    delivery = await bench.until_delivery(file, "done")
    assert delivery["tries"] == 1 and memory.sent == 950, "with resume"
    found = await bench.ledger.cameras.subject("destination", "archive")
    assert found is not None and found.state == "ready"


@pytest.mark.parametrize("code", ["refused", "look"])
async def test_what_will_not_mend_by_itself_is_failed(
    bench: Workbench, memory: Destination, code: str
) -> None:
    await bench.checked(memory)
    memory.script["start"] = [scripted(code)]
    bad = await bench.fetched("A.JPG", captured="2024-05-01T12:00:00")
    bench.run()
    await bench.until_delivery(bad, "failed", f"scripted.{code}")
    good = await bench.fetched("B.JPG")
    await bench.until_done(good)
    await bench.ledger.orders.retry([bad.id])
    await bench.until_done(bad)


async def test_a_bug_costs_a_delivery_its_turn_and_nothing_is_lost(
    bench: Workbench, memory: Destination
) -> None:
    await bench.checked(memory)
    memory.script["find"] = [ZeroDivisionError("a bug")]
    file = await bench.fetched()
    with structlog.testing.capture_logs() as events:
        bench.run()
        await bench.until_done(file)
    (bug,) = [event for event in events if event["event"] == "unclassified"]
    assert bug["log_level"] == "error" and "ZeroDivisionError" in bug["error"]
    assert (await bench.delivery(file))["tries"] == 2


async def test_the_spools_troubles_are_not_the_destinations(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.checked(memory)
    file = await bench.fetched()
    path = bench.spool.path(file.id)
    path.rename(path.with_suffix(".away"))
    bench.run()
    await bench.until_delivery(file, "queued", "spool.missing", waiting_for="spool")
    found = await bench.ledger.cameras.subject("destination", "archive")
    assert found is not None and found.state == "ready"
    path.with_suffix(".away").rename(path)
    await bench.until_done(file)
    assert "spool.missing" in SPOOL_FAULTS


# -- the check


async def test_one_check_for_one_set_of_settings(bench: Workbench, memory: Destination) -> None:
    await bench.add(memory)
    bench.run()
    files = [await bench.fetched(f"{n}.JPG", 50) for n in range(4)]
    await bench.until_done(*files)
    assert memory.count("check") == 1 and memory.calls[0] == ("check", "")
    await bench.stop()
    bench.uploader.targets.clear()  # as after a restart
    again = Destination()
    await bench.add(again)
    changed = Destination()
    await bench.add(changed, "cloud", fingerprint="other settings")
    bench.run()
    file = await bench.fetched("last.JPG", 50, to=["archive", "cloud"])
    await bench.until_done(file)
    await bench.until_done(file, destination="cloud")
    assert again.count("check") == 0 and again.exclusive == "atomic"
    assert changed.count("check") == 1


async def test_settings_that_changed_are_checked_anew(bench: Workbench, memory: Destination) -> None:
    await bench.add(memory, fingerprint="old")
    bench.run()
    await bench.until_done(await bench.fetched("A.JPG", 50))
    await bench.uploader.remove("archive")
    renewed = Destination()
    await bench.add(renewed, fingerprint="new")
    await bench.until_done(await bench.fetched("B.JPG", 50))
    assert renewed.count("check") == 1 and memory.is_closed


async def test_a_check_that_fails_is_made_once_at_a_time_until_it_passes(
    bench: Workbench, memory: Destination
) -> None:
    hold = Hold()
    memory.script["check"] = [hold, scripted("down")]
    target = await bench.add(memory)
    files = [await bench.fetched(f"{n}.JPG", 50) for n in range(4)]
    bench.run()
    await until_set(hold.reached)
    await bench.ledger.cameras.set_subject("camera", "x", "ready")  # a change that wakes the loop
    assert len(target.tasks) == 1
    memory.script["check"] = [scripted("down")] * 2
    hold.let_go()
    await bench.until_done(*files)
    assert memory.count("check") == 1
    other = Destination()
    other.script["check"] = [scripted("down")] * 2
    await bench.add(other, "cloud")
    file = await bench.fetched("last.JPG", 50, to=["cloud"])
    await bench.until_done(file, destination="cloud")
    assert other.count("check") == 3


# -- limits


async def held(bench: Workbench, destination: Destination, count: int, names: str = "file") -> list[Hold]:
    holds = [Hold() for _ in range(count)]
    destination.script["commit"] = list(holds)
    return holds


async def test_no_more_at_once_than_the_destination_takes(bench: Workbench, memory: Destination) -> None:
    bench.uploader.workers = 8
    target = await bench.checked(memory, workers=2)
    holds = await held(bench, memory, 6)
    files = [await bench.fetched(f"{n}.JPG", 50) for n in range(6)]
    bench.run()
    for hold in holds:
        await until_set(hold.reached)
        assert len(target.tasks) <= 2
        hold.let_go()
    await bench.until_done(*files)
    assert memory.most_at_once == 2


async def test_no_more_at_once_than_all_together_may(bench: Workbench) -> None:
    bench.uploader.workers = 3
    places = {name: Destination() for name in ("a", "b", "c", "d")}
    for name, place in places.items():
        await bench.checked(place, name, workers=4)
    files = [await bench.fetched(f"{n}.JPG", 50, to=list(places)) for n in range(4)]
    most = 0
    meeting = threading.Barrier(2)  # uploads that are alone wait for company, or none would ever overlap

    def count() -> None:
        nonlocal most
        most = max(most, sum(len(place.open) for place in places.values()))
        with suppress(threading.BrokenBarrierError):
            meeting.wait(5)

    for place in places.values():
        place.script["write"] = [count] * 4
    bench.run()
    for name in places:
        await bench.until_done(*files, destination=name)
    assert 1 < most <= 4, "each may have one, and that is all"


async def test_a_slow_destination_leaves_room_for_one_that_gets_work_later(bench: Workbench) -> None:
    slow, quick = Destination(), Destination()
    await bench.checked(slow, "slow", workers=4)
    await bench.checked(quick, "quick", workers=4)
    holds = await held(bench, slow, 6)
    files = [await bench.fetched(f"{n}.MP4", 50, to=["slow"]) for n in range(6)]
    bench.run()
    for hold in holds[:3]:
        await until_set(hold.reached)
    for number in range(5):
        await bench.until_done(await bench.fetched(f"{number}.JPG", 50, to=["quick"]), destination="quick")
    assert len(slow.published) == 0 and slow.most_at_once == 3
    for hold in holds:
        hold.let_go()
    await bench.until_done(*files, destination="slow")


async def test_with_one_slot_each_destination_has_one(bench: Workbench) -> None:
    bench.uploader.workers = 1
    places = {name: Destination() for name in ("a", "b")}
    for name, place in places.items():
        await bench.checked(place, name, workers=4)
    files = [await bench.fetched(f"{n}.JPG", 50, to=list(places)) for n in range(5)]
    bench.run()
    for name in places:
        await bench.until_done(*files, destination=name)
    assert [place.most_at_once for place in places.values()] == [1, 1]


async def test_small_and_new_first(bench: Workbench, memory: Destination) -> None:
    """Kinds are ranked by the collector; here the newest shot goes first."""
    await bench.checked(memory, workers=1)
    files = [await bench.fetched(f"{n}.JPG", 50, captured=f"2024-05-01T10:00:0{n}") for n in (1, 3, 2)]
    bench.run()
    await bench.until_done(*files)
    assert [key for verb, key in memory.calls if verb == "commit"] == ["3.JPG", "2.JPG", "1.JPG"]


async def test_a_free_slot_is_used_at_once(bench: Workbench, memory: Destination) -> None:
    """Nothing but the end of an upload may be needed to begin the next one."""
    await bench.checked(memory, workers=1)
    files = [await bench.fetched(f"{n}.JPG", 50) for n in range(30)]
    began = time.monotonic()
    bench.run()
    await bench.until_done(*files)
    assert time.monotonic() - began < 10


# -- stopping


async def in_the_middle(bench: Workbench, memory: Destination, verb: str) -> tuple[Growing, Hold]:
    hold = Hold()
    memory.script[verb] = [hold]
    await bench.checked(memory)
    file = await bench.fetched()
    bench.run()
    await until_set(hold.reached)
    return file, hold


STEPS = ["find", "start", "write", "commit", "close upload"]


@pytest.mark.parametrize("verb", STEPS)
async def test_a_pause_ends_what_is_under_way_and_loses_nothing(
    bench: Workbench, memory: Destination, verb: str
) -> None:
    """The call that is under way is waited for: two threads never share one upload, and none is left open."""
    file, hold = await in_the_middle(bench, memory, verb)
    pausing = asyncio.create_task(bench.uploader.pause("archive", "somebody"))
    found = await bench.until_subject("paused")
    assert found.paused_by == "somebody"
    assert not pausing.done()
    hold.let_go()
    await pausing
    assert not memory.open
    delivery = await bench.delivery(file)
    assert delivery["state"] == "queued" and delivery["waiting_for"] == "destination"
    await bench.fetched("B.JPG", 50)
    await bench.uploader.resume("archive")
    await bench.until_done(file)
    assert memory.published["A.JPG"] == file.data and memory.sent <= 950 + 100 + 50


async def test_a_pause_outlives_a_restart(bench: Workbench, memory: Destination) -> None:
    await bench.checked(memory)
    await bench.uploader.pause("archive", "somebody")
    again = Destination()
    target = await bench.add(again)
    assert target.paused
    await bench.ledger.cameras.set_subject("destination", "archive", "paused", code="x.y", by="agent")
    assert not (await bench.add(Destination())).paused, "but not one that a fault made"
    await bench.until_subject("ready")


async def test_a_fault_of_a_paused_destination_does_not_wake_it(
    bench: Workbench, memory: Destination
) -> None:
    _, hold = await in_the_middle(bench, memory, "write")
    memory.script["write"] = [scripted("down")] * 9
    pausing = asyncio.create_task(bench.uploader.pause("archive", "somebody"))
    await bench.until_subject("paused")
    hold.let_go()
    await pausing
    found = await bench.ledger.cameras.subject("destination", "archive")
    assert found is not None and (found.state, found.paused_by) == ("paused", "somebody")


@pytest.mark.parametrize("verb", STEPS)
async def test_what_a_person_gave_up_is_let_go_and_swept(
    bench: Workbench, memory: Destination, verb: str
) -> None:
    file, hold = await in_the_middle(bench, memory, verb)
    await bench.ledger.orders.skip([file.id], "somebody", "no")
    dropping = asyncio.create_task(bench.uploader.drop([file.id]))
    await asyncio.sleep(0)
    hold.let_go()
    await dropping
    assert (await bench.delivery(file))["state"] == "skipped"
    other = await bench.fetched("B.JPG", 50)
    await bench.until_done(other)

    async def swept() -> bool:
        return not memory.partials

    await bench.until_calls(memory, "drop")
    await bench.until(swept)
    assert set(memory.published) <= {"A.JPG", "B.JPG"}


class Sessions(Destination):
    """Begins with something that can be found again by the token alone, which it gives back changed."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: set[str] = set()

    def start(self, key: str, size: int, token: str) -> Transfer:
        transfer = super().start(key, size, token)
        if "|" not in token:
            transfer.token = f"{token}|{len(self.begun)}"
            self.begun.add(transfer.token)
        return transfer

    def drop(self, key: str, token: str) -> None:
        super().drop(key, token)
        self.begun.discard(token)


async def test_what_was_begun_while_a_person_gave_it_up_is_not_left_behind(bench: Workbench) -> None:
    memory, hold = Sessions(), Hold()
    memory.script["start"] = [hold]
    await bench.checked(memory)
    bench.run()
    file = await bench.fetched()
    await until_set(hold.reached)
    await bench.ledger.orders.skip([file.id], "somebody", "no")
    dropping = asyncio.create_task(bench.uploader.drop([file.id]))
    await asyncio.sleep(0)
    hold.let_go()
    await dropping
    await bench.until_calls(memory, "drop")

    async def swept() -> bool:
        return not memory.begun

    await bench.until(swept)


async def test_dropping_one_file_ends_it_at_every_destination_and_no_other_file(bench: Workbench) -> None:
    places = {name: Destination() for name in ("a", "b")}
    holds: dict[str, list[Hold]] = {}
    for name, place in places.items():
        await bench.checked(place, name, workers=2)
        holds[name] = [Hold(), Hold()]
        place.script["write"] = list(holds[name])
    first = await bench.fetched("A.JPG", 50, to=list(places), captured="2024-05-01T12:00:00")
    second = await bench.fetched("B.JPG", 50, to=list(places))
    bench.run()
    for each in (*holds["a"], *holds["b"]):
        await until_set(each.reached)
    await bench.ledger.orders.skip([first.id], "somebody", "no")
    dropping = asyncio.create_task(bench.uploader.drop([first.id]))
    await asyncio.sleep(0)
    for each in (*holds["a"], *holds["b"]):
        each.let_go()
    await dropping
    for name, place in places.items():
        await bench.until_done(second, destination=name)
        assert place.published == {"B.JPG": second.data} and place.misuse == []
        assert (await bench.delivery(first, name))["state"] == "skipped"


async def test_a_destination_that_is_removed_while_it_is_used(bench: Workbench, memory: Destination) -> None:
    file, hold = await in_the_middle(bench, memory, "write")
    removing = asyncio.create_task(bench.uploader.remove("archive"))
    await asyncio.sleep(0)
    hold.let_go()
    await removing
    assert memory.is_closed and not memory.misuse
    await bench.until_subject("off")
    delivery = await bench.delivery(file)
    assert (delivery["state"], delivery["waiting_for"]) == ("queued", "destination")
    renewed = Destination()
    renewed.partials = memory.partials
    await bench.add(renewed)
    await bench.until_done(file)
    assert renewed.published == {"A.JPG": file.data} and renewed.sent < 950


async def test_a_claim_that_meets_a_pause_is_given_back(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause comes between the question and the answer."""
    target = await bench.checked(memory)
    claim = bench.ledger.deliveries.claim

    async def slow(*args: object) -> object:
        job = await claim(*args)  # type: ignore[arg-type]
        target.paused = True
        return job

    monkeypatch.setattr(bench.ledger.deliveries, "claim", slow)
    file = await bench.fetched()
    bench.run()
    await bench.until_delivery(file, "queued", waiting_for="destination")
    assert memory.calls == [] and not target.tasks


@pytest.mark.parametrize("verb", STEPS)
async def test_stopping_leaves_everything_queued(bench: Workbench, memory: Destination, verb: str) -> None:
    file, hold = await in_the_middle(bench, memory, verb)
    stopping = asyncio.create_task(bench.stop())
    await asyncio.sleep(0)
    hold.let_go()
    await stopping
    assert (await bench.delivery(file))["state"] == "queued" and not memory.open
    bench.run()
    await bench.until_done(file)
    assert memory.published == {"A.JPG": file.data}


# -- sweeping


async def test_a_sweep_that_hangs_holds_up_no_other_destination(bench: Workbench) -> None:
    dead, quick = Destination(), Destination()
    await bench.checked(dead, "dead")
    await bench.checked(quick, "quick")
    hold = Hold()
    dead.script = {"write": [scripted("refused")], "drop": [hold]}
    file = await bench.fetched("A.JPG", 50, to=["dead"])
    bench.run()
    await bench.until_delivery(file, "failed", "scripted.refused", destination="dead")
    await bench.ledger.orders.skip([file.id], "somebody", "no")
    await until_set(hold.reached)
    for number in range(3):
        await bench.until_done(await bench.fetched(f"{number}.JPG", 50, to=["quick"]), destination="quick")
    late = await bench.fetched("late.JPG", 50, to=["dead"])
    hold.let_go()
    await bench.until_done(late, destination="dead")
    assert dead.partials == {} and dead.misuse == quick.misuse == []


async def test_a_sweep_that_fails_comes_again(bench: Workbench, memory: Destination) -> None:
    await bench.checked(memory)
    memory.script = {"write": [scripted("refused")], "drop": [scripted("down")]}
    file = await bench.fetched("A.JPG", 50)
    bench.run()
    await bench.until_delivery(file, "failed", "scripted.refused")
    await bench.ledger.orders.skip([file.id], "somebody", "no")
    await bench.until_subject("waiting", "scripted.down")
    await bench.until_calls(memory, "drop", 2)
    other = await bench.fetched("B.JPG", 50)
    await bench.until_done(other)
    await bench.until_subject("ready")


# -- a ledger that fails


async def test_the_ledger_fails_at_any_point(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times in a row, from the first, second, third … transaction on, until it is met no more."""
    await bench.checked(memory, workers=1)
    failing = Failing(bench.ledger, monkeypatch)
    bench.run()
    everything: dict[str, bytes] = {}
    first = 0
    while failing.count >= first:
        first += 1
        memory.script["commit"] = [None, *[scripted("busy")] * 3]
        memory.script["find"] = [None, None, scripted("down")]
        failing.begin = failing.end = 0
        files = [await bench.fetched(f"{first}-{n}.JPG", 250) for n in range(3)]
        failing.count, failing.begin, failing.end = 0, first, first + 3
        with structlog.testing.capture_logs():
            await bench.until_done(*files)
        everything.update({file.key: file.data for file in files})
        assert bench.is_running and memory.published == everything
    assert first > 5


async def test_a_ledger_that_stays_full_does_not_keep_the_agent_from_stopping(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploader_module, "_STOP_SECONDS", 0.05)
    file, hold = await in_the_middle(bench, memory, "commit")
    failing = Failing(bench.ledger, monkeypatch)
    failing.begin, failing.end = 1, 1 << 30
    with structlog.testing.capture_logs():
        stopping = asyncio.create_task(bench.stop())
        await asyncio.sleep(0)
        hold.let_go()
        async with asyncio.timeout(10):
            await stopping
        failing.end = 0
        bench.run()
        await bench.until_delivery(file, "queued", waiting_for="worker")
        await bench.stop()
    assert memory.published == {"A.JPG": file.data}, "it was committed, and is found by the next run"


async def test_nothing_is_lost_between_the_commit_and_the_ledger(
    bench: Workbench, memory: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.checked(memory)
    file = await bench.fetched()
    failing = Failing(bench.ledger, monkeypatch)

    def fail_from_here() -> None:
        failing.begin, failing.end = failing.count + 1, 1 << 30

    memory.script["write"] = [fail_from_here]
    with structlog.testing.capture_logs():
        bench.run()
        await bench.until_calls(memory, "close upload")
        assert (await bench.delivery(file))["state"] == "uploading" and memory.published
        failing.end = 0
        await bench.until_done(file)
    assert memory.sent == 950


# -- the bound


async def test_statements_of_a_whole_run(bench: Workbench, tmp_path: Path, memory: Destination) -> None:
    """With a loop that looks for work whenever something changes; one by one, which is the dearest way."""
    await bench.checked(memory)
    count = 30
    bench.run()
    before = bench.ledger.statements
    for number in range(count):
        file = await bench.fetched(f"{number}.JPG", 50)
        while file.key not in memory.published or bench.uploader._jobs:
            await bench.ledger.wait_for_change(bench.ledger.changes)
    spent = (bench.ledger.statements - before) / count
    print(f"{spent:.2f} statements for a file with one delivery")
    assert spent <= 10 + 3
