"""Kill -9 at many moments, restart, and look at what the destination holds: the promise of exactly once.

Half of the kills come at random moments, half at fail-points that go in turn through every numbered step of the
order of writes. Before every life the photographer takes another shot, so that there is always something to do. After
every life, whatever stands under a final name must be whole. At the end the destination must hold exactly the card,
and kernel, store and camera must have seen each publish once and few bytes twice.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from tests.backends.servers.seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFS
from tests.simcam.simcam import SimCamera
from tests.system.killable import POINTS
from tests.system.s3_proxy import proxy_in_thread
from tests.system.watch import FolderWatch

CARD = "90:600K:JPG,12:2M+9M:JPG+CR3,3:40M:MP4"
SHOT = "JPG:1500K+CR3:7M"
PART_BYTES = 5 << 20
WORKERS = 4
FETCH_LOSS_BYTES = (32 << 20) + (1 << 20)
NTH = {"2": 6, "4": 3}  # how often a life that finds only its one new shot surely comes by; else twice
FULL_SERIES, STEP_HITS = 200, 10
SHOT_SECONDS = 6
LIFE_SECONDS = 60  # no agent lives longer here; a bound, not a pace


class Place(Protocol):
    """A destination and who looks at it behind the agent's back."""

    @abstractmethod
    def settings(self) -> str: ...
    @abstractmethod
    def visible(self) -> dict[str, int]: ...
    @abstractmethod
    def digest(self, key: str) -> str: ...
    @abstractmethod
    def publishes(self) -> Counter[str]: ...
    @abstractmethod
    def leftovers(self) -> list[str]: ...
    @abstractmethod
    def received_bytes(self) -> int | None: ...


class FolderPlace:
    def __init__(self, folder: Path, watch: FolderWatch):
        self._folder = folder
        self._watch = watch

    def settings(self) -> str:
        return f'kind = "folder"\npath = "{self._folder}"\n'

    def visible(self) -> dict[str, int]:
        return {
            entry.name: entry.stat().st_size
            for entry in self._folder.iterdir()
            if not entry.name.startswith(".")
        }

    def digest(self, key: str) -> str:
        with open(self._folder / key, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def publishes(self) -> Counter[str]:
        self._watch.settle()
        return self._watch.appearances

    def leftovers(self) -> list[str]:
        return [entry.name for entry in self._folder.iterdir() if entry.name.startswith(".")]

    def received_bytes(self) -> int | None:
        return None


class S3Place:
    BUCKET = "photos"

    def __init__(self, server: SeaweedFS, proxy: object):
        self._server = server
        self._proxy = proxy

    def settings(self) -> str:
        return (
            f'kind = "s3"\nbucket = "{self.BUCKET}"\nendpoint_url = "{self._proxy.url}"\nregion = "us-east-1"\n'  # type: ignore[attr-defined]
            f'access_key_id = "{ACCESS_KEY}"\nsecret_access_key = "{SECRET_KEY}"\npart_bytes = {PART_BYTES}\n'
        )

    def restart(self) -> None:
        """As after a power cut at the store."""
        self._server.process.kill()
        self._server.process.start()

    def visible(self) -> dict[str, int]:
        return {key: size for key, size in self._server.sizes(self.BUCKET).items() if ".hotshoe" not in key}

    def digest(self, key: str) -> str:
        return hashlib.sha256(self._server.content(self.BUCKET, key)).hexdigest()

    def publishes(self) -> Counter[str]:
        found = self._proxy.stats.publishes  # type: ignore[attr-defined]
        return Counter({key.split("/", 1)[1]: n for key, n in found.items() if ".hotshoe" not in key})

    def leftovers(self) -> list[str]:
        return self._server.unfinished(self.BUCKET)

    def received_bytes(self) -> int | None:
        return int(self._proxy.stats.request_body_bytes)  # type: ignore[attr-defined]


@contextmanager
def place(kind: str, folder: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        if kind == "folder":
            target = folder / "photos"
            target.mkdir()
            yield FolderPlace(target, stack.enter_context(FolderWatch(target)))
            return
        (folder / "weed").mkdir()
        server = SeaweedFS(folder / "weed")
        server.process.start()
        stack.callback(server.process.kill)
        server.make_bucket(S3Place.BUCKET)
        yield S3Place(server, stack.enter_context(proxy_in_thread(server.s3_port)))


def configuration(folder: Path, camera: SimCamera, where: Place, *, budget: str = "80 MB") -> Path:
    path = folder / "hotshoe.toml"
    path.write_text(
        f'state_dir = "{folder / "state"}"\n[upload]\nworkers = {WORKERS}\n[spool]\nbudget = "{budget}"\n'
        f'[[cameras]]\nname = "main"\nhost = "{camera.host}"\nport = {camera.port}\n'
        f'[destinations.archive]\n{where.settings()}template = "{{name}}"\n'
        '[[routes]]\ndestinations = ["archive"]\n'
    )
    return path


def agent(arguments: list[str], log: Path, *, module: list[str] | None = None) -> subprocess.Popen[bytes]:
    with open(log, "ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", *(module or ["agent"]), *arguments],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


class Kills:
    """One series: `run` it, then `problems` must be empty."""

    def __init__(self, kind: str, kills: int, seed: int, folder: Path):
        self.kind, self.kills, self.seed = kind, kills, seed
        self.folder = folder
        self.random = random.Random(seed)
        self.problems: list[str] = []
        self.deaths: Counter[str] = Counter()
        self.checked: set[str] = set()
        self.log = folder / "agent.log"

    def run(self) -> None:
        print(f"kills: {self.kind}, {self.kills} kills, seed {self.seed}", flush=True)
        with SimCamera("eos-r7", CARD, mbit=400) as camera, place(self.kind, self.folder) as where:
            config = configuration(self.folder, camera, where)
            points = sorted(POINTS)
            self.random.shuffle(points)
            for number in range(self.kills):
                camera.shoot(SHOT)
                point = points[number // 2 % len(points)] if number % 2 else None
                self._one_life(config, camera, point)
                self._look(camera, where)
                if number % 50 == 49:
                    print(f"  {number + 1} kills", flush=True)
            self._finish(config)
            self._judge(camera, where)
        self._count_steps()
        self.report()

    def _one_life(self, config: Path, camera: SimCamera, point: str | None) -> None:
        marks = self.folder / "marks"
        marks.unlink(missing_ok=True)
        arguments = ["run", "--config", str(config)]
        if point is None:
            process = agent(arguments, self.log)
            time.sleep(self.random.uniform(0.05, 3.0))  # the moment of the kill, not a wait for anything
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.deaths["at random"] += 1
            return
        nth = str(self.random.randint(1, NTH.get(point[0], 2)))
        process = agent([point, nth, str(marks), *arguments], self.log, module=["tests.system.killable"])
        if not self._ends_while_shooting(process, camera):
            process.kill()
            process.wait()
            self.problems.append(f"never came to: {point}")
            return
        if process.returncode != -signal.SIGKILL or not marks.exists():
            self.problems.append(f"ended with {process.returncode} before: {point}")
            return
        self.deaths[marks.read_text().strip()] += 1

    def _ends_while_shooting(self, process: subprocess.Popen[bytes], camera: SimCamera) -> bool:
        """One shot may not be enough: what a large file left in the spool has room for several without an eviction."""
        for _ in range(LIFE_SECONDS // SHOT_SECONDS):
            try:
                process.wait(SHOT_SECONDS)
            except subprocess.TimeoutExpired:
                camera.shoot(SHOT)
            else:
                return True
        return False

    def _look(self, camera: SimCamera, where: Place) -> None:
        """Nothing stands under a final name before its time: each new name is whole, and a file of the card."""
        wanted = set(camera.contents().values())
        for key in where.visible().keys() - self.checked:
            if where.digest(key) not in wanted:
                self.problems.append(f"{key} is no file of the card, after {self.deaths.total()} kills")
            self.checked.add(key)

    def _finish(self, config: Path) -> None:
        process = agent(["run", "--config", str(config), "--once", "--patience", "30"], self.log)
        code = process.wait(900)
        if code:
            self.problems.append(f"the last run ended with {code}")

    def _judge(self, camera: SimCamera, where: Place) -> None:
        card, held = camera.contents(), where.visible()
        self._compare("content", Counter(card.values()), Counter(where.digest(key) for key in held))
        self._compare("publishes", Counter(dict.fromkeys(held, 1)), where.publishes())
        if leftovers := where.leftovers():
            self.problems.append(f"partials are left at the destination: {leftovers[:5]}")
        if parts := list((self.folder / "state" / "spool").glob("*.part")):
            self.problems.append(f"partials are left in the spool: {parts[:5]}")
        self.card_bytes = sum(item.listed_size for item in camera.files())
        self.camera_bytes = camera.stats.object_bytes
        self.store_bytes = where.received_bytes()
        if self.camera_bytes > self.card_bytes + self.kills * FETCH_LOSS_BYTES:
            self.problems.append(f"{self.camera_bytes} bytes read of a card of {self.card_bytes}")
        if (
            self.store_bytes is not None
            and self.store_bytes > self.card_bytes + self.kills * PART_BYTES * WORKERS
        ):
            self.problems.append(f"{self.store_bytes} bytes sent of a card of {self.card_bytes}")

    def _compare(self, what: str, wanted: Counter[str], found: Counter[str]) -> None:
        if wanted != found:
            self.problems.append(
                f"{what}: missing {list((wanted - found).items())[:5]}, too many {list((found - wanted).items())[:5]}"
            )

    def _count_steps(self) -> None:
        """In a full series every numbered step must have been hit ten times."""
        self.by_step = Counter[str]()
        for point, count in self.deaths.items():
            self.by_step[point.split()[0] if point[0].isdigit() else point] += count
        for step in "1234567":
            if self.kills >= FULL_SERIES and self.by_step[step] < STEP_HITS:
                self.problems.append(f"step {step} was hit only {self.by_step[step]} times")

    def report(self) -> None:
        print(f"  deaths by step: {dict(sorted(self.by_step.items()))}")
        for point, count in sorted(self.deaths.items()):
            print(f"    {count:4} {point}")
        sent = "-" if self.store_bytes is None else f"{self.store_bytes / 1e6:.1f} MB"
        print(
            f"  card {self.card_bytes / 1e6:.1f} MB in {len(self.checked)}+ files, read from the camera"
            f" {self.camera_bytes / 1e6:.1f} MB, sent to the store {sent}"
        )
        for problem in self.problems:
            print(f"  PROBLEM {problem}")
        print(f"  {'OK' if not self.problems else 'FAILED'}", flush=True)


def new_seed() -> int:
    return int(os.environ.get("HOTSHOE_SEED") or random.SystemRandom().randrange(1 << 32))
