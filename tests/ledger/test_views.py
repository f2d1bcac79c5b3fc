"""What people ask of the ledger, and the orders they give."""

from __future__ import annotations

from agent.ledger import Ledger, NewDelivery
from tests.ledger.given import (
    RECEIPT,
    SIZE_ONLY,
    claimed,
    delivery_of,
    discovered,
    done,
    fetched,
    fetching,
    shot,
    state_of,
)

FUTURE = "2999-01-01T00:00:00.000Z"


async def test_files_come_in_pages_each_with_its_camera_and_its_deliveries(ledger: Ledger) -> None:
    ids = [await fetched(ledger, shot(f"{n}.JPG"), ["cloud", "archive"][: n % 3]) for n in range(7)]
    seen: list[int] = []
    while page := await ledger.views.files(after_id=seen[-1] if seen else 0, limit=3):
        assert len(page) <= 3
        for row in page:
            n = len(seen)
            assert (row["name"], row["camera"], row["host"], row["port"]) == (
                f"{n}.JPG",
                "main",
                "host",
                15740,
            )
            assert [each["destination"] for each in row["deliveries"]] == sorted(
                ["cloud", "archive"][: n % 3]
            )
            assert all(each["file_id"] == row["id"] for each in row["deliveries"])
            seen.append(row["id"])
    assert seen == ids


async def test_files_by_state(ledger: Ledger) -> None:
    first = await discovered(ledger, shot("A.JPG"))
    await fetching(ledger, shot("B.JPG"))
    third = await discovered(ledger, shot("C.JPG"))
    rows = await ledger.views.files(state="discovered")
    assert [row["id"] for row in rows] == [first, third]
    assert [row["id"] for row in await ledger.views.files(state="discovered", after_id=first)] == [third]
    assert await ledger.views.files(state="evicted") == []


async def test_counts(ledger: Ledger) -> None:
    await discovered(ledger, shot("A.JPG"))
    await done(ledger, shot("B.JPG"), ["x"])
    await done(ledger, shot("C.JPG"), ["y"], outcome=SIZE_ONLY)
    assert await ledger.views.counts() == {
        "files": {"discovered": 1, "fetched": 2},
        "deliveries": {"done": 2, "verified": 1},
    }


async def test_undelivered_says_what_is_owed_and_why(ledger: Ledger) -> None:
    await done(ledger, shot("done.JPG"))
    await discovered(ledger, shot("not wanted.JPG"))
    await discovered(ledger, shot("backlog.JPG", skipped_by="backlog"))
    held = await discovered(ledger, shot("held.JPG"))
    await ledger.files.hold_file(held, "person", "spool.larger_than_budget", "9 bytes", None)
    suspended = await fetching(ledger, shot("suspended.JPG"), ["a"])
    await ledger.files.hold_file(suspended, "camera", "camera.short_read", "at 5", FUTURE)
    failed = await fetched(ledger, shot("failed.JPG"), ["b"])
    await ledger.deliveries.fail_delivery((await claimed(ledger, "b")).id, "folder.bad_key", "x")
    waiting = await fetched(ledger, shot("waiting.JPG"), ["c"])
    await ledger.deliveries.postpone(
        (await claimed(ledger, "c")).id,
        waiting_for="retry",
        code="folder.busy",
        detail="y",
        next_try_at=FUTURE,
    )
    uploading = await fetched(ledger, shot("uploading.JPG"), ["d"])
    await claimed(ledger, "d")
    gone = await fetching(ledger, shot("gone.JPG"), ["e"])
    await ledger.files.mark_gone([gone])
    found = {
        row["id"]: tuple(
            row[field]
            for field in ("name", "destination", "state", "waiting_for", "fault_code", "fault_detail")
        )
        for row in await ledger.views.undelivered()
    }
    assert found == {
        held: ("held.JPG", None, "discovered", "person", "spool.larger_than_budget", "9 bytes"),
        suspended: ("suspended.JPG", "a", "queued", "camera", "camera.short_read", "at 5"),
        failed: ("failed.JPG", "b", "failed", None, "folder.bad_key", "x"),
        waiting: ("waiting.JPG", "c", "queued", "retry", "folder.busy", "y"),
        uploading: ("uploading.JPG", "d", "uploading", None, None, ""),
    }
    assert len(await ledger.views.undelivered(limit=2)) == 2


# -- retry


async def failed_at(ledger: Ledger, name: str, destination: str = "archive") -> int:
    file_id = await fetched(ledger, shot(name), [destination])
    await ledger.deliveries.fail_delivery((await claimed(ledger, destination)).id, "x.y", "why")
    return file_id


async def test_retry_of_everything_is_of_what_failed(ledger: Ledger) -> None:
    failed = [await failed_at(ledger, "A.JPG"), await failed_at(ledger, "B.JPG")]
    skipped = await fetched(ledger, shot("C.JPG"))
    await ledger.orders.skip([skipped], "somebody", "no")
    assert await ledger.orders.retry(None) == 2
    for file_id in failed:
        delivery = await delivery_of(ledger, file_id)
        assert (delivery["state"], delivery["fault_code"], delivery["fault_detail"]) == ("queued", None, "")
    assert (await delivery_of(ledger, skipped))["state"] == "skipped"


async def test_retry_of_some_includes_what_was_skipped_of_them(ledger: Ledger) -> None:
    failed, other = await failed_at(ledger, "A.JPG"), await failed_at(ledger, "B.JPG")
    skipped = await fetching(ledger, shot("C.JPG"))
    await ledger.orders.skip([skipped], "somebody", "no")
    assert await ledger.orders.retry([failed, skipped]) == 2
    assert (await delivery_of(ledger, other))["state"] == "failed"
    assert await state_of(ledger, skipped) == "discovered"
    delivery = await delivery_of(ledger, skipped)
    assert (delivery["state"], delivery["skipped_by"], delivery["skip_reason"]) == ("queued", None, None)


async def test_retry_lets_nothing_wait_for_the_clock_or_a_person(ledger: Ledger) -> None:
    one = await fetched(ledger, shot("A.JPG"))
    await ledger.deliveries.postpone(
        (await claimed(ledger)).id, waiting_for="retry", code="x.y", next_try_at=FUTURE
    )
    held = await discovered(ledger, shot("B.JPG"))
    await ledger.files.hold_file(held, "person", "spool.larger_than_budget", "", None)
    assert await ledger.orders.retry([one]) == 0
    assert (await claimed(ledger)).file_id == one
    assert len(await ledger.views.undelivered()) == 2
    await ledger.orders.retry(None)
    assert [row["id"] for row in await ledger.views.undelivered()] == [one]


async def test_retry_does_not_promise_what_is_gone(ledger: Ledger) -> None:
    gone = await fetching(ledger)
    await ledger.files.mark_gone([gone])
    assert await ledger.orders.retry([gone]) == 0
    assert (await delivery_of(ledger, gone))["state"] == "skipped"
    assert await ledger.views.undelivered() == []


async def test_retry_of_nothing_and_of_done(ledger: Ledger) -> None:
    file_id = await done(ledger)
    assert await ledger.orders.retry([]) == 0
    assert await ledger.orders.retry([file_id]) == 0
    assert (await delivery_of(ledger, file_id))["state"] == "done"


# -- skip


async def test_skip_gives_up_what_is_owed_and_keeps_what_is_done(ledger: Ledger) -> None:
    both = await fetched(ledger, shot("A.JPG"), ["archive", "cloud"])
    await ledger.deliveries.finish_delivery((await claimed(ledger)).id, RECEIPT)
    sending = await fetched(ledger, shot("B.JPG"))
    await claimed(ledger)
    seen = await discovered(ledger, shot("C.JPG"))
    finished = await done(ledger, shot("D.JPG"), ["elsewhere"])
    assert await ledger.orders.skip([both, sending, seen, finished], "somebody", "no") == 3
    assert (await delivery_of(ledger, both, "archive"))["state"] == "done"
    for file_id, destination in ((both, "cloud"), (sending, "archive")):
        delivery = await delivery_of(ledger, file_id, destination)
        assert (delivery["state"], delivery["skipped_by"], delivery["skip_reason"]) == (
            "skipped",
            "somebody",
            "no",
        )
    assert await state_of(ledger, both) == "fetched", "it is in the spool"
    assert await state_of(ledger, seen) == "skipped"
    assert await ledger.orders.skip([both, sending, seen, finished], "somebody", "no") == 0


async def test_backlog_in_figures(ledger: Ledger) -> None:
    await discovered(ledger, shot("A.JPG", size=1))
    held = await discovered(ledger, shot("B.JPG", size=2))
    await ledger.files.hold_file(held, "person", "x.y", "", None)
    await fetching(ledger, shot("C.JPG", size=4), ["x"])
    await fetched(ledger, shot("D.JPG", size=8), ["y", "z"])
    await ledger.deliveries.fail_delivery((await claimed(ledger, "y")).id, "x.y", "")
    await done(ledger, shot("E.JPG", size=16))
    assert await ledger.views.backlog() == {
        "owed": 3,
        "owed_bytes": 4 + 8 + 8,
        "waiting": 0,
        "to_fetch": 3,
        "to_fetch_bytes": 7,
        "needs_you": 2,
    }


# -- names, destinations, and what is proven again


async def test_files_by_name_by_the_end_of_their_path_and_by_pattern(ledger: Ledger) -> None:
    ids = [
        await discovered(ledger, shot(name, folder=folder))
        for name, folder in (("A.JPG", "100X"), ("A.JPG", "101X"), ("B[1].JPG", "100X"), ("XA.JPG", "100X"))
    ]

    async def named(pattern: str, *, is_glob: bool = False) -> list[int]:
        return [row["id"] for row in await ledger.views.named(pattern, is_glob=is_glob)]

    assert await named("a.jpg") == ids[:2], "and not what only ends so"
    assert await named("101x/A.JPG") == [ids[1]] == await named("main/101X/A.JPG")
    assert await named("B[1].JPG") == [ids[2]] and await named("B*.JPG") == []
    assert await named("100X/*.JPG", is_glob=True) == [ids[0], ids[2], ids[3]]
    assert len(await ledger.views.named("*", is_glob=True, limit=2)) == 2


async def test_destinations_in_figures(ledger: Ledger) -> None:
    await done(ledger, shot("A.JPG", size=1), ["x"])
    await done(ledger, shot("B.JPG", size=2), ["x"], outcome=SIZE_ONLY)
    await fetched(ledger, shot("C.JPG", size=4), ["x", "y"])
    await ledger.deliveries.postpone(
        (await claimed(ledger, "x")).id, waiting_for="retry", code="x.y", next_try_at=FUTURE
    )
    await ledger.deliveries.fail_delivery((await claimed(ledger, "y")).id, "x.y", "")
    found = await ledger.views.destinations()
    x, y = found["x"], found["y"]
    assert (x["queued"], x["waiting"], x["done"], x["verified"], x["owed_bytes"]) == (1, 1, 2, 1, 4)
    assert x["proven_at"] and x["proof"] == "size"
    assert (y["failed"], y["done"], y["owed_bytes"], y["proof"]) == (1, 0, 4, None)


async def test_delivered_in_pages_by_chance_and_since(ledger: Ledger) -> None:
    ids = [await done(ledger, shot(f"{n}.JPG")) for n in range(5)]
    await fetched(ledger, shot("open.JPG"))
    page = await ledger.views.delivered("archive", limit=3)
    rest = await ledger.views.delivered("archive", after_id=page[-1]["id"], limit=3)
    assert [row["file_id"] for row in page + rest] == ids
    assert {row["file_id"] for row in await ledger.views.delivered("archive", sample=9)} == set(ids)
    assert len(await ledger.views.delivered("archive", sample=2)) == 2
    assert await ledger.views.delivered("archive", since=FUTURE) == []
    assert page[0]["key"] == "0.JPG" and page[0]["sha256"] and page[0]["size_bytes"] == 1000


async def test_what_is_lost_is_queued_again_while_there_is_anything_to_send(ledger: Ledger) -> None:
    here = await done(ledger, shot("A.JPG"))
    away = await done(ledger, shot("B.JPG"))
    gone = await done(ledger, shot("C.JPG"))
    await ledger.files.mark_evicted(away)
    await ledger.files.mark_evicted(gone)
    deliveries = [int(str((await delivery_of(ledger, file_id))["id"])) for file_id in (here, away, gone)]
    deletion = await ledger._store.all("SELECT count(*) AS n FROM deletion")
    assert deletion[0]["n"] == 0
    async with ledger._store.transaction():
        await ledger._store.do(
            "INSERT INTO deletion (file_id, state, asked_by, proofs, started_at, ended_at) VALUES (?, 'started', 'agent', '', 'x', NULL)",
            gone,
        )
    assert await ledger.orders.requeue(deliveries) == [here, away]
    assert (await claimed(ledger)).file_id == here
    delivery = await delivery_of(ledger, away)
    assert (delivery["state"], delivery["waiting_for"], delivery["proof"], delivery["location"]) == (
        "queued",
        "camera",
        None,
        None,
    )
    assert (await delivery_of(ledger, gone))["state"] == "done"
    assert await ledger.orders.requeue(deliveries) == []


async def test_what_was_given_up_stays_so_when_there_is_nothing_left_to_send_it_from(ledger: Ledger) -> None:
    """Its card has it no longer, and the spool has not: queued again it would end as "gone"."""
    file_id = await done(ledger, shot("A.JPG"), ["archive"])
    await ledger.files.owe(file_id, [NewDelivery("cloud", ("A.JPG", "b", "c"))])
    await ledger.orders.skip([file_id], "somebody", "no")
    await ledger.files.mark_evicted(file_id)
    async with ledger._store.transaction():
        await ledger._store.do(
            "INSERT INTO deletion (file_id, state, asked_by, proofs, started_at, ended_at) VALUES (?, 'deleted', 'agent', '', 'x', 'y')",
            file_id,
        )
    assert await ledger.orders.retry([file_id]) == 0
    assert (await delivery_of(ledger, file_id, "cloud"))["state"] == "skipped"
    assert await state_of(ledger, file_id) == "evicted"
