"""The shortest initiator that can talk to a camera: raw sockets and struct, no `Connection`, no `agent`.

For tests of the simulated camera itself, and to measure it: what it can send at most, and at what cost.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

GUID = bytes.fromhex("00112233445566778899aabbccddeeff")


class Refused(Exception):
    """InitFail; `args[0]` is the reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    params: tuple[int, ...]
    data: bytes | None  # None: there was no data phase
    announced: int | None = None


class Dial:
    """An open session on `host`:`port`. EOFError when the camera hangs up, OSError when it resets."""

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        guid: bytes = GUID,
        opens_session: bool = True,
        timeout: float = 10,
    ) -> None:
        self.transaction = 0
        self.command = socket.create_connection((host, port), timeout=timeout)
        self.event: socket.socket | None = None
        try:
            name = "dial\0".encode("utf-16-le")
            self.write(1, guid + name + struct.pack("<I", 0x00010000))
            kind, body = self.read()
            if kind == 5:
                raise Refused(struct.unpack("<I", body)[0])
            self.ack = body
            self.event = socket.create_connection((host, port), timeout=timeout)
            self.event.sendall(struct.pack("<III", 12, 3, struct.unpack_from("<I", body)[0]))
            assert self.read(self.event) == (4, b"")
            if opens_session:
                assert self.ask(0x1002, 1).code in (0x2001, 0x201E)
        except BaseException:
            self.close()
            raise

    def write(self, kind: int, body: bytes) -> None:
        self.command.sendall(struct.pack("<II", len(body) + 8, kind) + body)

    def read(self, sock: socket.socket | None = None) -> tuple[int, bytes]:
        """One packet: type and body."""
        sock = sock or self.command
        length, kind = struct.unpack("<II", _exactly(sock, 8))
        return kind, _exactly(sock, length - 8)

    def ask(self, code: int, *params: int, data: bytes | None = None) -> Answer:
        """One transaction, whatever its shape."""
        tid = self.transaction
        self.transaction += 1
        info = struct.pack("<IHI", 1 if data is None else 2, code, tid)
        self.write(6, info + struct.pack(f"<{len(params)}I", *params))
        if data is not None:
            self.write(9, struct.pack("<IQ", tid, len(data)))
            self.write(12, struct.pack("<I", tid) + data)
        received: bytearray | None = None
        announced = None
        while True:
            kind, body = self.read()
            if kind == 9:
                received, announced = bytearray(), struct.unpack_from("<Q", body, 4)[0]
            elif kind in (10, 12):
                assert received is not None, "data before StartData"
                received += body[4:]
            else:
                assert kind == 7, f"packet type {kind} where a response belongs"
                answered, theirs = struct.unpack_from("<HI", body)
                if theirs == tid:
                    break
                received = None  # the late answer to something else
        values = struct.unpack(f"<{(len(body) - 6) // 4}I", body[6:])
        return Answer(answered, values, None if received is None else bytes(received), announced)

    def drain(self, code: int, *params: int, into: bytearray) -> int:
        """Send one request and throw the data away as fast as it comes; bytes received in all. For measuring."""
        info = struct.pack("<IHI", 1, code, self.transaction)
        self.transaction += 1
        self.write(6, info + struct.pack(f"<{len(params)}I", *params))
        total, left, kind, head = 0, 0, 0, bytearray()
        while left or kind != 7:
            count = self.command.recv_into(into)
            if not count:
                raise EOFError("hung up while draining")
            total += count
            at = 0
            while at < count:
                if left:
                    skip = min(left, count - at)
                    at, left = at + skip, left - skip
                    continue
                piece = into[at : min(count, at + 8 - len(head))]
                head += piece
                at += len(piece)
                if len(head) == 8:
                    length, kind = struct.unpack("<II", head)
                    left = length - 8
                    head.clear()
        return total

    def close(self) -> None:
        for sock in (self.event, self.command):
            if sock is not None:
                sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError(f"hung up {size - len(data)} bytes early")
        data += piece
    return bytes(data)


def measure(gigabytes: int = 4, chunk: int = 1 << 20) -> str:
    """What the simulated camera can do: one file read in chunks by a process that throws everything away."""
    arguments = ["--synthetic", f"1:{gigabytes}G:MP4", "--port", "0", "--body", "eos-r7"]
    camera = subprocess.Popen(
        [sys.executable, "-m", "tests.simcam", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert camera.stdout is not None
    try:
        port = int(camera.stdout.readline().split('"port": ')[1].split(",")[0])
        with Dial(port) as dial:
            handle = (
                0x4000_0000 + 0x1000_0000 | 100 << 18 | 1 << 4 | 0xB
            )  # MVI_0001 in slot 1, protocol.md §2.7
            before, began = _cpu_seconds(camera.pid), time.monotonic()
            into = bytearray(4 << 20)
            size, received = gigabytes << 30, 0
            for offset in range(0, size, chunk):
                received += dial.drain(0x9172, handle, offset & 0xFFFFFFFF, chunk, offset >> 32, into=into)
            seconds, cpu = time.monotonic() - began, _cpu_seconds(camera.pid) - before
            assert received > size, "the camera did not send everything"
    finally:
        camera.terminate()
        camera.wait()
        camera.stdout.close()
    return (
        f"{size / seconds / 1e6:.0f} MB/s, {cpu / size * 1e9:.2f} CPU s/GB in the camera, {chunk} byte chunks"
    )


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    for chunk in (1 << 20, 4 << 20):
        print(measure(chunk=chunk))
