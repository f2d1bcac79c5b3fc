"""What tshark's PTP/IP dissector reads in a conversation on the loopback interface.

    with Capture(port, folder) as capture:
        …talk to the camera on that port…
    for packet in judge(capture.path, port): …

tshark does not reassemble: of several packets in one segment it shows the first, and it takes the middle of a long data
phase for packets. Only packets that fill their segment exactly are therefore returned; run the simulated camera with
``coalesce=False``, and do not expect long data phases.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_FIELDS = (
    "tcp.dstport",
    "tcp.stream",
    "ptpip.pktType",
    "ptpip.len",
    "ptpip.opcode",
    "ptpip.phaseinfo",
    "ptpip.respcode",
    "ptpip.eventcode",
    "ptpip.transactionID",
    "ptpip.guid",
    "ptpip.name",
    "ptpip.version",
    "ptpip.connection",
    "ptpip.datalen",
    "ptpip.opcode.param.sessionid",
)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as tshark reads it; None where it saw no such field."""

    is_to_camera: bool
    stream: int  # which TCP connection of the capture
    type: int  # as in the standard: 1 InitCommandRequest … 14 ProbeResponse
    length: int
    operation: int | None
    phase: int | None
    response: int | None
    event: int | None
    transaction: int | None
    guid: str | None
    name: str | None
    version: str | None
    connection: int | None
    total: int | None
    session: int | None


def why_not() -> str | None:
    """Why no capture is possible here; None when one is."""
    for program in ("tshark", "dumpcap"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian package tshark)"
    listed = subprocess.run(["dumpcap", "-D"], capture_output=True, text=True, timeout=30)
    return None if "lo" in listed.stdout.split() + listed.stderr.split() else "dumpcap may not capture on lo"


class Capture:
    """Records TCP on `port` into `path`, everything between entering and leaving included."""

    def __init__(self, port: int, folder: Path) -> None:
        self.path = folder / f"port-{port}.pcapng"
        self._marker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._marker.bind(("127.0.0.1", 0))
        filters = f"tcp port {port} or udp port {self._marker.getsockname()[1]}"
        self._command = ["dumpcap", "-q", "-i", "lo", "-f", filters, "-w", str(self.path)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        self._until_marked()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._until_marked()
        finally:
            assert self._process is not None
            self._process.terminate()
            self._process.wait(10)
            self._marker.close()

    def _until_marked(self, seconds: float = 20.0) -> None:
        """Send marked datagrams until one of them is in the file: what happened before is in it as well then, what
        happens after will be."""
        mark = os.urandom(16)
        give_up_at = time.monotonic() + seconds
        while not (self.path.exists() and mark in self.path.read_bytes()):
            assert self._process is not None and self._process.poll() is None, "dumpcap has ended"
            assert time.monotonic() < give_up_at, "dumpcap records nothing"
            self._marker.sendto(mark, self._marker.getsockname())
            time.sleep(0.05)


def judge(path: Path, port: int) -> list[Packet]:
    """Every packet in `path` that fills its segment, in order of capture, as the dissector reads it."""
    command = [
        "tshark",
        "-r",
        str(path),
        "-d",
        f"tcp.port=={port},ptpip",
        "-Y",
        "ptpip && tcp.len == ptpip.len",
    ]
    command += ["-T", "fields", "-E", "separator=/t", *(word for field in _FIELDS for word in ("-e", field))]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return [_packet(line.split("\t"), port) for line in run.stdout.splitlines()]


def _packet(texts: list[str], port: int) -> Packet:
    assert len(texts) == len(_FIELDS), texts
    texts = [text.split(",")[0] for text in texts]
    destination, stream, kind, length, operation, phase, response, event, transaction = map(
        _number, texts[:9]
    )
    connection, total, session = map(_number, texts[12:])
    assert stream is not None and kind is not None and length is not None
    if kind == 7 and response is None:  # tshark 4.0 shows a response's code in the field of operation codes
        operation, response = None, operation
    return Packet(
        destination == port,
        stream,
        kind,
        length,
        operation,
        phase,
        response,
        event,
        transaction,
        texts[9].replace(":", "") or None,
        texts[10] or None,
        texts[11] or None,
        connection,
        total,
        session,
    )


def _number(text: str) -> int | None:
    return int(text, 0) if text else None
