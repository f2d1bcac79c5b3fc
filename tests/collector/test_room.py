"""The budget's one eviction rule, step by step, with a real ledger and a real spool."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.camera import FAULTS, Object
from agent.collector import room
from agent.collector.room import RoomMaker
from agent.faults import Fault, Kind, Scope, fault
from agent.ledger import NewDelivery, Row
from tests.collector.scripted import SERIAL, made
from tests.collector.workbench import TIMEOUT_SECONDS, Workbench
from tests.ledger.given import RECEIPT, SIZE_ONLY, keys_of, shot

BUDGET = 1000
KIND = shot().kind
TONIGHT = "2999-01-01T22:00:00.000Z"


class Cards:
    """What the camera answers when it is asked whether a file is still on its card."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.missing: set[str] = set()
        self.fault: Fault | None = None

    async def still_on_card(self, row: Row) -> Object | None:
        self.asked.append(row["name"])
        if self.fault:
            raise self.fault
        return None if row["name"] in self.missing else made(row["name"]).object


class Full:
    """A spool with a budget of 1000 bytes, and files of it in any state."""

    def __init__(self, bench: Workbench):
        self.bench = bench
        self.ledger = bench.ledger
        self.spool = bench.spool
        self.cards = Cards()
        self.room = RoomMaker(self.ledger, self.spool, SERIAL, self.cards.still_on_card)

    async def holds(
        self, name: str, size: int, to: tuple[str, ...] = ("archive",), serial: str = SERIAL
    ) -> int:
        file = shot(name, size=size, serial=serial)
        (file_id,) = await self.ledger.files.discover(serial, [file])
        assert self.spool.reserve(file_id, size).is_granted
        async with await self.spool.writer(file_id, size) as writer:
            await self.ledger.files.begin_fetch(
                file_id, 1, from_zero=True, owed=[NewDelivery(each, keys_of(file)) for each in to]
            )
            await writer.write(memoryview(bytes(size)))
            digests = await writer.finish()
        await self.ledger.files.finish_fetch(file_id, digests["sha256"], None)
        self.spool.announce(file_id, digests)
        return file_id

    async def broken_off(self, name: str, written: int, size: int) -> int:
        """A file whose fetch ended in the middle: its part stays, and its reservation went."""
        (file_id,) = await self.ledger.files.discover(SERIAL, [shot(name, size=size)])
        assert self.spool.reserve(file_id, size).is_granted
        async with await self.spool.writer(file_id, size) as writer:
            await self.ledger.files.begin_fetch(file_id, 1, from_zero=True, owed=[])
            await writer.write(memoryview(bytes(written)))
        self.spool.release(file_id)
        return file_id

    async def deliver(self, destination: str = "archive", *, by_size: bool = False) -> None:
        job = await self.ledger.deliveries.claim(destination, [])
        assert job is not None
        await self.ledger.deliveries.finish_delivery(job.id, SIZE_ONLY if by_size else RECEIPT)

    async def new(self, name: str = "new.JPG") -> int:
        (file_id,) = await self.ledger.files.discover(SERIAL, [shot(name, size=1)])
        return file_id

    async def make(self, size: int, file_id: int | None = None) -> int:
        """Must not wait."""
        file_id = await self.new() if file_id is None else file_id
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self.room.make(file_id, size)
        return file_id

    async def waits(
        self, size: int, name: str = "new.JPG", code: str = "spool.no_room"
    ) -> tuple[asyncio.Task[None], int]:
        """Must wait, and say why."""
        file_id = await self.new(name)
        task = asyncio.create_task(self.room.make(file_id, size))

        async def told() -> bool:
            row = await self.ledger.files.file(file_id)
            return row is not None and row["fault_code"] == code

        await self.bench.until(told)
        assert not task.done()
        return task, file_id

    async def goes_on(self, task: asyncio.Task[None]) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await task

    async def states(self) -> dict[str, str]:
        return await self.bench.states()

    async def down(self, destination: str, state: str = "waiting") -> None:
        by = "agent" if state == "paused" else None
        await self.ledger.cameras.set_subject("destination", destination, state, code="x.y", by=by)


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[Full]:
    async with Workbench.at(tmp_path, budget_bytes=BUDGET) as bench:
        await bench.ledger.cameras.meet_camera(SERIAL, True, "main", ("Canon", "R7", "1"), ("host", 1))
        for name in ("archive", "cloud"):
            await bench.ledger.cameras.set_subject("destination", name, "ready")
        yield Full(bench)


async def test_room_that_is_there_is_reserved_at_once(full: Full) -> None:
    await full.holds("A.JPG", 400)
    file_id = await full.make(600)
    assert full.spool.reserved_bytes == 600
    await full.make(600, file_id)
    assert full.spool.reserved_bytes == 600, "asked for again, it is the same room"


async def test_delivered_files_go_first_least_recently_looked_at(full: Full) -> None:
    ids = [await full.holds(name, 250) for name in ("A.JPG", "B.JPG", "C.JPG", "D.JPG")]
    for _ in ids:
        await full.deliver()
    for file_id in (ids[1], ids[3], ids[0], ids[2]):
        with full.spool.follow(file_id, 250) as reader:
            await reader.read_into(0, memoryview(bytearray(1)))
    await full.make(300)
    assert await full.states() == {
        "A.JPG": "fetched",
        "B.JPG": "evicted",
        "C.JPG": "fetched",
        "D.JPG": "evicted",
        "new.JPG": "discovered",
    }
    assert full.bench.in_spool() == {str(ids[0]), str(ids[2])}


async def test_no_more_goes_than_is_needed(full: Full) -> None:
    for name in ("A.JPG", "B.JPG", "C.JPG"):
        await full.holds(name, 300)
        await full.deliver()
    await full.make(150)
    assert sorted((await full.states()).values()) == ["discovered", "evicted", "fetched", "fetched"]


async def test_parts_of_broken_off_fetches_never_fill_the_spool(full: Full) -> None:
    parts = [await full.broken_off(f"{written}.CR3", written, 500) for written in (200, 300, 400)]
    await full.make(350)  # 250 bytes are missing: of those that suffice the smallest goes
    assert full.bench.in_spool() == {f"{parts[0]}.part", f"{parts[2]}.part"}
    await full.make(500, parts[2])  # its own part is no room to be made, the other one is
    assert full.bench.in_spool() == {f"{parts[2]}.part"}


async def test_what_somebody_reads_stays(full: Full) -> None:
    first, second = await full.holds("A.JPG", 500), await full.holds("B.JPG", 500)
    await full.deliver()
    await full.deliver()
    with full.spool.follow(first, 500):
        await full.make(500)
    assert (await full.states())["A.JPG"] == "fetched"
    assert full.bench.in_spool() == {str(first)} and second


async def test_what_is_owed_is_not_sacrificed_while_its_destination_works(full: Full) -> None:
    await full.holds("A.JPG", 600, ("archive", "cloud"))
    await full.deliver("archive")
    task, _ = await full.waits(500)
    assert await full.states() == {"A.JPG": "fetched", "new.JPG": "discovered"} and not full.cards.asked
    await full.deliver("cloud")
    await full.goes_on(task)
    assert (await full.states())["A.JPG"] == "evicted"


@pytest.mark.parametrize("state", ["waiting", "paused", "off"])
async def test_verified_elsewhere_and_still_on_its_card_the_oldest_goes(full: Full, state: str) -> None:
    for name in ("A.JPG", "B.JPG"):
        await full.holds(name, 500, ("archive", "cloud"))
        await full.deliver("archive")
    await full.down("cloud", state)
    await full.make(400)
    assert await full.states() == {"A.JPG": "evicted", "B.JPG": "fetched", "new.JPG": "discovered"}
    assert full.cards.asked == ["A.JPG"]
    (row,) = [each for each in await full.ledger.views.undelivered() if each["name"] == "A.JPG"]
    assert (row["destination"], row["state"], row["waiting_for"]) == ("cloud", "queued", "camera")


async def test_the_sacrifice_is_fetched_again_when_its_destination_is_back(full: Full) -> None:
    await full.holds("A.JPG", 800, ("archive", "cloud"))
    await full.deliver("archive")
    await full.down("cloud")
    await full.make(900)
    known = await full.ledger.files.known(SERIAL, 1, "100CANON", "A.JPG")
    assert [each.is_owed_again for each in known] == [False]
    await full.ledger.cameras.set_subject("destination", "cloud", "ready")
    known = await full.ledger.files.known(SERIAL, 1, "100CANON", "A.JPG")
    assert [each.is_owed_again for each in known] == [True]


async def test_who_is_outside_its_hours_counts_like_one_that_is_away(full: Full) -> None:
    """Or a spool full of movies that wait for the night would stop the photos as well."""
    await full.holds("A.MP4", 800, ("archive", "cloud"))
    await full.deliver("archive")
    await full.ledger.deliveries.hold("cloud", [KIND], TONIGHT)
    await full.make(900)
    assert await full.states() == {"A.MP4": "evicted", "new.JPG": "discovered"}
    assert full.cards.asked == ["A.MP4"]
    (row,) = [each for each in await full.ledger.views.undelivered() if each["name"] == "A.MP4"]
    assert (row["destination"], row["waiting_for"]) == ("cloud", "schedule")
    known = await full.ledger.files.known(SERIAL, 1, "100CANON", "A.MP4")
    assert [each.is_owed_again for each in known] == [False], "fetched now, it would only wait again"
    assert await full.ledger.deliveries.release("cloud", [KIND])
    known = await full.ledger.files.known(SERIAL, 1, "100CANON", "A.MP4")
    assert [each.is_owed_again for each in known] == [True]


async def test_one_that_may_go_now_is_waited_for_whatever_waits_for_its_hours(full: Full) -> None:
    await full.holds("A.MP4", 500, ("archive", "cloud"))
    await full.deliver("archive")
    await full.ledger.deliveries.hold("cloud", [KIND], TONIGHT)
    await full.holds("B.JPG", 300, ("cloud",))
    task, _ = await full.waits(400)
    assert not full.cards.asked
    await full.deliver("cloud")
    await full.goes_on(task)
    assert await full.states() == {"A.MP4": "fetched", "B.JPG": "evicted", "new.JPG": "discovered"}


async def test_what_is_proven_nowhere_stays(full: Full) -> None:
    await full.holds("A.JPG", 500, ("cloud",))
    await full.holds("B.JPG", 500, ("archive", "cloud"))
    await full.down("cloud")
    task, _ = await full.waits(400)  # the archive works, and may take B
    await full.deliver("archive")
    await full.goes_on(task)
    assert (await full.states())["A.JPG"] == "fetched" and (await full.states())["B.JPG"] == "evicted"
    assert full.cards.asked == ["B.JPG"]


async def test_a_size_is_no_proof(full: Full) -> None:
    await full.holds("A.JPG", 600, ("archive", "cloud"))
    await full.deliver("archive", by_size=True)
    await full.down("cloud")
    task, _ = await full.waits(500)
    assert not full.cards.asked
    task.cancel()


async def test_what_is_no_longer_on_its_card_stays_and_the_next_one_goes(full: Full) -> None:
    for name in ("A.JPG", "B.JPG"):
        await full.holds(name, 500, ("archive", "cloud"))
        await full.deliver("archive")
    await full.down("cloud")
    full.cards.missing = {"A.JPG"}
    await full.make(400)
    assert await full.states() == {"A.JPG": "fetched", "B.JPG": "evicted", "new.JPG": "discovered"}


async def test_a_doubt_about_the_card_is_no_reason_to_evict(full: Full) -> None:
    await full.holds("A.JPG", 600, ("archive", "cloud"))
    await full.deliver("archive")
    await full.down("cloud")
    full.cards.fault = fault(FAULTS, "camera.bad_dataset")
    assert full.cards.fault.scope is Scope.ITEM
    task, _ = await full.waits(500)
    assert (await full.states())["A.JPG"] == "fetched"
    task.cancel()


async def test_a_lost_link_is_told_to_whoever_waits(full: Full) -> None:
    await full.holds("A.JPG", 600, ("archive", "cloud"))
    await full.deliver("archive")
    await full.down("cloud")
    full.cards.fault = fault(FAULTS, "camera.link_lost")
    with pytest.raises(Fault, match="link_lost"):
        await full.make(500)


async def test_another_cameras_files_are_not_sacrificed(full: Full) -> None:
    """Whether they are on their card is for their own camera to say."""
    await full.ledger.cameras.meet_camera("other", True, "other", ("Canon", "R7", "1"), ("host", 1))
    await full.holds("A.JPG", 600, ("archive", "cloud"), serial="other")
    await full.deliver("archive")
    await full.down("cloud")
    task, _ = await full.waits(500)
    assert not full.cards.asked
    task.cancel()


async def test_a_failed_delivery_holds_the_spool_until_a_person_acts(full: Full) -> None:
    file_id = await full.holds("A.JPG", 600)
    job = await full.ledger.deliveries.claim("archive", [])
    assert job is not None
    await full.ledger.deliveries.fail_delivery(job.id, "folder.bad_key", "")
    task, _ = await full.waits(500)
    await full.ledger.orders.skip([file_id], "somebody", "no")
    await full.goes_on(task)
    assert (await full.states())["A.JPG"] == "evicted"


async def test_who_waits_says_why_and_goes_on_when_a_destination_fails(full: Full) -> None:
    """That is when the sacrifice becomes legal."""
    await full.holds("A.JPG", 600, ("archive", "cloud"))
    await full.deliver("archive")
    task, file_id = await full.waits(500)
    row = await full.ledger.files.file(file_id)
    assert row is not None
    assert (row["waiting_for"], row["fault_detail"]) == ("spool", "100 bytes are missing")
    await full.down("cloud")
    await full.goes_on(task)
    assert (await full.states())["A.JPG"] == "evicted"


async def test_who_waits_goes_on_when_the_budget_is_raised(full: Full) -> None:
    await full.holds("A.JPG", 600)
    task, _ = await full.waits(500)
    full.spool.budget_bytes = 2000
    await full.goes_on(task)


async def test_larger_than_the_whole_budget_needs_a_person_and_evicts_nothing(full: Full) -> None:
    await full.holds("A.JPG", 600)
    await full.deliver()
    with pytest.raises(Fault, match="larger_than_budget") as caught:
        await full.make(BUDGET + 1)
    assert (caught.value.kind, caught.value.scope) == (Kind.NEEDS_USER, Scope.ITEM)
    assert caught.value.detail == "1 bytes too large"
    assert (await full.states())["A.JPG"] == "fetched" and full.spool.reserved_bytes == 0
    await full.make(BUDGET)


async def test_whether_it_would_wait(full: Full) -> None:
    await full.holds("A.JPG", 600)
    file_id = await full.new()
    assert not await full.room.is_ready(file_id, 500)
    assert (await full.states())["new.JPG"] == "discovered" and full.spool.reserved_bytes == 0
    await full.deliver()
    assert await full.room.is_ready(file_id, 500)
    assert full.spool.reserved_bytes == 500
    assert await full.room.is_ready(await full.new("huge.MP4"), BUDGET + 1), "it fails at once"


async def test_after_a_restart_the_order_is_the_filesystems(tmp_path: Path) -> None:
    async with Workbench.at(tmp_path, budget_bytes=BUDGET) as bench:
        await bench.ledger.cameras.meet_camera(SERIAL, True, "main", ("Canon", "R7", "1"), ("host", 1))
        full = Full(bench)
        old, young = await full.holds("A.JPG", 500), await full.holds("B.JPG", 500)
        await full.deliver()
        await full.deliver()
    os.utime(tmp_path / "spool" / str(old), (2e9, 2e9))
    os.utime(tmp_path / "spool" / str(young), (1e9, 1e9))
    async with Workbench.at(tmp_path, budget_bytes=BUDGET) as bench:
        full = Full(bench)
        await full.make(400)
        assert bench.in_spool() == {str(old)}


async def test_a_full_disk_is_a_wait(full: Full, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again now and then: others may free it too."""
    disk = SimpleNamespace(f_frsize=1, f_blocks=1 << 30, f_bavail=100)
    monkeypatch.setattr(os, "statvfs", lambda path: disk)
    monkeypatch.setattr(room, "_LOOK_AGAIN_SECONDS", 0.01)
    task, _ = await full.waits(500, code="spool.full")
    disk.f_bavail = 1000
    await full.goes_on(task)
