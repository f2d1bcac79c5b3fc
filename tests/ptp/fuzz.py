"""Coverage-guided search for bytes that break the invariant of `tests.ptp.invariant`.

    python -m tests.ptp.fuzz --seconds 60     one minute, exit code 0 when nothing was found
    python -m tests.ptp.fuzz --corpus DIR     without end, keeping what was learnt
    python -m tests.ptp.fuzz --replay FILE    one input again, with its traceback

It starts from the recordings in tests/cameras and the literal packets. A finding ends it with a traceback, the name of
a file that holds the input, and a non-zero exit code.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["agent.ptp"]):
    from agent.ptp.packets import (
        EndData,
        InitCommandAck,
        InitCommandRequest,
        InitEventAck,
        InitEventRequest,
        OperationRequest,
        OperationResponse,
        StartData,
        encode,
        encode_data_header,
    )
    from tests.ptp import invariant
from tests.ptp.vectors import VECTORS

CAMERAS = Path(__file__).parent.parent / "cameras"
# What the peer of a side says first.
GREETINGS = {
    "initiator command": encode(InitCommandAck(1, bytes(16), "camera")),
    "initiator event": encode(InitEventAck()),
    "responder command": encode(InitCommandRequest(bytes(16), "edge")),
    "responder event": encode(InitEventRequest(1)),
}


def seeds() -> list[bytes]:
    """Inputs that reach deep at once: every recording for every decoder, every packet behind a handshake."""
    recordings = [path.read_bytes() for path in sorted(CAMERAS.rglob("*.bin"))]
    found = [
        invariant.addressed(name, data)
        for name in invariant.TARGETS
        if " " not in name
        for data in recordings
    ]
    found += [
        invariant.addressed("event_records", record) for data in recordings for record in _records(data)
    ]
    found += [
        invariant.addressed("ptp_date", date) for date in (b"20120202T141654.0", b"20120202T141654.5+0130")
    ]
    for name, greeting in GREETINGS.items():
        found += [invariant.addressed(name, b"\xff\1" + greeting + vector.data) for vector in VECTORS]
    for last in (False, True):
        answers = b"".join(
            _data(number, last=last) + encode(OperationResponse(0x2001, number)) for number in range(9)
        )
        requests = b"".join(encode(OperationRequest(0x1001, number)) for number in range(9))
        uploads = b"".join(
            encode(OperationRequest(0x1016, number, (), 2)) + _data(number, last=last) for number in range(9)
        )
        found.append(
            invariant.addressed("initiator command", b"\xff\3" + GREETINGS["initiator command"] + answers)
        )
        found.append(
            invariant.addressed("responder command", b"\xaa\3" + GREETINGS["responder command"] + requests)
        )
        found.append(
            invariant.addressed("responder command", b"\x00\x30" + GREETINGS["responder command"] + uploads)
        )
    return found


def _records(data: bytes) -> list[bytes]:
    """Short records of a GetEvent answer, one of each code and form: alone, a change in one is tried sooner."""
    found: dict[tuple[int, bytes], bytes] = {}
    at = 0
    while at + 8 <= len(data):
        size, code = struct.unpack_from("<II", data, at)
        if size < 8 or size > len(data) - at or code >> 8 != 0xC1:
            break
        found.setdefault((code, data[at + 12 : at + 16] if code == 0xC18A else b""), data[at : at + size])
        at += size
    return list(found.values())


def _data(number: int, *, last: bool) -> bytes:
    """A data phase of eight bytes: in its EndData packet, or in two packets before it."""
    if last:
        return encode(StartData(number, 8)) + encode_data_header(number, 8, last=True) + b"12345678"
    half = encode_data_header(number, 4, last=False) + b"1234"
    return encode(StartData(number, None)) + half + half + encode(EndData(number))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.ptp.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=0, help="stop after this time; 0: never")
    parser.add_argument(
        "--corpus", type=Path, help="folder of inputs, read and added to; by default a temporary one"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="try this one input")
    chosen = parser.parse_args()
    if chosen.replay:
        invariant.check(chosen.replay.read_bytes())
        print("holds")
        return 0
    if chosen.corpus is None:
        # libFuzzer ends the process, so the one that cleans up is another.
        with tempfile.TemporaryDirectory(prefix="hotshoe-fuzz-") as folder:
            again = [
                sys.executable,
                "-m",
                "tests.ptp.fuzz",
                "--seconds",
                str(chosen.seconds),
                "--corpus",
                folder,
            ]
            return subprocess.run(again).returncode
    chosen.corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (chosen.corpus / f"seed-{number:04}").write_bytes(seed)
    options = [
        f"-max_total_time={chosen.seconds}",
        f"-artifact_prefix={tempfile.gettempdir()}/hotshoe-",
        "-max_len=2048",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(chosen.corpus)], invariant.check)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
