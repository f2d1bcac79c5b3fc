"""The long lanes at full numbers: `scripts/soak NAME`. The same code as the scaled tests.

kills    kill -9 at 200 moments, to a folder and to S3
cuts     the camera link cut at random bytes 200 times, and the S3 server killed and started 20 times
fuzz     the protocol core for ten minutes
destinations
         1,000 files to every kind of destination at once, all servers in trouble, the agent killed 50 times
outage   a destination down for 60 minutes of shooting
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.system.cuts import Cuts
from tests.system.destinations import Destinations
from tests.system.kills import Kills, new_seed
from tests.system.outage import Outage

_FILES = 1000
_SHOT_SECONDS = 4.0


def kills(count: int, seed: int) -> bool:
    ok = True
    for kind in ("folder", "s3"):
        with tempfile.TemporaryDirectory(prefix="hotshoe-kills-") as folder:
            series = Kills(kind, count, seed, Path(folder))
            series.run()
            ok = ok and not series.problems
            if series.problems:
                print((series.log.read_text(errors="replace"))[-4000:])
    return ok


def cuts(count: int, seed: int) -> bool:
    ok = True
    for kind in ("folder", "s3"):
        with tempfile.TemporaryDirectory(prefix="hotshoe-cuts-") as folder:
            series = Cuts(kind, count, seed, Path(folder))
            series.run()
            ok = ok and not series.problems
    return ok


def fuzz(count: int, seed: int) -> bool:
    command = [
        sys.executable,
        "-m",
        "tests.ptp.fuzz",
        f"-max_total_time={count * 3}",
        f"-seed={seed % (1 << 31)}",
    ]
    return subprocess.run(command, check=False).returncode == 0


def destinations(count: int, seed: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="hotshoe-destinations-") as folder:
        return _is_good(Destinations(count, _FILES, seed, Path(folder)))


def outage(count: int, seed: int) -> bool:
    seconds = count * 60
    with tempfile.TemporaryDirectory(prefix="hotshoe-outage-") as folder:
        return _is_good(Outage(max(60, seconds / 12), seconds, _SHOT_SECONDS, seed, Path(folder)))


def _is_good(series: Destinations | Outage) -> bool:
    series.run()
    if series.problems:
        print((series.log.read_text(errors="replace"))[-4000:])
    return not series.problems


# The lane, and how often or how long.
LANES = {
    "kills": (kills, 200),
    "cuts": (cuts, 200),
    "fuzz": (fuzz, 200),
    "destinations": (destinations, 50),
    "outage": (outage, 60),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name", choices=LANES)
    counts = ", ".join(f"{name} {count}" for name, (_, count) in LANES.items())
    parser.add_argument(
        "--count",
        type=int,
        help=f"kills or cuts per destination, minutes of the outage, three seconds of fuzz: {counts}",
    )
    parser.add_argument("--seed", type=int, default=new_seed())
    options = parser.parse_args()
    lane, count = LANES[options.name]
    return 0 if lane(count if options.count is None else options.count, options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
