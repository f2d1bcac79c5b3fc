"""Deliveries: their keys, the twin rule, who is claimed when, and how each attempt ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from agent.ledger import Job, Ledger, NewDelivery, NewFile, as_text
from tests.ledger.given import (
    RECEIPT,
    claimed,
    delivery_of,
    discovered,
    done,
    fetched,
    fetching,
    keys_of,
    sha256,
    shot,
    state_of,
)

PAST = as_text(datetime.now(UTC) - timedelta(hours=1))
FUTURE = as_text(datetime.now(UTC) + timedelta(minutes=15))


async def key_of(ledger: Ledger, file_id: int, destination: str = "archive") -> object:
    return (await delivery_of(ledger, file_id, destination))["key"]


# -- keys


async def test_the_first_free_of_three_keys_is_taken(ledger: Ledger) -> None:
    keys = ("a.jpg", "a-1.jpg", "a-2.jpg")
    got = [await key_of(ledger, await fetching(ledger, shot(size=size), keys=keys)) for size in (1, 2, 3)]
    assert got == ["a.jpg", "a-1.jpg", "a-2.jpg"]


async def test_keys_that_differ_in_case_alone_are_one_key(ledger: Ledger) -> None:
    await fetching(ledger, shot(size=1), keys=("A.JPG", "b", "c"))
    other = await fetching(ledger, shot(size=2), keys=("a.jpg", "A-1.jpg", "c"))
    assert await key_of(ledger, other) == "A-1.jpg"


async def test_each_destination_has_its_own_keys(ledger: Ledger) -> None:
    keys = ("a.jpg", "a-1.jpg", "a-2.jpg")
    await fetching(ledger, shot(size=1), ["archive"], keys=keys)
    other = await fetching(ledger, shot(size=2), ["archive", "cloud"], keys=keys)
    assert await key_of(ledger, other, "archive") == "a-1.jpg"
    assert await key_of(ledger, other, "cloud") == "a.jpg"
    assert (await delivery_of(ledger, other, "archive"))["wanted_key"] == "a.jpg"


async def test_keys_stand_from_the_first_fetch_on(ledger: Ledger) -> None:
    file_id = await fetching(ledger, keys=("old.jpg", "b", "c"))
    before = await delivery_of(ledger, file_id)
    changed = [NewDelivery(each, ("new.jpg", "b", "c")) for each in ("archive", "cloud")]
    await ledger.files.begin_fetch(file_id, 7, from_zero=False, owed=changed)
    after = await delivery_of(ledger, file_id)
    assert (after["key"], after["token"]) == ("old.jpg", before["token"])
    assert await key_of(ledger, file_id, "cloud") == "new.jpg", (
        "a destination that is new gets the new template"
    )


async def test_tokens_differ(ledger: Ledger) -> None:
    first = await fetching(ledger, shot("A.JPG"), ["archive", "cloud"])
    tokens = [(await delivery_of(ledger, first, each))["token"] for each in ("archive", "cloud")]
    assert len(set(tokens)) == 2 and all(str(token).isalnum() for token in tokens)


async def test_rekey_gives_a_fresh_token_unless_the_key_is_taken(ledger: Ledger) -> None:
    await fetched(ledger, shot("A.JPG"))
    file_id = await fetched(ledger, shot("B.JPG"))
    job = await claimed(ledger)
    assert job.file_id == file_id
    assert await ledger.deliveries.rekey(job.id, "a.jpg") is None
    assert await key_of(ledger, file_id) == "B.JPG"
    token = await ledger.deliveries.rekey(job.id, "C.JPG")
    assert token is not None and token != job.token
    delivery = await delivery_of(ledger, file_id)
    assert (delivery["key"], delivery["token"], delivery["wanted_key"]) == ("C.JPG", token, "B.JPG")


async def test_who_holds_a_key(ledger: Ledger) -> None:
    holder = ledger.deliveries.undone_holder
    file_id = await fetched(ledger)
    found = await holder("archive", "img_0001.jpg")
    assert found is not None and not found.is_uploading and found.identity == shot().identity
    job = await claimed(ledger)
    found = await holder("archive", "IMG_0001.JPG")
    assert found is not None and found.is_uploading and (found.id, found.token) == (job.id, job.token)
    assert await holder("cloud", "IMG_0001.JPG") is None
    await ledger.deliveries.finish_delivery(job.id, RECEIPT)
    assert await holder("archive", "IMG_0001.JPG") is None, "done: it is theirs for good"
    assert await state_of(ledger, file_id) == "fetched"


# -- claiming


async def order(ledger: Ledger, destination: str = "archive", growing: list[int] | None = None) -> list[str]:
    """Claim to the end; the names in the order they came."""
    names: list[str] = []
    while (job := await ledger.deliveries.claim(destination, growing or [])) is not None:
        names.append(job.name)
    return names


async def test_small_kinds_first_and_new_ones_first_within_a_kind(ledger: Ledger) -> None:
    for name, rank, second in (
        ("old.MP4", 3, 1),
        ("old.CR3", 1, 2),
        ("old.JPG", 0, 3),
        ("new.MP4", 3, 9),
        ("new.JPG", 0, 7),
        ("new.CR3", 1, 8),
        ("twin of new.JPG", 0, 7),  # same second: the one that was found last
    ):
        await fetched(ledger, shot(name, rank=rank, captured=f"2024-05-01T10:00:0{second}"))
    assert await order(ledger) == [
        "twin of new.JPG",
        "new.JPG",
        "old.JPG",
        "new.CR3",
        "old.CR3",
        "new.MP4",
        "old.MP4",
    ]


async def test_only_what_is_fetched_or_growing_is_claimed(ledger: Ledger) -> None:
    await discovered(ledger, shot("discovered.JPG"))
    growing = await fetching(ledger, shot("growing.JPG"))
    await fetching(ledger, shot("suspended.JPG"))
    await fetched(ledger, shot("fetched.JPG"))
    evicted = await fetched(ledger, shot("evicted.JPG"))
    await ledger.files.mark_evicted(evicted)
    gone = await fetching(ledger, shot("gone.JPG"))
    await ledger.files.mark_gone([gone])
    assert await order(ledger, growing=[growing, gone, evicted]) == ["fetched.JPG", "growing.JPG"]


async def test_a_claim_is_of_one_destination_and_made_once(ledger: Ledger) -> None:
    file_id = await fetched(ledger, to=["archive", "cloud"])
    job = await claimed(ledger, "cloud")
    assert (job.file_id, job.destination, job.tries) == (file_id, "cloud", 1)
    assert await ledger.deliveries.claim("cloud", []) is None
    assert await ledger.deliveries.claim("elsewhere", []) is None
    assert (await delivery_of(ledger, file_id, "archive"))["state"] == "queued"


async def test_what_a_claim_tells(ledger: Ledger) -> None:
    file_id = await fetching(ledger)
    job = await claimed(ledger, growing=[file_id])
    delivery = await delivery_of(ledger, file_id)
    assert job == Job(
        id=1,
        file_id=file_id,
        destination="archive",
        wanted_key="IMG_0001.JPG",
        key="IMG_0001.JPG",
        token=str(delivery["token"]),
        tries=1,
        is_partial_stale=False,
        shared_with=None,
        rank=0,
        identity=str(shot().identity),
        name="IMG_0001.JPG",
        kind="jpeg",
        size=1000,
        generation=1,
        sha256=None,
        crc32c=None,
    )
    assert delivery["started_at"] is not None


async def test_what_waits_for_the_clock(ledger: Ledger) -> None:
    for name, due in (("past.JPG", PAST), ("future.JPG", FUTURE)):
        await fetched(ledger, shot(name))
        job = await claimed(ledger)
        await ledger.deliveries.postpone(
            job.id, waiting_for="retry", code="x.y", detail="why", next_try_at=due
        )
    assert await order(ledger) == ["past.JPG"]
    await ledger.orders.retry(None)
    assert await order(ledger) == ["future.JPG"]


async def test_a_clock_that_was_set_back_delays_nothing_for_long(ledger: Ledger) -> None:
    await fetched(ledger)
    job = await claimed(ledger)
    tomorrow = as_text(datetime.now(UTC) + timedelta(days=1))
    await ledger.deliveries.postpone(job.id, waiting_for="retry", code="x.y", next_try_at=tomorrow)
    assert await ledger.deliveries.first_rank("archive", []) == 0
    assert await order(ledger) == ["IMG_0001.JPG"]


async def test_a_token_is_not_in_what_is_printed(ledger: Ledger) -> None:
    """It may be the address of an upload, to which anybody may write."""
    await fetched(ledger)
    job = await claimed(ledger)
    await ledger.deliveries.save_token(job.id, "tag|https://store.example/upload_id=secret", job.generation)
    await ledger.deliveries.postpone(job.id, waiting_for="worker", code=None)
    job = await claimed(ledger)
    holder = await ledger.deliveries.undone_holder("archive", job.key)
    assert holder is not None and "secret" in job.token and "secret" in holder.token
    for each in (job, holder, [job], {"job": job}):
        assert "secret" not in repr(each) and "secret" not in f"{each}"
    assert str(job.id) in repr(job) and job.key in repr(job)


async def test_a_vain_claim_wakes_nobody(ledger: Ledger) -> None:
    before = ledger.changes
    assert await ledger.deliveries.claim("archive", []) is None
    assert ledger.changes == before
    await fetched(ledger)
    before = ledger.changes
    await claimed(ledger)
    assert ledger.changes > before


async def test_a_partial_of_an_earlier_fetch_is_stale_until_its_token_is_saved(ledger: Ledger) -> None:
    file_id = await fetching(ledger)
    job = await claimed(ledger, growing=[file_id])
    await ledger.deliveries.postpone(job.id, waiting_for="camera", code=None)
    await ledger.files.begin_fetch(file_id, 7, from_zero=True, owed=[])
    job = await claimed(ledger, growing=[file_id])
    assert job.is_partial_stale and (job.generation, job.tries) == (2, 2)
    await ledger.deliveries.save_token(job.id, "t2", job.generation)
    await ledger.deliveries.postpone(job.id, waiting_for="camera", code=None)
    job = await claimed(ledger, growing=[file_id])
    assert not job.is_partial_stale and job.token == "t2"


# -- how an attempt ends


async def test_done_keeps_the_receipt(ledger: Ledger) -> None:
    file_id = await fetched(ledger)
    job = await claimed(ledger)
    await ledger.deliveries.postpone(job.id, waiting_for="retry", code="x.y", detail="why")
    job = await claimed(ledger)
    assert await ledger.deliveries.finish_delivery(job.id, RECEIPT)
    delivery = await delivery_of(ledger, file_id)
    assert delivery["state"] == "done" and delivery["done_at"]
    for field in ("proof", "exclusive", "checksum", "location", "version"):
        assert delivery[field] == getattr(RECEIPT, field)
    assert (delivery["fault_code"], delivery["fault_detail"], delivery["waiting_for"]) == (None, "", None)


async def test_what_a_person_skipped_meanwhile_stays_skipped(ledger: Ledger) -> None:
    file_id = await fetched(ledger)
    job = await claimed(ledger)
    await ledger.orders.skip([file_id], "somebody", "no")
    assert not await ledger.deliveries.finish_delivery(job.id, RECEIPT)
    await ledger.deliveries.fail_delivery(job.id, "x.y", "")
    await ledger.deliveries.postpone(job.id, waiting_for="retry", code="x.y")
    delivery = await delivery_of(ledger, file_id)
    assert (delivery["state"], delivery["skipped_by"]) == ("skipped", "somebody")


async def test_a_done_delivery_is_done_for_good(ledger: Ledger) -> None:
    file_id = await done(ledger)
    await ledger.deliveries.fail_delivery(1, "x.y", "")
    await ledger.deliveries.postpone(1, waiting_for="retry", code="x.y")
    assert (await delivery_of(ledger, file_id))["state"] == "done"
    assert await ledger.orders.skip([file_id], "somebody", "no") == 0


# -- the twin rule: a shot recorded to both cards is one object at a destination


async def test_the_second_of_two_cards_waits_for_the_first_and_shares_what_it_has(ledger: Ledger) -> None:
    first = await fetched(ledger, shot(storage=1), content="same")
    second = await fetched(ledger, shot(storage=2), content="same")
    job = await claimed(ledger)
    assert job.file_id == first and job.shared_with is None
    assert await ledger.deliveries.claim("archive", []) is None, "it waits for the first"
    await ledger.deliveries.finish_delivery(job.id, RECEIPT)
    twin = await claimed(ledger)
    assert (twin.file_id, twin.shared_with) == (second, job.id)
    assert await ledger.deliveries.share_delivery(twin.id)
    a, b = await delivery_of(ledger, first), await delivery_of(ledger, second)
    for field in ("state", "key", "proof", "exclusive", "checksum", "location", "version"):
        assert b[field] == a[field], field
    assert b["done_at"]


async def test_different_content_is_delivered_on_its_own(ledger: Ledger) -> None:
    first = await fetched(ledger, shot(storage=1), content="same")
    second = await fetched(ledger, shot(storage=2), content="different")
    await ledger.deliveries.finish_delivery((await claimed(ledger)).id, RECEIPT)
    twin = await claimed(ledger)
    assert not await ledger.deliveries.share_delivery(twin.id)
    delivery = await delivery_of(ledger, second)
    assert (delivery["state"], delivery["shared_with"]) == ("uploading", None)
    assert delivery["key"] == keys_of(shot(storage=2))[1] != await key_of(ledger, first)


@pytest.mark.parametrize("end", ["failed", "skipped"])
async def test_a_first_that_will_not_be_done_is_not_waited_for(ledger: Ledger, end: str) -> None:
    first = await fetched(ledger, shot(storage=1), content="same")
    second = await fetched(ledger, shot(storage=2), content="same")
    job = await claimed(ledger)
    if end == "failed":
        await ledger.deliveries.fail_delivery(job.id, "x.y", "")
    else:
        await ledger.orders.skip([first], "somebody", "no")
    twin = await claimed(ledger)
    assert twin.file_id == second and not await ledger.deliveries.share_delivery(twin.id)


async def test_a_first_that_cannot_be_read_is_not_waited_for_but_shares_later(ledger: Ledger) -> None:
    """Two cards are there so that one may fail."""
    first = await fetching(ledger, shot(storage=1))
    second = await fetched(ledger, shot(storage=2), content="same")
    assert await ledger.deliveries.claim("archive", []) is None
    await ledger.files.hold_file(first, "camera", "camera.unreadable", "", FUTURE)
    twin = await claimed(ledger)
    assert twin.file_id == second and not await ledger.deliveries.share_delivery(twin.id)
    await ledger.files.begin_fetch(first, 7, from_zero=False, owed=[])
    assert await ledger.deliveries.claim("archive", [first]) is None, "now the first waits for the second"
    await ledger.files.finish_fetch(first, sha256("same"), None)
    await ledger.deliveries.finish_delivery(twin.id, RECEIPT)
    late = await claimed(ledger)
    assert late.file_id == first and await ledger.deliveries.share_delivery(late.id)
    assert await key_of(ledger, first) == await key_of(ledger, second)


@pytest.mark.parametrize(
    "other",
    [
        shot(storage=2, size=1001),
        shot(storage=2, captured="2024-05-01T10:00:01"),
        shot(storage=2, folder="101CANON"),
        shot("IMG_0002.JPG", storage=2),
    ],
)
async def test_no_twin_unless_all_but_the_card_agrees(ledger: Ledger, other: NewFile) -> None:
    await fetched(ledger, shot(storage=1))
    second = await fetched(ledger, other)
    assert (await delivery_of(ledger, second))["shared_with"] is None


async def test_each_destination_shares_for_itself(ledger: Ledger) -> None:
    await fetched(ledger, shot(storage=1), ["archive"])
    second = await fetched(ledger, shot(storage=2), ["archive", "cloud"])
    assert (await delivery_of(ledger, second, "archive"))["shared_with"] == 1
    assert (await delivery_of(ledger, second, "cloud"))["shared_with"] is None


async def test_a_key_that_was_taken_meanwhile_does_not_stop_a_twin(ledger: Ledger) -> None:
    await fetched(ledger, shot(storage=1), content="same")
    second = await fetched(ledger, shot(storage=2), content="different")
    job = await claimed(ledger)
    await ledger.deliveries.finish_delivery(job.id, RECEIPT)
    suffixed = keys_of(shot(storage=2))[1]
    await fetching(
        ledger, shot("X.JPG"), keys=(suffixed, "b", "c")
    )  # a name that looks like the suffixed one
    twin = await claimed(ledger)
    assert twin.file_id == second and not await ledger.deliveries.share_delivery(twin.id)
    assert await ledger.deliveries.rekey(twin.id, keys_of(shot(storage=2))[2])
    assert await ledger.deliveries.finish_delivery(twin.id, RECEIPT)


async def test_two_twins_never_wait_for_each_other(ledger: Ledger) -> None:
    """The second takes over from the first, but somebody has got its key meanwhile."""
    first = await fetching(ledger, shot(storage=1))
    await ledger.deliveries.rekey((await claimed(ledger, growing=[first])).id, "moved on.JPG")
    await ledger.deliveries.postpone(1, waiting_for="camera", code=None)
    second = await fetched(ledger, shot(storage=2), content="same")
    await fetching(ledger, shot(folder="101CANON"))  # it has the name that the second was to have
    await ledger.files.hold_file(first, "camera", "camera.unreadable", "", FUTURE)
    twin = await claimed(ledger)
    assert twin.file_id == second and not await ledger.deliveries.share_delivery(twin.id)
    await ledger.deliveries.postpone(twin.id, waiting_for="retry", code="x.y")
    await ledger.files.begin_fetch(first, 7, from_zero=False, owed=[])
    await ledger.files.finish_fetch(first, sha256("same"), None)
    job = await claimed(ledger)
    await ledger.deliveries.finish_delivery(job.id, RECEIPT)
    other = await claimed(ledger)
    assert {job.file_id, other.file_id} == {first, second}
    assert await ledger.deliveries.share_delivery(other.id)


# -- what is swept, and hours


async def test_what_is_left_of_settled_deliveries_comes_in_pages(ledger: Ledger) -> None:
    left = msgspec.structs.replace(RECEIPT, has_leftovers=True)
    ids = []
    for number, outcome in enumerate((RECEIPT, left, left, RECEIPT, left)):
        await fetched(ledger, shot(f"{number}.JPG"))
        job = await claimed(ledger)
        await ledger.deliveries.finish_delivery(job.id, outcome)
        if outcome is left:
            ids.append(job.id)
    skipped = await fetched(ledger, shot("S.JPG"))
    ids.append((await claimed(ledger)).id)
    await ledger.orders.skip([skipped], "somebody", "no")
    found = await ledger.deliveries.leftovers("archive", limit=3)
    assert [each[0] for each in found] == ids[:3]
    assert [each[0] for each in await ledger.deliveries.leftovers("archive", ids[2], 3)] == ids[3:]
    assert await ledger.deliveries.leftovers("cloud") == []
    await ledger.deliveries.note_swept(ids[0])
    assert [each[0] for each in await ledger.deliveries.leftovers("archive")] == ids[1:]


async def test_what_was_taken_up_again_is_not_noted_as_swept(ledger: Ledger) -> None:
    file_id = await fetched(ledger)
    job = await claimed(ledger)
    await ledger.orders.skip([file_id], "somebody", "no")
    await ledger.orders.retry([file_id])
    await ledger.deliveries.note_swept(job.id)
    await ledger.orders.skip([file_id], "somebody", "no")
    assert [each[0] for each in await ledger.deliveries.leftovers("archive")] == [job.id]


async def test_hours_hold_what_is_queued_of_a_kind_at_one_destination(ledger: Ledger) -> None:
    movie = msgspec.structs.replace(shot("A.MP4", rank=3), kind="video")
    first = await fetched(ledger, movie, ["archive", "cloud"])
    photo = await fetched(ledger, shot("B.JPG"))
    await ledger.deliveries.hold("archive", ["video"], FUTURE)
    held = await delivery_of(ledger, first)
    assert (held["waiting_for"], held["next_try_at"]) == ("schedule", FUTURE)
    assert (await delivery_of(ledger, first, "cloud"))["waiting_for"] is None
    assert (await claimed(ledger)).file_id == photo
    assert await ledger.deliveries.claim("archive", []) is None
    assert await ledger.deliveries.first_rank("archive", []) is None
    await ledger.deliveries.release("archive", ["jpeg", "raw"])
    assert await ledger.deliveries.claim("archive", []) is None
    assert not await ledger.deliveries.release("archive", ["video"]), "it lies in the spool"
    assert await ledger.deliveries.first_rank("archive", []) == 3
    assert (await claimed(ledger)).file_id == first


async def test_what_is_evicted_outside_its_hours_waits_for_them_and_then_for_the_camera(
    ledger: Ledger,
) -> None:
    file_id = await fetched(ledger, to=["archive", "cloud"])
    await ledger.deliveries.finish_delivery((await claimed(ledger)).id, RECEIPT)
    await ledger.deliveries.hold("cloud", ["jpeg"], FUTURE)
    await ledger.files.mark_evicted(file_id)
    held = await delivery_of(ledger, file_id, "cloud")
    assert (held["waiting_for"], held["next_try_at"]) == ("schedule", FUTURE)
    assert await ledger.deliveries.release("cloud"), "the spool lacks it"
    held = await delivery_of(ledger, file_id, "cloud")
    assert (held["waiting_for"], held["next_try_at"]) == ("camera", None)
