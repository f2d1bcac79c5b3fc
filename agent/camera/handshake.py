"""The way to two open sockets: resolve, connect, introduce ourselves, and open the event channel at once.

A camera's port is connected to for a whole handshake or not at all, because some bodies listen for a single
attempt (protocol.md §7.2). Each step has its deadline, and each way to fail its own fault, so that a person learns
whether the camera sleeps, is not paired, is busy elsewhere, or is no camera.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from agent.camera.faults import FAULTS, init_fail, os_fault
from agent.camera.timing import Timing
from agent.camera.wire import Receive, Wire
from agent.faults import fault
from agent.ptp.connection import Payload
from agent.ptp.packets import (
    InitCommandAck,
    InitCommandRequest,
    InitEventRequest,
    InitFail,
    Packet,
    ProbeRequest,
    ProbeResponse,
)

EVENT_CONNECTS = 3

Address = tuple[str, int]


async def resolve(host: str, port: int) -> Address:
    """Return one address, so that an error is about one; IPv4 first, which is what cameras speak."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise os_fault(error, connecting=True) from error
    except ValueError as error:  # not a host's name at all
        raise fault(FAULTS, "camera.unknown_host", str(error)) from error
    found.sort(key=lambda entry: entry[0] is not socket.AF_INET)
    return str(found[0][4][0]), port


async def open_command(
    wire: Wire, address: Address, request: InitCommandRequest, timing: Timing, *, pairing: bool, then: Receive
) -> InitCommandAck:
    """Connect and introduce ourselves. `pairing`: a person may have to confirm it on the camera first."""
    try:
        await _connect(wire, address, timing)
    except OSError as error:
        raise os_fault(error, connecting=True) from error
    if pairing:
        answer = await _shake(wire, request, timing.pairing, "camera.pairing_timeout", then)
    else:
        answer = await _shake(wire, request, timing.greeting, "camera.no_answer", then)
    assert isinstance(answer, InitCommandAck)
    return answer


async def open_event(wire: Wire, address: Address, number: int, timing: Timing, *, then: Receive) -> None:
    """Open the second connection; a camera may need a moment before it listens again."""
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(ConnectionRefusedError),
            stop=stop_after_attempt(EVENT_CONNECTS),
            wait=wait_fixed(timing.event_channel_retry),
            reraise=True,
        ):
            with attempt:
                await _connect(wire, address, timing)
    except OSError as error:
        raise fault(FAULTS, "camera.no_event_channel", str(error)) from error
    await _shake(wire, InitEventRequest(number), timing.event_channel, "camera.no_event_channel", then)


async def _connect(wire: Wire, address: Address, timing: Timing) -> None:
    async with asyncio.timeout(timing.connect):
        await asyncio.get_running_loop().create_connection(lambda: wire, *address)


async def _shake(
    wire: Wire, request: InitCommandRequest | InitEventRequest, seconds: float, late: str, then: Receive
) -> Packet | Payload:
    """Send `request` and return the answer; whatever follows the answer goes to `then`."""
    answer: asyncio.Future[Packet | Payload] = asyncio.get_running_loop().create_future()

    def take(packet: Packet | Payload) -> None:
        if isinstance(packet, ProbeRequest):
            wire.send(ProbeResponse())
        else:
            wire.receive = then
            answer.set_result(packet)

    wire.receive = take
    wire.send(request)
    ends: list[asyncio.Future[Any]] = [answer, wire.ended]
    await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if not answer.done():
        other = "camera.closed" if wire.ended.done() else late
        raise wire.failure or fault(FAULTS, other, f"no answer for {seconds:g} s")
    packet = answer.result()
    if isinstance(packet, InitFail):
        raise init_fail(packet.reason)
    return packet
