"""Rounds of deleting over a scripted body: what is matched, journalled, told, and looked at after an interruption."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from agent.camera import FAULTS, Deletion, Object
from agent.collector import deletion
from agent.faults import fault
from agent.ledger import Outcome
from agent.settings import DeleteSettings
from tests.collector.scripted import Body, File, lost, made
from tests.collector.workbench import Visiting, Workbench

RECEIPT = Outcome("readback", "atomic", "sha256:00", "/photos/x")
ON = DeleteSettings(enabled=True, after="0s")


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "ROUND_SECONDS", 0.02)


async def deliver(bench: Workbench, *names: str, proof: str = "readback") -> None:
    """Mark the deliveries of these files as done, all others stay as they are."""
    by_id = {row["id"]: row["name"] for row in await bench.ledger.views.files()}
    put_back: list[int] = []
    while (job := await bench.ledger.deliveries.claim("archive", [])) is not None:
        if by_id[job.file_id] in names:
            outcome = msgspec.structs.replace(RECEIPT, proof=proof)
            assert await bench.ledger.deliveries.finish_delivery(job.id, outcome)
        else:
            put_back.append(job.id)
    for delivery_id in put_back:
        await bench.ledger.deliveries.postpone(delivery_id, waiting_for="destination", code=None)


async def entries(bench: Workbench) -> list[dict[str, Any]]:
    return await bench.ledger.journal.entries()


async def until_ended(bench: Workbench, *states: str) -> list[dict[str, Any]]:
    async def reached() -> bool:
        return [entry["state"] for entry in await entries(bench)] == list(states)

    try:
        await bench.until(reached)
    except TimeoutError:
        raise AssertionError(f"{await entries(bench)} instead of {states}") from None
    return await entries(bench)


async def a_few_rounds(bench: Workbench, body: Body, rounds: int = 3) -> None:
    """Wait until the cards were read so often again, for nothing else to happen."""
    scans = body.scans
    while body.scans < scans + rounds:
        bench.ledger.wake()
        await asyncio.sleep(0.005)


def left(body: Body) -> list[str]:
    return sorted(file.object.name for file in body.files)


def shots(*names: str, **other: Any) -> Sequence[File]:
    return [made(name, **other) for name in names]


async def start(bench: Workbench, visiting: Visiting, *names: str, proof: str = "readback") -> None:
    await visiting.idle()
    await deliver(bench, *names, proof=proof)
    bench.around.delete = ON
    visiting.visit.deleting.hurry()


async def test_what_is_proven_goes_and_the_rest_stays(bench: Workbench) -> None:
    body = Body(*shots("IMG_0001.JPG", "IMG_0001.CR3", "IMG_0002.JPG"))
    async with bench.visiting(body) as visiting:
        await start(bench, visiting, "IMG_0001.JPG", "IMG_0002.JPG")
        done = await until_ended(bench, "deleted", "deleted")
        assert left(body) == ["IMG_0001.CR3"]
        assert {entry["name"] for entry in done} == {"IMG_0001.JPG", "IMG_0002.JPG"}
        assert all(entry["proofs"][0]["proof"] == "readback" for entry in done)
        await a_few_rounds(bench, body)
        assert len(body.asked_to_delete) == 2, "nothing is asked for twice"
        states = await bench.states()
        assert set(states.values()) == {"fetched"}, "where a file is in the spool has not changed"


@pytest.mark.parametrize("proof", ["size"])
async def test_a_size_is_no_proof(bench: Workbench, proof: str) -> None:
    body = Body(*shots("IMG_0001.JPG"))
    async with bench.visiting(body) as visiting:
        await start(bench, visiting, "IMG_0001.JPG", proof=proof)
        await a_few_rounds(bench, body)
        assert body.asked_to_delete == [] and await entries(bench) == []


async def test_it_is_off_by_default_and_an_order_is_one_round(bench: Workbench) -> None:
    body = Body(*shots("IMG_0001.JPG", "IMG_0002.JPG"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        await deliver(bench, "IMG_0001.JPG")
        visiting.visit.deleting.hurry()
        await asyncio.sleep(0.1)  # rounds would come every 0.02 s
        assert body.asked_to_delete == []
        bench.around.delete = DeleteSettings(after="0s")
        visiting.visit.deleting.order("somebody")
        (entry,) = await until_ended(bench, "deleted")
        assert entry["asked_by"] == "somebody"
        await deliver(bench, "IMG_0002.JPG")
        await asyncio.sleep(0.1)
        assert left(body) == ["IMG_0002.JPG"]


async def test_switching_it_off_ends_the_round_that_is_under_way(bench: Workbench) -> None:
    body = Body(*shots("IMG_0001.JPG", "IMG_0002.JPG", "IMG_0003.JPG"))

    def switch_off(item: Object) -> None:
        bench.around.delete = DeleteSettings(after="0s")

    body.on_delete = switch_off
    async with bench.visiting(body) as visiting:
        await start(bench, visiting, *left(body))
        await until_ended(bench, "deleted")
        await asyncio.sleep(0.1)  # rounds would come every 0.02 s
        assert len(left(body)) == 2
        visiting.visit.deleting.order("somebody")
        await until_ended(bench, *["deleted"] * 3)


async def test_what_verify_missed_stays_until_it_is_found(bench: Workbench) -> None:
    body = Body(*shots("IMG_0001.JPG"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        await deliver(bench, "IMG_0001.JPG")
        (row,) = await bench.ledger.views.delivered("archive")
        await bench.ledger.journal.doubt([row["id"]])
        bench.around.delete = ON
        visiting.visit.deleting.hurry()
        await a_few_rounds(bench, body)
        assert body.asked_to_delete == [] and await bench.ledger.journal.doubtful() == {row["id"]}
        await bench.ledger.journal.trust([row["id"]])
        await until_ended(bench, "deleted")


async def test_what_was_proven_where_the_destination_is_no_more_stays(bench: Workbench) -> None:
    body = Body(*shots("IMG_0001.JPG", "IMG_0002.JPG"))
    await bench.ledger.cameras.note_place("archive", "the old disk")
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        await deliver(bench, "IMG_0001.JPG")
        await asyncio.sleep(0.005)  # receipts have milliseconds
        await bench.ledger.cameras.note_place("archive", "the old disk")
        assert await bench.ledger.journal.doubtful() == set()
        await bench.ledger.cameras.note_place("archive", "another one")
        await asyncio.sleep(0.005)
        await deliver(bench, "IMG_0002.JPG")
        bench.around.delete = ON
        visiting.visit.deleting.hurry()
        await until_ended(bench, "deleted")
        await a_few_rounds(bench, body)
        assert left(body) == ["IMG_0001.JPG"]
        (doubtful,) = await bench.ledger.journal.doubtful()
        await bench.ledger.journal.trust([doubtful])
        await until_ended(bench, "deleted", "deleted")


async def test_a_body_without_a_serial_number_keeps_its_files(bench: Workbench) -> None:
    """Two of one model that answer alike and are released together give files that nothing tells apart."""
    body = Body(*shots("IMG_0001.JPG"))
    await bench.ledger.cameras.meet_camera(
        body.identity.serial, False, "main", ("", "", ""), ("camera", 15740)
    )
    async with bench.visiting(body) as visiting:
        await start(bench, visiting, "IMG_0001.JPG")
        await a_few_rounds(bench, body)
        assert body.asked_to_delete == []


async def test_a_file_that_becomes_old_enough_every_second_is_no_round_every_second(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "ROUND_SECONDS", 300.0)
    monkeypatch.setattr(deletion, "_SOONEST_SECONDS", 1.0)
    names = [f"IMG_000{n}.JPG" for n in range(1, 7)]
    body = Body(*shots(*names))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        for name in names:
            await deliver(bench, name)
            await asyncio.sleep(0.15)
        scans = body.scans
        bench.around.delete = DeleteSettings(enabled=True, after="1s")
        visiting.visit.deleting.hurry()
        await until_ended(bench, *["deleted"] * 6)
        assert body.scans - scans <= 4


async def test_another_card_with_the_same_names_loses_nothing(bench: Workbench) -> None:
    body = Body(*shots("IMG_0001.JPG", "IMG_0002.JPG"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        await deliver(bench, "IMG_0001.JPG", "IMG_0002.JPG")
        handles = [file.object.handle for file in body.files]
        body.files = [
            made("IMG_0001.JPG", captured="2024-05-02T10:00:00", handle=handles[0]),
            made("IMG_0002.JPG", size=1001, handle=handles[1]),
        ]
        bench.around.delete = ON
        visiting.visit.deleting.hurry()
        await a_few_rounds(bench, body)
        assert len(left(body)) == 2 and await entries(bench) == []


async def test_what_changes_under_the_hand_is_kept_and_looked_for_again(bench: Workbench) -> None:
    """The camera says at the last moment that the handle means another file: nothing was asked for."""
    body = Body(*shots("IMG_0001.JPG"))
    body.on_delete = lambda item: Deletion(False, fault(FAULTS, "camera.another_file", "IMG_0009.JPG"))
    async with bench.visiting(body) as visiting:
        await start(bench, visiting, "IMG_0001.JPG")
        (entry,) = await until_ended(bench, "kept")
        assert (entry["fault_code"], entry["detail"]) == ("camera.another_file", "IMG_0009.JPG")
        await a_few_rounds(bench, body)
        assert len(body.asked_to_delete) == 1, "not before its time"


async def test_a_camera_that_describes_otherwise_than_it_lists_is_left_alone_after_three(
    bench: Workbench,
) -> None:
    body = Body(*shots(*(f"IMG_000{n}.JPG" for n in range(1, 7))))
    body.on_delete = lambda item: Deletion(False, fault(FAULTS, "camera.another_file"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        await deliver(bench, *left(body))
        bench.around.delete = ON
        visiting.visit.deleting.hurry()
        await until_ended(bench, "kept", "kept", "kept")
        for _ in range(20):
            bench.ledger.wake()
            await asyncio.sleep(0.01)
        assert len(body.asked_to_delete) == 3
        body.on_delete = lambda item: None
        visiting.visit.deleting.order("somebody")
        await until_ended(bench, "kept", "kept", "kept", *["deleted"] * 6)


@pytest.mark.parametrize(
    "code", ["ptp.object_write_protected", "ptp.access_denied", "ptp.partial_deletion", "camera.delete_later"]
)
async def test_a_refusal_is_told_once_and_not_repeated_at_once(bench: Workbench, code: str) -> None:
    body = Body(*shots("IMG_0001.JPG"))
    body.on_delete = lambda item: Deletion(True, fault(FAULTS, code, "DeleteObject"))
    async with bench.visiting(body) as visiting:
        await start(bench, visiting, "IMG_0001.JPG")
        (entry,) = await until_ended(bench, "refused")
        assert entry["fault_code"] == code
        await a_few_rounds(bench, body)
        assert len(body.asked_to_delete) == 1
        assert not visiting.task.done(), "the visit goes on"


async def test_a_locked_card_is_asked_once_for_all_its_files(bench: Workbench) -> None:
    body = Body(*shots("IMG_0001.JPG", "IMG_0002.JPG"), made("IMG_0003.JPG", storage=2))
    body.cards = [1, 2]
    refusal = Deletion(True, fault(FAULTS, "ptp.store_read_only"))

    def lock(item: Object) -> Deletion | None:
        body.locked |= {1}
        return refusal if item.storage == 1 else None

    body.on_delete = lock
    async with bench.visiting(body) as visiting:
        await start(bench, visiting, "IMG_0001.JPG", "IMG_0002.JPG", "IMG_0003.JPG")
        await until_ended(bench, "refused", "deleted")
        await a_few_rounds(bench, body)
        assert left(body) == ["IMG_0001.JPG", "IMG_0002.JPG"] and len(body.asked_to_delete) == 2
        body.on_delete = lambda item: None
        body.locked.clear()  # the switch was moved
        bench.ledger.wake()
        await until_ended(bench, "refused", "deleted", "deleted", "deleted")
        assert left(body) == []


async def test_a_card_that_hides_its_lock_is_asked_once_a_visit_and_again_on_an_order(
    bench: Workbench,
) -> None:
    body = Body(*shots("IMG_0001.JPG", "IMG_0002.JPG"))
    body.on_delete = lambda item: Deletion(True, fault(FAULTS, "ptp.store_read_only"))
    async with bench.visiting(body) as visiting:
        await start(bench, visiting, "IMG_0001.JPG", "IMG_0002.JPG")
        await until_ended(bench, "refused")
        await a_few_rounds(bench, body)
        assert len(body.asked_to_delete) == 1
        body.on_delete = lambda item: None
        visiting.visit.deleting.order("somebody")
        await until_ended(bench, "refused", "deleted", "deleted")


async def test_two_files_of_one_name_in_one_folder_are_left_alone(bench: Workbench) -> None:
    body = Body(made("IMG_0001.JPG"), made("IMG_0001.JPG", captured="2024-05-01T11:00:00"))
    async with bench.visiting(body) as visiting:
        await start(bench, visiting, "IMG_0001.JPG")
        await a_few_rounds(bench, body)
        assert body.asked_to_delete == []


async def test_a_protected_file_is_not_even_asked_for(bench: Workbench) -> None:
    file = made("IMG_0001.JPG")
    body = Body(file)
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        await deliver(bench, "IMG_0001.JPG")
        file.object = msgspec.structs.replace(file.object, is_protected=True)
        bench.around.delete = ON
        visiting.visit.deleting.hurry()
        await a_few_rounds(bench, body)
        assert body.asked_to_delete == []
        file.object = msgspec.structs.replace(file.object, is_protected=False)
        bench.ledger.wake()
        await until_ended(bench, "deleted")


async def test_what_a_folder_hides_is_not_judged_by_half(bench: Workbench) -> None:
    body = Body(*shots("IMG_0001.JPG"))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        await deliver(bench, "IMG_0001.JPG")
        body.incomplete = {"100CANON"}
        bench.around.delete = ON
        visiting.visit.deleting.hurry()
        await a_few_rounds(bench, body)
        assert body.asked_to_delete == []


async def test_a_lost_link_leaves_it_unknown_until_the_card_was_looked_at(bench: Workbench) -> None:
    """Twice: the file is gone when the camera comes back, and it is still there."""
    for is_gone, outcome in ((True, "deleted"), (False, "kept")):
        name = "IMG_0001.JPG" if is_gone else "IMG_0002.JPG"
        body = Body(*shots(name, "IMG_0009.CR3"))

        def breaks(item: Object, body: Body = body, is_gone: bool = is_gone) -> None:
            if is_gone:
                body.delete_file(item)
            body.link = lost()
            body._check()

        body.on_delete = breaks
        async with bench.visiting(body) as visiting:
            await start(bench, visiting, name)
            await visiting.ended()
        assert (await entries(bench))[-1]["state"] == "unknown"
        bench.around.delete = DeleteSettings()
        body.link, body.on_delete = None, lambda item: None
        async with bench.visiting(body):
            ended = await until_ended(bench, *([] if is_gone else ["deleted"]), outcome)
        assert "interrupted" in ended[-1]["detail"]
        assert (name in left(body)) is not is_gone


async def test_another_card_says_nothing_about_what_was_interrupted(bench: Workbench) -> None:
    body = Body(*shots("IMG_0001.JPG"))

    def breaks(item: Object) -> None:
        body.link = lost()
        body._check()

    body.on_delete = breaks
    async with bench.visiting(body) as visiting:
        await start(bench, visiting, "IMG_0001.JPG")
        await visiting.ended()
    other = Body(*shots("IMG_0500.JPG", captured="2025-01-01T00:00:00"))
    async with bench.visiting(other) as visiting:
        await visiting.idle()
        await a_few_rounds(bench, other, 1)
        assert [entry["state"] for entry in await entries(bench)] == ["unknown"]
    assert other.asked_to_delete == []
    body.link, body.on_delete = None, lambda item: None
    async with bench.visiting(body):
        await until_ended(bench, "kept")


async def test_what_is_owed_elsewhere_goes_only_while_the_spool_has_it(bench: Workbench) -> None:
    from agent.ledger import NewDelivery

    three = ("IMG_0001.JPG", "IMG_0002.JPG", "IMG_0003.JPG")
    body = Body(*shots(*three))
    async with bench.visiting(body) as visiting:
        await visiting.idle()
        files = await bench.files()
        for name in three:
            await bench.ledger.files.owe(
                files[name]["id"], [NewDelivery("cloud", (name, name + "a", name + "b"))]
            )
        await deliver(bench, *three)
        assert await bench.spool.evict(files["IMG_0003.JPG"]["id"])  # lost: the ledger does not know yet
        assert await bench.spool.evict(files["IMG_0001.JPG"]["id"])
        await bench.ledger.files.mark_evicted(files["IMG_0001.JPG"]["id"])
        bench.around.delete = DeleteSettings(enabled=True, after="0s", destinations=("archive",))
        visiting.visit.deleting.hurry()
        await until_ended(bench, "deleted")
        await a_few_rounds(bench, body)
        assert left(body) == ["IMG_0001.JPG", "IMG_0003.JPG"], (
            "it waits for the camera, and must be fetched from it"
        )
