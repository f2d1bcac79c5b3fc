"""tshark reads what the agent says as we mean it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from agent.camera import connect
from tests.camera.bodies import GUID, STEADY, objects
from tests.simcam import tshark
from tests.simcam.simcam import SimCamera

pytestmark = pytest.mark.stranger


@pytest.mark.parametrize("body", ["eos-r7", "generic"])
async def test_a_visit_is_read_as_we_mean_it(body: str, tmp_path: Path) -> None:
    if reason := tshark.why_not():
        pytest.skip(reason)
    async with SimCamera(body, "2:10K", coalesce=False) as cam:
        with tshark.Capture(cam.port, tmp_path) as capture:
            found = await connect(
                cam.host, cam.port, guid=GUID, name="hotshoe", pairing=False, memory={}, timing=STEADY
            )
            for item in await objects(found):
                assert await found.read(item, 0, memoryview(bytearray(10 << 10))) == 10 << 10
                assert await found.thumbnail(item) is not None
            cam.shoot("JPG:1K")
            await found.look()
            asked = Counter(found.session.transactions)
            await found.close()
        packets = tshark.judge(capture.path, cam.port)
    ours = [packet for packet in packets if packet.is_to_camera]
    hello, event_hello, *requests = ours
    assert (hello.type, hello.guid, hello.name, hello.version) == (1, GUID.hex(), "hotshoe", "1.0")
    assert (event_hello.type, event_hello.connection) == (3, 1)
    assert hello.stream != event_hello.stream
    assert {packet.type for packet in requests} == {6}, "requests, and neither Cancel nor anything else"
    assert {packet.phase for packet in requests} == {1}
    assert [packet.transaction for packet in requests] == list(range(len(requests)))
    assert Counter(packet.operation for packet in requests) == asked
    assert (requests[0].operation, requests[0].session) == (0x1002, 1)
    answers = [packet for packet in packets if packet.type == 7]
    assert [packet.transaction for packet in answers] == [packet.transaction for packet in requests]
    assert {packet.response for packet in answers} == {0x2001}
