"""`scripts/bench [NAME…] [--quick]`: measures and prints. Without names all of them, in this order:

fetch      rate, processor time and memory, camera to folder, beside gphoto2
scan       round trips and time of the first listing of 10,000 files
memory     peak with files of 1 MB and with one of 6 GiB, to a folder and to S3
latency    from the shutter to discovered and to verified
thumb      how long a thumbnail waits while a movie is being read
upload     rate, processor time and memory to every kind of store, beside rclone
uplink     rate over 20 Mbit/s and 30 ms, beside rclone
footprint  what each destination adds to an agent that has it
cost       round trips, ledger statements and S3 requests per file
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.system.bench import cost, fetch, footprint, latency, memory, scan, thumb, uplink, upload
from tests.system.bench.options import Options

BENCHES: dict[str, Callable[[Options], None]] = {
    "fetch": fetch.run,
    "scan": scan.run,
    "memory": memory.run,
    "latency": latency.run,
    "thumb": thumb.run,
    "upload": upload.run,
    "uplink": uplink.run,
    "footprint": footprint.run,
    "cost": cost.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*BENCHES, []], help="which; default all")
    parser.add_argument(
        "--quick", action="store_true", help="less of everything: minutes instead of half an hour"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    given = parser.parse_args()
    _introduce(given.quick, given.seed)
    folder = Path(tempfile.mkdtemp(prefix="hotshoe-bench-"))
    began = time.monotonic()
    try:
        for name in given.names or BENCHES:
            started = time.monotonic()
            part = folder / name
            part.mkdir()
            BENCHES[name](Options(given.quick, given.seed, part))
            shutil.rmtree(part)
            print(f"   {name}: {time.monotonic() - started:.0f} s, load {_load()}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return 0


def _introduce(quick: bool, seed: int) -> None:
    print(f"hotshoe bench{', quick' if quick else ''} · seed {seed} · {time.strftime('%Y-%m-%d %H:%M')}")
    print(
        f"{os.cpu_count()} processors ({_processor()}) · load {_load()} · Python {platform.python_version()}",
        end="",
    )
    print(f" · Linux {platform.release()} · {_gphoto2()}", flush=True)


def _load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def _gphoto2() -> str:
    try:
        said = subprocess.run(["gphoto2", "--version"], capture_output=True, text=True, timeout=30).stdout
    except FileNotFoundError:
        return "no gphoto2"
    found = re.findall(r"^((?:lib)?gphoto2 +\d\S*)", said, re.MULTILINE)
    return ", ".join(dict.fromkeys(" ".join(each.split()) for each in found))


if __name__ == "__main__":
    sys.exit(main())
