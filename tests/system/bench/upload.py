"""upload: from the spool to every kind of store, beside rclone copying the same files from the same disk.

hotshoe sends one file at a time here, as rclone does. A tiny file goes first; then its time is from the beginning of the
first delivery to the last receipt, rclone's that of its process without what the same command takes when there is nothing to do. Processor time
and memory are over those of an agent that delivers one tiny file, and of an rclone with nothing to do. hotshoe proves what it sends, by reading it back where the store computes no checksum;
rclone compares sizes there.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.backends.places import Area
from tests.system.bench.contenders import Hotshoe
from tests.system.bench.figures import MEBIBYTE, aim, begin, median, say, spread, table
from tests.system.bench.options import Options, in_turns
from tests.system.bench.processes import Camera, Outcome
from tests.system.bench.remotes import copy, programs, remote
from tests.system.stores import KINDS, as_toml, stores

BODY = "eos-r7"
GROWTH_MIB = 32
FLAT_MIB = 8  # between 64 MB and 4 GB: what a heap varies by from run to run
TINY = "1:1K:JPG"
"""Goes first: the SDK is loaded with it and the connection made."""
TINY_BYTES = 100_000
READ_BACK = ("folder", "smb", "ftp", "sftp")


class Upload(NamedTuple):
    seconds: float
    cpu_seconds: float
    growth_bytes: int
    size: int


class Spools(NamedTuple):
    """Installations with files in the spool: what is measured, and one tiny file."""

    full: Path
    tiny: Path


def run(options: Options) -> None:
    count, rounds = (4, 2) if options.quick else (10, 3)
    begin("upload", f"{count} files of 25 MiB from the spool, one after the other, {rounds} rounds in turns")
    with (
        filled_spool(options.folder / "many", f"{TINY},{count}:25M:CR3") as spool,
        filled_spool(options.folder / "tiny", TINY) as tiny,
        _servers(options) as places,
    ):
        for kind in KINDS:
            _one_kind(options.folder, kind, places[kind], Spools(spool, tiny), rounds)
    sizes = ("1M", "64M", "700M" if options.quick else "4G")
    begin("upload", f"memory over an agent with a tiny file, with one of {', '.join(sizes)}")
    _memory(options, sizes)


def _one_kind(folder: Path, kind: str, make: Callable[[], Area], spools: Spools, rounds: int) -> None:
    proofs = ("readback", "size") if kind in READ_BACK else ("readback",)
    contenders: dict[str, Callable[[], Upload]] = {}
    for proof in proofs:
        name = {"readback": "hotshoe, read back", "size": "hotshoe, size checked"}[proof]
        if kind not in READ_BACK:
            name = "hotshoe, store's checksum"
        contenders[name] = lambda proof=proof: hotshoe_uploads(folder, make, spools, proof)  # type: ignore[misc]
    for name, program in programs().items():
        contenders[name] = lambda program=program: rclone_copies(folder, kind, make(), spools.full, program)  # type: ignore[misc]
    found: dict[str, list[Upload]] = defaultdict(list)
    for _, name in in_turns(list(contenders), rounds):
        try:
            found[name].append(contenders[name]())
        except RuntimeError as refusal:
            if not name.startswith("rclone"):
                raise
            say(f"{kind}: {name} cannot: {str(refusal).splitlines()[-1]}")
    found = {name: runs for name, runs in found.items() if runs}
    rows = [
        [
            name,
            spread([each.size / each.seconds / 1e6 for each in runs]),
            spread([each.cpu_seconds / each.size * 1e9 for each in runs], 2),
            spread([each.growth_bytes / MEBIBYTE for each in runs], 1),
        ]
        for name, runs in found.items()
    ]
    table([f"{kind}, contender", "MB/s", "CPU s/GB", "peak over idle, MiB"], rows)
    best = max(
        (name for name in found if name.startswith("rclone")), key=lambda name: _rate(found[name]), default=""
    )
    if best:
        ours = [name for name in found if name.startswith("hotshoe")]
        ratio = _rate(found[ours[-1]]) / _rate(found[best])  # rclone reads nothing back
        aim(f"{kind}: {ours[-1]}: no slower than {best}", f"{ratio:.2f} ×", ratio >= 1)
    growth = max(each.growth_bytes for name in found if name.startswith("hotshoe") for each in found[name])
    aim(
        f"{kind}: at most {GROWTH_MIB} MiB per transfer",
        f"{growth / MEBIBYTE:.1f} MiB",
        growth <= GROWTH_MIB * MEBIBYTE,
    )


def _rate(runs: list[Upload]) -> float:
    return median([each.size / each.seconds for each in runs])


@contextmanager
def _servers(options: Options) -> Iterator[dict[str, Callable[[], Area]]]:
    folder = options.folder / "servers"
    folder.mkdir()
    with stores(folder) as places:
        yield places
    shutil.rmtree(folder)


@contextmanager
def filled_spool(folder: Path, card: str) -> Iterator[Path]:
    """An installation that has fetched everything and could deliver nothing: its folder is not there yet."""
    folder.mkdir(parents=True)
    nowhere = f'kind = "folder"\npath = "{folder}/not/there"\n'
    with Camera(folder, BODY, card) as camera:
        files = len(camera.say("files"))
        hotshoe = Hotshoe(folder / "agent", camera, {"archive": nowhere})
        hotshoe.until(lambda: hotshoe.count("file WHERE state = 'fetched'") == files)
    with closing(sqlite3.connect(hotshoe.folder / "state" / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE delivery SET started_at = NULL, next_try_at = NULL, tries = 0")
    yield hotshoe.folder
    shutil.rmtree(folder)


def _cheaply(source: str, target: str) -> None:
    """Files of the spool are never changed; everything else gets a copy."""
    if Path(source).parent.name == "spool":
        Path(target).hardlink_to(source)
    else:
        shutil.copy2(source, target)


def hotshoe_uploads(
    folder: Path, make: Callable[[], Area], spools: Spools, proof: str, prefix: Sequence[str] = ()
) -> Upload:
    """`prefix`: what the command begins with, to be run elsewhere."""
    area = make()
    config = area.config(minimum_proof=proof) if proof == "size" else area.config()
    destinations = {"archive": as_toml(config, workers=1)}
    first = Hotshoe(folder / "first", None, destinations, prefix=prefix)
    shutil.copytree(spools.tiny / "state", first.folder / "state", copy_function=_cheaply)
    idle = first.once()
    hotshoe = Hotshoe(folder / "run", None, destinations, prefix=prefix)
    shutil.copytree(spools.full / "state", hotshoe.folder / "state", copy_function=_cheaply)
    _tell_of_the_check(first, hotshoe)
    outcome = hotshoe.once()
    held = hotshoe.ask("SELECT state, count(*) FROM delivery GROUP BY 1")
    assert [state for state, _ in held] == ["done"], held
    days = hotshoe.ask(
        "SELECT max(julianday(done_at)) - min(julianday(started_at)) FROM delivery"
        f" JOIN file ON file.id = file_id WHERE size_bytes > {TINY_BYTES}"
    )[0][0]
    first.remove()
    hotshoe.remove()
    shutil.rmtree(getattr(area, "root", folder / "none"), ignore_errors=True)
    return _over(idle, outcome, float(str(days)) * 86_400, spools.full)


def _tell_of_the_check(one: Hotshoe, other: Hotshoe) -> None:
    """A destination is checked once, when its settings are new: not what is to be measured."""
    with closing(sqlite3.connect(other.folder / "state" / "ledger.db")) as ledger, ledger:
        known = one.ask("SELECT fingerprint, exclusive FROM subject WHERE kind = 'destination'")[0]
        ledger.execute("UPDATE subject SET fingerprint = ?, exclusive = ? WHERE kind = 'destination'", known)


def _over(idle: Outcome, outcome: Outcome, seconds: float, spool: Path) -> Upload:
    growth = outcome.peak_bytes - idle.peak_bytes
    return Upload(seconds, outcome.cpu - idle.cpu, growth, _size(spool))


def _size(spool: Path) -> int:
    sizes = [path.stat().st_size for path in (spool / "state" / "spool").iterdir()]
    return sum(size for size in sizes if size > TINY_BYTES)


def rclone_copies(
    folder: Path, kind: str, area: Area, spool: Path, program: str, prefix: Sequence[str] = ()
) -> Upload:
    source, empty = spool / "state" / "spool", folder / "empty"
    empty.mkdir(exist_ok=True)
    to = remote(kind, area, program)
    idle = copy(program, empty, to, folder, prefix)
    outcome = copy(program, source, to, folder, prefix)
    shutil.rmtree(getattr(area, "root", folder / "none"), ignore_errors=True)
    return _over(idle, outcome, outcome.wall - idle.wall, spool)


def _memory(options: Options, sizes: tuple[str, ...]) -> None:
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for size in sizes:
        with (
            filled_spool(options.folder / size, f"{TINY},1:{size}:MP4") as spool,
            filled_spool(options.folder / "tiny", TINY) as tiny,
            _servers(options) as places,
        ):
            for kind in KINDS:
                upload = hotshoe_uploads(options.folder, places[kind], Spools(spool, tiny), "readback")
                found[kind].append(upload.growth_bytes / MEBIBYTE)
    table(["destination", *sizes], [[kind, *(f"{each:.1f}" for each in row)] for kind, row in found.items()])
    for kind, (_, middle, large) in found.items():
        aim(
            f"{kind}: flat from {sizes[1]} to {sizes[2]}",
            f"{large - middle:+.1f} MiB",
            large - middle <= FLAT_MIB,
        )
