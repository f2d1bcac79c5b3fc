"""fetch: a card of many files from the camera into a folder, beside `gphoto2 --get-all-files`.

"transfer" is from the first to the last object byte that the camera hands out; "to the folder" ends when the last file
stands there under its name (for gphoto2 the same moment, and nothing is synced); "whole" is the process. Processor
time per GB is that of the whole process, and again without what the same command costs over an empty card; the aims
are about the latter, and about the rate to the folder.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from tests.simcam import gphoto as stranger
from tests.system.bench.contenders import Hotshoe, folder_lines, gphoto, held, journeys
from tests.system.bench.figures import MEBIBYTE, aim, begin, median, say, spread, table
from tests.system.bench.options import Options, in_turns
from tests.system.bench.processes import Camera, Outcome

GPHOTO2 = "gphoto2 (no sync, no digest)"
SPOOL = "hotshoe, to the spool alone"
SIZE = "hotshoe, to the folder, size checked"
READBACK = "hotshoe, to the folder, read back"
CONTENDERS = (GPHOTO2, SPOOL, SIZE, READBACK)
BODY = "eos-r7"


class Fetch(NamedTuple):
    outcome: Outcome
    transfer_seconds: float
    folder_seconds: float  # from the first object byte
    camera_cpu_seconds: float


def run(options: Options) -> None:
    count, rounds = (12, 2) if options.quick else (60, 3)
    card = f"{count}:25M:CR3"
    begin("fetch", f"{count} files of 25 MiB from {BODY} on loopback, {rounds} rounds in turns")
    contenders = [each for each in CONTENDERS if each != GPHOTO2 or stranger.why_not() is None]
    if len(contenders) < len(CONTENDERS):
        say(f"without gphoto2: {stranger.why_not()}")
    places = {"disk": options.folder, "memory": Path("/dev/shm")}
    for medium, place in places.items():
        if place.is_dir():
            _on(options, medium, place / f"hotshoe-bench-{os.getpid()}", card, rounds, contenders)


def _on(options: Options, medium: str, place: Path, card: str, rounds: int, contenders: list[str]) -> None:
    place.mkdir()
    try:
        starts = _starts(place, contenders)
        with Camera(place, BODY, card) as camera:
            files = camera.say("files")
            size = sum(file["size"] for file in files)
            found: dict[str, list[Fetch]] = defaultdict(list)
            for number, contender in in_turns(contenders, rounds):
                folder = place / f"{number}"
                found[contender].append(_fetch(contender, camera, folder, len(files), size))
                shutil.rmtree(folder)
    finally:
        shutil.rmtree(place)
    _tell(medium, place, size, contenders, found, starts)


def _fetch(contender: str, camera: Camera, folder: Path, count: int, size: int) -> Fetch:
    os.sync()  # what the runs before left to be written
    camera.say("reset_stats")
    before = camera.cpu_seconds
    photos = folder / "photos"
    delivered: float | None = None
    if contender == GPHOTO2:
        outcome = gphoto(camera, photos, "--get-all-files", "--force-overwrite")
    else:
        outcome, delivered = _hotshoe(contender, camera, folder, count)
    if contender != SPOOL:
        assert held(photos) == (count, size), f"{contender}: {held(photos)} instead of {count, size}"
    stats = camera.stats
    transfer = stats["objects_ended"] - stats["objects_began"]
    return Fetch(outcome, transfer, delivered or transfer, camera.cpu_seconds - before)


def _hotshoe(contender: str, camera: Camera, folder: Path, count: int) -> tuple[Outcome, float | None]:
    """The run, and the seconds from the first byte of a file to the last file's delivery."""
    photos = folder / "photos"
    if contender == SPOOL:  # its destination is a drive that is not plugged in
        hotshoe = Hotshoe(folder / "agent", camera, {"archive": folder_lines(folder / "away" / "photos")})
        return hotshoe.until(lambda: hotshoe.count("file WHERE state = 'fetched'") == count), None
    folder.mkdir()
    proof = "readback" if contender == READBACK else "size"
    hotshoe = Hotshoe(folder / "agent", camera, {"archive": folder_lines(photos, proof)})
    outcome = hotshoe.once()
    times = journeys(hotshoe)
    assert len(times) == count
    return outcome, max(each.done for each in times) - min(each.fetching for each in times)


def _starts(place: Path, contenders: list[str]) -> dict[str, float]:
    """What each contender costs over an empty card, in seconds of processor time. The first run only warms up."""
    found: dict[str, list[float]] = defaultdict(list)
    with Camera(place, BODY) as camera:
        for number, contender in in_turns(contenders, 3):
            folder = place / f"start-{number}"
            if contender == GPHOTO2:
                outcome = gphoto(camera, folder / "photos", "--get-all-files")
            else:
                folder.mkdir(parents=True, exist_ok=True)
                hotshoe = Hotshoe(folder / "agent", camera, {"archive": folder_lines(folder / "photos")})
                outcome = hotshoe.once()
            shutil.rmtree(folder)
            found[contender] += [outcome.cpu] if number else []
    return {contender: median(values) for contender, values in found.items()}


def _tell(
    medium: str,
    place: Path,
    size: int,
    contenders: list[str],
    found: dict[str, list[Fetch]],
    starts: dict[str, float],
) -> None:
    gigabytes = size / 1e9
    say(f"on {medium} ({place.parent}), {gigabytes:.2f} GB; median (min–max):")
    rows = []
    for contender in contenders:
        runs, start = found[contender], starts[contender]
        rows.append(
            [
                contender,
                str(len(runs)),
                spread([size / 1e6 / run.transfer_seconds for run in runs]),
                spread([size / 1e6 / run.folder_seconds for run in runs]),
                spread([size / 1e6 / run.outcome.wall for run in runs]),
                spread([run.outcome.cpu / gigabytes for run in runs], 2),
                spread([(run.outcome.cpu - start) / gigabytes for run in runs], 2),
                spread([run.outcome.peak_bytes / MEBIBYTE for run in runs], 1),
                spread([run.camera_cpu_seconds / gigabytes for run in runs], 2),
            ]
        )
    header = ["contender", "n", "transfer MB/s", "to the folder MB/s", "whole MB/s", "CPU s/GB"]
    table([*header, "without start", "peak MiB", "the camera's CPU s/GB"], rows)
    if GPHOTO2 in found:
        for contender in (SIZE, READBACK):
            _judge(
                f"{contender}, on {medium}",
                found[contender],
                found[GPHOTO2],
                starts[contender],
                starts[GPHOTO2],
            )


def _judge(what: str, ours: list[Fetch], theirs: list[Fetch], our_start: float, their_start: float) -> None:
    """Round by round, so that what slows the machine for a while slows both."""
    pairs = list(zip(ours, theirs, strict=True))
    rate = [b.transfer_seconds / a.folder_seconds for a, b in pairs]
    cpu = [(a.outcome.cpu - our_start) / (b.outcome.cpu - their_start) for a, b in pairs]
    aim(f"{what}: at least 3 × gphoto2's rate", f"{spread(rate, 2)} ×", median(rate) >= 3)
    aim(f"{what}: at most 0.5 × gphoto2's CPU per GB", f"{spread(cpu, 2)} ×", median(cpu) <= 0.5)
