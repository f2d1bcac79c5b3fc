"""Every deadline and pace of the camera link in one place, so that a test can be impatient.

Sources: protocol.md §1.10 (deadlines), §2.8 (retries), §7.4 (settling), §9.c (polling).
"""

from __future__ import annotations

import msgspec


class Timing(msgspec.Struct, frozen=True):
    """All in seconds."""

    connect: float = 5.0
    pairing: float = 90.0  # a person has to press OK on the camera
    greeting: float = 15.0  # InitCommandAck of a camera that knows us
    event_channel: float = 10.0
    event_channel_retry: float = 0.1
    silence: float = 15.0  # to the first byte, and between bytes
    busy: float = 30.0
    busy_first: float = 0.1
    busy_longest: float = 2.0
    store: float = 10.0  # StoreNotAvailable
    store_pause: float = 0.75
    object: float = 10.0  # an object that is just being written
    object_pause: float = 0.25
    settle: float = 10.0
    settle_pause: float = 0.25
    poll_idle: float = 0.4
    poll_active: float = 0.25
    poll_least: float = 0.2  # however loud the hints: an EOS-1D X Mark II suffers from 10 a second (§7.5)
    poll_listing: float = 3.0  # bodies without GetEvent
    active: float = 10.0  # how long activity counts
    keep_awake: float = 10.0
