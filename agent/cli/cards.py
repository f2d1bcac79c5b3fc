"""`hotshoe ls` and `hotshoe get`: a camera's cards, without ledger and spool.

A fetched file appears under its name only when it is whole and on the disk, and never in the place of another.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.cli import measures, places, reach
from agent.cli.stop import DONE, TERMINATED, Stop
from agent.cli.target import Target
from agent.cli.terminal import CAMERA, is_terminal, progress
from agent.cli.text import emit, hint, paint, safe, say
from agent.progress import Progress, Transfer
from agent.routing import kind_of


def ls(arguments: argparse.Namespace) -> int:
    host, port = places.address_of(arguments.address)
    return asyncio.run(_ls(places.installation_folder(arguments), host, port, is_json=arguments.json))


def get(arguments: argparse.Namespace) -> int:
    try:
        return asyncio.run(_get(arguments))
    except asyncio.CancelledError:
        return TERMINATED


# -- ls --------------------------------------------------------------------------------------------------


async def _ls(state_dir: Path, host: str, port: int, *, is_json: bool) -> int:
    card: dict[str, Any] = {}
    place, count, total = ("", ""), 0, 0
    async for kind, value in reach.listing(state_dir, host, port):
        if kind == "card":
            card = value
            if not is_json:
                _say_camera(card)
            continue
        count, total = count + 1, total + (value["size"] or 0)
        if is_json:
            emit(_file_json(value, card["identity"], host, port))
            continue
        if place != (place := (value["storage"], value["folder"])):
            say(f"\n{paint(_folder(value, card), 'bold')}")
        _say_file(value)
    if not is_json:
        say(
            f"\n{measures.several(count, 'file')}, {measures.size(total)}"
            if count
            else "\nNo files on the cards."
        )
    return DONE


def _say_camera(card: Mapping[str, Any]) -> None:
    who = card["identity"]
    battery = [f"battery {card['battery_percent']} %"] if card["battery_percent"] is not None else []
    say(" · ".join(map(safe, (model_of(who), f"firmware {who['firmware']}", *battery))))
    say(f"Serial {safe(who['serial'])}")
    for line in storage_lines(card):
        say(line)
    if not card["storages"]:
        say("No card.")


def model_of(who: Mapping[str, Any]) -> str:
    """Return the model with its maker before it, unless the model's name begins with that: "Canon EOS R7"."""
    maker, model = str(who["manufacturer"]), str(who["model"])
    return (
        model if model.casefold().startswith(re.split(r"[\W_]", maker.casefold())[0]) else f"{maker} {model}"
    )


def storage_lines(card: Mapping[str, Any]) -> list[str]:
    return [
        f"Card {each['id']:08x}: {measures.size(each['capacity_bytes'])}, {measures.size(each['free_bytes'])} free"
        + (f" ({safe(each['description'])})" if each["description"] else "")
        + ("" if each["is_writable"] else ", write-protected")
        for each in card["storages"]
    ]


def _folder(item: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    storage = f"{item['storage']:08x}/" if len(card["storages"]) > 1 else ""
    return storage + safe(item["folder"])


def _say_file(item: Mapping[str, Any]) -> None:
    size = "size open" if item["size"] is None else measures.size(item["size"])
    marks = "  protected" if item["is_protected"] else ""
    say(
        f"  {safe(item['name']):<16}  {size:>9}  {safe(item['captured']).replace('T', ' '):<19}{marks}".rstrip()
    )


def _file_json(item: Mapping[str, Any], who: Mapping[str, Any], host: str, port: int) -> dict[str, Any]:
    authority = f"[{host}]" if ":" in host else host
    kind = kind_of(item["name"], item["format"])
    return {
        "filename": item["name"],
        "url": f"ptpip://{authority}:{port}/{item['handle']}",
        "captured_at": item["captured"] or None,
        "is_video": kind == "video",
        "kind": kind,
        "serial": who["serial"],
        "storage": item["storage"],
        "folder": item["folder"],
        "size_bytes": item["size"],
        "group": item["group"],
        "is_protected": item["is_protected"],
    }


# -- get -------------------------------------------------------------------------------------------------


async def _get(arguments: argparse.Namespace) -> int:
    address = places.address_of(arguments.address)
    target = Target(arguments.out, force=arguments.force, is_thumb=arguments.thumb)
    target.check()
    state_dir = places.installation_folder(arguments)
    moving = Progress()
    began = time.monotonic()
    found: dict[str, Any] = {}
    is_quiet = arguments.json or arguments.thumb or not is_terminal()

    async def begin(item: dict[str, Any]) -> None:
        found.update(item)
        target.open(item["name"])
        moving.transfers.append(Transfer(0, item["name"], CAMERA, item["size"] or 0, 0))

    async def take(view: memoryview) -> None:
        target.write(view)
        moving.transfers[0].advance_to(target.size_bytes)

    try:
        _clean_up_when_terminated()
        if is_quiet:
            size = await reach.fetch(
                state_dir, address, arguments.name, thumb=arguments.thumb, begin=begin, take=take
            )
        else:
            async with progress(moving, is_json=False, totals=False):
                size = await reach.fetch(
                    state_dir, address, arguments.name, thumb=False, begin=begin, take=take
                )
        _check_size(target, size, None if arguments.thumb else found["size"])
        target.finish()
    finally:
        target.close()
    _conclude(arguments, target, found, time.monotonic() - began)
    return DONE


def _clean_up_when_terminated() -> None:
    """Let SIGTERM, of timeout(1) or a shutdown, leave no more behind than Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    with suppress(ValueError, RuntimeError):  # not the main thread
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _check_size(target: Target, told: int, listed: int | None) -> None:
    if target.size_bytes != told or (listed is not None and listed != told):
        raise Stop(
            f"{target.size_bytes} bytes came instead of {told if listed is None else listed}: try again."
        )


def _conclude(arguments: argparse.Namespace, target: Target, item: Mapping[str, Any], seconds: float) -> None:
    if arguments.json and target.path is not None:
        emit(
            {
                "filename": item["name"],
                "folder": item["folder"],
                "storage": item["storage"],
                "captured_at": item["captured"] or None,
                "path": str(target.path),
                "size_bytes": target.size_bytes,
                "sha256": target.sha256,
                "seconds": round(seconds, 3),
            }
        )
        return
    rate = measures.rate(target.size_bytes / max(seconds, 0.001))
    where = f" → {target.path}" if target.path else ""
    hint(f"{safe(item['name'])}: {measures.size(target.size_bytes)} in {seconds:.1f} s, {rate}{safe(where)}")
