"""The long lanes at full numbers: `scripts/soak NAME`. The same code as the scaled tests.

kills    kill -9 at 200 moments, to a folder and to S3
cuts     the camera link cut at random bytes 200 times, and the S3 server killed and started 20 times
fuzz     the protocol core for ten minutes
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.system.cuts import Cuts
from tests.system.kills import Kills, new_seed


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


LANES = {"kills": kills, "cuts": cuts, "fuzz": fuzz}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name", choices=LANES)
    parser.add_argument("--count", type=int, default=200, help="kills, cuts, … per destination")
    parser.add_argument("--seed", type=int, default=new_seed())
    options = parser.parse_args()
    return 0 if LANES[options.name](options.count, options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
