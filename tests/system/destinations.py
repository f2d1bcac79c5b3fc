"""Every destination at once, each server stalled, killed and restarted at random, and the agent killed as well.

At the end every destination must hold exactly the card, each file once, with a receipt that proves it, and nothing of
what was on its way.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from tests.backends.areas.gcs import GcsArea
from tests.backends.places import Area
from tests.simcam.simcam import SimCamera
from tests.system.kills import FETCH_LOSS_BYTES, agent
from tests.system.stores import KINDS, as_toml, stores

TROUBLES = ("stall", "kill", "restart")
_LAST_SECONDS = 1800
_SWEEP_SECONDS = 240  # what a server does not let go of is asked for again once a minute


def card(files: int) -> str:
    """As `SimCamera` takes it: of a hundred files 60 JPEG, 16 pairs with a RAW, 6 small ones and 2 movies."""
    hundreds = max(1, files // 100)
    scale = files / 100 / hundreds
    count = {"jpeg": 60, "pair": 16, "small": 6, "movie": 2}
    n = {kind: max(1, round(each * hundreds * scale)) for kind, each in count.items()}
    return f"{n['jpeg']}:300K:JPG,{n['pair']}:400K+1200K:JPG+CR3,{n['small']}:9K:JPG,{n['movie']}:6M:MP4"


class Destinations:
    """One series: `run` it, then `problems` must be empty."""

    def __init__(
        self,
        kills: int,
        files: int,
        seed: int,
        folder: Path,
        *,
        kinds: tuple[str, ...] = KINDS,
        rounds: int = 1,
    ):
        """Each server gets each trouble at least `rounds` times."""
        self.kills, self.files, self.seed, self.folder, self.kinds = kills, files, seed, folder, kinds
        self.rounds = rounds
        self.random = random.Random(seed)
        self.problems: list[str] = []
        self.troubles: Counter[str] = Counter()
        self.empty_sessions = 0
        self.log = folder / "agent.log"

    def run(self) -> None:
        print(
            f"destinations: {', '.join(self.kinds)}; {self.kills} kills, {self.files} files, seed {self.seed}",
            flush=True,
        )
        begun = time.monotonic()
        (self.folder / "servers").mkdir()
        with (
            SimCamera("eos-r7", card(self.files), mbit=200) as camera,
            stores(self.folder / "servers", self.kinds) as places,
        ):
            areas = {kind: area() for kind, area in places.items()}
            config = self._configuration(camera, areas)
            calm = threading.Event()
            done = threading.Event()
            trouble = threading.Thread(target=self._break_things, args=(areas, calm, done))
            trouble.start()
            try:
                lives = 0
                while lives < self.kills or not done.is_set():
                    self._one_life(config)
                    lives += 1
                    if lives % 10 == 0:
                        print(f"  {lives} kills, {self.troubles.total()} troubles", flush=True)
                self.kills = lives
            finally:
                calm.set()
                trouble.join()
            self._finish(config)
            self._clean_up(config, areas)
            self._judge(camera, areas, config)
        self.report(time.monotonic() - begun)

    def _configuration(self, camera: SimCamera, areas: dict[str, Area]) -> Path:
        path = self.folder / "hotshoe.toml"
        destinations = "".join(
            f"[destinations.{kind}]\n{as_toml(area.config(), template='{folder}/{name}')}"
            for kind, area in areas.items()
        )
        path.write_text(
            f'state_dir = "{self.folder / "state"}"\n[upload]\nworkers = 14\n[spool]\nbudget = "8 GB"\n'
            f'[[cameras]]\nname = "main"\nhost = "{camera.host}"\nport = {camera.port}\n'
            f"{destinations}[[routes]]\ndestinations = {json.dumps(list(areas))}\n"
        )
        return path

    def _break_things(self, areas: dict[str, Area], calm: threading.Event, done: threading.Event) -> None:
        """One trouble after the other, in turn through all servers, until it is to be calm."""
        deck: list[tuple[str, str]] = []
        dealt = 0
        while not calm.is_set():
            if not deck:
                dealt += 1
                if dealt > self.rounds:
                    done.set()
                deck = [(kind, word) for kind, area in areas.items() if area.process for word in TROUBLES]
                self.random.shuffle(deck)
            kind, word = deck.pop()
            process = areas[kind].process
            assert process is not None
            if word == "stall":
                process.pause()
                calm.wait(self.random.uniform(0.5, 6))
                process.resume()
            else:
                process.kill()
                if word == "kill":
                    calm.wait(self.random.uniform(0.5, 6))
                process.start()
            self.troubles[f"{kind} {word}"] += 1
            calm.wait(self.random.uniform(0.1, 1.5))

    def _one_life(self, config: Path) -> None:
        process = agent(["run", "--config", str(config)], self.log)
        try:
            process.wait(self.random.uniform(0.3, 9.0))  # the moment of the kill, not a wait for anything
            self.problems.append(f"the agent ended by itself with {process.returncode}")
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _finish(self, config: Path) -> None:
        process = agent(["run", "--config", str(config), "--once", "--patience", "120"], self.log)
        code = process.wait(_LAST_SECONDS)
        if code:
            self.problems.append(f"the last run ended with {code}")

    def _clean_up(self, config: Path, areas: dict[str, Area]) -> None:
        """What a server did not let go of at the end is removed by an agent that has nothing else to do."""
        if not any(left(area) for area in areas.values()):
            return
        process = agent(["run", "--config", str(config)], self.log)
        until = time.monotonic() + _SWEEP_SECONDS
        _wait_until(lambda: not any(left(area) for area in areas.values()) or time.monotonic() > until)
        process.terminate()
        process.wait(60)

    def _judge(self, camera: SimCamera, areas: dict[str, Area], config: Path) -> None:
        wanted = camera.contents()
        for kind, area in areas.items():
            held = area.published()
            digests = Counter(sha256(content).hexdigest() for content in held.values())
            self._compare(kind, Counter(wanted.values()), digests)
            if partials := left(area):
                self.problems.append(f"{kind}: partials are left: {partials[:5]}")
            self.empty_sessions += len(area.partials()) - len(partials)
        if parts := list((self.folder / "state" / "spool").glob("*.part")):
            self.problems.append(f"partials are left in the spool: {parts[:5]}")
        self._judge_receipts(config, areas, len(wanted))
        self.card_bytes = sum(item.listed_size for item in camera.files())
        self.camera_bytes = camera.stats.object_bytes
        if self.camera_bytes > self.card_bytes + self.kills * FETCH_LOSS_BYTES:
            self.problems.append(f"{self.camera_bytes} bytes read of a card of {self.card_bytes}")

    def _judge_receipts(self, config: Path, areas: dict[str, Area], files: int) -> None:
        command = [sys.executable, "-m", "agent", "files", "--json", "--config", str(config)]
        lines = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        self.proofs: Counter[str] = Counter()
        for line in lines.splitlines():
            for delivery in json.loads(line)["deliveries"]:
                self.proofs[f"{delivery['destination']} {delivery['state']} {delivery['proof']}"] += 1
        for kind in areas:
            proven = self.proofs[f"{kind} done checksum"] + self.proofs[f"{kind} done readback"]
            if proven != files:
                self.problems.append(f"{kind}: {proven} of {files} deliveries are done and verified")

    def _compare(self, what: str, wanted: Counter[str], found: Counter[str]) -> None:
        if wanted != found:
            self.problems.append(
                f"{what}: missing {list((wanted - found).items())[:5]}, too many {list((found - wanted).items())[:5]}"
            )

    def report(self, seconds: float) -> None:
        print(f"  troubles: {dict(sorted(self.troubles.items()))}")
        print(f"  proofs: {dict(sorted(self.proofs.items()))}")
        print(
            f"  {self.kills} kills; card {self.card_bytes / 1e6:.1f} MB, read from the camera"
            f" {self.camera_bytes / 1e6:.1f} MB; {self.empty_sessions} empty sessions that Cloud Storage lets expire;"
            f" {seconds:.0f} s"
        )
        for problem in self.problems:
            print(f"  PROBLEM {problem}")
        print(f"  {'OK' if not self.problems else 'FAILED'}", flush=True)


def left(area: Area) -> list[str]:
    """What is left of uploads.

    Of a session at Cloud Storage whose beginning was not answered, or not written down before a kill, nobody knows the
    address: the service lists none and lets it expire. Its address is written down before the first byte, so it is empty.
    """
    if isinstance(area, GcsArea):
        return [each for each in area.partials() if area.disk.session_path(each).stat().st_size]
    return area.partials()


def _wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.5)  # between two questions to the servers; nothing else would tell
