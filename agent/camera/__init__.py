"""The link to one camera: `connect` gives a `Body`, whose methods are all that the rest of the agent needs.

Handles, sessions and transactions do not leave this package; files do, as `Object`s that tell where they lie, what they are
called, how long they are and when they were taken.
"""

from __future__ import annotations

from agent.camera.brands import choose
from agent.camera.brands.generic import Generic as Body
from agent.camera.deleting import Deletion
from agent.camera.discovery import UPNP_PORT, knock
from agent.camera.faults import FAULTS
from agent.camera.link import Urgency
from agent.camera.objects import (
    Folder,
    Handle,
    Identity,
    Look,
    Object,
    Status,
    Storage,
    Unreadable,
    are_same_time,
    is_same_file,
)
from agent.camera.session import Session
from agent.camera.timing import Timing

__all__ = [
    "FAULTS",
    "Body",
    "Deletion",
    "Folder",
    "Handle",
    "Identity",
    "Look",
    "Object",
    "Status",
    "Storage",
    "Timing",
    "Unreadable",
    "Urgency",
    "are_same_time",
    "connect",
    "is_same_file",
]

PTP_IP_PORT = 15740


async def connect(
    host: str,
    port: int = PTP_IP_PORT,
    *,
    guid: bytes,
    name: str,
    pairing: bool,
    memory: dict[str, str],
    session_id: int = 1,
    timing: Timing | None = None,
    upnp_port: int = UPNP_PORT,
) -> Body:
    """Return a camera that is ready to be asked; raise a Fault, and leave nothing open, when there is none.

    `guid`: 16 bytes, the same ones for ever. `name`: at most 15 ASCII characters. `pairing`: this GUID was never accepted, so
    a person may have to confirm it on the camera, for which there are 90 s. `memory`: what did not work on which
    model; changed in place, and worth keeping.
    """
    await knock(host, upnp_port)
    session = await Session.open(
        host, port, guid=guid, name=name, pairing=pairing, session_id=session_id, timing=timing
    )
    try:
        body = choose(session.info)(session, memory)
        await body.begin()
    except BaseException:
        session.close()
        await session.wait_closed()
        raise
    return body
