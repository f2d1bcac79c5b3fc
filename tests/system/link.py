"""A link between two network namespaces with a rate, a delay and a queue: `python -m tests.system.link PID MBIT RTT_MS`.

Run in the namespace of the servers; PID lives in that of the clients. There, 127.0.0.1 is the other side of the link, so
servers that listen on loopback alone are reached under the addresses that they know of themselves. Packets go through
two TUN devices and this process, which says "ready" and ends with its standard input.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
import sys
import threading
import time
from collections import deque

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000
_CLONE_NEWNET = 0x40000000
_PACKET_BYTES = 2048
QUEUE_SECONDS = 0.1  # what a home router holds back before it drops


class Direction:
    """Packets of one direction: at most `mbit` and at least `delay_seconds` late."""

    def __init__(self, source: int, target: int, mbit: float, delay_seconds: float):
        self._source, self._target = source, target
        self._seconds_per_byte = 8 / (mbit * 1e6)
        self._delay_seconds = delay_seconds
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._news = threading.Condition()

    def start(self) -> None:
        for work in (self._take, self._give):
            threading.Thread(target=work, daemon=True).start()

    def _take(self) -> None:
        free_at = 0.0
        while True:
            packet = os.read(self._source, _PACKET_BYTES)
            now = time.monotonic()
            if free_at - now > QUEUE_SECONDS:
                continue  # lost
            free_at = max(now, free_at) + len(packet) * self._seconds_per_byte
            with self._news:
                self._waiting.append((free_at + self._delay_seconds, packet))
                self._news.notify()

    def _give(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting)
                due_at, packet = self._waiting.popleft()
            while (early := due_at - time.monotonic()) > 0:
                time.sleep(early)  # this is the link
            os.write(self._target, packet)


def _tun(name: str, address: str, peer: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    _run(f"ip addr add {address} peer {peer} dev {name}")
    _run(f"ip link set {name} up mtu 1500")
    for what in ("route_localnet=1", "rp_filter=0"):
        _run(f"sysctl -q -w net.ipv4.conf.{name}.{what} net.ipv4.conf.all.{what}")
    _run("sysctl -q -w net.ipv4.tcp_congestion_control=reno")
    return descriptor


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def main() -> None:
    pid, mbit, rtt_ms = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    near = _tun("near", "10.77.0.1", "10.77.0.2")
    with open(f"/proc/{pid}/ns/net") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    far = _tun("far", "10.77.0.2", "10.77.0.1")
    _run("ip route add 127.0.0.1/32 dev far src 10.77.0.2")
    for source, target in ((near, far), (far, near)):
        Direction(source, target, mbit, rtt_ms / 2000).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
