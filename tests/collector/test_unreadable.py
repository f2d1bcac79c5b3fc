"""What a camera has on its cards and cannot list: told, looked for again, and not passed over in silence."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import structlog

from agent.camera import Folder, Handle, Unreadable
from agent.collector import visit
from tests.collector.scripted import Body, made
from tests.collector.workbench import Workbench

REFUSED = Unreadable(Handle(0x91900003), "ptp.general_error", "GetObjectInfo: 0x2002")
NO_LISTING = Unreadable(Handle(0), "ptp.general_error", "GetObjectHandles: 0x2002")


class Reluctant(Body):
    """Lists only when `refusals` has run out; keeps storages to itself with NO_LISTING."""

    refusals = 1
    refusal = REFUSED

    async def scan(self, known: object = None) -> AsyncIterator[Folder]:
        self.refusals -= 1
        if self.refusals < 0:
            async for folder in super().scan(known):
                yield folder
            return
        if self.refusal is not NO_LISTING:
            first = self.files[0].object
            yield Folder(first.storage, first.folder, (first,), is_complete=False)
        yield Folder(1, "", (), False, (self.refusal,))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "UNREADABLE_SECONDS", 0.01)


@pytest.mark.parametrize("refusal", [REFUSED, NO_LISTING])
async def test_what_cannot_be_listed_is_told_once_and_looked_for_again(
    bench: Workbench, refusal: Unreadable
) -> None:
    body = Reluctant(made("IMG_0001.JPG"), made("IMG_0002.JPG"))
    body.refusals, body.refusal = 3, refusal
    with structlog.testing.capture_logs() as events:
        async with bench.visiting(body) as visiting:
            await visiting.scanned.wait()
            assert not visiting.visit.is_idle, "or --once would call a card delivered that nobody could read"
            assert list(visiting.visit.unreadable) == [refusal]
            await visiting.idle()
            assert not list(visiting.visit.unreadable)
    assert await bench.states() == {"IMG_0001.JPG": "fetched", "IMG_0002.JPG": "fetched"}
    (told,) = [event for event in events if event["event"] == "cannot be listed"]
    assert told["code"] == "ptp.general_error" and told["hint"]


async def test_backlog_none_counts_from_the_first_contact_at_which_a_card_could_be_read(
    bench: Workbench,
) -> None:
    body = Reluctant(made("IMG_0001.JPG"), made("IMG_0002.JPG"))
    body.refusal = NO_LISTING
    async with bench.visiting(body, backlog="none") as visiting:
        await visiting.idle()
        body.shoot(made("IMG_0003.JPG", captured="2024-05-01T10:00:09", is_just_written=True))
        await bench.until_states(IMG_0003_JPG="fetched")
    assert await bench.states() == {
        "IMG_0001.JPG": "skipped",
        "IMG_0002.JPG": "skipped",
        "IMG_0003.JPG": "fetched",
    }


async def test_a_file_whose_size_became_known_is_never_between_two_queues(bench: Workbench) -> None:
    """Or --once would end in that moment."""
    body = Body(made("IMG_0001.JPG", is_just_written=True))
    seen: list[bool] = []
    settle = bench.ledger.files.settle

    async def settled(*args: object) -> bool:
        answer = await settle(*args)  # type: ignore[arg-type]
        seen.append(visiting.visit.is_idle)
        return answer

    bench.ledger.files.settle = settled  # type: ignore[method-assign, assignment]
    async with bench.visiting(body) as visiting:
        await bench.until_states(IMG_0001_JPG="fetched")
    assert seen == [False]
