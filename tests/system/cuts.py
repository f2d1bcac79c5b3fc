"""The camera link cut at random bytes and the store killed and started again, under one agent that is never helped.

Nothing is restarted but what broke. At the end the destination must hold exactly the card, each publish once.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.simcam.simcam import SimCamera
from tests.system.kills import FETCH_LOSS_BYTES, WORKERS, Place, S3Place, agent, configuration, place

CARD = "120:700K:JPG,12:2M+9M:JPG+CR3,3:40M:MP4"
OUTAGES_PER_CUT = 10  # one outage of the store for so many cuts of the link


class Cuts:
    def __init__(self, kind: str, cuts: int, seed: int, folder: Path):
        self.kind, self.cuts, self.seed, self.folder = kind, cuts, seed, folder
        self.random = random.Random(seed)
        self.problems: list[str] = []
        self.outages = 0
        self.log = folder / "agent.log"

    def run(self) -> None:
        print(f"cuts: {self.kind}, {self.cuts} cuts of the link, seed {self.seed}", flush=True)
        with SimCamera("eos-60d", CARD, mbit=80) as camera, place(self.kind, self.folder) as where:
            config = configuration(self.folder, camera, where, budget="200 MB")
            process = agent(["run", "--config", str(config), "--once", "--patience", "60"], self.log)
            trouble = threading.Thread(target=self._break_things, args=(camera, where, process.poll))
            trouble.start()
            code = process.wait(1800)
            trouble.join()
            if code:
                self.problems.append(
                    f"the agent ended with {code}: {self.log.read_text(errors='replace')[-2000:]}"
                )
            self._judge(camera, where)
        self.report()

    def _break_things(self, camera: SimCamera, where: Place, poll: Callable[[], int | None]) -> None:
        """Cut after a random number of bytes; when that cut has struck, arm the next. Outages of the store go beside it."""
        outage = threading.Thread()
        for number in range(self.cuts):
            before = camera.stats.troubles["cut_after"]
            # One in six strikes in the handshake or the listing; more in a row would only make the agent wait longer.
            camera.trouble.cut_after(self.random.randint(1, 3000 if number % 6 == 0 else 4_000_000))
            if number % OUTAGES_PER_CUT == 5 and isinstance(where, S3Place) and not outage.is_alive():
                outage = threading.Thread(target=where.restart)
                outage.start()
                self.outages += 1
            if number % 3 == 0:
                camera.shoot("JPG:1500K")
            while camera.stats.troubles["cut_after"] == before and poll() is None:
                threading.Event().wait(0.02)
            if poll() is not None:
                break
        camera.trouble.heal("cut_after")
        if outage.ident:
            outage.join()

    def _judge(self, camera: SimCamera, where: Place) -> None:
        self.struck = camera.stats.troubles["cut_after"]
        if self.struck < 0.9 * self.cuts:
            self.problems.append(f"only {self.struck} of {self.cuts} cuts struck before all was delivered")
        card, held = camera.contents(), where.visible()
        found = Counter(where.digest(key) for key in held)
        if Counter(card.values()) != found:
            self.problems.append(f"content: {len(card)} files on the card, {len(held)} at the destination")
        doubled = {key: times for key, times in where.publishes().items() if times > 1}
        unknown = where.publishes().keys() - held.keys()
        if doubled or unknown:
            self.problems.append(f"published more than once {doubled}, or not there {unknown}")
        # A store that is killed may have published without anybody having seen its answer.
        unseen = held.keys() - where.publishes().keys()
        if len(unseen) > self.outages * WORKERS:
            self.problems.append(f"never seen to be published: {sorted(unseen)[:5]}")
        if leftovers := where.leftovers():
            self.problems.append(f"partials are left: {leftovers[:5]}")
        self.card_bytes = sum(item.listed_size for item in camera.files())
        self.camera_bytes = camera.stats.object_bytes
        if self.camera_bytes > self.card_bytes + self.struck * FETCH_LOSS_BYTES:
            self.problems.append(f"{self.camera_bytes} bytes read of a card of {self.card_bytes}")

    def report(self) -> None:
        print(
            f"  {self.struck} cuts struck, {self.outages} outages of the store; card {self.card_bytes / 1e6:.1f} MB, read {self.camera_bytes / 1e6:.1f} MB"
        )
        for problem in self.problems:
            print(f"  PROBLEM {problem}")
        print(f"  {'OK' if not self.problems else 'FAILED'}", flush=True)
