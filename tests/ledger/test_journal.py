"""The journal of deletions: begun only when justified in that moment, ended once, never rewritten."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agent.ledger import Ledger, NewDelivery, Proven, Row
from tests.ledger.given import (
    RECEIPT,
    SERIAL,
    SIZE_ONLY,
    claimed,
    discovered,
    done,
    fetched,
    fetching,
    keys_of,
    opened,
    sha256,
    shot,
)

PROVEN = Proven("archive", "readback", "sha256:00", "/photos/x", "2026-05-01T00:00:00.000Z")


def yes(row: Row) -> tuple[Proven, ...]:
    return (PROVEN,)


async def state_of(ledger: Ledger) -> list[str]:
    return [entry["state"] for entry in await ledger.journal.entries()]


async def test_a_deletion_is_begun_and_ended_with_what_justified_it(ledger: Ledger) -> None:
    file_id = await done(ledger)
    seen: list[Row] = []

    def judge(row: Row) -> tuple[Proven, ...]:
        seen.append(row)
        return yes(row)

    entry_id = await ledger.journal.begin(file_id, "agent", judge)
    assert entry_id is not None
    assert [each["proof"] for each in seen[0]["deliveries"]] == ["readback"] and seen[0]["attempts"] == []
    assert await state_of(ledger) == ["started"]
    await ledger.journal.end(entry_id, "deleted")
    (entry,) = await ledger.journal.entries()
    assert (entry["state"], entry["asked_by"], entry["file_id"]) == ("deleted", "agent", file_id)
    assert entry["proofs"] == [
        {
            "destination": "archive",
            "proof": "readback",
            "checksum": "sha256:00",
            "location": "/photos/x",
            "done_at": "2026-05-01T00:00:00.000Z",
        }
    ]
    assert entry["ended_at"] >= entry["started_at"]
    assert await ledger.journal.begin(file_id, "agent", yes) is None, "once deleted, never again"
    assert await ledger.journal.deletable(SERIAL, 1, "100CANON", ["IMG_0001.JPG"]) == []


async def test_what_the_judge_does_not_justify_is_not_begun(ledger: Ledger) -> None:
    file_id = await done(ledger)
    assert await ledger.journal.begin(file_id, "agent", lambda row: ()) is None
    assert await ledger.journal.begin(999, "agent", yes) is None
    assert await ledger.journal.entries() == []


async def test_the_ledger_itself_refuses_what_lacks_a_proof(ledger: Ledger) -> None:
    """Even if whoever judges is wrong."""
    unproven = await done(ledger, shot("IMG_0002.JPG"), outcome=SIZE_ONLY)
    undelivered = await fetched(ledger, shot("IMG_0003.JPG"))
    for file_id in (unproven, undelivered):
        with pytest.raises(sqlite3.IntegrityError, match="not justified"):
            await ledger.journal.begin(file_id, "agent", yes)
    for file_id in (
        await fetching(ledger, shot("IMG_0004.JPG")),
        await discovered(ledger, shot("IMG_0005.JPG")),
    ):
        assert await ledger.journal.begin(file_id, "agent", yes) is None
    assert await ledger.journal.entries() == []


async def test_what_waits_for_the_camera_is_not_begun(ledger: Ledger) -> None:
    file_id = await fetched(ledger, to=("archive", "cloud"))
    assert await ledger.deliveries.finish_delivery((await claimed(ledger)).id, RECEIPT)
    assert await ledger.journal.begin(file_id, "agent", lambda row: ()) is None
    await ledger.files.mark_evicted(file_id)
    with pytest.raises(sqlite3.IntegrityError, match="not justified"):
        await ledger.journal.begin(file_id, "agent", yes)


async def test_the_spool_keeps_what_the_card_has_no_longer(ledger: Ledger) -> None:
    """The card's copy was deleted while another destination is still owed: the spool's is the last one of ours."""
    file_id = await fetched(ledger, to=("archive", "cloud"))
    assert await ledger.deliveries.finish_delivery((await claimed(ledger)).id, RECEIPT)
    assert [row["id"] for row in await ledger.files.sacrificeable(["cloud"], SERIAL)] == [file_id]
    entry_id = await ledger.journal.begin(file_id, "agent", yes)
    assert entry_id is not None
    for state in ("started", "unknown", "deleted"):
        if state != "started":
            await ledger.journal.end(entry_id, state)
        assert await ledger.files.sacrificeable(["cloud"], SERIAL) == [], state
        with pytest.raises(sqlite3.IntegrityError, match="still owed"):
            await ledger.files.mark_evicted(file_id)
    assert await ledger.deliveries.finish_delivery((await claimed(ledger, "cloud")).id, RECEIPT)
    await ledger.files.mark_evicted(file_id)  # delivered everywhere: it may go


async def test_a_crash_makes_unknown_what_was_started(tmp_path: Path) -> None:
    ledger = await opened(tmp_path)
    file_id = await done(ledger)
    entry_id = await ledger.journal.begin(file_id, "agent", yes)
    assert entry_id is not None
    await ledger.close()
    again = await Ledger.open(tmp_path)
    try:
        assert await state_of(again) == ["unknown"]
        (entry,) = await again.journal.open(SERIAL)
        assert (entry.id, entry.file_id, entry.name, entry.size) == (entry_id, file_id, "IMG_0001.JPG", 1000)
        assert await again.journal.open("another camera") == []
        assert await again.journal.begin(file_id, "agent", yes) is None, "never repeated blindly"
        await again.journal.end(entry_id, "kept", detail="still there")
        second = await again.journal.begin(file_id, "agent", yes)
        assert second is not None and second != entry_id
        assert await state_of(again) == ["kept", "started"]
    finally:
        await again.close()


async def test_an_entry_ends_once_and_is_never_removed(ledger: Ledger, db: sqlite3.Connection) -> None:
    entry_id = await ledger.journal.begin(await done(ledger), "agent", yes)
    assert entry_id is not None
    await ledger.journal.end(entry_id, "refused", "ptp.access_denied", "DeleteObject")
    await ledger.journal.end(entry_id, "deleted")
    assert await state_of(ledger) == ["refused"]
    for sql in (
        "UPDATE deletion SET state = 'deleted'",
        "UPDATE deletion SET state = 'started'",
        "DELETE FROM deletion",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(sql)


async def test_which_card_it_is_shows_in_what_was_known_before(ledger: Ledger) -> None:
    file = shot()
    await discovered(ledger, file)
    place = (SERIAL, 1, "100CANON", "IMG_0001.JPG", 1000, file.captured)
    assert await ledger.journal.was_known(*place, before="9999")
    assert not await ledger.journal.was_known(*place, before="2000")
    assert not await ledger.journal.was_known(*place[:4], 1001, file.captured, before="9999")


async def test_every_change_of_the_journal_has_its_number(ledger: Ledger) -> None:
    entry_id = await ledger.journal.begin(await done(ledger), "agent", yes)
    assert entry_id is not None
    (first,) = await ledger.journal.entries()
    await ledger.journal.end(entry_id, "deleted")
    (second,) = await ledger.journal.entries()
    assert second["seq"] > first["seq"] > 0
    assert await ledger.journal.entries(after_id=entry_id) == []


async def test_pages_tell_every_file_with_its_history(ledger: Ledger) -> None:
    ids = [await done(ledger, shot(f"IMG_000{n}.JPG"), content=str(n)) for n in (1, 2, 3)]
    entry_id = await ledger.journal.begin(ids[1], "agent", yes)
    assert entry_id is not None
    await ledger.journal.end(entry_id, "refused", "ptp.access_denied")
    first = await ledger.journal.page(0, limit=2)
    rest = await ledger.journal.page(first[-1]["id"], limit=2)
    assert [row["id"] for row in first + rest] == ids
    assert [len(row["attempts"]) for row in first + rest] == [0, 1, 0]
    assert first[0]["camera"] == "main" and first[0]["deliveries"][0]["destination"] == "archive"
    owed = [NewDelivery("cloud", keys_of(shot("IMG_0001.JPG")))]
    await ledger.files.owe(ids[0], owed)
    (row, *_) = await ledger.journal.page(0)
    assert [each["state"] for each in row["deliveries"]] == ["done", "queued"]
    assert sha256("1") == row["sha256"]


async def test_who_shares_another_delivery_shares_its_doubts(ledger: Ledger) -> None:
    """Both cards of a body: one object at the destination proves both files, as long as it does."""
    first = await done(ledger)
    second = await fetched(ledger, shot(storage=2))
    job = await claimed(ledger)
    assert job.shared_with is not None and await ledger.deliveries.share_delivery(job.id)

    async def doubted() -> list[bool]:
        rows = [*await ledger.journal.page(0)]
        return [bool(each["is_doubted"]) for row in rows for each in row["deliveries"]]

    assert await doubted() == [False, False]
    await ledger.journal.doubt([job.shared_with])
    assert await doubted() == [True, True]
    await ledger.journal.trust([job.shared_with])
    assert await doubted() == [False, False]
    assert await ledger.orders.requeue([job.shared_with]) == [first]
    assert (await doubted())[1], "it is sent again: until then there is nothing"
    again = await claimed(ledger)
    assert await ledger.deliveries.finish_delivery(again.id, RECEIPT)
    assert await doubted() == [False, False] and second


async def test_a_delivery_that_is_made_anew_is_above_doubt(ledger: Ledger) -> None:
    await done(ledger)
    (row,) = await ledger.views.delivered("archive")
    await ledger.journal.doubt([row["id"]])
    await ledger.orders.requeue([row["id"]])
    assert await ledger.deliveries.finish_delivery((await claimed(ledger)).id, RECEIPT)
    assert await ledger.journal.doubtful() == set()


async def test_the_partners_of_a_shot_come_with_it(ledger: Ledger) -> None:
    await done(ledger, shot("IMG_0001.JPG"))
    await done(ledger, shot("IMG_0001.CR3"))
    await done(ledger, shot("IMG_0001.CR3", storage=2, captured="2024-05-01T10:00:09"))
    rows = await ledger.journal.page(0)
    assert [[each["name"] for each in row["partners"]] for row in rows] == [
        ["IMG_0001.CR3"],
        ["IMG_0001.JPG"],
        [],
    ]
