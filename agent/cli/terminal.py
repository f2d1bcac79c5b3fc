"""Live progress: on a terminal one bar per transfer and a line of totals, redrawn in place; elsewhere now and then a line.

`rich` is loaded on a terminal alone. Everything comes from the `Progress` that the transfers keep in memory; what is
drawn is thrown away. Rates are those of the last ten seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from agent.cli import measures
from agent.cli.measures import Meter
from agent.cli.text import safe
from agent.progress import Progress, Transfer

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

REFRESH_SECONDS = 0.25
LINE_SECONDS = 10.0
MOST_ROWS = 8
CAMERA = "camera"


class Row(msgspec.Struct, frozen=True):
    """One transfer, as it is drawn."""

    name: str
    stage: str
    done_bytes: int
    total_bytes: int
    rate: float
    left_seconds: float | None  # None: cannot be said

    @property
    def percent(self) -> int:
        return 100 * self.done_bytes // self.total_bytes if self.total_bytes else 100


class Gauge:
    """Turns a `Progress` into rows and totals. Has no clock: `now` is monotonic."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._meters: dict[Transfer, Meter] = {}
        self._inward, self._outward = Meter(), Meter()
        self.in_rate = self.out_rate = 0.0

    def read(self, now: float) -> list[Row]:
        """Take a reading of everything under way: from the camera first, then by name."""
        transfers = list(self._progress.transfers)
        for gone in self._meters.keys() - set(transfers):
            del self._meters[gone]
        rows = [self._row(transfer, now) for transfer in transfers]
        # A resumed file counts as a whole when it ends, so the rate is too high for a moment then.
        moving = [
            sum(t.moved_bytes for t in transfers if (t.stage == CAMERA) is is_in) for is_in in (True, False)
        ]
        self.in_rate = self._inward.note(now, self._progress.fetched_bytes + moving[0])
        self.out_rate = self._outward.note(now, self._progress.delivered_bytes + moving[1])
        return sorted(rows, key=lambda row: (row.stage != CAMERA, row.stage, row.name))

    def _row(self, transfer: Transfer, now: float) -> Row:
        rate = self._meters.setdefault(transfer, Meter()).note(now, transfer.done_bytes)
        rate = rate or transfer.bytes_per_second
        left = transfer.total_bytes - transfer.done_bytes
        return Row(
            transfer.name,
            transfer.stage,
            transfer.done_bytes,
            transfer.total_bytes,
            rate,
            left / rate if rate > 1 else None,
        )

    def totals(self) -> str:
        progress = self._progress
        parts = [
            f"{measures.number(progress.fetched_files)} from camera {measures.size(progress.fetched_bytes)}",
            f"{measures.number(progress.delivered_files)} delivered {measures.size(progress.delivered_bytes)}",
        ]
        rates = [
            f"{arrow} {measures.rate(rate)}"
            for arrow, rate in (("in", self.in_rate), ("out", self.out_rate))
            if rate > 0
        ]
        return " · ".join(parts + rates)


def stage_words(stage: str) -> str:
    return "from camera" if stage == CAMERA else f"to {stage}"


def is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@asynccontextmanager
async def progress(moving: Progress, *, is_json: bool, totals: bool = True) -> AsyncIterator[None]:
    """Show `moving` while the body runs, on stderr; on a terminal with a line of `totals` below the bars."""
    shows = _draw(moving, totals=totals) if is_terminal() and not is_json else _tell(moving)
    showing = asyncio.create_task(shows, name="progress")
    try:
        yield
    finally:
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing


async def _draw(moving: Progress, *, totals: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    gauge = Gauge(moving)
    console = Console(file=sys.stderr, highlight=False)
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        while True:
            with suppress(OSError):
                rows = gauge.read(time.monotonic())
                live.update(_table(rows, gauge.totals() if totals else ""), refresh=True)
            await asyncio.sleep(REFRESH_SECONDS)


def _table(rows: list[Row], totals: str) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    bars = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for _ in range(2):
        bars.add_column(no_wrap=True, max_width=20)
    bars.add_column(ratio=1)
    for _ in range(3):
        bars.add_column(no_wrap=True, justify="right")
    for row in rows[:MOST_ROWS]:
        bars.add_row(
            Text(safe(row.name)),
            Text(stage_words(row.stage), style="dim"),
            ProgressBar(max(1, row.total_bytes), row.done_bytes if row.total_bytes else 1),
            f"{row.percent} %",
            measures.rate(row.rate),
            "" if row.left_seconds is None else measures.span(row.left_seconds),
        )
    whole: list[RenderableType] = [bars] if rows else []
    if len(rows) > MOST_ROWS:
        whole.append(Text(f"and {len(rows) - MOST_ROWS} more", style="dim"))
    # The last line does not fill the terminal: a ^C behind it must not make one line of it two.
    whole.append(Text(totals, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*whole)


async def _tell(moving: Progress) -> None:
    """Without a terminal the log has a line per change; here is one more for what takes long."""
    import structlog

    log = structlog.get_logger("progress")
    gauge, told = Gauge(moving), moving.last_moved
    while True:
        await asyncio.sleep(LINE_SECONDS)
        rows = gauge.read(time.monotonic())
        if moving.last_moved <= told:
            continue
        told = moving.last_moved
        for row in rows[:MOST_ROWS]:
            log.info(
                "moving",
                name=row.name,
                stage=row.stage,
                percent=row.percent,
                done_bytes=row.done_bytes,
                total_bytes=row.total_bytes,
                bytes_per_second=round(row.rate),
            )
        log.info(
            "moved",
            fetched_files=moving.fetched_files,
            fetched_bytes=moving.fetched_bytes,
            delivered_files=moving.delivered_files,
            delivered_bytes=moving.delivered_bytes,
        )
