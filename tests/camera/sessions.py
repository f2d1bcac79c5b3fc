"""A session with a scripted camera, for tests of what lies below the brands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from agent.camera.session import Session
from agent.faults import Fault
from tests.camera.responder import GUID, QUICK, Script, camera, device_info, scripted

Test = Callable[[Session], Awaitable[None]]


async def open_session(
    port: int, *, pairing: bool = False, session_id: int = 1, name: str = "edge"
) -> Session:
    return await Session.open(
        "127.0.0.1", port, guid=GUID, name=name, pairing=pairing, session_id=session_id, timing=QUICK
    )


async def with_session(test: Test, *scripts: Script, info: bytes = device_info(0x1001)) -> None:
    async with scripted(*camera(*scripts, info=info)) as port:
        session = await open_session(port)
        try:
            await test(session)
        finally:
            session.close()
            await session.wait_closed()


async def opening_fails(*scripts: Script, pairing: bool = False) -> Fault:
    async with scripted(*scripts) as port:
        with pytest.raises(Fault) as caught:
            await open_session(port, pairing=pairing)
    return caught.value
