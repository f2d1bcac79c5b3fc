"""cost: what one more file costs in round trips to the camera, statements to the ledger, and requests to a store.

Every figure is a difference between runs, so that what a run costs anyhow falls out: N and 2N files to one destination
give the cost of a file with its delivery; N files to a second destination as well give the cost of a delivery. Looks for
new files come by the clock and are left out of the round trips.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.system.bench import stores
from tests.system.bench.contenders import Hotshoe, folder_lines
from tests.system.bench.figures import aim, begin, median, say, spread, table
from tests.system.bench.options import Options
from tests.system.bench.processes import Camera
from tests.system.s3_proxy import proxy_in_thread

BODY = "eos-r7"
CLOCKED = {"0x9116": "GetEvent", "0x911d": "KeepDeviceOn"}
FILE_LIMIT, DELIVERY_LIMIT = 10, 3
_NAMES = {
    "0x101b": "GetPartialObject",
    "0x1008": "GetObjectInfo",
    "0x9103": "GetObjectInfoEx",
    "0x9109": "GetObjectInfoEx",
}


class Cost(NamedTuple):
    operations: Counter[str]  # asked of the camera
    statements: Counter[str]
    total: int
    transactions: int
    durable: int


def run(options: Options) -> None:
    few, rounds = (10, 1) if options.quick else (30, 3)
    begin("cost", f"of one file and of one delivery, from runs over {few} and {2 * few} files of {BODY}")
    for size, chunks in (("900K", 1), ("10M", 10)):
        single, twice, both = (
            [_run(options.folder, f"{count}:{size}:JPG", destinations) for _ in range(rounds)]
            for count, destinations in ((few, 1), (2 * few, 1), (few, 2))
        )
        _tell(f"{chunks} chunk{'s' if chunks > 1 else ''}", few, single, twice, both)
    if reason := stores.why_not():
        say(f"without S3: {reason}")
    else:
        _s3(options, few, rounds)


def _run(folder: Path, card: str, destinations: int, lines: str | None = None) -> Cost:
    place = folder / "run"
    place.mkdir()
    with Camera(folder, BODY, card) as camera:
        names = [chr(ord("a") + number) for number in range(destinations)]
        wanted = {name: lines or folder_lines(place / name) for name in names}
        module = ["tests.system.bench.counted", str(place / "counts")]
        hotshoe = Hotshoe(place / "agent", camera, wanted, module=module)
        hotshoe.once()
        done = hotshoe.count("delivery WHERE state = 'done'")
        assert done == destinations * len(camera.say("files"))
        found: dict[str, Any] = json.loads((place / "counts").read_text())
        operations: Counter[str] = Counter(camera.stats["operations"])
    shutil.rmtree(place)
    for code in CLOCKED:
        del operations[code]
    return Cost(
        operations,
        Counter(found["statements"]),
        found["total"],
        found["transactions"],
        found["durable"],
    )


def _each(more: Sequence[float], less: Sequence[float], count: int) -> list[float]:
    """What one of `count` costs, round by round."""
    return [(a - b) / count for a, b in zip(more, less, strict=True)]


def _tell(what: str, few: int, single: list[Cost], twice: list[Cost], both: list[Cost]) -> None:
    figures: dict[str, Callable[[Cost], int]] = {
        "round trips to the camera": lambda cost: cost.operations.total(),
        "ledger statements": lambda cost: cost.total,
        "ledger transactions": lambda cost: cost.transactions,
        "of these durable": lambda cost: cost.durable,
    }
    rows, per_file, per_delivery = [], [0.0], [0.0]
    for name, figure in figures.items():
        one, two, extra = ([float(figure(cost)) for cost in costs] for costs in (single, twice, both))
        whole, delivery = _each(two, one, few), _each(extra, one, few)
        rest = [a - b for a, b in zip(whole, delivery, strict=True)]
        rows.append([name, str(len(one)), *(spread(values, 2) for values in (rest, delivery, whole))])
        if name == "ledger statements":
            per_file, per_delivery = rest, delivery
    say(f"files of {what}; median (min–max):")
    table([f"per file of {what}", "n", "the file", "each delivery", "both"], rows)
    _where(
        "round trips per file",
        few,
        [(a.operations, b.operations) for a, b in zip(twice, single, strict=True)],
    )
    _where(
        "statements per file", few, [(a.statements, b.statements) for a, b in zip(twice, single, strict=True)]
    )
    whole = [a + b for a, b in zip(per_file, per_delivery, strict=True)]
    for name, limit, values in (
        ("file", FILE_LIMIT, per_file),
        ("delivery", DELIVERY_LIMIT, per_delivery),
        ("file with one delivery", FILE_LIMIT + DELIVERY_LIMIT, whole),
    ):
        found = median(values)
        aim(f"ledger statements per {name} of {what}: at most {limit}", f"{found:.2f}", found <= limit)


def _where(what: str, few: int, pairs: Sequence[tuple[Counter[str], Counter[str]]]) -> None:
    """Which kinds make up the difference."""
    keys = {key for more, less in pairs for key in more | less}
    each = {key: median([(more[key] - less[key]) / few for more, less in pairs]) for key in keys}
    told = sorted(((value, key) for key, value in each.items() if abs(value) >= 0.005), reverse=True)
    say(f"{what}: " + ", ".join(f"{_NAMES.get(key, key)} {value:.2f}" for value, key in told))


def _s3(options: Options, few: int, rounds: int) -> None:
    say("requests to an S3 store per file, to one destination; parts of 8 MiB:")
    rows = []
    with stores.seaweedfs(options.folder / "store") as server, proxy_in_thread(server.s3_port) as proxy:
        number = 0
        for size, what in (("900K", "900 KiB: one request"), ("20M", "20 MiB: three parts")):
            pairs = []
            for _ in range(rounds):
                counts = []
                for count in (few, 2 * few):
                    proxy.do(lambda each: each.reset())
                    number += 1
                    lines = stores.s3_lines(proxy.url, f"run-{number}")
                    _run(options.folder, f"{count}:{size}:JPG", 1, lines)
                    counts.append(Counter(proxy.stats.operations))
                pairs.append((counts[1], counts[0]))
            each = _each(
                [float(more.total()) for more, _ in pairs], [float(less.total()) for _, less in pairs], few
            )
            rows.append([what, str(len(each)), spread(each, 2)])
            _where(f"{what}, per file", few, pairs)
    table(["file", "n", "requests"], rows)
