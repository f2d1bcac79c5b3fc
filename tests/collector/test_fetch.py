"""From the card into the spool: interrupted, overtaken, lied to, and never one file under another's name."""

from __future__ import annotations

import asyncio
import errno
import hashlib

import msgspec
import pytest
import structlog

from agent.camera import FAULTS, Object
from agent.collector import fetching
from agent.collector.fetch import looks_right
from agent.collector.room import RoomMaker
from agent.collector.visit import Visit
from agent.faults import Fault, fault
from agent.keys import Media
from agent.ledger import NewDelivery
from agent.spool import disk
from tests.collector.scripted import JPEG, SERIAL, Body, File, content, lost, made
from tests.collector.workbench import Workbench
from tests.ledger.failing import Failing
from tests.ledger.given import keys_of, shot


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "backoff_seconds", lambda tries, cap: 0.001)
    monkeypatch.setattr(fetching, "_NO_ROOM_SECONDS", 0.001)


async def test_everything_arrives_as_it_was_on_the_card(bench: Workbench) -> None:
    files = [made("A.JPG", 1), made("B.JPG", 100), made("C.CR3", 101), made("D.MP4", 950), made("E.XYZ", 16)]
    async with bench.visiting(Body(*files)) as visit:
        await visit.idle()
    for file in files:
        await bench.assert_fetched(file.object.name, file.data)
        row = (await bench.files())[file.object.name]
        (delivery,) = row["deliveries"]
        assert (delivery["destination"], delivery["key"]) == ("archive", file.object.name)
        assert (row["generation"], row["tries"]) == (1, 1)
    assert bench.progress.fetched_files == 5
    assert bench.progress.fetched_bytes == sum(len(file.data) for file in files)
    assert bench.spool.reserved_bytes == 0


async def test_what_no_route_asks_for_is_seen_and_left_on_the_card(bench: Workbench) -> None:
    bench.around.routes = ()
    body = Body(made("A.JPG"), made("B.JPG"))
    async with bench.visiting(body) as visit:
        await visit.idle()
        assert await bench.states() == {"A.JPG": "discovered", "B.JPG": "discovered"}
    assert body.reads == []


async def test_a_second_visit_reads_nothing(bench: Workbench) -> None:
    async with bench.visiting(Body(made("A.JPG"), made("B.MP4"))) as visit:
        await visit.idle()
    body = Body(made("A.JPG"), made("B.MP4"))
    async with bench.visiting(body) as visit:
        await visit.idle()
    assert body.reads == [] and len(await bench.files()) == 2


# -- a link that breaks


def cut_at(body: Body, offset: int) -> None:
    def cut(item: Object, at: int) -> None:
        if at == offset:
            body.link = lost()

    body.on_read = cut


async def test_a_fetch_goes_on_where_the_link_broke(bench: Workbench) -> None:
    first, again = Body(made("A.MP4", 950)), Body(made("A.MP4", 950))
    cut_at(first, 500)
    async with bench.visiting(first) as visit:
        (error,) = await visit.ended()
        assert isinstance(error, Fault) and error.code == "camera.link_lost"
    assert (await bench.states())["A.MP4"] == "fetching"
    row = (await bench.files())["A.MP4"]
    assert (bench.spool.folder / f"{row['id']}.part").stat().st_size == 500
    async with bench.visiting(again) as visit:
        await visit.idle()
    await bench.assert_fetched("A.MP4", content("A.MP4", 950))
    assert again.lookups[0] == "A.MP4", "looked up before it is read"
    assert [offset for _, offset in again.reads] == [0, 500, 600, 700, 800, 900], (
        "the end of the part, then the rest"
    )
    assert (await bench.files())["A.MP4"]["generation"] == 1


async def test_a_part_of_a_file_that_is_no_longer_there_is_dropped(bench: Workbench) -> None:
    first = Body(made("A.MP4", 950))
    cut_at(first, 500)
    async with bench.visiting(first) as visit:
        await visit.ended()
    other = made("A.MP4", 700)  # the card was swapped
    async with bench.visiting(Body(other)) as visit:
        await visit.idle()
    rows = await bench.ledger.views.files()
    assert [(row["state"], row["size_bytes"]) for row in rows] == [("gone", 950), ("fetched", 700)]
    await bench.assert_fetched("A.MP4", other.data)
    assert bench.in_spool() == {str(rows[1]["id"])}, "and what there was of it has left the spool"
    assert bench.spool.used_bytes == 700


async def test_what_came_before_the_break_was_of_another_file(bench: Workbench) -> None:
    """The card was swapped, the handle reused, and then the link broke: nobody could look any more."""
    card = made("A.MP4", 950)
    body = Body(card)

    def swap(item: Object, offset: int) -> None:
        if offset == 300:
            body.files = [made("A.MP4", 950, data=b"\x55" * 950, handle=card.object.handle)]
        if offset == 500:
            body.link = lost()

    body.on_read = swap
    async with bench.visiting(body) as visit:
        await visit.ended()
    again = Body(made("A.MP4", 950))
    async with bench.visiting(again) as visit:
        await visit.idle()
    await bench.assert_fetched("A.MP4", content("A.MP4", 950))
    assert (await bench.files())["A.MP4"]["generation"] == 2


async def test_bodies_that_give_whole_objects_begin_again(bench: Workbench) -> None:
    first, again = (
        Body(made("A.MP4", 950), resumes=False, chunk=100),
        Body(made("A.MP4", 950), resumes=False, chunk=100),
    )
    cut_at(first, 500)
    async with bench.visiting(first) as visit:
        await visit.ended()
    async with bench.visiting(again) as visit:
        await visit.idle()
    await bench.assert_fetched("A.MP4", content("A.MP4", 950))
    assert again.reads[0] == ("A.MP4", 0)
    assert (await bench.files())["A.MP4"]["generation"] == 2, "a partial at a destination is of the first one"


async def test_a_crash_between_the_rename_and_the_ledger(bench: Workbench) -> None:
    file = made("A.JPG")
    await bench.ledger.cameras.meet_camera(SERIAL, True, "main", ("Canon", "R7", "1"), ("host", 1))
    async with bench.visiting(Body(file)) as visit:
        await visit.idle()
    row = (await bench.files())["A.JPG"]
    await bench.ledger.files.fetch_again([row["id"]])
    await bench.ledger.files.begin_fetch(row["id"], 1, from_zero=False, owed=[])
    body = Body(made("A.JPG"))
    async with bench.visiting(body) as visit:
        await visit.idle()
    await bench.assert_fetched("A.JPG", file.data)
    assert body.reads == []


# -- another file under the same handle


@pytest.mark.parametrize("offset", [100, 400, 900])
@pytest.mark.parametrize("size", [950, 700])
async def test_a_card_swapped_while_it_is_read_is_never_finished_under_the_old_name(
    bench: Workbench, offset: int, size: int
) -> None:
    """The handle means another file from then on."""
    card = made("A.MP4", 950)
    other = made("B.MP4", size, handle=card.object.handle)
    body = Body(card)

    def swap(item: Object, at: int) -> None:
        if item.name == "A.MP4" and at == offset:
            body.files = [other]

    body.on_read = swap
    async with bench.visiting(body) as visit:
        await bench.until_states(A_MP4="gone", B_MP4="fetched")
        await visit.idle()
        assert not visit.task.done(), "the camera is served on"
    await bench.assert_fetched("B.MP4", other.data)
    assert (await bench.files())["A.MP4"]["sha256"] is None
    assert bench.in_spool() == {str((await bench.files())["B.MP4"]["id"])}


async def test_handles_that_are_given_out_anew_while_a_file_is_read(bench: Workbench) -> None:
    """The file is there, but what was read may be of the one that has its handle now."""
    card = made("A.MP4", 950)
    body = Body(card)

    def renumber(item: Object, offset: int) -> None:
        if offset == 500 and len(body.files) == 1:
            other = made("B.MP4", 950, handle=card.object.handle)
            body.files = [made("A.MP4", 950), other]

    body.on_read = renumber
    async with bench.visiting(body) as visit:
        await bench.until_states(A_MP4="fetched", B_MP4="fetched")
        await visit.idle()
    await bench.assert_fetched("A.MP4", content("A.MP4", 950))
    await bench.assert_fetched("B.MP4", content("B.MP4", 950))


async def test_a_swap_between_discovery_and_fetch(bench: Workbench) -> None:
    """The listing is of one card, the first read of another."""
    old, new = made("A.JPG", 300), made("A.JPG", 300, captured="2024-06-01T10:00:00", data=JPEG + bytes(298))
    new = File(msgspec.structs.replace(new.object, handle=old.object.handle), new.data)
    body = Body(old)

    def swap(folder: str) -> None:
        if body.scans == 1:
            body.files = [new]

    body.on_listed = swap
    async with bench.visiting(body) as visit:
        await visit.idle()

        async def both() -> bool:
            rows = await bench.ledger.views.files()
            return [row["state"] for row in rows] == ["gone", "fetched"]

        await bench.until(both)
    await bench.assert_fetched("A.JPG", new.data)


# -- what the bytes look like


async def test_an_odd_beginning_is_read_again_and_then_believed(bench: Workbench) -> None:
    odd = made("A.JPG", 950, data=b"not a JPEG at all" + bytes(933))
    body = Body(odd)
    with structlog.testing.capture_logs() as events:
        async with bench.visiting(body) as visit:
            await visit.idle()
    await bench.assert_fetched("A.JPG", odd.data)
    assert body.reads.count(("A.JPG", 0)) == 2
    assert [event["header"] for event in events if event["event"] == "odd header"] == [b"not a JP".hex()]


async def test_a_beginning_that_changes_is_fetched_again(bench: Workbench) -> None:
    good, bad = made("A.JPG", 950), b"garbage from the camera" + bytes(927)
    body = Body(good)
    body.files = [File(good.object, bad)]
    beginnings = 0

    def mend(item: Object, offset: int) -> None:
        nonlocal beginnings
        beginnings += offset == 0
        if beginnings == 2:
            body.files = [good]

    body.on_read = mend
    async with bench.visiting(body) as visit:
        await bench.until_waiting("A.JPG", "camera.unsteady")
        await bench.until_states(A_JPG="fetched")
        await visit.idle()
    await bench.assert_fetched("A.JPG", good.data)
    assert (await bench.files())["A.JPG"]["generation"] == 2


@pytest.mark.parametrize(
    ("kind", "header", "expected"),
    [
        (Media.JPEG, b"\xff\xd8\xff\xe1", True),
        (Media.JPEG, b"II*\0", False),
        (Media.RAW, b"II*\0\x10\0\0\0CR\x02\0", True),
        (Media.RAW, b"\0\0\0\x18ftypcrx ", True),
        (Media.RAW, b"FUJIFILM", True),
        (Media.RAW, b"\0" * 16, False),
        (Media.VIDEO, b"\0\0\0\x18ftypqt  ", True),
        (Media.VIDEO, b"RIFF\0\0\0\0AVI ", True),
        (Media.VIDEO, b"\xff\xd8\xff\xe1", False),
        (Media.AUDIO, b"anything", True),
        (Media.OTHER, b"", True),
    ],
)
def test_how_files_begin(kind: Media, header: bytes, expected: bool) -> None:
    assert looks_right(header, kind) is expected


# -- overtaking


async def test_a_picture_overtakes_a_movie(bench: Workbench) -> None:
    movie = made("A.MP4", 950)
    body = Body(movie)

    async def shoot(item: Object, offset: int) -> None:
        if item.name == "A.MP4" and offset == 300 and len(body.files) == 1:
            body.shoot(made("B.CR3", 250), made("C.JPG", 250))
            await bench.until(lambda: known("B.CR3", "C.JPG"))

    async def known(*names: str) -> bool:
        return set(names) <= (await bench.states()).keys()

    body.on_read = shoot
    async with bench.visiting(body) as visit:
        await bench.until_states(A_MP4="fetched", B_CR3="fetched", C_JPG="fetched")
        await visit.idle()
    for name, size in (("A.MP4", 950), ("B.CR3", 250), ("C.JPG", 250)):
        await bench.assert_fetched(name, content(name, size))
    names = [name for name, _ in body.reads]
    assert names == ["A.MP4"] * 4 + ["C.JPG"] * 3 + ["B.CR3"] * 3 + ["A.MP4"] * 6
    assert body.lookups.count("A.MP4") == 2, "after it was overtaken, and at its end"


async def test_what_is_listed_again_while_room_is_made_for_it_is_fetched_once(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = Body(made("A.MP4", 950))
    visits: list[Visit] = []
    queued_twice: list[bool] = []
    is_ready = RoomMaker.is_ready

    async def ready_after_a_scan(self: RoomMaker, file_id: int, size: int) -> bool:
        before = visits[0]._scans
        visits[0].hurry()

        async def is_scanned() -> bool:
            return visits[0]._scans > before

        await bench.until(is_scanned)
        return await is_ready(self, file_id, size)

    async def shoot(item: Object, offset: int) -> None:
        if item.name == "A.MP4" and offset == 300 and len(body.files) == 1:
            body.shoot(made("B.JPG", 250))
            await bench.until(is_known)
        if item.name == "B.JPG":
            queued_twice.append(visits[0]._fetching.waiting > 0)

    async def is_known() -> bool:
        return "B.JPG" in await bench.states()

    body.on_read = shoot
    monkeypatch.setattr(RoomMaker, "is_ready", ready_after_a_scan)
    async with bench.visiting(body) as visiting:
        visits.append(visiting.visit)
        await bench.until_states(A_MP4="fetched", B_JPG="fetched")
        await visiting.idle()
    assert queued_twice and not any(queued_twice)
    await bench.assert_fetched("B.JPG", content("B.JPG", 250))


async def test_a_movie_is_not_overtaken_by_a_movie(bench: Workbench) -> None:
    body = Body(made("A.MP4", 950, captured="2024-05-01T10:00:00"))

    async def shoot(item: Object, offset: int) -> None:
        if offset == 300 and len(body.files) == 1:
            body.shoot(made("B.MP4", 950, captured="2024-05-01T11:00:00"))
            await bench.until(seen)

    async def seen() -> bool:
        return "B.MP4" in await bench.states()

    body.on_read = shoot
    async with bench.visiting(body) as visit:
        await bench.until_states(B_MP4="fetched")
        await visit.idle()
    assert [name for name, _ in body.reads] == ["A.MP4"] * 10 + ["B.MP4"] * 10


async def test_a_file_that_changed_while_it_was_overtaken_is_not_joined(bench: Workbench) -> None:
    movie = made("A.MP4", 950)
    body = Body(movie)

    async def shoot(item: Object, offset: int) -> None:
        if item.name == "A.MP4" and offset == 300 and len(body.files) == 1:
            body.shoot(made("B.JPG", 250))
            await bench.until(seen)
        if item.name == "B.JPG" and offset == 0:
            body.files = [file for file in body.files if file.object.name == "B.JPG"]
            body.files.append(made("C.MP4", 950, handle=movie.object.handle))

    async def seen() -> bool:
        return "B.JPG" in await bench.states()

    body.on_read = shoot
    async with bench.visiting(body) as visit:
        await bench.until_states(A_MP4="gone", B_JPG="fetched", C_MP4="fetched")
        await visit.idle()
    await bench.assert_fetched("C.MP4", content("C.MP4", 950))
    assert ("A.MP4", 500) not in body.reads


async def test_a_picture_that_finds_no_room_does_not_hold_up_the_movie_that_has_it(bench: Workbench) -> None:
    bench.spool.budget_bytes = 1000
    body = Body(made("A.MP4", 950))

    async def shoot(item: Object, offset: int) -> None:
        if offset == 300 and len(body.files) == 1:
            body.shoot(made("B.JPG", 250))
            await bench.until(seen)

    async def seen() -> bool:
        return "B.JPG" in await bench.states()

    body.on_read = shoot
    async with bench.visiting(body):
        await bench.until_states(A_MP4="fetched")
        await bench.until_waiting("B.JPG", "spool.no_room")
        assert (await bench.states())["B.JPG"] == "discovered"
        job = await bench.ledger.deliveries.claim("archive", [])
        assert job is not None
        await bench.ledger.orders.skip([job.file_id], "somebody", "no")
        await bench.until_states(A_MP4="evicted", B_JPG="fetched")


# -- faults


async def test_an_unreadable_file_holds_up_itself_alone(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else the pauses grow while a busy machine fetches the others, beyond what this test waits for.
    monkeypatch.setattr(fetching, "backoff_seconds", lambda tries, cap: 0.2)
    body = Body(*(made(f"{n}.JPG", 250) for n in range(5)))
    tried = 0

    def refuse(item: Object, offset: int) -> None:
        nonlocal tried
        if item.name == "2.JPG":
            tried += 1
            raise fault(FAULTS, "camera.bad_dataset", "what the camera said")

    body.on_read = refuse
    async with bench.visiting(body) as visit:
        await bench.until_states(**{f"{n}_JPG": "fetched" for n in (0, 1, 3, 4)})
        row = await bench.until_waiting("2.JPG", "camera.bad_dataset")
        assert (row["waiting_for"], row["fault_detail"]) == ("camera", "what the camera said")
        assert row["next_try_at"] is not None
        body.on_read = lambda item, offset: None
        await bench.until_states(**{"2_JPG": "fetched"})
        await visit.idle()
    assert tried >= 1
    await bench.assert_fetched("2.JPG", content("2.JPG", 250))


async def test_files_that_wait_keep_no_room(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "backoff_seconds", lambda tries, cap: 3600.0)
    bench.spool.budget_bytes = 1000
    body = Body(*(made(f"{n}.JPG", 400) for n in range(5)), made("Z.CR3", 900))

    def refuse(item: Object, offset: int) -> None:
        if item.name != "Z.CR3":
            raise fault(FAULTS, "camera.bad_dataset")

    body.on_read = refuse
    async with bench.visiting(body):
        await bench.until_states(Z_CR3="fetched")


async def test_a_file_larger_than_the_budget_needs_a_person_and_the_others_go_on(bench: Workbench) -> None:
    bench.spool.budget_bytes = 1000
    body = Body(made("A.MP4", 1001), made("B.MP4", 900))
    async with bench.visiting(body) as visit:
        row = await bench.until_waiting("A.MP4", "spool.larger_than_budget")
        assert row["waiting_for"] == "person"
        await bench.until_states(B_MP4="fetched")
        await visit.idle()
        assert ("A.MP4", 0) not in body.reads
        bench.spool.budget_bytes = 5000
        visit.visit.hurry()
        await bench.until_states(A_MP4="fetched")


async def test_a_failing_disk_holds_the_file_and_keeps_the_camera(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = disk.write_all, 2

    def full(descriptor: int, view: memoryview, offset: int) -> None:
        nonlocal failures
        if failures and offset == 300:
            failures -= 1
            raise OSError(errno.ENOSPC, "no space")
        real(descriptor, view, offset)

    monkeypatch.setattr("agent.spool.writer.write_all", full)
    body = Body(made("A.MP4", 950))
    async with bench.visiting(body) as visit:
        row = await bench.until_waiting("A.MP4", "spool.full")
        assert row["waiting_for"] == "spool" and row["next_try_at"]
        await bench.until_states(A_MP4="fetched")
        await visit.idle()
        assert not visit.task.done() and body.scans == 1, "one visit"
    await bench.assert_fetched("A.MP4", content("A.MP4", 950))


async def test_a_bug_costs_one_file_its_turn(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    body = Body(made("A.JPG", 250, captured="2024-05-01T12:00:00"), made("B.JPG", 250))
    failures = 2

    def bug(item: Object, offset: int) -> None:
        nonlocal failures
        if item.name == "A.JPG" and failures:
            failures -= 1
            raise ZeroDivisionError("a bug")

    body.on_read = bug
    with structlog.testing.capture_logs() as events:
        async with bench.visiting(body) as visit:
            await bench.until_states(A_JPG="fetched", B_JPG="fetched")
            await visit.idle()
    assert [event["event"] for event in events].count("unclassified") == 2


async def test_a_camera_that_sends_too_little(bench: Workbench) -> None:
    """It had said 950 bytes, and has 500."""
    liar = made("A.JPG", 950)
    body = Body(File(liar.object, liar.data[:500]), made("B.JPG", 250))
    async with bench.visiting(body):
        await bench.until_waiting("A.JPG", "camera.short_read")
        await bench.until_states(B_JPG="fetched")
        assert (await bench.states())["A.JPG"] == "fetching"


# -- orders and changes from outside


async def test_given_up_while_it_is_fetched(bench: Workbench) -> None:
    body = Body(made("A.MP4", 950), made("B.MP4", 250, captured="2020-01-01T00:00:00"))
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def hold(item: Object, offset: int) -> None:
        if item.name == "A.MP4" and offset == 500:
            reading.set()
            await go_on.wait()

    body.on_read = hold
    async with bench.visiting(body) as visit:
        await reading.wait()
        file_id = (await bench.files())["A.MP4"]["id"]
        await bench.ledger.orders.skip([file_id], "somebody", "no")
        visit.visit.drop([file_id])
        await bench.until_states(A_MP4="skipped", B_MP4="fetched")
        await visit.idle()
    assert bench.in_spool() == {str((await bench.files())["B.MP4"]["id"])}
    assert ("A.MP4", 600) not in body.reads


async def test_skipped_behind_our_back_while_it_is_queued(bench: Workbench) -> None:
    """The order is in the ledger before anybody tells the visit."""
    body = Body(made("A.MP4", 950), made("B.JPG", 250))

    async def skip(item: Object, offset: int) -> None:
        if item.name == "B.JPG":
            await bench.ledger.orders.skip([(await bench.files())["A.MP4"]["id"]], "somebody", "no")

    body.on_read = skip
    async with bench.visiting(body) as visit:
        await bench.until_states(B_JPG="fetched")
        await visit.idle()
    assert (await bench.states())["A.MP4"] == "skipped"
    assert ("A.MP4", 0) not in body.reads
    assert bench.in_spool() == {str((await bench.files())["B.JPG"]["id"])}
    assert bench.spool.reserved_bytes == 0


async def test_deleted_on_the_camera_while_it_is_queued(bench: Workbench) -> None:
    body = Body(made("A.MP4", 950, captured="2020-01-01T00:00:00"), made("B.MP4", 950))
    first = True

    async def delete(item: Object, offset: int) -> None:
        nonlocal first
        if item.name == "B.MP4" and offset == 100 and first:
            first = False
            body.lose("A.MP4")
            visit.visit.hurry()
            await bench.until(gone)

    async def gone() -> bool:
        return (await bench.states())["A.MP4"] == "gone"

    body.on_read = delete
    async with bench.visiting(body) as visit:
        await bench.until_states(A_MP4="gone", B_MP4="fetched")
        await visit.idle()
        body.files.append(made("A.MP4", 950, captured="2020-01-01T00:00:00"))
        visit.visit.hurry()
        await bench.until_states(A_MP4="fetched")
    assert len(await bench.ledger.views.files()) == 2, "it came back as what it was"


async def test_what_is_promised_is_fetched_whatever_the_routes_say(bench: Workbench) -> None:
    bench.around.routes = ()
    async with bench.visiting(Body(made("A.JPG"))) as visit:
        await visit.idle()
        row = (await bench.files())["A.JPG"]
        assert row["state"] == "discovered"
        await bench.ledger.files.owe(row["id"], [NewDelivery("elsewhere", keys_of(shot("A.JPG")))])
        bench.around.promised.add(row["id"])
        visit.visit.hurry()
        await bench.until_states(A_JPG="fetched")
    (delivery,) = (await bench.files())["A.JPG"]["deliveries"]
    assert delivery["destination"] == "elsewhere"


async def test_what_was_sacrificed_is_fetched_again_when_its_destination_works(bench: Workbench) -> None:
    file = made("A.JPG", 250)
    await bench.ledger.cameras.set_subject("destination", "archive", "waiting", code="x.y")
    body = Body(file)
    async with bench.visiting(body) as visit:
        await visit.idle()
        row = (await bench.files())["A.JPG"]
        await bench.spool.evict(row["id"])
        await bench.ledger.files.mark_evicted(row["id"])
        visit.visit.hurry()
        await bench.until(lambda: scanned(body, 2))
        await visit.idle()
        assert (await bench.states())["A.JPG"] == "evicted"
        await bench.ledger.cameras.set_subject("destination", "archive", "ready")
        visit.visit.hurry()
        await bench.until_states(A_JPG="fetched")
    await bench.assert_fetched("A.JPG", file.data)
    assert (await bench.files())["A.JPG"]["generation"] == 2
    assert hashlib.sha256(file.data).hexdigest() == (await bench.files())["A.JPG"]["sha256"]


async def scanned(body: Body, times: int) -> bool:
    return body.scans >= times


# -- a ledger that fails


async def test_the_ledger_fails_at_any_point(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times in a row, from the first, second, third … transaction on, until it is met no more."""
    failing = Failing(bench.ledger, monkeypatch)
    first = 0
    while failing.count >= first:
        first += 1
        failing.begin = failing.end = 0
        names = [f"{first}-{n}.JPG" for n in range(3)]
        body = Body(*(made(name, 250) for name in names[:2]))
        failing.count, failing.begin, failing.end = 0, first, first + 3
        with structlog.testing.capture_logs():
            async with bench.visiting(body) as visit:
                await visit.idle()
                body.shoot(made(names[2], 250, is_just_written=True))
                await bench.until_states(**{name.replace(".", "_"): "fetched" for name in names})
                await visit.idle()
                assert body.scans == 1, "one visit"
        for name in names:
            await bench.assert_fetched(name, content(name, 250))
    assert first > 5


async def test_a_ledger_that_stays_full_does_not_keep_a_visit_from_ending(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_LAST_SECONDS", 0.01)
    failing = Failing(bench.ledger, monkeypatch)
    body = Body(made("A.JPG", 250))

    def full(item: Object, offset: int) -> None:
        failing.begin, failing.end = failing.count + 1, 1 << 30

    body.on_read = full
    with structlog.testing.capture_logs():
        async with asyncio.timeout(10):
            async with bench.visiting(body):
                await failing.met.wait()
        failing.end = 0
    assert bench.stored(await bench.ledger.files.file(1) or {}) == content("A.JPG", 250)
    async with bench.visiting(Body(made("A.JPG", 250))):
        await bench.until_states(A_JPG="fetched")
