"""Files between card and spool, and what may leave the spool."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from agent.ledger import Ledger, NewDelivery
from tests.ledger.given import (
    RECEIPT,
    SERIAL,
    SIZE_ONLY,
    claimed,
    delivery_of,
    discovered,
    done,
    fetched,
    fetching,
    keys_of,
    opened,
    sha256,
    shot,
    state_of,
)


async def names_known(ledger: Ledger, name: str | None = None) -> set[tuple[str, str, bool]]:
    rows = await ledger.files.known(SERIAL, 1, "100CANON", name)
    return {(row.name, row.state, row.is_owed_again) for row in rows}


# -- discovery


async def test_known_is_of_one_place_alone(ledger: Ledger) -> None:
    await ledger.cameras.meet_camera("other", True, "other", ("Canon", "EOS R7", "1.0"), ("host", 15740))
    await discovered(ledger, shot("A.JPG"))
    await discovered(ledger, shot("B.JPG", skipped_by="backlog"))
    await discovered(ledger, shot("A.JPG", folder="101CANON"))
    await discovered(ledger, shot("A.JPG", storage=2))
    await discovered(ledger, shot("A.JPG", serial="other"), serial="other")
    assert await names_known(ledger) == {("A.JPG", "discovered", False), ("B.JPG", "skipped", False)}
    assert await names_known(ledger, "A.JPG") == {("A.JPG", "discovered", False)}
    assert await ledger.files.known_folders(SERIAL, 1) == {"100CANON", "101CANON"}


async def test_one_identity_is_one_row_however_often_it_is_discovered(ledger: Ledger) -> None:
    first = await discovered(ledger, shot("A.JPG"))
    ids = await ledger.files.discover(SERIAL, [shot("B.JPG"), shot("A.JPG"), shot("B.JPG")])
    assert ids[1] == first and ids[0] == ids[2] and len(await ledger.views.files()) == 2


async def test_the_same_name_at_another_time_or_size_is_another_file(ledger: Ledger) -> None:
    ids = await ledger.files.discover(
        SERIAL,
        [shot(), shot(size=1001), shot(captured="2024-05-01T10:00:01"), shot(size=None), shot(size=None)],
    )
    assert len(set(ids)) == 5, "two of unknown size may be two"


async def test_a_size_becomes_final(ledger: Ledger) -> None:
    file_id = await discovered(ledger, shot(size=None))
    await ledger.files.hold_file(file_id, "camera", "camera.size_unsettled", "", None)
    assert await ledger.files.settle(file_id, 5, "2024-05-01T10:00:02", "identity")
    row = await ledger.files.file(file_id)
    assert row is not None
    assert (row["size_bytes"], row["captured"], row["identity"]) == (5, "2024-05-01T10:00:02", "identity")
    assert row["waiting_for"] is None


async def test_a_file_that_turns_out_to_be_known_is_one_row(ledger: Ledger) -> None:
    known = await discovered(ledger)
    again = await discovered(ledger, shot(size=None))
    assert not await ledger.files.settle(again, 1000, shot().captured, str(shot().identity))
    assert [row["id"] for row in await ledger.views.files()] == [known]


# -- fetching


async def test_the_generation_counts_fetches_from_zero(ledger: Ledger) -> None:
    file_id = await discovered(ledger)
    begin = ledger.files.begin_fetch
    assert await begin(file_id, 1, from_zero=True, owed=[]) == 1
    assert await begin(file_id, 2, from_zero=False, owed=[]) == 1
    assert await begin(file_id, 3, from_zero=True, owed=[]) == 2
    row = await ledger.files.file(file_id)
    assert row is not None and (row["tries"], row["handle"]) == (3, 3)


async def test_a_fetch_clears_why_it_waited_and_keeps_when_it_began(ledger: Ledger) -> None:
    file_id = await discovered(ledger)
    await ledger.files.hold_file(file_id, "spool", "spool.no_room", "1 byte", "2999-01-01T00:00:00.000Z")
    await ledger.files.begin_fetch(file_id, 1, from_zero=True, owed=[])
    before = await ledger.files.file(file_id)
    assert before is not None
    assert (before["waiting_for"], before["fault_code"], before["next_try_at"]) == (None, None, None)
    await ledger.files.begin_fetch(file_id, 1, from_zero=False, owed=[])
    after = await ledger.files.file(file_id)
    assert after is not None and after["fetching_at"] == before["fetching_at"]


@pytest.mark.parametrize("state", ["skipped", "gone", "fetched"])
async def test_what_is_not_wanted_any_more_is_not_fetched(ledger: Ledger, state: str) -> None:
    file_id = await fetched(ledger) if state == "fetched" else await discovered(ledger)
    if state == "gone":
        await ledger.files.mark_gone([file_id])
    if state == "skipped":
        await ledger.orders.skip([file_id], "somebody", "no")
    owed = [NewDelivery("other", keys_of(shot()))]
    assert await ledger.files.begin_fetch(file_id, 1, from_zero=True, owed=owed) is None
    assert await state_of(ledger, file_id) == state
    assert [each["destination"] for each in (await ledger.views.files())[0]["deliveries"]] in (
        [],
        ["archive"],
    )


async def test_the_end_of_a_fetch_counts_only_while_the_file_is_wanted(ledger: Ledger) -> None:
    file_id = await fetching(ledger)
    await ledger.orders.skip([file_id], "somebody", "no")
    assert not await ledger.files.finish_fetch(file_id, "x", None)
    assert await state_of(ledger, file_id) == "skipped"


async def test_the_end_of_a_fetch_may_be_told_twice(ledger: Ledger) -> None:
    file_id = await fetched(ledger, content="first")
    assert await ledger.files.finish_fetch(file_id, "another digest", None)
    row = await ledger.files.file(file_id)
    assert row is not None and row["sha256"] == sha256("first")


async def test_what_the_spool_lost_is_fetched_again(ledger: Ledger) -> None:
    whole, part, evicted = (
        await fetched(ledger),
        await fetching(ledger, shot("B.JPG")),
        await done(ledger, shot("C.JPG"), ["other"]),
    )
    await ledger.files.mark_evicted(evicted)
    await ledger.files.fetch_again([whole, part, evicted])
    assert [await state_of(ledger, each) for each in (whole, part, evicted)] == [
        "discovered",
        "discovered",
        "evicted",
    ]
    assert (await delivery_of(ledger, whole))["key"] == "IMG_0001.JPG"


# -- gone and back


async def test_gone_concerns_what_was_never_fetched(ledger: Ledger) -> None:
    files = {
        "discovered": await discovered(ledger, shot("A.JPG")),
        "fetching": await fetching(ledger, shot("B.JPG")),
        "fetched": await fetched(ledger, shot("C.JPG")),
        "skipped": await discovered(ledger, shot("D.JPG", skipped_by="backlog")),
        "evicted": await done(ledger, shot("E.JPG"), ["other"]),
    }
    await ledger.files.mark_evicted(files["evicted"])
    gone = await ledger.files.mark_gone(list(files.values()))
    assert set(gone) == {files["discovered"], files["fetching"]}
    for state in ("fetched", "skipped", "evicted"):
        assert await state_of(ledger, files[state]) == state
    delivery = await delivery_of(ledger, files["fetching"])
    assert (delivery["state"], delivery["skipped_by"]) == ("skipped", "card")
    assert (await delivery_of(ledger, files["fetched"]))["state"] == "queued"


async def test_an_upload_that_followed_a_file_that_is_gone_is_not_left_behind(ledger: Ledger) -> None:
    file_id = await fetching(ledger)
    job = await claimed(ledger, growing=[file_id])
    await ledger.files.mark_gone([file_id])
    await ledger.deliveries.postpone(job.id, waiting_for="camera", code=None)  # what its worker does next
    assert (await delivery_of(ledger, file_id))["state"] == "skipped"
    assert await ledger.views.undelivered() == []


async def test_a_file_that_was_evicted_and_is_owed_can_be_gone(ledger: Ledger) -> None:
    file_id = await done(ledger, to=["archive"])
    await ledger.files.owe(file_id, [NewDelivery("cloud", keys_of(shot()))])
    await ledger.files.mark_evicted(file_id)
    assert await ledger.files.mark_gone([file_id]) == [file_id]
    assert (await delivery_of(ledger, file_id, "archive"))["state"] == "done"
    delivery = await delivery_of(ledger, file_id, "cloud")
    assert (delivery["skipped_by"], delivery["skip_reason"]) == (
        "card",
        "no longer on the card, nor in the spool",
    )


async def test_what_was_never_fetched_and_is_gone_says_so(ledger: Ledger) -> None:
    file_id = await fetching(ledger, to=["archive"])
    assert await ledger.files.mark_gone([file_id]) == [file_id]
    reason = (await delivery_of(ledger, file_id, "archive"))["skip_reason"]
    assert reason == "no longer on the card, and never fetched"


async def test_back_on_the_card(ledger: Ledger) -> None:
    file_id = await fetching(ledger, to=["archive", "cloud"])
    job = await claimed(ledger, "cloud", growing=[file_id])
    await ledger.deliveries.fail_delivery(job.id, "cloud.refused", "")
    await ledger.files.mark_gone([file_id])
    await ledger.files.bring_back([file_id])
    assert await state_of(ledger, file_id) == "discovered"
    assert (await delivery_of(ledger, file_id, "archive"))["state"] == "queued"
    assert (await delivery_of(ledger, file_id, "archive"))["waiting_for"] == "camera"
    assert (await delivery_of(ledger, file_id, "cloud"))["state"] == "failed", (
        "it was not the card that ended it"
    )


async def test_what_a_person_skipped_does_not_come_back(ledger: Ledger) -> None:
    file_id = await fetching(ledger)
    await ledger.orders.skip([file_id], "somebody", "no")
    await ledger.files.bring_back([file_id])
    assert await state_of(ledger, file_id) == "skipped"
    assert (await delivery_of(ledger, file_id))["state"] == "skipped"


async def test_a_new_shot_among_the_backlog_is_wanted_after_all(ledger: Ledger) -> None:
    file_id = await discovered(ledger, shot(skipped_by="backlog"))
    await ledger.files.bring_back([file_id])
    row = await ledger.files.file(file_id)
    assert row is not None
    assert (row["state"], row["skipped_by"], row["ended_at"]) == ("discovered", None, None)


# -- leaving the spool


async def test_freeable_is_what_is_delivered_wherever_it_is_owed(ledger: Ledger) -> None:
    everywhere = await done(ledger, shot("A.JPG"), ["archive", "cloud"])
    owed_nowhere = await fetched(ledger, shot("B.JPG"), [])
    skipped = await fetched(ledger, shot("C.JPG"))
    await ledger.orders.skip([skipped], "somebody", "no")
    await fetched(ledger, shot("D.JPG"), ["other"])  # queued
    uploading = await fetched(ledger, shot("E.JPG"))
    assert (await claimed(ledger)).file_id == uploading
    failed = await fetched(ledger, shot("F.JPG"))
    await ledger.deliveries.fail_delivery((await claimed(ledger)).id, "x.y", "")
    await fetching(ledger, shot("G.JPG"), [])
    assert await ledger.files.freeable() == [everywhere, owed_nowhere, skipped]
    assert await ledger.files.freeable(limit=1) == [everywhere]
    await ledger.orders.skip([failed], "somebody", "no")
    assert failed in await ledger.files.freeable()


async def test_an_evicted_file_that_is_owed_waits_for_the_camera_and_the_destination(ledger: Ledger) -> None:
    file_id = await fetched(ledger, to=["archive", "cloud"])
    await ledger.deliveries.finish_delivery((await claimed(ledger)).id, RECEIPT)
    await ledger.files.mark_evicted(file_id)
    assert (await delivery_of(ledger, file_id, "cloud"))["waiting_for"] == "camera"
    await ledger.cameras.set_subject("destination", "cloud", "waiting", code="s3.unreachable")
    assert await names_known(ledger) == {("IMG_0001.JPG", "evicted", False)}
    await ledger.cameras.set_subject("destination", "cloud", "ready")
    assert await names_known(ledger) == {("IMG_0001.JPG", "evicted", True)}
    assert await ledger.files.begin_fetch(file_id, 9, from_zero=True, owed=[]) == 2


async def verified_and_owed(ledger: Ledger, name: str, *, serial: str = SERIAL) -> int:
    """Verified at the archive, owed to the cloud."""
    file_id = await fetched(ledger, shot(name, serial=serial), ["archive", "cloud"], serial=serial)
    job = await claimed(ledger)
    assert job.file_id == file_id
    await ledger.deliveries.finish_delivery(job.id, RECEIPT)
    return file_id


async def sacrifice(ledger: Ledger, *unreachable: str) -> list[int]:
    return [row["id"] for row in await ledger.files.sacrificeable(unreachable, SERIAL)]


async def test_sacrificed_is_the_oldest_that_is_verified_somewhere(ledger: Ledger) -> None:
    oldest = await verified_and_owed(ledger, "A.JPG")
    newer = await verified_and_owed(ledger, "B.JPG")
    await fetched(ledger, shot("C.JPG"), ["cloud"])  # proven nowhere
    assert await sacrifice(ledger, "cloud") == [oldest, newer]


async def test_nothing_is_sacrificed_while_any_proof_may_still_come(ledger: Ledger) -> None:
    await verified_and_owed(ledger, "A.JPG")
    assert await sacrifice(ledger) == []
    assert await sacrifice(ledger, "archive") == []
    await fetched(ledger, shot("B.JPG"), ["archive"])
    assert await sacrifice(ledger, "cloud") == [], "B is on its way to the archive, which works"
    await ledger.deliveries.fail_delivery((await claimed(ledger)).id, "x.y", "")
    assert await sacrifice(ledger, "cloud") == [], "failed: it waits for a person"
    assert len(await sacrifice(ledger, "cloud", "archive")) == 1


async def test_a_size_is_no_proof(ledger: Ledger) -> None:
    await fetched(ledger, to=["archive", "cloud"])
    await ledger.deliveries.finish_delivery((await claimed(ledger)).id, SIZE_ONLY)
    assert await sacrifice(ledger, "cloud") == []


async def test_what_is_being_sent_is_not_sacrificed(ledger: Ledger) -> None:
    await verified_and_owed(ledger, "A.JPG")
    await claimed(ledger, "cloud")
    assert await sacrifice(ledger, "cloud") == []


async def test_each_camera_can_look_only_at_its_own_card(tmp_path: Path) -> None:
    ledger = await opened(tmp_path, SERIAL, "other")
    await verified_and_owed(ledger, "A.JPG", serial="other")
    mine = await verified_and_owed(ledger, "B.JPG")
    assert await sacrifice(ledger, "cloud") == [mine]
    await ledger.close()


async def test_spooled_and_promised(ledger: Ledger) -> None:
    await discovered(ledger, shot("A.JPG"))
    part = await fetching(ledger, shot("B.JPG"))
    whole = await fetched(ledger, shot("C.JPG"), ["archive", "cloud"])
    free = await done(ledger, shot("D.JPG"), ["other"])
    evicted = await done(ledger, shot("E.JPG"), ["other"])
    await ledger.files.mark_evicted(evicted)
    rows = {row["id"]: (row["state"], row["owed"]) for row in await ledger.files.spooled()}
    assert rows == {part: ("fetching", 1), whole: ("fetched", 2), free: ("fetched", 0)}
    assert await ledger.files.promised() == [part]


# -- cameras


async def test_meeting_a_camera_again(ledger: Ledger) -> None:
    meet = ledger.cameras.meet_camera
    row = await meet("new", False, "a", ("Canon", "EOS R7", "1.0"), ("host", 1))
    assert row.is_new and row.backlog_since is None and row.first_scan_at is None
    await ledger.cameras.set_backlog("new", "2024-01-01T00:00:00")
    await ledger.cameras.note_first_scan("new")
    row = await meet("new", False, "b", ("Canon", "EOS R7", "1.1"), ("elsewhere", 2))
    assert not row.is_new and row.first_scan_at is not None
    assert (row.name, row.host, row.port, row.backlog_since) == ("b", "elsewhere", 2, "2024-01-01T00:00:00")
    first = row.first_scan_at
    await ledger.cameras.note_first_scan("new")
    assert (await meet("new", False, "b", ("Canon", "EOS R7", "1.1"), ("x", 2))).first_scan_at == first


async def test_what_is_remembered_of_models_is_exactly_what_was_kept_last(ledger: Ledger) -> None:
    keep = ledger.cameras.remember_of_models
    await keep({"a": "1", "b": "2"})
    await keep({"b": "3"})
    assert await ledger.cameras.model_memory() == {"b": "3"}
    before = ledger.changes
    await keep({"b": "3"})
    assert ledger.changes == before


async def test_a_check_is_remembered_with_its_settings(ledger: Ledger) -> None:
    await ledger.cameras.set_subject("destination", "archive", "ready")
    await ledger.cameras.note_check("archive", "fingerprint", "atomic")
    await ledger.cameras.set_subject("destination", "archive", "waiting", code="x.y")
    found = await ledger.cameras.subject("destination", "archive")
    assert found is not None and (found.fingerprint, found.exclusive) == ("fingerprint", "atomic")


async def test_what_is_learnt_of_a_file_is_kept_and_never_forgotten(ledger: Ledger) -> None:
    (file_id,) = await ledger.files.discover(
        SERIAL, [msgspec.structs.replace(shot(), clock_ahead_seconds=-3600)]
    )
    (before,) = await ledger.files.known(SERIAL, 1, "100CANON")
    assert (before.is_protected, before.picture, before.clock_ahead_seconds) == (None, None, -3600)
    await ledger.files.note_learnt(file_id, True, '{"rating":3}')
    await ledger.files.note_learnt(file_id, None, None)
    (after,) = await ledger.files.known(SERIAL, 1, "100CANON")
    assert (after.is_protected, after.picture, after.clock_ahead_seconds) == (True, '{"rating":3}', -3600)


async def test_what_may_still_be_rolled_back_frees_no_room(ledger: Ledger) -> None:
    """The spool's copy goes at once, while whoever says that it is delivered waits for the disk."""
    await verified_and_owed(ledger, "A.JPG")
    store = ledger.files._store
    with pytest.raises(OSError):
        async with store.transaction():
            await store.do(
                "UPDATE delivery SET state = 'skipped', skipped_by = 'a', skip_reason = 'b' WHERE state = 'queued'"
            )
            looks = [asyncio.create_task(ledger.files.freeable()), asyncio.create_task(sacrifice(ledger))]
            await asyncio.wait(looks, timeout=0.2)
            raise OSError("the disk is full")
    assert [await look for look in looks] == [[], []]
