"""What is seen on the cards, when, and what follows: scans beside events, sizes that settle, old pictures."""

from __future__ import annotations

import msgspec
import pytest
import structlog

from agent.camera import FAULTS, Handle, Look, Object
from agent.collector import settling, visit
from agent.faults import fault
from agent.ledger import Row
from tests.collector.scripted import Body, File, content, lost, made
from tests.collector.workbench import Workbench


async def known_as(bench: Workbench, name: str, *states: str) -> bool:
    return (await bench.states()).get(name) in states


async def rows_of(bench: Workbench, name: str) -> list[Row]:
    return [row for row in await bench.ledger.views.files() if row["name"] == name]


# -- scans and looks


async def test_every_folder_of_every_card_is_read(bench: Workbench) -> None:
    body = Body(
        made("A.JPG", 250),
        made("A.JPG", 250, folder="101CANON"),
        made("A.JPG", 250, storage=2),
        made("B.JPG", 250, storage=2, folder="101CANON"),
    )
    body.cards = [1, 2]
    async with bench.visiting(body) as visiting:
        await visiting.idle()
    rows = await bench.ledger.views.files()
    assert {(row["storage"], row["folder"], row["name"]) for row in rows} == {
        (1, "100CANON", "A.JPG"),
        (1, "101CANON", "A.JPG"),
        (2, "100CANON", "A.JPG"),
        (2, "101CANON", "B.JPG"),
    }
    assert {row["state"] for row in rows} == {"fetched"}


async def test_a_shot_is_seen_by_its_event(bench: Workbench) -> None:
    body = Body(made("A.JPG"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        body.shoot(made("B.JPG", 250))
        await bench.until_states(B_JPG="fetched")
    assert body.scans == 1 and body.reconciles == 0
    assert [row["seen_by"] for row in await bench.ledger.views.files()] == ["scan", "event"]


async def test_a_shot_whose_event_was_lost_is_seen_by_the_next_scan(bench: Workbench) -> None:
    body = Body(made("A.JPG"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        body.shoot(made("B.JPG", 250), announced=False)
        body.looks.put_nowait(Look(is_incomplete=True))
        await bench.until_states(B_JPG="fetched")
    assert body.scans == 1 and body.reconciles >= 1


async def test_a_card_that_is_put_in_is_read_at_once(bench: Workbench) -> None:
    body = Body(made("A.JPG"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        body.cards, body.files = [1, 2], [*body.files, made("B.JPG", 250, storage=2)]
        body.looks.put_nowait(Look(storages_changed=True))
        await bench.until_states(B_JPG="fetched")
    assert body.scans == 2


async def test_a_shot_during_the_scan_is_not_gone_for_it(bench: Workbench) -> None:
    """The folder was listed before the shot, and is compared after its event."""
    body = Body(made("A.JPG", 250))

    async def shoot(folder: str) -> None:
        if len(body.files) == 1:
            body.shoot(made("B.JPG", 250))
            await bench.until(lambda: known_as(bench, "B.JPG", "discovered", "fetching", "fetched"))

    body.on_listed = shoot
    with structlog.testing.capture_logs() as events:
        async with bench.visiting(body) as visiting:
            await bench.until_states(A_JPG="fetched", B_JPG="fetched")
            await visiting.idle()
    gone = [event["event"] for event in events if event["event"] == "gone"]
    assert gone == []


async def test_a_shot_during_the_scan_that_cannot_be_fetched_yet_is_not_gone_either(bench: Workbench) -> None:
    body = Body(made("A.JPG", 250))
    bench.around.routes = ()  # nothing is fetched, so that nothing protects it

    async def shoot(folder: str) -> None:
        if len(body.files) == 1:
            body.shoot(made("B.JPG", 250))
            await bench.until(lambda: known_as(bench, "B.JPG", "discovered"))

    body.on_listed = shoot
    async with bench.visiting(body) as visiting:
        await visiting.idle()
    assert await bench.states() == {"A.JPG": "discovered", "B.JPG": "discovered"}


async def test_what_is_not_listed_any_more_is_gone(bench: Workbench) -> None:
    bench.around.routes = ()
    body = Body(made("A.JPG"), made("B.JPG"), made("C.JPG", folder="101CANON"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
    body = Body(made("A.JPG"))  # B deleted, and its folder with C
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        assert await bench.states() == {"A.JPG": "discovered", "B.JPG": "gone", "C.JPG": "gone"}
        body.files.append(made("C.JPG", folder="101CANON"))
        visiting.visit.hurry()
        await bench.until_states(C_JPG="discovered")
    assert len(await bench.ledger.views.files()) == 3


async def test_a_folder_that_is_listed_in_part_makes_nothing_gone(bench: Workbench) -> None:
    bench.around.routes = ()
    body = Body(made("A.JPG"), made("B.JPG"), made("C.JPG", folder="101CANON"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
    body = Body(made("A.JPG"))
    body.incomplete = {"100CANON"}
    async with bench.visiting(body) as visiting:
        await visiting.idle()
    assert set((await bench.states()).values()) == {"discovered"}, "not even in other folders"


async def test_a_card_that_is_not_in_the_camera_is_not_an_empty_one(bench: Workbench) -> None:
    bench.around.routes = ()
    body = Body(made("A.JPG"), made("B.JPG", storage=2))
    body.cards = [1, 2]
    async with bench.visiting(body) as visiting:
        await visiting.idle()
    body = Body(made("A.JPG"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
    assert await bench.states() == {"A.JPG": "discovered", "B.JPG": "discovered"}


async def test_a_link_that_breaks_in_a_scan_makes_nothing_gone(bench: Workbench) -> None:
    bench.around.routes = ()
    body = Body(made("A.JPG"), made("B.JPG", folder="101CANON"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
    body = Body(made("A.JPG"))

    def cut(folder: str) -> None:
        body.link = lost()

    body.on_listed = cut
    async with bench.visiting(body) as visiting:
        await visiting.ended()
    assert set((await bench.states()).values()) == {"discovered"}


async def test_a_formatted_card(bench: Workbench) -> None:
    """Numbers and names begin again; what was fetched stays what it is."""
    async with bench.visiting(Body(made("A.JPG", 250), made("B.JPG", 250))) as visiting:
        await visiting.idle()
    new = made("A.JPG", 250, captured="2024-06-01T10:00:00", data=content("other", 250))
    async with bench.visiting(Body(new)) as visiting:
        await visiting.idle()
    first, second = await rows_of(bench, "A.JPG")
    assert (first["state"], second["state"]) == ("fetched", "fetched")
    assert bench.stored(first) == content("A.JPG", 250) and bench.stored(second) == new.data
    keys = [row["deliveries"][0]["key"] for row in (first, second)]
    assert keys[0] == "A.JPG" and keys[1].startswith("A-") and len(keys[1]) == len("A-123456.JPG")
    assert (await bench.states())["B.JPG"] == "fetched"


async def test_the_same_name_twice_in_one_folder(bench: Workbench) -> None:
    files = [
        made("IMG_0001.JPG", 250, captured="2024-05-01T10:00:00"),
        made("IMG_0001.JPG", 250, captured="2024-05-01T10:00:01", data=content("other", 250)),
    ]
    for _ in range(2):
        async with bench.visiting(Body(*files)) as visiting:
            await visiting.idle()
    rows = await bench.ledger.views.files()
    assert len(rows) == 2
    assert {row["captured"]: bench.stored(row) for row in rows} == {
        file.object.captured: file.data for file in files
    }


# -- sizes that are not final


def growing(name: str, size: int | None) -> File:
    file = made(name, size or 1, is_just_written=True)
    return File(msgspec.structs.replace(file.object, size=size), file.data)


async def test_a_size_counts_when_two_looks_agree(bench: Workbench) -> None:
    body = Body()
    sizes = iter([100, 200, 300, 300])
    final = made("A.JPG", 300)

    def grow(item: Object) -> None:
        if item.name == "A.JPG" and not body.reads:
            size = next(sizes, 300)
            body.files = [File(msgspec.structs.replace(final.object, size=size), final.data)]

    body.on_lookup = grow
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        body.shoot(File(msgspec.structs.replace(final.object, size=0, is_just_written=True), b""))
        await bench.until_states(A_JPG="fetched")
    assert next(sizes, None) is None, "not before the size stood still"
    await bench.assert_fetched("A.JPG", final.data)
    (row,) = await rows_of(bench, "A.JPG")
    assert row["size_bytes"] == 300


async def test_a_shot_is_settled_at_once_though_the_ledger_is_quiet(bench: Workbench) -> None:
    """Nothing but the shot itself may be needed to take the second look."""
    body = Body()
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        for number in range(20):
            body.shoot(made(f"{number}.JPG", 50, is_just_written=True))
            await bench.until_states(**{f"{number}_JPG": "fetched"})


async def test_a_file_that_stays_empty_is_told_and_holds_up_nobody(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(settling, "SLOW_LOOK_SECONDS", 0.001)
    body = Body(made("A.JPG", 0), made("B.JPG", 250))
    async with bench.visiting(body) as visiting:
        row = await bench.until_waiting("A.JPG", "camera.size_unsettled")
        await bench.until_states(B_JPG="fetched")
        assert (row["state"], row["identity"], row["waiting_for"]) == ("discovered", None, "camera")
        assert not visiting.visit.is_idle
        assert [each["name"] for each in await bench.ledger.views.undelivered()] == ["A.JPG", "B.JPG"][::-1]
        body.files[0] = File(msgspec.structs.replace(body.files[0].object, size=50), bytes(50))
        await bench.until_states(A_JPG="fetched")
        await visiting.idle()


async def test_a_size_that_no_listing_tells_is_found_out_the_hard_way(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "PATIENCE_SECONDS", 0.01)
    file = made("A.MP4", 950)
    body = Body(File(msgspec.structs.replace(file.object, size=None), file.data))
    body.measured["A.MP4"] = 950

    def measured(item: Object) -> None:
        if item.size == 950:
            body.files = [file]

    body.on_lookup = measured
    async with bench.visiting(body):
        await bench.until_states(A_MP4="fetched")
    await bench.assert_fetched("A.MP4", file.data)


async def test_an_unreadable_new_file_does_not_end_the_visit(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "PATIENCE_SECONDS", 0.01)
    body = Body()

    def refuse(item: Object) -> None:
        if item.name == "A.JPG":
            raise fault(FAULTS, "camera.bad_dataset", "x")

    body.on_lookup = refuse
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        body.shoot(made("A.JPG", 50, is_just_written=True), made("B.JPG", 50, is_just_written=True))
        await bench.until_waiting("A.JPG", "camera.bad_dataset")
        await bench.until_states(B_JPG="fetched")
        assert not visiting.task.done()


async def test_a_new_file_that_is_deleted_before_its_size_is_known(bench: Workbench) -> None:
    bench.around.routes = ()
    body = Body()
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        body.looks.put_nowait(Look(added=(growing("A.JPG", None).object,)))
        await bench.until(lambda: known_as(bench, "A.JPG", "discovered", "gone"))
        body.files = [made("B.JPG")]
        visiting.visit.hurry()
        await bench.until_states(A_JPG="gone", B_JPG="discovered")
        await visiting.idle()


async def test_sizes_that_were_not_final_at_the_last_stop(bench: Workbench) -> None:
    body = Body(growing("A.JPG", None))
    async with bench.visiting(body):
        await bench.until(lambda: known_as(bench, "A.JPG", "discovered"))
    final = made("A.JPG", 250)
    async with bench.visiting(Body(final)) as visiting:
        await visiting.idle()
    await bench.assert_fetched("A.JPG", final.data)
    assert len(await bench.ledger.views.files()) == 1


# -- old pictures


OLD = ("2020-01-01T00:00:00", "2022-02-02T00:00:00", "2024-05-01T10:00:00")


def old_card() -> list[File]:
    return [made(f"OLD_{n}.JPG", 50, captured=at) for n, at in enumerate(OLD)]


async def fetched(bench: Workbench) -> set[str]:
    return {row["name"] for row in await bench.ledger.views.files() if row["state"] == "fetched"}


async def skipped(bench: Workbench) -> set[str]:
    return {
        row["name"]
        for row in await bench.ledger.views.files()
        if (row["state"], row["skipped_by"]) == ("skipped", "backlog")
    }


OLD_NAMES = {f"OLD_{n}.JPG" for n in range(3)}


async def test_backlog_all(bench: Workbench) -> None:
    async with bench.visiting(Body(*old_card()), backlog="all") as visiting:
        await visiting.idle()
    assert await fetched(bench) == OLD_NAMES


async def test_backlog_since_a_time(bench: Workbench) -> None:
    body = Body(*old_card(), made("NO_TIME.JPG", 50, captured=""))
    async with bench.visiting(body, backlog="2022-02-02T00:00:00") as visiting:
        await visiting.idle()
    assert await fetched(bench) == {"OLD_1.JPG", "OLD_2.JPG", "NO_TIME.JPG"}
    assert await skipped(bench) == {"OLD_0.JPG"}


async def test_backlog_none_leaves_what_was_there_and_takes_what_comes(bench: Workbench) -> None:
    body = Body(*old_card())
    async with bench.visiting(body, backlog="none") as visiting:
        await visiting.idle()
        assert await skipped(bench) == OLD_NAMES and body.reads == []
        body.shoot(made("NEW.JPG", 50, captured="2024-05-01T10:00:01"))
        await bench.until_states(NEW_JPG="fetched")
    # and what is shot while nobody looks, even by a clock that was set back
    body = Body(*old_card(), made("NEW.JPG", 50, captured="2024-05-01T10:00:01"))
    body.files += [
        made("AWAY.JPG", 50, captured="2024-05-02T00:00:00"),
        made("BACK.JPG", 50, captured="2019-01-01T00:00:00"),
    ]
    async with bench.visiting(body, backlog="none") as visiting:
        await visiting.idle()
    assert await fetched(bench) == {"NEW.JPG", "AWAY.JPG", "BACK.JPG"}
    assert await skipped(bench) == OLD_NAMES


async def test_backlog_none_and_a_second_card_full_of_old_pictures(bench: Workbench) -> None:
    async with bench.visiting(Body(*old_card()), backlog="none") as visiting:
        await visiting.idle()
    body = Body(
        made("OTHER_1.JPG", 50, folder="200CANON", captured="2021-01-01T00:00:00"),
        made("OTHER_2.JPG", 50, folder="200CANON", captured="2024-06-01T00:00:00"),
    )
    async with bench.visiting(body, backlog="none") as visiting:
        await visiting.idle()
    assert await skipped(bench) == {*OLD_NAMES, "OTHER_1.JPG"}
    assert await fetched(bench) == {"OTHER_2.JPG"}


async def test_backlog_none_and_a_link_that_breaks_in_the_first_scan(bench: Workbench) -> None:
    body = Body(*old_card(), made("OLD_3.JPG", 50, folder="101CANON", captured="2023-01-01T00:00:00"))

    def cut(folder: str) -> None:
        if folder == "101CANON":
            body.link = lost()

    body.on_listed = cut
    async with bench.visiting(body, backlog="none") as visiting:
        await visiting.ended()
    assert await bench.states() == {}, "what is old shows only in all of it"
    body.link, body.on_listed = None, lambda folder: None
    async with bench.visiting(body, backlog="none") as visiting:
        await visiting.idle()
    assert await skipped(bench) == {*OLD_NAMES, "OLD_3.JPG"}


async def test_backlog_none_and_a_crash_in_the_middle_of_the_first_scan(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is old was decided and kept; a shot taken after that is new, though the scan has to be made again."""
    body = Body(*old_card(), made("OLD_3.JPG", 50, folder="101CANON", captured="2023-01-01T00:00:00"))
    discover, times = bench.ledger.files.discover, 0

    async def crash(*args: object) -> list[int]:
        nonlocal times
        times += 1
        if times == 2:
            raise lost()
        return await discover(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.ledger.files, "discover", crash)
    async with bench.visiting(body, backlog="none") as visiting:
        await visiting.ended()
    assert await skipped(bench) == OLD_NAMES
    body = Body(*body.files, made("NEW.JPG", 50, captured="2024-05-01T10:00:05"))
    async with bench.visiting(body, backlog="none") as visiting:
        await visiting.idle()
    assert await skipped(bench) == {*OLD_NAMES, "OLD_3.JPG"}
    assert await fetched(bench) == {"NEW.JPG"}


async def test_backlog_none_and_a_shot_that_the_first_scan_lists_before_its_event(bench: Workbench) -> None:
    body = Body(*old_card(), made("NEW.JPG", 50, captured="2024-05-01T10:00:05"))
    async with bench.visiting(body, backlog="none") as visiting:
        await visiting.idle()
        assert "NEW.JPG" in await skipped(bench)
        body.looks.put_nowait(Look(added=(body.files[-1].object,)))
        await bench.until_states(NEW_JPG="fetched")
        body.looks.put_nowait(Look(changed=(body.files[0].object,)))  # rated or protected: no new picture
        body.shoot(made("LAST.JPG", 50, captured="2024-05-01T10:00:09"))
        await bench.until_states(LAST_JPG="fetched")
    assert await skipped(bench) == OLD_NAMES


async def test_what_was_left_alone_can_be_asked_for(bench: Workbench) -> None:
    async with bench.visiting(Body(*old_card()), backlog="none") as visiting:
        await visiting.idle()
        row = (await bench.files())["OLD_1.JPG"]
        await bench.ledger.orders.retry([row["id"]])
        visiting.visit.hurry()
        await bench.until_states(OLD_1_JPG="fetched")
        await visiting.idle()
    assert await fetched(bench) == {"OLD_1.JPG"}


# -- now and then


async def test_the_cards_are_compared_now_and_then_though_nothing_is_heard(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "RECONCILE_SECONDS", 0.005)
    body = Body()
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        body.shoot(made("A.JPG", 50), announced=False)
        await bench.until_states(A_JPG="fetched")
    assert body.scans == 1 and body.reconciles
    monkeypatch.setattr(visit, "RECONCILE_SECONDS", 60.0)
    monkeypatch.setattr(visit, "FULL_SCAN_SECONDS", 0.005)
    body = Body()
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        body.shoot(made("B.JPG", 50, folder="300CANON"), announced=False)
        await bench.until_states(B_JPG="fetched")
    assert body.scans > 1


async def test_a_listing_that_names_one_object_twice_fetches_it_once(bench: Workbench) -> None:
    file = made("A.JPG", 50)
    twin = File(msgspec.structs.replace(file.object, handle=Handle(5)), file.data)
    body = Body(file, twin)
    for _ in range(2):
        async with bench.visiting(body) as visiting:
            await visiting.idle()
    assert body.reads == [("A.JPG", 0)]
    assert len(await bench.ledger.views.files()) == 1
