"""hotshoe and stock gphoto2 as contenders: their commands, hotshoe's configuration, and what its ledger says afterwards."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tests.system.bench.processes import Camera, Outcome, measured, spawn


class Hotshoe:
    """An installation in `folder`, which is new, for one camera or none. `destinations`: the lines of each, by name.

    `prefix`: what its command begins with, to be run elsewhere.
    """

    def __init__(
        self,
        folder: Path,
        camera: Camera | None,
        destinations: dict[str, str],
        *,
        auto: bool = True,
        module: Sequence[str] = ("agent",),
        prefix: Sequence[str] = (),
    ):
        folder.mkdir(parents=True)
        self.folder = folder
        self.log = folder / "agent.log"
        self._command = [*prefix, sys.executable, "-m", *module]
        self._config = folder / "hotshoe.toml"
        names = ", ".join(f'"{name}"' for name in destinations)
        self._config.write_text(
            f'state_dir = "{folder / "state"}"\n'
            + (
                f'[[cameras]]\nname = "main"\nhost = "{camera.host}"\nport = {camera.port}\n'
                if camera
                else ""
            )
            + "".join(
                f'[destinations.{name}]\n{lines}template = "{{folder}}/{{name}}"\n'
                for name, lines in destinations.items()
            )
            + f"[[routes]]\ndestinations = [{names}]\nauto = {str(auto).lower()}\n"
        )

    def _run_command(self, *options: str) -> list[str]:
        return [*self._command, "run", "--config", str(self._config), *options]

    def once(self, *options: str, seconds: float = 600) -> Outcome:
        """Deliver all that is on the card."""
        command = self._run_command("--once", *options)
        return measured(command, self.log, home=self.folder, cwd=self.folder, seconds=seconds)

    def until(self, is_done: Callable[[], bool], seconds: float = 600) -> Outcome:
        """Run, and be stopped when `is_done`."""
        command = self._run_command()
        return measured(command, self.log, home=self.folder, cwd=self.folder, seconds=seconds, until=is_done)

    def start(self) -> subprocess.Popen[bytes]:
        return spawn(self._run_command(), self.log, home=self.folder, cwd=self.folder)

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        """Look into the ledger, beside the agent or after it; [] when there is none yet."""
        path = self.folder / "state" / "ledger.db"
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
                return db.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []

    def count(self, what: str) -> int:
        """How many rows, as in ``count("file WHERE state = 'fetched'")``."""
        found = self.ask(f"SELECT count(*) FROM {what}")
        return int(str(found[0][0])) if found else 0

    def remove(self) -> None:
        shutil.rmtree(self.folder)


def folder_lines(path: Path, minimum_proof: str = "readback") -> str:
    """The configuration of a folder destination."""
    return f'kind = "folder"\npath = "{path}"\nminimum_proof = "{minimum_proof}"\n'


class Journey(NamedTuple):
    """When a file came by, in seconds since 1970."""

    name: str
    discovered: float
    fetching: float
    fetched: float
    done: float
    is_verified: bool


def journeys(hotshoe: Hotshoe) -> list[Journey]:
    """Every file that is done, by the ledger's times."""
    rows = hotshoe.ask(
        "SELECT f.name, f.discovered_at, f.fetching_at, f.fetched_at, d.done_at,"
        " d.proof IN ('checksum', 'readback') FROM file f JOIN delivery d ON d.file_id = f.id WHERE d.state = 'done'"
    )
    return [
        Journey(str(name), _moment(a), _moment(b), _moment(c), _moment(d), bool(proof))
        for name, a, b, c, d, proof in rows
    ]


def _moment(text: object) -> float:
    return datetime.fromisoformat(str(text)).timestamp()


def hotshoe_ls(camera: Camera, folder: Path) -> Outcome:
    """`hotshoe ls HOST --json`; the listing is in ``ls.out``."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "agent", "ls", f"{camera.host}:{camera.port}", "--json"]
    return measured(command, folder / "ls.out", home=folder, cwd=folder)


def gphoto(camera: Camera, folder: Path, *arguments: str) -> Outcome:
    """Stock gphoto2, with a home of its own, at work in `folder`; what it says is in ``home/out``."""
    home = folder.parent / f"{folder.name}-home"
    home.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    address = f"ptpip:{camera.host}:{camera.port}:{camera.port}"
    command = ["gphoto2", "--port", address, "--quiet", *arguments]
    return measured(command, home / "out", home=home, cwd=folder, seconds=900)


def held(folder: Path) -> tuple[int, int]:
    """How many files lie under `folder`, without temporary ones, and their bytes."""
    sizes = [
        path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    ]
    return len(sizes), sum(sizes)
