"""How far the camera's clock is from ours, measured while it is being connected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.camera.bodies import linked
from tests.simcam import profile
from tests.simcam.simcam import SimCamera


@pytest.mark.parametrize("body", ["eos-60d", "eos-r7", "generic"])
@pytest.mark.parametrize("ahead", [0.0, 7200.0, -86_400.0 * 3650 - 17])
async def test_the_clock_is_read_when_a_camera_is_connected(body: str, ahead: float) -> None:
    camera = SimCamera(body, "1:1K")
    camera.camera.clock_offset_seconds = ahead
    async with camera, linked(camera) as found:
        assert found.clock_ahead_seconds == pytest.approx(ahead, abs=2)


@pytest.mark.parametrize("properties", [(0x5001,), ()])
async def test_a_camera_that_does_not_tell_its_clock(properties: tuple[int, ...]) -> None:
    plain = replace(profile.GENERIC, properties=properties)
    async with SimCamera(plain, "1:1K") as camera, linked(camera) as found:
        assert found.clock_ahead_seconds is None


@pytest.mark.parametrize("code", [0x2005, 0x200A, 0x2002])
async def test_a_clock_that_is_refused_stops_nothing(code: int) -> None:
    async with SimCamera("generic", "1:1K") as camera:
        camera.trouble.fail_op(0x1015, code)
        async with linked(camera) as found:
            assert found.clock_ahead_seconds is None
            assert len(await found.storages()) == 1
