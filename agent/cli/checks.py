"""The steps of `hotshoe doctor`: what is tried of the settings, the state folder, a camera, a destination.

Each check returns its findings and raises nothing that can be expected. Deadlines are the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agent.backends import open_backend
from agent.backends.base import Check, DestinationConfig, Proof
from agent.cli import guid, lines, measures, orders, reach
from agent.cli.cards import model_of, storage_lines
from agent.cli.stop import Stop
from agent.faults import Fault
from agent.ledger import Ledger, LedgerUnusable
from agent.settings import CameraSettings, Settings

T = TypeVar("T")

LITTLE_BYTES = 1_000_000_000
"""Less free space than this is worth a word."""


class Finding(msgspec.Struct, frozen=True):
    """One step. `ok` None: nothing wrong, but worth knowing."""

    step: str
    ok: bool | None = True
    detail: str = ""
    seconds: float | None = None
    hint: str = ""
    code: str | None = None


# -- configuration and state folder ----------------------------------------------------------------------


def check_settings(settings: Settings) -> list[Finding]:
    counts = (
        measures.several(len(settings.cameras), "camera"),
        measures.several(len(settings.destinations), "destination"),
        measures.several(len(settings.routes), "route"),
    )
    found = [Finding("read", detail=", ".join(counts))]
    if not settings.cameras:
        found.append(
            Finding("cameras", False, "there is none", hint="Add a [[cameras]] with its name and host.")
        )
    if not settings.routes:
        found.append(
            Finding(
                "routes",
                False,
                "there is none",
                hint="Add a [[routes]]: without one nothing is sent anywhere.",
            )
        )
    routed = {name for route in settings.routes for name in route.destinations}
    for name in settings.destinations.keys() - routed if settings.routes else ():
        found.append(Finding("routes", None, f"no route names the destination {name}"))
    return found


async def check_state(settings: Settings) -> list[Finding]:
    state, spool = settings.state_dir, settings.spool_path
    found = [await asyncio.to_thread(_try_writing, state, "write")]
    if not spool.is_relative_to(state) and spool.parent.exists():
        found.append(await asyncio.to_thread(_try_writing, spool, "write the spool"))
    if any(each.ok is False for each in found):
        return found
    found.append(await asyncio.to_thread(_look_at_space, settings))
    try:
        found.append(Finding("GUID", detail=guid.show(guid.load_or_make(state))))
    except Stop as stop:
        found.append(Finding("GUID", False, str(stop)))
    found.append(await _look_at_ledger(state))
    try:
        status = await orders.give(state, lines.Status())
        found.append(Finding("hotshoe", detail=f"is running, process {status['pid']}"))
    except orders.NotRunning:
        found.append(Finding("hotshoe", None, "is not running"))
    except Stop as stop:
        found.append(Finding("hotshoe", False, str(stop)))
    return found


def _try_writing(folder: Path, step: str) -> Finding:
    probe = folder / f".hotshoe-check-{secrets.token_hex(4)}"
    began = time.monotonic()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with open(probe, "xb") as file:
                file.write(secrets.token_bytes(4096))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        what = "Give the folder to the user that hotshoe runs as, or name another one in the configuration."
        return Finding(step, False, f"{error.strerror}: {folder}", hint=what)
    return Finding(step, seconds=_since(began))


def _look_at_space(settings: Settings) -> Finding:
    folder = next(each for each in (settings.spool_path, settings.state_dir) if each.exists())
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    held = (
        sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
        if folder == settings.spool_path
        else 0
    )
    budget = settings.spool.budget_bytes(free + held)
    detail = f"{measures.size(free)} free; the spool holds {measures.size(held)} of at most {measures.size(budget)}"
    if budget - held > free:
        return Finding(
            "space",
            False,
            detail,
            hint="The disk is smaller than spool.budget: lower it, or free some space.",
        )
    is_little = free < LITTLE_BYTES
    return Finding("space", None if is_little else True, detail, hint="That is little." if is_little else "")


async def _look_at_ledger(state: Path) -> Finding:
    if not (state / "ledger.db").exists():
        return Finding("ledger", None, "none yet; hotshoe run makes it")
    try:
        ledger = await Ledger.open_to_read(state)
        try:
            counts = await ledger.views.counts()
        finally:
            await ledger.close()
    except LedgerUnusable as error:
        return Finding("ledger", False, str(error))
    return Finding("ledger", detail=measures.several(sum(counts["files"].values()), "file"))


# -- cameras ---------------------------------------------------------------------------------------------


async def check_camera(camera: CameraSettings, state: Path) -> list[Finding]:
    address = f"{camera.host} port {camera.port}"
    if not camera.enabled:
        return [Finding("connect", None, f"{address} is switched off in the configuration")]
    began = time.monotonic()
    try:
        card, is_through_agent = await reach.describe(state, camera.host, camera.port)
    except Fault as caught:
        told = f"{address} ({caught.detail})" if caught.detail else address
        return [Finding("connect", False, told, _since(began), caught.hint, caught.code)]
    except orders.Refused as refused:
        detail = refused.detail if refused.fault_code == "order.not_connected" else ""
        return [Finding("connect", False, address, _since(began), detail or refused.hint, refused.fault_code)]
    except Stop as stop:
        return [Finding("connect", False, str(stop), _since(began))]
    how = ", through the running hotshoe" if is_through_agent else ""
    return [Finding("connect", detail=address + how, seconds=_since(began)), *_look_at_camera(card)]


def _look_at_camera(card: dict[str, Any]) -> list[Finding]:
    who = card["identity"]
    facts = f"{model_of(who)}, serial {who['serial']}, firmware {who['firmware']}"
    found = [Finding("camera", detail=facts)]
    if not who["is_serial_reported"]:
        found.append(Finding("serial", None, "the camera tells none: it is known by its own GUID"))
    if card["battery_percent"] is not None:
        found.append(Finding("battery", detail=f"{card['battery_percent']} %"))
    found += [Finding("card", detail=line.removeprefix("Card ")) for line in storage_lines(card)]
    if not card["storages"]:
        what = "Put a card in, or wait until the camera is ready."
        found.append(Finding("card", False, "no card that can be read", hint=what))
    return found


# -- destinations ----------------------------------------------------------------------------------------


async def check_destination(config: DestinationConfig, state: Path) -> list[Finding]:
    owner = await _owner(state)
    began = time.monotonic()
    try:
        check = await in_thread(lambda: probe(config, owner))
    except Fault as caught:
        return [_trouble("open", caught, began)]
    found = []
    for step in check.steps:
        if step.ok or check.fault is None:
            found.append(Finding(step.name, step.ok, step.detail, round(step.seconds, 3)))
        else:
            found.append(
                msgspec.structs.replace(
                    _trouble(step.name, check.fault, began), seconds=round(step.seconds, 3)
                )
            )
    if check.proof is not None and check.fault is None:
        found.append(judge_proof(check, config.minimum_proof))
    if check.free_bytes is not None:
        found.append(
            Finding(
                "space",
                None if check.free_bytes < LITTLE_BYTES else True,
                f"{measures.size(check.free_bytes)} free",
            )
        )
    return found


def probe(config: Any, owner: str) -> Check:
    backend = open_backend(config, owner=owner)
    try:
        return backend.check()
    finally:
        backend.close()


def judge_proof(check: Check, wanted: Proof) -> Finding:
    strength = list(Proof)
    detail = f"{check.proof}, exclusive: {check.exclusive}"
    if check.proof is None or strength.index(check.proof) > strength.index(wanted):
        what = f"Every delivery would fail: minimum_proof asks for {wanted}. Lower it, or choose another destination."
        return Finding("proof", False, detail, hint=what)
    return Finding("proof", detail=detail)


async def _owner(state: Path) -> str:
    """Name our probe like the agent's own leftovers, but not the same: the agent may be checking just now."""
    try:
        ledger = await Ledger.open_to_read(state)
    except LedgerUnusable:
        return f"{secrets.token_hex(4)}d"
    await ledger.close()
    return f"{ledger.owner}d"


async def in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call so that, whenever it ends, it cannot hold up the end of the command."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(outcome: Callable[[], None]) -> None:
        if not future.done():
            outcome()

    def run() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            try:
                result = call()
            except BaseException as error:
                loop.call_soon_threadsafe(settle, lambda error=error: future.set_exception(error))
            else:
                loop.call_soon_threadsafe(settle, lambda: future.set_result(result))

    threading.Thread(target=run, daemon=True).start()
    return await future


def _trouble(step: str, caught: Fault, began: float) -> Finding:
    return Finding(step, False, caught.detail, _since(began), caught.hint, caught.code)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
