"""Deleting one object: only what its handle still means, told truthfully, and never anything besides."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from agent.camera import Handle
from agent.camera.deleting import ALL_OBJECTS
from agent.faults import Fault, Kind, Scope
from tests.camera.bodies import asked, cards, linked, scan, the_object
from tests.simcam.simcam import SimCamera

DELETE, EOS_DELETE = 0x100B, 0x9105
BODIES = ["eos-60d", "eos-r7", "generic"]


def names(cam: SimCamera) -> list[str]:
    return sorted(item.name for item in cam.files())


def sent(cam: SimCamera) -> int:
    return asked(cam, DELETE) + asked(cam, EOS_DELETE)


@pytest.mark.parametrize("body", BODIES)
async def test_the_object_and_nothing_else_is_deleted_in_three_round_trips(body: str) -> None:
    async with SimCamera(body, cards(2, 3)) as cam, linked(cam) as found:
        before = names(cam)
        item = await the_object(found, "IMG_0002.JPG")
        trips = found.session.round_trips
        outcome = await found.delete(item)
        assert outcome.fault is None and outcome.was_asked
        assert found.session.round_trips - trips == 3
        assert names(cam) == [name for name in before if name != "IMG_0002.JPG"]
        assert [each.name for folder in await scan(found) for each in folder.objects].count(
            "IMG_0002.JPG"
        ) == 0
        assert await found.lookup(item) is None


@pytest.mark.parametrize("body", BODIES)
async def test_our_own_deletion_is_no_news_and_anothers_is(body: str) -> None:
    async with SimCamera(body, cards(1, 3)) as cam, linked(cam) as found:
        first = await the_object(found, "IMG_0001.JPG")
        await found.look()
        assert (await found.delete(first)).fault is None
        look = await found.look()
        assert not look.removed_handles and not look.is_incomplete and not look.storages_changed
        cam.trouble.delete("IMG_0002.JPG")
        assert len((await found.look()).removed_handles) == 1


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    "change",
    [
        {"size": 299_999},
        {"name": "IMG_0009.JPG"},
        {"folder": "101CANON"},
        {"captured": "2020-01-01T00:00:00"},
    ],
)
async def test_what_is_another_file_by_now_is_kept(body: str, change: dict[str, object]) -> None:
    async with SimCamera(body, cards(1, 2)) as cam, linked(cam) as found:
        item = await the_object(found, "IMG_0001.JPG")
        outcome = await found.delete(msgspec.structs.replace(item, **change))
        assert outcome.fault is not None and outcome.fault.code == "camera.another_file"
        assert not outcome.was_asked and not sent(cam) and len(names(cam)) == 4


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    "change",
    [
        {"size": None},
        {"captured": ""},
        {"is_just_written": True},
        {"handle": Handle(ALL_OBJECTS)},
        {"handle": Handle(0)},
    ],
)
async def test_what_is_not_described_well_enough_is_kept(body: str, change: dict[str, object]) -> None:
    async with SimCamera(body, cards(1, 2)) as cam, linked(cam) as found:
        item = await the_object(found, "IMG_0001.JPG")
        outcome = await found.delete(msgspec.structs.replace(item, **change))
        assert outcome.fault is not None and outcome.fault.code == "camera.another_file"
        assert not sent(cam) and len(names(cam)) == 4


@pytest.mark.parametrize("body", BODIES)
async def test_a_handle_that_means_another_file_deletes_neither(body: str) -> None:
    async with SimCamera(body, cards(1, 3)) as cam, linked(cam) as found:
        item = await the_object(found, "IMG_0002.JPG")
        cam.trouble.renumber_handles(reconnect=False)
        assert (await found.delete(item)).fault is not None
        cam.trouble.swap_card()
        assert (await found.delete(item)).fault is not None
        assert not sent(cam) and len(names(cam)) == 6


async def test_a_folder_is_never_deleted() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0001.JPG")
        folder = cam.camera.find("IMG_0001.JPG").parent
        assert (await body.delete(msgspec.structs.replace(item, handle=Handle(folder)))).fault is not None
        assert not sent(cam)


Arrange = Callable[[SimCamera], None]


@pytest.mark.parametrize(
    ("arrange", "code", "kind", "was_asked"),
    [
        (lambda cam: cam.trouble.protect("IMG_0001.JPG"), "ptp.object_write_protected", Kind.PERMANENT, False),
        (lambda cam: cam.trouble.fail_op(DELETE, 0x200D), "ptp.object_write_protected", Kind.PERMANENT, True),
        (lambda cam: cam.trouble.read_only_card(), "ptp.store_read_only", Kind.NEEDS_USER, True),
        (lambda cam: cam.trouble.fail_op(DELETE, 0x200F), "ptp.access_denied", Kind.PERMANENT, True),
        (lambda cam: cam.trouble.fail_op(DELETE, 0x2012), "ptp.partial_deletion", Kind.RETRYABLE, True),
        (lambda cam: cam.trouble.fail_op(DELETE, 0x2002), "ptp.general_error", Kind.RETRYABLE, True),
        (lambda cam: cam.trouble.fail_op(DELETE, 0x2019), "camera.delete_later", Kind.RETRYABLE, True),
        (lambda cam: cam.trouble.fail_op(0x1008, 0x2019), "camera.delete_later", Kind.RETRYABLE, False),
        (lambda cam: cam.trouble.fail_op(DELETE, 0x2001), "camera.not_deleted", Kind.PERMANENT, True),
        (lambda cam: cam.trouble.without_op(DELETE, EOS_DELETE), "ptp.operation_not_supported", Kind.PERMANENT, True),
    ],
)  # fmt: skip
async def test_every_refusal_is_a_sentence_and_is_asked_once(
    arrange: Arrange, code: str, kind: Kind, was_asked: bool
) -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0001.JPG")
        arrange(cam)
        outcome = await body.delete(item)
        assert outcome.fault is not None
        assert (outcome.fault.code, outcome.fault.kind, outcome.was_asked) == (code, kind, was_asked)
        assert outcome.fault.scope is Scope.ITEM
        assert outcome.fault.hint.endswith(".")
        assert asked(cam, DELETE) == was_asked
        assert len(names(cam)) == 4
        assert body.session.failure is None, "the link is fine"


async def test_a_body_without_the_standard_operation_is_asked_in_canons_way() -> None:
    async with SimCamera("eos-r7", cards(1, 2)) as cam:
        cam.trouble.without_op(DELETE)
        async with linked(cam) as body:
            item = await the_object(body, "IMG_0001.JPG")
            assert (await body.delete(item)).fault is None
            assert "IMG_0001.JPG" not in names(cam) and len(names(cam)) == 3


async def test_a_body_that_lists_no_way_to_delete_says_so() -> None:
    with SimCamera("generic", cards(1, 1)) as listed:
        profile = listed.profile.without(DELETE)
    async with SimCamera(profile, cards(1, 1)) as cam, linked(cam) as body:
        outcome = await body.delete(await the_object(body, "IMG_0001.JPG"))
        assert outcome.fault is not None and outcome.fault.code == "camera.cannot_delete"


async def test_an_object_that_is_gone_counts_as_deleted_whatever_was_answered() -> None:
    """GeneralError is what some bodies say about an object that is just being deleted (protocol.md §2.8)."""
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0001.JPG")
        cam.trouble.deleted_mid_transfer("IMG_0002.JPG")
        again = msgspec.structs.replace(item)
        assert (await body.delete(again)).fault is None
        gone = await body.delete(again)
        assert gone.fault is not None and not gone.was_asked, "a description comes first"


async def test_a_link_that_breaks_over_it_is_raised() -> None:
    async with SimCamera("eos-60d", cards(1, 2)) as cam, linked(cam) as body:
        item = await the_object(body, "IMG_0001.JPG")
        cam.trouble.reset_on(DELETE)
        with pytest.raises(Fault) as caught:
            await body.delete(item)
        assert caught.value.scope is Scope.WHOLE
