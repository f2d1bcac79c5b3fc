"""The spool seen from outside while an agent works: its size at any time, and each eviction judged as it happens.

The kernel tells when a file leaves the folder; ledger and card are asked at once whether it might.
"""

from __future__ import annotations

import ctypes
import os
import re
import sqlite3
import struct
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

_IN_DELETE = 0x200
_HEADER = struct.Struct("iIII")
_WHOLE = re.compile(r"[0-9]+")
_LOOK_SECONDS = 0.1
RACE = timedelta(seconds=1)
"""What became so this short a time ago the agent may not have seen when it chose."""

Row = dict[str, Any]


def as_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Reader:
    """The ledger of a running agent, read only."""

    def __init__(self, state: Path):
        self._path = state / "ledger.db"

    def rows(self, query: str, *values: object) -> list[Row]:
        """Nothing while there is no ledger yet."""
        if not self._path.exists():
            return []
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=20)) as ledger:
            ledger.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in ledger.execute(query, values)]
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def deliveries(self) -> dict[int, list[Row]]:
        """By file, each with what is known of its file."""
        found: dict[int, list[Row]] = {}
        for row in self.rows(
            "SELECT f.id, f.folder, f.name, f.size_bytes, f.state AS file_state, f.fetched_at, f.ended_at, f.rank,"
            " f.captured, d.id AS delivery, d.destination, d.state, d.proof, d.done_at, d.key FROM file f"
            " JOIN delivery d ON d.file_id = f.id ORDER BY f.id"
        ):
            found.setdefault(row["id"], []).append(row)
        return found

    def subject(self, name: str, kind: str = "destination") -> Row:
        rows = self.rows("SELECT * FROM subject WHERE kind = ? AND name = ?", kind, name)
        return rows[0] if rows else {"state": "", "reason": "", "fault_code": None, "next_try_at": None}


class SpoolWatch:
    """`away`: the destination that may be down; `on_card`: paths that are on the card now."""

    def __init__(self, folder: Path, reader: Reader, away: str, on_card: Callable[[], set[str]]):
        folder.mkdir(mode=0o700, parents=True)
        self._folder = folder
        self._reader = reader
        self._away = away
        self._on_card = on_card
        self.problems: list[str] = []
        self.peak_bytes = 0
        self.delivered: list[int] = []  # files that left because they had been delivered
        self.sacrificed: list[tuple[float, int]] = []  # monotonic, file
        self._ending = threading.Event()
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(0)
        if (
            self._descriptor < 0
            or libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_DELETE) < 0
        ):
            raise OSError(ctypes.get_errno(), "inotify")
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._follow, self._measure)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        marker = self._folder / ".end"
        marker.touch()
        marker.unlink()
        for thread in self._threads:
            thread.join(30)
        os.close(self._descriptor)

    def _measure(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            self.measure()

    def measure(self) -> int:
        total = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:
                    continue
        self.peak_bytes = max(self.peak_bytes, total)
        return total

    def _follow(self) -> None:
        while True:
            data = os.read(self._descriptor, 65536)
            while data:
                length = _HEADER.unpack_from(data)[3]
                name = data[_HEADER.size : _HEADER.size + length].rstrip(b"\0").decode()
                data = data[_HEADER.size + length :]
                if name == ".end":
                    return
                if _WHOLE.fullmatch(name):
                    try:
                        self._judge(int(name))
                    except Exception as error:  # a watcher that died would see no problem ever after
                        self.problems.append(f"eviction of {name} could not be judged: {error!r}")

    def _judge(self, file_id: int) -> None:
        now, began = datetime.now(UTC), time.monotonic()
        files = self._reader.deliveries()
        state = self._reader.subject(self._away)
        owed = files.get(file_id, [])
        name = f"{owed[0]['folder']}/{owed[0]['name']}" if owed else f"#{file_id}"
        if owed and all(row["state"] in ("done", "skipped") for row in owed):
            self.delivered.append(file_id)
            return
        self.sacrificed.append((began, file_id))
        say = self.problems.append
        if not owed or not _is_verified_but_for(self._away, owed, now):
            say(f"{name} was evicted before it was verified at the others: {_brief(owed)}")
            return
        if [row["state"] for row in owed if row["destination"] == self._away] != ["queued"]:
            say(f"{name} was evicted while it was being sent: {_brief(owed)}")
        if state["state"] == "ready" and state["since_at"] < as_text(now - RACE):
            say(f"{name} was evicted although {self._away} works")
        card = self._on_card()
        if name not in card:
            say(f"{name} was evicted and is not on its card")
        for other_id, rows in files.items():
            row = rows[0]
            if other_id == file_id or row["file_state"] != "fetched":
                continue
            if all(each["state"] in ("done", "skipped") for each in rows) and _is_verified_but_for(
                "", rows, now - RACE
            ):
                say(f"{name} was evicted before {row['name']}, which was delivered everywhere")
            is_older = (row["fetched_at"], other_id) < (owed[0]["fetched_at"], file_id)
            is_free = _is_verified_but_for(self._away, rows, now - RACE) and not any(
                each["state"] == "uploading" for each in rows
            )
            if is_older and is_free and f"{row['folder']}/{row['name']}" in card:
                say(f"{name} was evicted before {row['name']}, which was older")


def _is_verified_but_for(away: str, rows: list[Row], moment: datetime) -> bool:
    """Whether everything but what is owed to `away` was proven by `moment`."""
    others = [row for row in rows if row["destination"] != away]
    return bool(others) and all(
        row["state"] == "done"
        and row["proof"] in ("checksum", "readback")
        and row["done_at"] <= as_text(moment)
        for row in others
    )


def _brief(rows: list[Row]) -> str:
    return ", ".join(f"{row['destination']} {row['state']} {row['proof']} {row['done_at']}" for row in rows)
