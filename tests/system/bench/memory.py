"""memory: the most that hotshoe holds resident, with small files and with one that is larger than 4 GiB.

The figure is the process's high-water mark, shared libraries included. An S3 destination loads its SDK, so that its
bound is another.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.system.bench import stores
from tests.system.bench.contenders import Hotshoe, folder_lines
from tests.system.bench.figures import MEBIBYTE, aim, begin, median, say, spread, table
from tests.system.bench.options import Options
from tests.system.bench.processes import Camera

BODY = "eos-r7"
GROWTH_MIB = {"folder": 16, "s3": 48}
FOLDER_TOTAL_MIB = 120


def run(options: Options) -> None:
    large, many = ("700M", 60) if options.quick else ("6G", 400)
    rounds = 1 if options.quick else 3
    loads = [("nothing", None, 1), (f"{many} × 1 MB", f"{many}:1M:JPG", rounds)]
    loads += [(f"1 × {large}iB", f"1:{large}:MP4", 1 if options.quick else 2)]
    begin("memory", f"peak resident MiB with 1 MB files and with one of {large}iB, from {BODY} on loopback")
    kinds = ["folder"]
    if reason := stores.why_not():
        say(f"without S3: {reason}")
    else:
        kinds.append("s3")
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for load, card, times in loads:
        with Camera(options.folder, BODY, card) as camera:
            for kind in kinds:
                for _ in range(times):
                    found[load, kind].append(_peak_mib(options.folder / "run", camera, kind))
    names = [load for load, _, _ in loads]
    rows = [
        [kind, *(f"{spread(found[load, kind], 1)}  n={len(found[load, kind])}" for load in names)]
        for kind in kinds
    ]
    say("peak, MiB; median (min–max):")
    table(["destination", *names], rows)
    small, big = names[1], names[2]
    for kind in kinds:
        growth = max(found[big, kind]) - median(found[small, kind])
        limit = GROWTH_MIB[kind]
        aim(
            f"growth to a {kind}, largest file against small ones: under {limit} MiB",
            f"{growth:.1f} MiB",
            growth < limit,
        )
    total = max(value for (_, kind), values in found.items() if kind == "folder" for value in values)
    aim(f"in all with a folder: under {FOLDER_TOTAL_MIB} MiB", f"{total:.1f} MiB", total < FOLDER_TOTAL_MIB)


def _peak_mib(folder: Path, camera: Camera, kind: str) -> float:
    folder.mkdir()
    with _destination(folder, kind) as lines:
        hotshoe = Hotshoe(folder / "agent", camera, {"archive": lines})
        outcome = hotshoe.once(seconds=900)
        expected = len(camera.say("files"))
        verified = hotshoe.count("delivery WHERE state = 'done' AND proof IN ('checksum', 'readback')")
        assert verified == expected, f"{verified} of {expected} files are verified"
    shutil.rmtree(folder)
    return outcome.peak_bytes / MEBIBYTE


@contextmanager
def _destination(folder: Path, kind: str) -> Iterator[str]:
    if kind == "folder":
        yield folder_lines(folder / "photos")
        return
    with stores.seaweedfs(folder / "store") as server:
        yield stores.s3_lines(server.url)
