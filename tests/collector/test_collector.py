"""A camera's task: it connects, serves, says why it waits, and connects again, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from agent import camera
from agent.camera import FAULTS
from agent.collector import Collector
from agent.faults import fault
from agent.ledger import Subject
from agent.settings import CameraSettings
from tests.collector.scripted import SERIAL, Body, lost, made
from tests.collector.workbench import Workbench

Answer = Body | Exception | Callable[[], Body]


class Network:
    """What answers at the camera's address, attempt by attempt; the last answer stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Answer):
        self.answers = list(answers)
        self.attempts: list[dict[str, Any]] = []
        self.changed = asyncio.Event()
        monkeypatch.setattr(camera, "connect", self.connect)

    async def connect(self, host: str, port: int, **how: Any) -> Body:
        self.attempts.append({"host": host, "port": port, **how, "memory": dict(how["memory"])})
        self.changed.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Body) else answer()


def settings_of(name: str = "main", **more: object) -> CameraSettings:
    return CameraSettings.model_validate({"name": name, "host": "192.0.2.1", **more})


@asynccontextmanager
async def running(bench: Workbench, name: str = "main") -> AsyncIterator[Collector]:
    collector = Collector(settings_of(name), bench.around)
    task = asyncio.create_task(collector.run())
    try:
        yield collector
        assert not task.done(), "it serves until it is cancelled"
    finally:
        task.cancel()
        await asyncio.wait([task])


async def subject_of(bench: Workbench, name: str = "main") -> Subject | None:
    return await bench.ledger.cameras.subject("camera", name)


async def until_subject(bench: Workbench, state: str, code: str | None = None, name: str = "main") -> Subject:
    async def reached() -> bool:
        found = await subject_of(bench, name)
        return found is not None and (found.state, found.fault_code) == (state, code)

    await bench.until(reached)
    found = await subject_of(bench, name)
    assert found is not None
    return found


async def test_a_camera_is_met_and_served(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    body = Body(made("A.JPG", 50))
    network = Network(monkeypatch, body)
    async with running(bench) as collector:
        assert not collector.is_idle and not collector.has_scanned
        await bench.until_states(A_JPG="fetched")
        found = await until_subject(bench, "ready")
        assert found.serial == SERIAL
        served: object = collector.body
        assert (served is body, body.is_closed) == (True, False)

        async def idle() -> bool:
            return collector.has_scanned and collector.is_idle

        await bench.until(idle)
    assert collector.body is None
    assert body.is_closed
    (attempt,) = network.attempts
    assert (attempt["host"], attempt["port"], attempt["pairing"]) == ("192.0.2.1", 15740, True)
    (row,) = await bench.ledger.views.files()
    assert (row["camera"], row["serial"]) == ("main", SERIAL)


async def test_a_lost_link_is_a_wait_with_a_reason_and_then_a_new_connection(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Body(made("A.MP4", 950)), Body(made("A.MP4", 950))

    def cut(item: object, offset: int) -> None:
        if offset == 500:
            first.link = lost()

    first.on_read = cut
    network = Network(monkeypatch, first, second)
    async with running(bench) as collector:
        found = await until_subject(bench, "waiting", "camera.link_lost")
        assert found.reason == FAULTS["camera.link_lost"].hint and found.next_try_at
        assert first.is_closed and not collector.is_idle
        collector.hurry()
        await bench.until_states(A_MP4="fetched")
        await until_subject(bench, "ready")
    assert [attempt["pairing"] for attempt in network.attempts] == [True, False]


async def test_a_camera_that_needs_a_person_is_asked_again_by_itself(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = fault(FAULTS, "camera.not_paired", retry_after_seconds=0.01)
    network = Network(monkeypatch, refusal, refusal, Body(made("A.JPG", 50)))
    async with running(bench):
        found = await until_subject(bench, "paused", "camera.not_paired")
        assert found.paused_by == "agent" and found.next_try_at
        await bench.until_states(A_JPG="fetched")
        await until_subject(bench, "ready")
    assert len(network.attempts) == 3


async def test_waits_grow_and_stay_bounded(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.collector import collector as module

    asked: list[int] = []

    def backoff(attempt: int, *, cap: float) -> float:
        asked.append(attempt)
        assert cap == 30.0
        return 0.001

    monkeypatch.setattr(module, "backoff_seconds", backoff)
    answers = [fault(FAULTS, "camera.asleep")] * 5
    Network(monkeypatch, *answers, Body(made("A.JPG", 50)))
    async with running(bench):
        await bench.until_states(A_JPG="fetched")
    assert asked == [1, 2, 3, 4, 5]


async def test_a_bug_is_told_and_costs_one_connection(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = Body(made("A.JPG", 50)), Body(made("A.JPG", 50))

    def bug(folder: str) -> None:
        raise ZeroDivisionError("a bug")

    bad.on_listed = bug
    Network(monkeypatch, bad, good)
    with structlog.testing.capture_logs() as events:
        async with running(bench) as collector:
            found = await until_subject(bench, "waiting", "camera.unclassified")
            assert found.reason
            collector.hurry()
            await bench.until_states(A_JPG="fetched")
    assert bad.is_closed
    assert [event["event"] for event in events].count("unclassified") == 1


async def test_one_body_is_served_once(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries of the configuration lead to one camera."""
    first, second = Body(made("A.JPG", 50)), Body(made("A.JPG", 50))
    Network(monkeypatch, first, second)
    async with running(bench, "main"):
        await until_subject(bench, "ready")
        async with running(bench, "copy"):
            await until_subject(bench, "waiting", "camera.connected_twice", "copy")
            assert second.is_closed and not first.is_closed
        found = await subject_of(bench, "main")
        assert found is not None and found.state == "ready"
    assert bench.around.serials == {}
    assert len(await bench.ledger.views.files()) == 1


async def test_two_bodies_side_by_side(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    Network(monkeypatch, Body(made("A.JPG", 50), serial="1"), Body(made("A.JPG", 50), serial="2"))
    async with running(bench, "one"), running(bench, "two"):
        await until_subject(bench, "ready", name="one")
        await until_subject(bench, "ready", name="two")

        async def both() -> bool:
            rows = await bench.ledger.views.files()
            return [row["state"] for row in rows] == ["fetched", "fetched"]

        await bench.until(both)
    keys = {row["serial"]: row["deliveries"][0]["key"] for row in await bench.ledger.views.files()}
    assert len(set(keys.values())) == 2 and "A.JPG" in keys.values()


async def test_what_was_learnt_of_a_model_is_kept(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    body = Body(made("A.JPG", 50))

    def learn() -> Body:
        bench.around.model_memory["Canon EOS R7/1.0/chunk"] = "small"
        return body

    Network(monkeypatch, learn)
    async with running(bench):
        await bench.until_states(A_JPG="fetched")
    assert await bench.ledger.cameras.model_memory() == {"Canon EOS R7/1.0/chunk": "small"}


async def test_stopping_while_it_waits_for_a_connection(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch, fault(FAULTS, "camera.asleep"))
    async with asyncio.timeout(5):
        async with running(bench):
            await network.changed.wait()
            await until_subject(bench, "waiting", "camera.asleep")


async def test_trouble_while_letting_go_does_not_keep_it_from_stopping(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = Body(made("A.JPG", 50))

    def trouble() -> None:
        raise lost()

    body.on_close = trouble
    Network(monkeypatch, body)
    collector = Collector(settings_of(), bench.around)
    task = asyncio.create_task(collector.run())
    await until_subject(bench, "ready")
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done and task.cancelled()
