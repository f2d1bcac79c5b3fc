"""A network of its own whose loopback is slow, for the suite's case about slow links."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

RATE = "2mbit"
IS_SLOW = "HOTSHOE_SLOW_LINK" in os.environ

_SETUP = f"""
ip link set lo mtu 1500 up &&
tc qdisc add dev lo root handle 1: htb default 2 &&
tc class add dev lo parent 1: classid 1:1 htb rate 10gbit quantum 60000 &&
tc class add dev lo parent 1: classid 1:2 htb rate {RATE} burst 16kb quantum 6000 &&
exec "$@"
"""


def on_a_slow_link(command: Sequence[str]) -> list[str]:
    """Return a command that runs `command` in a network namespace of its own. Needs root."""
    return ["unshare", "--net", "sh", "-c", _SETUP, "sh", *command]


def spare(ports: Sequence[int]) -> None:
    """What a server says to itself over these ports is no part of the link."""
    if IS_SLOW:
        for port in ports:
            for side in ("sport", "dport"):
                words = (
                    f"tc filter add dev lo parent 1: protocol ip u32 match ip {side} {port} 0xffff flowid 1:1"
                )
                subprocess.run(words.split(), check=True)
