"""scan: round trips and time of the first listing of a full card, at 10 ms per transaction.

Three ways: `gphoto2 --list-files`, `hotshoe ls`, and the first scan of an agent that wants nothing of the card (its rows
go into the ledger). Round trips are counted by the camera, from the first to the last of the process. A body without a
bulk listing describes its files one by one; there the three wait for the camera and run side by side.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.simcam import gphoto as stranger
from tests.system.bench.contenders import Hotshoe, folder_lines, gphoto, hotshoe_ls
from tests.system.bench.figures import aim, begin, median, say, spread, table
from tests.system.bench.options import Options, in_turns
from tests.system.bench.processes import Camera, Outcome

RTT_MS = 10.0
GPHOTO2 = "gphoto2 --list-files"
LS = "hotshoe ls --json"
AGENT = "hotshoe run, first scan"


class Seen(NamedTuple):
    files: int
    outcome: Outcome
    scan_seconds: float | None = None  # by the agent's own clock


class Listing(NamedTuple):
    seen: Seen
    round_trips: int

    @property
    def round_trips_each(self) -> float:
        return self.round_trips / self.seen.files


Way = Callable[[Camera, Path], Seen]
Ways = dict[str, Way]


def run(options: Options) -> None:
    bulk, single, rounds = (10_000, 200, 1) if options.quick else (10_000, 10_000, 3)
    bodies = ("eos-r7",) if options.quick else ("eos-r7", "eos-60d")
    begin("scan", f"the first listing of a full card at {RTT_MS:g} ms per transaction")
    ways: Ways = {LS: _ls, AGENT: _agent}
    if reason := stranger.why_not():
        say(f"without gphoto2: {reason}")
    else:
        ways = {GPHOTO2: _gphoto, **ways}
    found = {body: _in_turns(options.folder, body, bulk, ways, rounds) for body in bodies}
    found["generic"] = _at_once(options.folder, "generic", single, ways)
    for body, listings in found.items():
        _tell(body, single if body == "generic" else bulk, listings)
    if GPHOTO2 in ways:
        _judge(found["eos-r7"], found["generic"])


def _in_turns(folder: Path, body: str, count: int, ways: Ways, rounds: int) -> dict[str, list[Listing]]:
    found: dict[str, list[Listing]] = {name: [] for name in ways}
    with Camera(folder, body, f"{count}:1M:JPG", rtt_ms=RTT_MS) as camera:
        for number, name in in_turns(list(ways), rounds):
            place = folder / f"{body}-{number}-{list(ways).index(name)}"
            found[name].append(_listing(ways[name], camera, place))
    return found


def _at_once(folder: Path, body: str, count: int, ways: Ways) -> dict[str, list[Listing]]:
    """Each on a camera of its own."""

    def one(name: str) -> list[Listing]:
        with Camera(folder, body, f"{count}:1M:JPG", rtt_ms=RTT_MS) as camera:
            return [_listing(ways[name], camera, folder / f"{body}-{list(ways).index(name)}")]

    with ThreadPoolExecutor(len(ways)) as threads:
        return dict(zip(ways, threads.map(one, ways), strict=True))


def _listing(way: Way, camera: Camera, folder: Path) -> Listing:
    camera.say("reset_stats")
    seen = way(camera, folder)
    return Listing(seen, camera.stats["transactions"])


def _gphoto(camera: Camera, folder: Path) -> Seen:
    outcome = gphoto(camera, folder, "--list-files")
    said = (folder.parent / f"{folder.name}-home" / "out").read_text()
    return Seen(said.count(".JPG"), outcome)


def _ls(camera: Camera, folder: Path) -> Seen:
    outcome = hotshoe_ls(camera, folder)
    return Seen(len((folder / "ls.out").read_text().splitlines()), outcome)


def _agent(camera: Camera, folder: Path) -> Seen:
    hotshoe = Hotshoe(folder, camera, {"archive": folder_lines(folder / "photos")}, auto=False)
    outcome = hotshoe.once("--json")
    lines = [json.loads(line) for line in hotshoe.log.read_text().splitlines() if line.startswith("{")]
    [scanned] = [line for line in lines if line["event"] == "scanned"]
    return Seen(hotshoe.count("file"), outcome, scanned["seconds"])


def _tell(body: str, count: int, found: dict[str, list[Listing]]) -> None:
    say(f"{body}, {count:,} files; median (min–max):")
    header = ["way", "n", "files listed", "round trips", "process s", "of it scanning s", "CPU s"]
    rows = []
    for name, listings in found.items():
        scans = [each.seen.scan_seconds for each in listings]
        rows.append(
            [
                name,
                str(len(listings)),
                spread([each.seen.files for each in listings]),
                spread([each.round_trips for each in listings]),
                spread([each.seen.outcome.wall for each in listings], 2),
                spread([each for each in scans if each is not None], 2),
                spread([each.seen.outcome.cpu for each in listings], 2),
            ]
        )
    table(header, rows)


def _judge(eos: dict[str, list[Listing]], generic: dict[str, list[Listing]]) -> None:
    """Against gphoto2 on the same body, and against describing each file on its own, as it does where it must."""
    ours = median([each.round_trips_each for each in eos[LS]])
    same = median([each.round_trips_each for each in eos[GPHOTO2]]) / ours
    single = median([each.round_trips_each for each in generic[GPHOTO2]]) / ours
    what = "first scan of an EOS body: at least 100 times fewer round trips"
    aim(f"{what} than gphoto2 on the same body", f"{same:.2f} times", same >= 100)
    aim(
        f"{what} than describing each file (gphoto2 on a body without bulk listing)",
        f"{single:.0f} times",
        single >= 100,
    )
