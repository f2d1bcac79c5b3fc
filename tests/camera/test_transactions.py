"""What is learnt of a model, and for how long."""

from __future__ import annotations

import pytest

from agent.camera import Body
from agent.camera.memory import ModelMemory
from tests.camera.bodies import asked, linked, objects
from tests.simcam.simcam import SimCamera

LISTING, THUMB, BETTER_THUMB, INFO = 0x9109, 0x100A, 0x910A, 0x1008


def test_facts_are_of_a_model_and_a_firmware() -> None:
    facts: dict[str, str] = {}
    ModelMemory(facts, "EOS R5m2", "1.0").note_refused(LISTING, 0x2005)
    assert facts == {"EOS R5m2/1.0 0x9109": "refused 0x2005"}
    assert ModelMemory(facts, "EOS R5m2", "1.0").avoids(LISTING)
    assert not ModelMemory(facts, "EOS R5m2", "1.1").avoids(LISTING)
    assert not ModelMemory(facts, "EOS R5", "1.0").avoids(LISTING)


def test_three_failures_in_a_row_count_and_one_success_between_forgives() -> None:
    memory = ModelMemory({}, "m", "f")
    for _ in range(2):
        memory.note_failed(LISTING)
    assert not memory.avoids(LISTING)
    memory.note_worked(LISTING)
    for _ in range(2):
        memory.note_failed(LISTING)
    assert not memory.avoids(LISTING)
    memory.note_failed(LISTING)
    assert memory.avoids(LISTING)


@pytest.mark.parametrize("fact", ["", "failed", "failed x", "failed -3", "refuse", "3", "failed 1e9"])
def test_facts_that_somebody_else_wrote_do_no_harm(fact: str) -> None:
    assert not ModelMemory({"m/f 0x9109": fact}, "m", "f").avoids(LISTING)


async def thumbnail(body: Body) -> bytes | None:
    return await body.thumbnail((await objects(body))[0])


async def test_a_refusal_counts_for_the_session_at_once_and_for_the_model_once_something_else_worked() -> (
    None
):
    memory: dict[str, str] = {}
    async with SimCamera("eos-60d", "1:5000") as cam:
        cam.trouble.fail_op(THUMB, 0x2005)
        async with linked(cam, memory=memory) as body:
            assert await thumbnail(body) is not None
            assert await thumbnail(body) is not None
            assert asked(cam, THUMB) == 1
        assert memory == {"Canon EOS 60D/3-1.0.8 0x100a": "refused 0x2005"}
        async with linked(cam, memory=memory) as body:
            assert await thumbnail(body) is not None
        assert asked(cam, THUMB) == 1


async def test_a_session_in_disorder_teaches_nothing() -> None:
    """Some bodies answer 0x2005 to everything after somebody's CloseSession (protocol.md §3)."""
    memory: dict[str, str] = {}
    async with SimCamera("eos-60d", "1:5000") as cam, linked(cam, memory=memory) as body:
        [item] = await objects(body)
        for operation in (THUMB, BETTER_THUMB, 0x101B, 0x9107, LISTING, 0x1007, INFO, 0x9116, 0x9101, 0x1004):
            cam.trouble.fail_op(operation, 0x2005)
        assert await body.thumbnail(item) is None
        assert memory == {}


async def test_what_is_refused_in_this_mode_is_not_remembered() -> None:
    memory: dict[str, str] = {}
    async with SimCamera("eos-60d", "1:5000") as cam:
        cam.trouble.fail_op(THUMB, 0xA005)
        async with linked(cam, memory=memory) as body:
            assert await thumbnail(body) is not None
            assert await thumbnail(body) is not None
        assert asked(cam, THUMB) == 1 and memory == {}


async def test_object_info_that_breaks_the_link_gives_way_to_canons_own() -> None:
    memory: dict[str, str] = {}
    async with SimCamera("eos-60d", "1:5000") as cam:
        cam.trouble.reset_on(INFO, None)
        for _ in range(3):
            async with linked(cam, memory=memory) as body:
                [item] = await objects(body)
                with pytest.raises(Exception, match=r"camera\.link_lost"):
                    await body.lookup(item)
        async with linked(cam, memory=memory) as body:
            [item] = await objects(body)
            assert await body.lookup(item) is not None
        assert (asked(cam, INFO), asked(cam, 0x9103)) == (3, 1)


async def test_partial_reads_are_never_given_up_because_of_a_bad_link() -> None:
    memory: dict[str, str] = {}
    async with SimCamera("eos-60d", "1:5000") as cam:
        for _ in range(5):
            async with linked(cam, memory=memory) as body:
                [item] = await objects(body)
                cam.trouble.cut_after(100)
                with pytest.raises(Exception, match=r"camera\.link_lost"):
                    await body.read(item, 0, memoryview(bytearray(5000)))
        async with linked(cam, memory=memory) as body:
            [item] = await objects(body)
            assert body.can_resume(item)
            assert await body.read(item, 0, memoryview(bytearray(5000))) == 5000
        assert asked(cam, 0x101B) == 6
