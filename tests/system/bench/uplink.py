"""uplink: one file to every kind of store over 20 Mbit/s and 30 ms, beside rclone.

Servers and clients are in network namespaces of their own with an emulated link between them (TUN, TCP Reno, a queue of
100 ms). hotshoe checks sizes here where it would read the file back over the link, as rclone does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.system.bench.figures import aim, begin, median, say, spread, table
from tests.system.bench.options import Options, in_turns
from tests.system.bench.remotes import programs
from tests.system.bench.upload import TINY, Spools, Upload, filled_spool, hotshoe_uploads, rclone_copies
from tests.system.stores import KINDS, stores

MBIT, RTT_MS = 20, 30
ROUNDS = 2
SHARE = 0.9
_INSIDE = "tests.system.bench.uplink"


def run(options: Options) -> None:
    size = "8M" if options.quick else "25M"
    begin("uplink", f"one file of {size} over {MBIT} Mbit/s, {RTT_MS} ms, TCP Reno, {ROUNDS} rounds in turns")
    if os.geteuid() != 0:
        say("not measured: network namespaces need root")
        return
    command = ["unshare", "--net", sys.executable, "-m", _INSIDE, str(options.folder), size]
    subprocess.run(command, check=True)


def _measure(folder: Path, size: str) -> None:
    """In a new network namespace, which is that of the servers."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with (
        filled_spool(folder / "one", f"{TINY},1:{size}:MP4") as full,
        filled_spool(folder / "tiny", TINY) as tiny,
        _link() as prefix,
    ):
        (folder / "servers").mkdir()
        spools = Spools(full, tiny)
        newest = dict(list(programs().items())[-1:])
        with stores(folder / "servers") as places:
            for kind in KINDS[1:]:
                contenders = {
                    "hotshoe": lambda kind=kind: hotshoe_uploads(
                        folder, places[kind], spools, "size", prefix
                    ),
                    **{
                        name: lambda kind=kind, program=program: rclone_copies(  # type: ignore[misc]
                            folder, kind, places[kind](), full, program, prefix
                        )
                        for name, program in newest.items()
                    },
                }
                found: dict[str, list[Upload]] = defaultdict(list)
                for _, name in in_turns(list(contenders), ROUNDS):
                    found[name].append(contenders[name]())
                _tell(kind, found)


def _tell(kind: str, found: dict[str, list[Upload]]) -> None:
    rates = {name: [each.size * 8 / each.seconds / 1e6 for each in runs] for name, runs in found.items()}
    table([kind, "Mbit/s"], [[name, spread(values, 1)] for name, values in rates.items()])
    ours, *others = rates
    if others:
        share = median(rates[ours]) / median(rates[others[-1]])
        aim(f"{kind}: at least {SHARE} of {others[-1]}'s rate", f"{share:.2f}", share >= SHARE)


@contextmanager
def _link() -> Iterator[list[str]]:
    """Yield what a command begins with to be run on the other side."""
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo there; read end"], stdin=-1, stdout=-1
    ) as far:
        assert far.stdout is not None and far.stdin is not None
        far.stdout.readline()
        command = [sys.executable, "-m", "tests.system.link", str(far.pid), str(MBIT), str(RTT_MS)]
        with subprocess.Popen(command, stdin=-1, stdout=-1) as pump:
            assert pump.stdout is not None and pump.stdin is not None
            if pump.stdout.readline() != b"ready\n":
                raise RuntimeError("the emulated link did not start")
            yield ["nsenter", f"--net=/proc/{far.pid}/ns/net"]
            pump.stdin.close()
        far.stdin.close()


if __name__ == "__main__":
    _measure(Path(sys.argv[1]), sys.argv[2])
