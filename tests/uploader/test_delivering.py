"""One delivery: which key, when the bytes go, and when it may be called done."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.backends.base import Exclusive, Proof
from agent.backends.folder import FolderConfig
from agent.backends.folder.backend import FolderBackend
from tests.ledger.given import keys_of
from tests.uploader.scripted import Destination, Hold, scripted
from tests.uploader.workbench import Workbench, content, sha256, until_set


async def test_a_fetched_file_is_delivered_with_its_receipt(bench: Workbench, memory: Destination) -> None:
    await bench.add(memory)
    bench.run()
    file = await bench.fetched()
    delivery = await bench.until_delivery(file, "done")
    assert memory.published == {"A.JPG": file.data} and memory.partials == {}
    assert (delivery["proof"], delivery["exclusive"]) == (Proof.READBACK, Exclusive.ATOMIC)
    assert delivery["checksum"] == f"sha256:{sha256(file.data)}"
    assert (delivery["location"], delivery["version"]) == ("memory:A.JPG", "v1")
    assert (bench.progress.delivered_files, bench.progress.delivered_bytes) == (1, 950)
    assert bench.progress.transfers == []


async def test_a_folder_holds_exactly_what_was_fetched(bench: Workbench, tmp_path: Path) -> None:
    config = FolderConfig.model_validate({"path": tmp_path / "photos"})
    await bench.add(FolderBackend(config, owner="x"))
    bench.run()
    files = [await bench.fetched(f"{n}.JPG", size) for n, size in enumerate((1, 999, 1 << 20, (1 << 20) + 1))]
    await bench.until_done(*files)
    held = {path.name: path.read_bytes() for path in (tmp_path / "photos").iterdir()}
    assert held == {file.key: file.data for file in files}


async def test_bytes_go_while_the_file_grows_and_the_commit_waits_for_the_ledger(
    bench: Workbench, memory: Destination
) -> None:
    await bench.checked(memory)
    bench.run()
    file = await bench.growing()
    await file.grow_to(300)
    await bench.until_sent(memory, 300)
    await file.grow_to(799)
    await bench.until_sent(memory, 700)
    assert memory.published == {}
    digests = await file.store()
    await bench.until_sent(memory, 950)
    assert memory.count("commit") == 0, "the whole file is in the spool, and the ledger does not know"
    await bench.ledger.files.finish_fetch(file.id, digests["sha256"], None)
    bench.spool.announce(file.id, digests)
    await bench.until_done(file)
    assert memory.published == {"A.JPG": file.data} and memory.sent == 950


async def test_a_suspended_fetch_gives_the_worker_back_and_keeps_the_partial(
    bench: Workbench, memory: Destination
) -> None:
    bench.uploader.workers = 1
    await bench.checked(memory)
    bench.run()
    movie = await bench.growing("A.MP4")
    await movie.grow_to(500)
    await bench.until_sent(memory, 500)
    await movie.suspend()
    await bench.until_delivery(movie, "queued", waiting_for="camera")
    picture = await bench.fetched("B.JPG", 200)
    await bench.until_done(picture)
    await movie.begin()
    await movie.finish()
    await bench.until_done(movie)
    assert memory.published == {"A.MP4": movie.data, "B.JPG": picture.data}
    assert memory.sent == 950 + 200, "nothing was sent twice"


async def test_a_fetch_that_begins_again_takes_the_partial_with_it(
    bench: Workbench, memory: Destination
) -> None:
    await bench.checked(memory)
    bench.run()
    file = await bench.growing()
    data, file.data = file.data, b"\0" * 950  # of another file, as it turns out
    await file.grow_to(500)
    await bench.until_sent(memory, 500)
    file.data = data
    await file.start_over()
    await bench.until_calls(memory, "abort")
    await file.suspend()
    await bench.until_delivery(file, "queued", waiting_for="camera")
    assert not any(memory.partials.values())
    await file.begin()
    await file.finish()
    await bench.until_done(file)
    assert memory.published == {"A.JPG": data}
    assert (await bench.ledger.files.file(file.id) or {})["generation"] == 2


async def test_a_partial_of_an_earlier_fetch_is_dropped_before_the_first_byte(
    bench: Workbench, memory: Destination
) -> None:
    """The agent was away when the fetch began again, so nobody could tell the upload."""
    await bench.checked(memory)
    bench.run()
    file = await bench.growing()
    await file.grow_to(500)
    await bench.until_sent(memory, 500)
    await file.suspend()
    await bench.until_delivery(file, "queued", waiting_for="camera")
    await bench.stop()
    (partial,) = memory.partials.values()
    partial[:] = b"\0" * 500
    await bench.ledger.files.fetch_again([file.id])
    await bench.spool.forget(file.id)
    await file.begin()
    bench.run()
    await file.finish()
    await bench.until_done(file)
    assert memory.published == {"A.JPG": file.data} and memory.count("drop") == 1


async def test_an_upload_goes_on_where_the_destination_says(bench: Workbench, memory: Destination) -> None:
    await bench.checked(memory)
    file = await bench.fetched()
    token = (await bench.delivery(file))["token"]
    memory.partials[file.key, str(token)] = bytearray(file.data[:400])
    bench.run()
    await bench.until_done(file)
    assert memory.published == {"A.JPG": file.data} and memory.sent == 550


# -- what stands under the key


async def test_what_is_there_already_is_not_sent(bench: Workbench, memory: Destination) -> None:
    """A crash between the commit and the ledger looks like this."""
    await bench.checked(memory)
    file = await bench.fetched()
    token = str((await bench.delivery(file))["token"])
    memory.published[file.key] = file.data
    memory.partials[file.key, token] = bytearray(b"left by the attempt before")
    bench.run()
    delivery = await bench.until_delivery(file, "done")
    assert memory.count("start") == 0 and memory.partials == {}
    assert delivery["checksum"] == f"sha256:{sha256(file.data)}"


@pytest.mark.parametrize("other", [b"other", content("something else", 950)])
async def test_something_else_there_is_left_alone_and_the_key_gets_a_suffix(
    bench: Workbench, memory: Destination, other: bytes
) -> None:
    await bench.checked(memory)
    memory.published["A.JPG"] = other
    bench.run()
    file = await bench.fetched()
    delivery = await bench.until_delivery(file, "done")
    assert memory.published == {"A.JPG": other, file.suffixed: file.data}
    assert delivery["key"] == file.suffixed and len(file.suffixed) == len("A-123456.JPG")


async def test_the_suffix_may_be_taken_as_well(bench: Workbench, memory: Destination) -> None:
    await bench.checked(memory)
    file = await bench.fetched()
    first, second, third = keys_of(file.file)
    memory.published = {first: b"1", second: b"2"}
    bench.run()
    await bench.until_done(file)
    assert memory.published == {first: b"1", second: b"2", third: file.data}


async def test_when_every_key_is_taken_a_person_must_act(bench: Workbench, memory: Destination) -> None:
    await bench.checked(memory)
    file = await bench.fetched()
    taken = memory.published = dict.fromkeys(keys_of(file.file), b"other")
    bench.run()
    await bench.until_delivery(file, "failed", "delivery.no_free_key")
    assert memory.published == taken and memory.partials == {}


async def test_the_same_size_is_compared_when_the_file_is_fetched(
    bench: Workbench, memory: Destination
) -> None:
    await bench.checked(memory)
    memory.published = {"A.JPG": content("A.JPG", 950), "B.JPG": content("other", 950)}
    bench.run()
    same, other = await bench.growing("A.JPG"), await bench.growing("B.JPG")
    await same.grow_to(500)
    await bench.until_calls(memory, "find", 2)
    assert memory.count("start") == 0
    await same.finish()
    await other.finish()
    await bench.until_done(same, other)
    assert memory.published[other.suffixed] == other.data and len(memory.published) == 3
    assert memory.sent == 950


@pytest.mark.parametrize("is_ours", [True, False])
async def test_something_appears_under_the_key_before_the_commit(
    bench: Workbench, memory: Destination, is_ours: bool
) -> None:
    await bench.checked(memory)
    file = await bench.fetched()
    intruder = file.data if is_ours else b"theirs"
    memory.script["commit"] = [lambda: memory.published.update({file.key: intruder})]
    bench.run()
    await bench.until_done(file)
    if is_ours:
        assert memory.published == {file.key: file.data}
    else:
        assert memory.published == {file.key: intruder, file.suffixed: file.data}
    assert memory.partials == {}


async def test_what_arrived_damaged_is_sent_again_from_the_start(
    bench: Workbench, memory: Destination
) -> None:
    await bench.checked(memory)
    file = await bench.fetched()

    def flip() -> None:
        (partial,) = memory.partials.values()
        partial[17] ^= 1

    memory.script["commit"] = [flip]
    bench.run()
    await bench.until_done(file)
    assert memory.published == {"A.JPG": file.data} and memory.sent == 2 * 950


async def test_a_proof_that_is_too_weak_is_no_delivery(bench: Workbench) -> None:
    weak = Destination(proof=Proof.SIZE)
    await bench.add(weak)
    bench.run()
    file = await bench.fetched()
    delivery = await bench.until_delivery(file, "failed", "delivery.unproven")
    assert delivery["proof"] is None and delivery["fault_detail"] == "size instead of readback"
    assert weak.misuse == []


@pytest.mark.parametrize("wanted", [Proof.SIZE, Proof.READBACK])
async def test_a_proof_that_is_strong_enough(bench: Workbench, wanted: Proof) -> None:
    strong = Destination(proof=Proof.CHECKSUM)
    await bench.add(strong, minimum_proof=wanted)
    bench.run()
    file = await bench.fetched()
    assert (await bench.until_delivery(file, "done"))["proof"] == Proof.CHECKSUM


# -- a ledger that was lost, and one shot on two cards


async def test_a_rebuilt_ledger_finds_every_file_under_the_key_it_had(
    bench: Workbench, memory: Destination
) -> None:
    """Two files of one name: by chance of the order, the second gets the key that the first has there."""
    await bench.checked(memory, workers=1)
    first = await bench.fetched("A.JPG", data=content("first", 950))
    second = await bench.fetched("A.JPG", data=content("second", 900))
    assert (await bench.delivery(second))["key"] == second.suffixed
    # in the ledger that was lost, `second` came first
    memory.published = {"A.JPG": second.data, keys_of(first.file)[1]: first.data}
    before = dict(memory.published)
    bench.run()
    await bench.until_done(first, second)
    assert memory.published == before and memory.sent == 0
    assert (await bench.delivery(first))["key"] == first.suffixed
    assert (await bench.delivery(second))["key"] == "A.JPG"


async def test_a_key_whose_holder_is_at_work_is_asked_for_again(
    bench: Workbench, memory: Destination
) -> None:
    """`first` is busy finding out that the key is not its own."""
    await bench.checked(memory, workers=2)
    first = await bench.fetched("A.JPG", data=content("first", 950), captured="2024-05-01T11:00:00")
    second = await bench.fetched("A.JPG", data=content("second", 950))
    memory.published = {"A.JPG": second.data, keys_of(first.file)[1]: first.data}
    before = dict(memory.published)
    hold = Hold()
    memory.script["find"] = [hold]  # of `first`, the newer one
    bench.run()
    await until_set(hold.reached)
    await bench.until_delivery(second, "queued", "delivery.key_in_use", waiting_for="retry")
    hold.let_go()
    await bench.until_done(first)
    await bench.ledger.orders.retry([second.id])
    await bench.until_done(second)
    assert memory.published == before and memory.sent == 0


async def test_one_shot_on_two_cards_is_one_object(bench: Workbench, memory: Destination) -> None:
    await bench.checked(memory)
    bench.run()
    data = content("same", 950)
    first, second = await bench.fetched(data=data), await bench.fetched(data=data, storage=2)
    await bench.until_done(first, second)
    assert memory.published == {"A.JPG": data} and memory.sent == 950
    a, b = await bench.delivery(first), await bench.delivery(second)
    assert a["location"] == b["location"] and b["proof"] == Proof.READBACK


async def test_two_cards_that_differ_are_two_objects(bench: Workbench, memory: Destination) -> None:
    await bench.checked(memory)
    bench.run()
    first = await bench.fetched(data=content("one", 950))
    second = await bench.fetched(data=content("two", 950), storage=2)
    await bench.until_done(first, second)
    assert memory.published == {"A.JPG": first.data, second.suffixed: second.data}


async def test_one_card_that_cannot_be_read_does_not_hold_up_the_other(
    bench: Workbench, memory: Destination
) -> None:
    await bench.checked(memory)
    bench.run()
    data = content("same", 950)
    first = await bench.growing(data=data)
    await first.grow_to(500)
    await bench.until_sent(memory, 500)
    await first.suspend()
    await bench.ledger.files.hold_file(first.id, "camera", "camera.short_read", "", None)
    second = await bench.fetched(data=data, storage=2)
    await bench.until_done(second)
    assert list(memory.published.values()) == [data]
    await first.begin()
    memory.script["drop"] = [scripted("busy")]  # what it left is in use: no reason to forget it
    await first.finish()
    await bench.until_done(first)
    assert list(memory.published.values()) == [data], "it shares, now the other way round"
    assert memory.partials == {}


async def test_a_file_that_was_evicted_under_its_upload_waits_for_the_camera(
    bench: Workbench, memory: Destination
) -> None:
    await bench.checked(memory)
    file = await bench.fetched()
    await bench.spool.forget(file.id)
    bench.run()
    await bench.until_delivery(file, "queued", waiting_for="camera")
    await bench.ledger.files.mark_evicted(file.id)
    assert memory.published == {} and bench.is_running
    assert scripted("down").code == "scripted.down"
