"""memory: the most that hotshoe holds resident, with small files and with one that is larger than 4 GiB.

The figure is the process's high-water mark, shared libraries included. An S3 destination loads its SDK, so that its
bound is another.
"""

from __future__ import annotations

import shutil
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
    often = 1 if options.quick else 3
    small, big = f"{many} × 1 MB", f"1 × {large}iB"
    loads = {"nothing": (None, 1), small: (f"{many}:1M:JPG", often), big: (f"1:{large}:MP4", 1)}
    begin("memory", f"peak resident MiB with 1 MB files and with one of {large}iB, from {BODY} on loopback")
    kinds = ["folder", "s3"]
    if reason := stores.why_not():
        say(f"without S3: {reason}")
        kinds.remove("s3")
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in kinds}
    for load, (card, times) in loads.items():
        with Camera(options.folder, BODY, card) as camera:
            for kind in kinds:
                found[kind][load] = [_peak_mib(options.folder / "run", camera, kind) for _ in range(times)]
    _tell(found)
    for kind in kinds:
        growth = max(found[kind][big]) - median(found[kind][small])
        limit = GROWTH_MIB[kind]
        what = f"growth with destination {kind}, largest file against small ones: under {limit} MiB"
        aim(what, f"{growth:.1f} MiB", growth < limit)
    total = max(value for values in found["folder"].values() for value in values)
    aim(f"in all with a folder: under {FOLDER_TOTAL_MIB} MiB", f"{total:.1f} MiB", total < FOLDER_TOTAL_MIB)


def _tell(found: dict[str, dict[str, list[float]]]) -> None:
    say("peak, MiB; median (min–max):")
    rows = [
        [kind, *(f"{spread(values, 1)}, n = {len(values)}" for values in loads.values())]
        for kind, loads in found.items()
    ]
    table(["destination", *next(iter(found.values()))], rows)


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
