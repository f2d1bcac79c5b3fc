"""latency: from the shutter, and from the moment the file is on the card, to "discovered" and to "verified".

Each camera has an agent of its own that delivers to a folder with read-back, and shots come at seeded random gaps. All
of them run at the same time: they do little but wait. The event socket is silent, as on most EOS bodies. The moments are
those of the simulated camera's and of the ledger's clock, which is the same one.

One of the EOS bodies is having a movie of 6 GB read from it all the while. A body without GetEvent is looked at
by listing, at its own pace.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.system.bench.contenders import Hotshoe, Journey, folder_lines, journeys
from tests.system.bench.figures import aim, begin, percentile, percentiles, say, table
from tests.system.bench.options import Options
from tests.system.bench.processes import Camera

MBIT = 50.0
WRITE_SECONDS = 0.5  # from the press to the file on the card
DISCOVERED_WITHIN_SECONDS = 1.0
_PATIENCE_SECONDS = 120.0

EOS = "EOS (GetEvent)"
MOVIE = "EOS, a movie being read"
GENERIC = "without GetEvent"


class Scene(NamedTuple):
    kind: str
    body: str
    card: str
    is_ready: Callable[[Hotshoe], bool]  # the first shot may come


class Step(NamedTuple):
    """One shot on its way; seconds since 1970."""

    pressed: float
    added: float
    journey: Journey


def run(options: Options) -> None:
    shots, gaps, size = (6, (2.0, 5.0), "4M") if options.quick else (12, (15.0, 40.0), "25M")
    is_scanned = _is_scanned
    scenes = [Scene(EOS, "eos-r7", "3:1M:JPG", is_scanned) for _ in range(1 if options.quick else 3)]
    scenes += [Scene(GENERIC, "generic", "3:1M:JPG", is_scanned) for _ in range(1 if options.quick else 2)]
    scenes += [Scene(MOVIE, "eos-r7", "1:6G:MP4", _is_fetching)]
    what = f"{size}iB files at {MBIT:g} Mbit/s, gaps of {gaps[0]:g}–{gaps[1]:g} s, event socket silent"
    begin("latency", f"{what}, {shots} shots on each of {len(scenes)} cameras at once")
    if options.quick:
        say("quick: smaller files and shorter gaps than the aim is about")
    with ThreadPoolExecutor(len(scenes)) as threads:
        numbers = range(len(scenes))
        results = list(threads.map(lambda n: _shoot(options, n, scenes[n], shots, gaps, size), numbers))
    steps: dict[str, list[Step]] = {}
    for scene, found in zip(scenes, results, strict=True):
        steps.setdefault(scene.kind, []).extend(found)
    _tell(steps)


def _is_scanned(hotshoe: Hotshoe) -> bool:
    return hotshoe.count("delivery WHERE state = 'done'") == 3


def _is_fetching(hotshoe: Hotshoe) -> bool:
    return hotshoe.count("file WHERE state = 'fetching'") == 1


def _shoot(
    options: Options, number: int, scene: Scene, shots: int, gaps: tuple[float, float], size: str
) -> list[Step]:
    folder = options.folder / f"{number}"
    folder.mkdir()
    dice = options.random(f"latency {number}")
    with Camera(folder, scene.body, scene.card, mbit=MBIT, write_seconds=WRITE_SECONDS) as camera:
        camera.say("event_socket silent")
        hotshoe = Hotshoe(folder / "agent", camera, {"archive": folder_lines(folder / "photos")})
        process = hotshoe.start()
        try:
            _await(lambda: scene.is_ready(hotshoe), "the agent is ready")
            for _ in range(shots):
                time.sleep(dice.uniform(*gaps))  # the photographer
                camera.say(f"shoot CR3:{size}")
            _await(lambda: len(_steps(camera, hotshoe)) == shots, "all shots are delivered")
            return _steps(camera, hotshoe)
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(30)


def _steps(camera: Camera, hotshoe: Hotshoe) -> list[Step]:
    """The shots that are verified by now."""
    by_name = {each.name: each for each in journeys(hotshoe) if each.is_verified}
    return [
        Step(shot["pressed_wall"], shot["added_wall"], by_name[name])
        for shot in camera.stats["shots"]
        for name in shot["names"]
        if name in by_name
    ]


def _await(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {_PATIENCE_SECONDS:g} s: {what}")
        time.sleep(0.1)  # between two looks into the ledger; nothing else would tell


def _tell(steps: dict[str, list[Step]]) -> None:
    rows = []
    for kind, found in steps.items():
        spans = {
            "on the card → discovered": [each.journey.discovered - each.added for each in found],
            "discovered → fetching": [each.journey.fetching - each.journey.discovered for each in found],
            "fetching → fetched": [each.journey.fetched - each.journey.fetching for each in found],
            "fetched → verified": [each.journey.done - each.journey.fetched for each in found],
            "on the card → verified": [each.journey.done - each.added for each in found],
            "shutter → discovered": [each.journey.discovered - each.pressed for each in found],
            "shutter → verified": [each.journey.done - each.pressed for each in found],
        }
        for span, values in spans.items():
            rows.append([f"{kind}: {span}", str(len(values)), *percentiles(values)])
    say(f"seconds; from the shutter to the card the camera takes {WRITE_SECONDS:g} s:")
    table(["span", "n", "p50", "p95", "max"], rows)
    for kind in (EOS, MOVIE):
        waits = [each.journey.discovered - each.added for each in steps[kind]]
        found_at = percentile(waits, 95)
        aim(
            f"{kind}: discovered within {DISCOVERED_WITHIN_SECONDS:g} s of being on the card at p95",
            f"{found_at:.2f} s",
            found_at <= DISCOVERED_WITHIN_SECONDS,
        )
