"""`hotshoe run`: the agent until it is stopped, or with --once until all that is owed is delivered."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import signal
import sys
import time
from pathlib import Path

import structlog

from agent.cli import door, output
from agent.cli.agent import Agent
from agent.cli.hints import hint_of
from agent.cli.text import safe
from agent.commands import steering
from agent.faults import Fault
from agent.ledger import LedgerLocked, LedgerUnusable, Row
from agent.settings import Settings, SettingsError, load

log = structlog.get_logger("agent")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 stopped or all delivered; 1 something is not delivered; 2 the configuration does not work."""
    try:
        settings = load(Path(arguments.config))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    output.configure(settings.log, json=arguments.json)
    try:
        return asyncio.run(_run(arguments, settings))
    except (LedgerLocked, LedgerUnusable) as error:
        print(f"hotshoe: {error}", file=sys.stderr)
        return 2
    except Fault as caught:
        print(f"hotshoe: {caught.hint} [{caught.code}] {caught.detail}", file=sys.stderr)
        return 2


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    agent = await Agent.open(settings)
    gc.freeze()  # what is loaded now lives as long as we do: no collection need look at it
    try:
        async with (
            door.serve(agent, Path(arguments.config)),
            output.progress(agent.progress, is_json=arguments.json),
        ):
            return await _serve(agent, arguments)
    finally:
        await agent.close()


async def _serve(agent: Agent, arguments: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(
        signal.SIGHUP, lambda: asyncio.ensure_future(reload(agent, Path(arguments.config)))
    )
    serving = asyncio.create_task(agent.run(), name="agent")
    ending: list[asyncio.Task[bool]] = [asyncio.create_task(stop.wait())]
    if arguments.once:
        ending.append(asyncio.create_task(_deliver_all(agent, arguments.patience)))
    try:
        done, _ = await asyncio.wait([serving, *ending], return_when=asyncio.FIRST_COMPLETED)
        if serving in done:
            serving.result()
            return 1
        if arguments.once and not stop.is_set():
            return 0 if ending[1].result() else 1
        return 0
    finally:
        for task in (serving, *ending):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([serving, *ending])


async def reload(agent: Agent, config: Path) -> None:
    """Take over what changed in the configuration file; the log says what came of it."""
    try:
        taken = await steering.reload(agent, config)
    except SettingsError as error:
        log.error("settings refused", problems=[str(problem) for problem in error.problems])
    else:
        if taken.after_restart:
            log.warning("settings need a restart", settings=taken.after_restart)


async def _deliver_all(agent: Agent, patience_seconds: float) -> bool:
    """Wait until nothing is owed (True), or until nothing has moved for the given time (False, and why)."""
    agent.progress.moved()
    while True:
        seen = agent.ledger.changes
        if agent.is_at_rest and not await agent.undelivered():
            _tell(
                f"delivered: {agent.progress.delivered_files} files, {_megabytes(agent.progress.delivered_bytes)}"
            )
            return True
        left = agent.progress.last_moved + patience_seconds - time.monotonic()
        if left <= 0 and not agent.progress.transfers:
            await _explain(agent, patience_seconds)
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(left, 0.05), 1.0)):
                await agent.ledger.wait_for_change(seen)


async def _explain(agent: Agent, patience_seconds: float) -> None:
    """Say what is not delivered and why."""
    rows = await agent.undelivered()
    _tell(f"nothing has moved for {patience_seconds:g} s; not delivered:")
    for subject in await agent.ledger.cameras.subjects():
        if subject.state != "ready":
            _tell(
                f"  {subject.kind} {subject.name} is {subject.state}: {safe(subject.reason)} [{subject.fault_code or '-'}]"
            )
    for name, collector in agent.collectors.items():
        if not collector.has_scanned:
            _tell(f"  camera {name}: its cards were not read")
        for unreadable in collector.unreadable[:10]:
            _tell(
                safe(f"  camera {name}: cannot list all of its cards [{unreadable.code}] {unreadable.detail}")
            )
    for row in rows[:50]:
        _tell(f"  {_line(row)}")
    if len(rows) > 50:
        _tell(f"  and {len(rows) - 50}{'' if len(rows) < 1000 else ' or more'} others: see hotshoe files")


def _line(row: Row) -> str:
    where = f" → {row['destination']}" if row["destination"] else ""
    why = f"waits for {row['waiting_for']}" if row["waiting_for"] else row["state"]
    code = f" [{row['fault_code']}]" if row["fault_code"] else ""
    detail = f" {row['fault_detail']}" if row["fault_detail"] else ""
    hint = f"\n    {hint_of(row['fault_code'])}" if row["fault_code"] else ""
    return safe(f"{row['folder']}/{row['name']}{where}: {why}{code}{detail}") + hint


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
