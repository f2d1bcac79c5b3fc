"""A destination is down for long while the photographer goes on shooting, and two others stay up.

Nothing may fail, and the others must not notice. The spool keeps within its budget by giving up, oldest first, what the
others have and the card still has. When the server is back everything drains by itself, in the right order, and what was
given up is fetched again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import signal
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tests.backends.areas.sftp import OpenSSHArea
from tests.backends.places import FolderArea, SeaweedArea
from tests.simcam.simcam import SimCamera
from tests.system.doorman import Door
from tests.system.kills import agent
from tests.system.spool_watch import Reader, Row, SpoolWatch
from tests.system.stores import as_toml, stores

AWAY, OTHERS = "sftp", ("folder", "s3")
PAIR, MOVIE = "JPG:200K+CR3:600K", "MP4:3M"
MOVIE_EVERY = 12  # shots
SHOT_BYTES = 800_000 + 3_000_000 / MOVIE_EVERY  # on average
WORKERS = 6
_NOTICED_SECONDS = 10.0
_START_SECONDS = 60.0


class Outage:
    """One series: `run` it, then `problems` must be empty. Times in seconds."""

    def __init__(self, before: float, outage: float, shot_every: float, seed: int, folder: Path):
        self.before, self.outage, self.shot_every = before, outage, shot_every
        self.seed, self.folder = seed, folder
        self.random = random.Random(seed)
        self.budget_bytes = int(SHOT_BYTES * outage / shot_every / 2)
        self.problems: list[str] = []
        self.log = folder / "agent.log"
        self._reader = Reader(folder / "state")
        self._numbers = itertools.count(1)
        self._lost: dict[str, str] = {}  # deleted from the card by the photographer: path → SHA-256

    def run(self) -> None:
        print(
            f"outage: {AWAY} down for {self.outage:.0f} s, a shot every {self.shot_every} s, budget"
            f" {self.budget_bytes / 1e6:.0f} MB, seed {self.seed}",
            flush=True,
        )
        (self.folder / "servers").mkdir()
        with (
            SimCamera("eos-r7", mbit=400) as camera,
            stores(self.folder / "servers", (AWAY, *OTHERS)) as places,
        ):
            self._areas = {kind: place() for kind, place in places.items()}
            away = self._areas[AWAY]
            assert isinstance(away, OpenSSHArea)
            server = away.server.process
            with (
                Door(away.server.port) as self._door,
                SpoolWatch(
                    self.folder / "state" / "spool", self._reader, AWAY, lambda: _on(camera)
                ) as self._watch,
            ):
                process = agent(["run", "--json", "--config", str(self._configuration(camera))], self.log)
                try:
                    self._get_going(camera)
                    self._shoot(camera, self.before, lambda: self._are_up(AWAY, *OTHERS))
                    server.kill()
                    self._shoot_through_the_outage(camera)
                    before = set(_digests(away))
                    held = self._owed_in_spool()
                    server.start()
                    self._returned_at = time.monotonic()
                    self._wait_for_everything(camera, process)
                    process.send_signal(signal.SIGTERM)
                    if process.wait(60):
                        self.problems.append(f"the agent ended with {process.returncode}")
                finally:
                    process.kill()
                    process.wait()
            self._judge(camera)
            self._judge_order(away, before, held)
        self.report()

    def _configuration(self, camera: SimCamera) -> Path:
        path = self.folder / "hotshoe.toml"
        configs = {kind: area.config() for kind, area in self._areas.items()}
        configs[AWAY] = self._areas[AWAY].config(port=self._door.port)
        destinations = "".join(
            f"[destinations.{kind}]\n{as_toml(config, template='{folder}/{name}')}"
            for kind, config in configs.items()
        )
        path.write_text(
            f'state_dir = "{self.folder / "state"}"\n[upload]\nworkers = {WORKERS}\n'
            f'[spool]\nbudget = "{self.budget_bytes} B"\n'
            f'[[cameras]]\nname = "main"\nhost = "{camera.host}"\nport = {camera.port}\n'
            f"{destinations}[[routes]]\ndestinations = {json.dumps([AWAY, *OTHERS])}\n"
        )
        return path

    # -- the day -----------------------------------------------------------------------------------------

    def _shoot(self, camera: SimCamera, seconds: float, look: Callable[[], None]) -> None:
        """Take pictures at the pace, and look around once after each."""
        until = time.monotonic() + seconds
        due = time.monotonic()
        while (now := time.monotonic()) < until:
            if now < due:
                time.sleep(min(due, until) - now)  # the pace of the shots, not a wait for anything
                continue
            camera.shoot(MOVIE if next(self._numbers) % MOVIE_EVERY == 0 else PAIR)
            due += self.shot_every * self.random.uniform(0.5, 1.5)
            look()

    def _get_going(self, camera: SimCamera) -> None:
        """The first shots find every server checked, and connections made."""
        for _ in range(2):
            camera.shoot(PAIR)
            files = len(camera.files())
            until = time.monotonic() + _START_SECONDS
            while time.monotonic() < until and not self._is_delivered(files):
                time.sleep(0.1)  # between two looks at the ledger; nothing else would tell
        self._begun_at = time.monotonic()

    def _is_delivered(self, files: int) -> bool:
        rows = self._reader.deliveries().values()
        return len(rows) == files and all(each["state"] == "done" for row in rows for each in row)

    def _shoot_through_the_outage(self, camera: SimCamera) -> None:
        self._killed_at = time.monotonic()
        self._files_before = len(camera.files())
        self._said_waiting = False
        deletions = [1, 2, 3]

        def look() -> None:
            self._are_up(*OTHERS)
            self._is_waiting()
            done = time.monotonic() - self._killed_at
            if deletions and done > self.outage * deletions[0] / 5:
                deletions.pop(0)
                self._delete_one(camera)

        self._shoot(camera, self.outage, look)
        self._files_during = len(camera.files()) + len(self._lost) - self._files_before
        self._knocks = sum(knock >= self._killed_at for knock in self._door.knocks)
        if not self._said_waiting:
            self.problems.append(f"{AWAY} was never said to be waiting")

    def _delete_one(self, camera: SimCamera) -> None:
        """The photographer deletes a picture that is in the spool and owed: from then on the spool has the only copy.

        One from the middle of the spool, so that it is not just being given up.
        """
        owed = self._owed_in_spool()
        if len(owed) < 5:
            return
        row = sorted(owed, key=lambda row: (row["fetched_at"], row["id"]))[len(owed) // 2]
        path = f"DCIM/{row['folder']}/{row['name']}"
        self._lost[path] = camera.contents()[path]
        camera.trouble.delete(row["name"])

    def _are_up(self, *names: str) -> None:
        for name in names:
            if (state := self._reader.subject(name)["state"]) not in ("ready", ""):
                self._problem(f"{name} is {state}")
        if failed := self._reader.rows("SELECT fault_code FROM delivery WHERE state = 'failed'"):
            self._problem(f"failed: {failed[0]['fault_code']}")

    def _is_waiting(self) -> None:
        subject = self._reader.subject(AWAY)
        if (
            subject["state"] == "waiting"
            and subject["fault_code"]
            and subject["reason"]
            and subject["next_try_at"]
        ):
            self._said_waiting = True
        elif self._said_waiting or time.monotonic() > self._killed_at + _NOTICED_SECONDS:
            self._problem(f"{AWAY} is down, and said to be {subject['state']}: {subject['reason']!r}")

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def _owed_in_spool(self) -> list[Row]:
        """What lies whole in the spool and is owed to the one that is away, in the order in which it should go there."""
        rows = [
            row
            for rows in self._reader.deliveries().values()
            for row in rows
            if row["file_state"] == "fetched" and row["destination"] == AWAY and row["state"] != "done"
        ]
        return _in_order(rows)

    def _wait_for_everything(self, camera: SimCamera, process: subprocess.Popen[bytes]) -> None:
        files = len(camera.files()) + len(self._lost)
        until = time.monotonic() + 90 + self.outage / 2
        while time.monotonic() < until and process.poll() is None:
            self._are_up(*OTHERS)
            if self._is_delivered(files):
                self._drained = time.monotonic() - self._returned_at
                return
            time.sleep(0.5)  # between two looks at the ledger; nothing else would tell
        rows = self._reader.deliveries().values()
        undone = [
            f"{each['name']} {each['destination']} {each['state']}"
            for row in rows
            for each in row
            if each["state"] != "done"
        ]
        self.problems.append(f"{len(rows)} of {files} files known, not drained: {undone[:5]}")
        self._drained = float("inf")

    # -- what must hold ----------------------------------------------------------------------------------

    def _judge(self, camera: SimCamera) -> None:
        self.problems += self._watch.problems
        wanted = Counter(camera.contents().values()) + Counter(self._lost.values())
        for kind, area in self._areas.items():
            found = Counter(_digests(area).values())
            if wanted != found:
                self.problems.append(
                    f"{kind}: missing {list(wanted - found)[:5]}, too many {list(found - wanted)[:5]}"
                )
            if partials := area.partials():
                self.problems.append(f"{kind}: partials are left: {partials[:5]}")
        self._judge_spool(camera)
        self._judge_knocks()
        self._judge_times(camera)
        told = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        bad = [
            each
            for each in told
            if each["event"] in ("failed", "destination paused", "unclassified", "needs you")
        ]
        if bad:
            self.problems.append(f"{len(bad)} bad lines in the log, such as {bad[0]}")
        said = sorted(each["file"] for each in told if each["event"] == "evicted")
        seen = sorted([*self._watch.delivered, *(file_id for _, file_id in self._watch.sacrificed)])
        if said != seen:
            self.problems.append(f"{len(said)} evictions in the log, {len(seen)} seen")

    def _judge_spool(self, camera: SimCamera) -> None:
        watch = self._watch
        if watch.peak_bytes > self.budget_bytes:
            self.problems.append(f"the spool held {watch.peak_bytes} bytes of {self.budget_bytes}")
        if watch.peak_bytes < 0.8 * self.budget_bytes or not watch.sacrificed:
            self.problems.append(
                f"the budget was not reached: {watch.peak_bytes} of {self.budget_bytes} bytes"
            )
            return
        self._full_after = (watch.sacrificed[0][0] - self._killed_at) / self.outage
        names = {
            row["id"]: f"DCIM/{row['folder']}/{row['name']}"
            for row in self._reader.rows("SELECT * FROM file")
        }
        sizes = {item.path: item.listed_size for item in camera.files()}
        again = Counter(names[file_id] for _, file_id in watch.sacrificed)
        for path, size in sizes.items():
            read = camera.stats.reads[path]
            if not (1 + again[path]) * size <= read < (1.5 + again[path]) * size:
                self._problem(f"{path}: {read} bytes read of {size}, {again[path]} times evicted")

    def _judge_knocks(self) -> None:
        """An outage is asked about after 1, 2, 4 … seconds and then once a minute, whatever is shot meanwhile."""
        probes, at = 1, 0.0
        while (at := at + min(60.0, 2.0 ** (probes - 1))) < self.outage:
            probes += 1
        self._most_knocks = probes + WORKERS
        if self._knocks > self._most_knocks:
            self.problems.append(
                f"{self._knocks} connections to the dead server instead of {self._most_knocks}"
            )
        if self._knocks < probes // 2:
            self.problems.append(f"only {self._knocks} connections to the dead server: does anybody ask?")

    def _judge_times(self, camera: SimCamera) -> None:
        """Compare, before and during, how long a file took from the card to the last of the others."""
        pressed = {name: shot for shot in camera.stats.shots for name in shot.names}
        found: dict[bool, list[float]] = {False: [], True: []}
        for rows in self._reader.deliveries().values():
            shot = pressed[rows[0]["name"]]
            done = max(
                (_seconds(row["done_at"]) for row in rows if row["destination"] != AWAY and row["done_at"]),
                default=float("inf"),
            )
            if shot.pressed_monotonic >= self._begun_at:
                found[shot.pressed_monotonic >= self._killed_at].append(done - shot.added_wall)
        (self._median, self._p95), (self._median_during, self._p95_during) = (
            (statistics.median(found[is_during]), _p95(found[is_during])) for is_during in (False, True)
        )
        if self._median_during > 3 * self._median + 0.5 or self._p95_during > 4 * self._p95 + 3:
            self.problems.append("the other destinations got their files later during the outage")

    def _judge_order(self, away: OpenSSHArea, before: set[str], held: list[Row]) -> None:
        """What lay in the spool goes in its order at once; what was given up in its order as it is fetched again."""
        arrived = sorted(
            ((away.root / key).stat().st_ctime_ns, key) for key in _digests(away) if key not in before
        )
        place = {key: n for n, (_, key) in enumerate(arrived)}
        given_up = {file_id for _, file_id in self._watch.sacrificed}
        rows = [row for rows in self._reader.deliveries().values() for row in rows]
        back = _in_order([row for row in rows if row["id"] in given_up and row["destination"] == AWAY])
        self._stayed = [row["key"] for row in held if row["id"] not in given_up]
        self._out_of_order = _worst([place[key] for key in self._stayed if key in place])
        self._out_of_order_again = _worst([place[row["key"]] for row in back if row["key"] in place])
        if self._out_of_order > WORKERS or self._out_of_order_again > 2 * WORKERS + 4:
            self.problems.append(
                f"out of order: {self._out_of_order} of the spool's, {self._out_of_order_again} of those fetched again"
            )

    def report(self) -> None:
        print(
            f"  {self._files_before} files before, {self._files_during} during the outage, {len(self._lost)} of them deleted"
            f" from the card; {self._knocks} connections to the dead server (at most {self._most_knocks})"
        )
        print(
            f"  from the card to the other destinations: median {self._median:.2f} s before, {self._median_during:.2f} s during;"
            f" p95 {self._p95:.2f} s and {self._p95_during:.2f} s"
        )
        print(
            f"  spool: at most {self._watch.peak_bytes} of {self.budget_bytes} bytes; {len(self._watch.delivered)} evictions"
            f" of what was delivered, {len(self._watch.sacrificed)} of what the others had, each judged as it happened"
        )
        print(
            f"  drained {self._drained:.0f} s after the return; {len(self._stayed)} from the spool, overtaken at most"
            f" {self._out_of_order} times, the rest from the camera again, at most {self._out_of_order_again} times"
        )
        for problem in self.problems[:20]:
            print(f"  PROBLEM {problem}")
        print(f"  {'OK' if not self.problems else 'FAILED'}", flush=True)


def _on(camera: SimCamera) -> set[str]:
    return {item.path.removeprefix("DCIM/") for item in camera.files()}


def _digests(area: object) -> dict[str, str]:
    """SHA-256 by key, one file in memory at a time."""
    if isinstance(area, SeaweedArea):
        keys = [key for key in area.server.sizes(area.bucket) if ".hotshoe" not in key]
        return {key: hashlib.sha256(area.server.content(area.bucket, key)).hexdigest() for key in keys}
    assert isinstance(area, FolderArea | OpenSSHArea)
    return {
        str(path.relative_to(area.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in area.root.rglob("*")
        if path.is_file() and not path.name.startswith(".hotshoe-")
    }


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _in_order(rows: list[Row]) -> list[Row]:
    """Kinds in order, newest first within a kind."""
    newest = sorted(rows, key=lambda row: (row["captured"], row["delivery"]), reverse=True)
    return sorted(newest, key=lambda row: row["rank"])


def _p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def _worst(places: list[int]) -> int:
    """Say how many went before their turn at most: of all that should have come first, how many came later. `places`: of
    arrival, in the order in which they should be."""
    worst = 0
    for n, place in enumerate(places):
        worst = max(worst, sum(other > place for other in places[:n]))
    return worst
