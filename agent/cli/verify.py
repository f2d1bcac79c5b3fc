"""`hotshoe verify`: prove deliveries again where they lie. Destinations are only asked; nothing is sent or deleted.
What is missing or different is kept in the ledger, and no file is deleted from its card for it.

It asks by itself, beside a running hotshoe or without one, with the digests that the ledger keeps of what left the camera.
Destinations are asked side by side, each for a few files at once. One that does not answer at all is not asked again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from agent.backends import open_backend
from agent.backends.base import Backend, Digests, Presence, Proof
from agent.cli import lines, measures, orders
from agent.cli.checks import in_thread
from agent.cli.destinations import chosen
from agent.cli.stop import DONE, WRONG, sentence
from agent.cli.text import emit, fold, hint, paint, safe, say
from agent.faults import Fault, Scope
from agent.ledger import Ledger, Row, as_text
from agent.settings import Settings, load

PAGE = 200
AT_ONCE = 4
RESULTS = ("same", "missing", "different", "could not ask")
_MOST_NAMED = 10
_NOWHERE = "neither the spool nor a card has the file any more. If it lies at another destination, take it from there."
_WORDS = {Presence.SAME: "same", Presence.ABSENT: "missing", Presence.DIFFERENT: "different"}
_MARKS = {
    "same": ("✓", "green"),
    "missing": ("▲", "red"),
    "different": ("▲", "red"),
    "could not ask": ("?", "yellow"),
}


class Verdict(msgspec.Struct, frozen=True):
    """What came of one delivery."""

    row: Row
    result: str  # one of RESULTS
    proof: str | None = None  # behind "same": checksum, readback, or size
    code: str | None = None
    hint: str = ""
    detail: str = ""
    is_whole: bool = False  # the destination does not answer; nothing more is asked of it


def verify(arguments: argparse.Namespace) -> int:
    """Exit code: 0 all is as it was delivered; 1 something is not, or could not be asked."""
    settings = load(arguments.config)
    return asyncio.run(_Verification(settings, arguments).run())


class _Verification:
    def __init__(self, settings: Settings, arguments: argparse.Namespace):
        self._settings = settings
        self._names = chosen(settings, arguments.destination or ())
        self._is_of_all = not arguments.destination
        self._sample: int | None = arguments.sample
        self._since = _text(arguments.since)
        self._is_json: bool = arguments.json
        self._requeues: bool = arguments.requeue
        self._counts: dict[str, Counter[str]] = {}
        self._lost: dict[int, Row] = {}  # by their deliveries
        self._doubtful: set[int] = set()
        self._found: list[int] = []  # of these
        self._shows = sys.stderr.isatty() and not arguments.json

    async def run(self) -> int:
        ledger = await Ledger.open_to_read(self._settings.state_dir)
        try:
            if (
                self._is_of_all
            ):  # what is not in the settings any more cannot be asked, and that is worth a word
                known = await ledger.views.destinations()
                self._names += [name for name in known if name not in self._names and known[name]["done"]]
            self._doubtful = await ledger.journal.doubtful()
            verdicts: asyncio.Queue[Verdict | None] = asyncio.Queue(PAGE)
            async with asyncio.TaskGroup() as group:
                for name in self._names:
                    group.create_task(self._ask_all(ledger, name, verdicts))
                group.create_task(self._tell_all(verdicts, len(self._names)))
        except ExceptionGroup as several:  # the first is what ended the others
            raise _first(several) from several
        finally:
            await ledger.close()
        await self._keep()
        requeued = await self._requeue() if self._requeues and self._lost else []
        self._conclude(requeued)
        return DONE if all(count.keys() <= {"same"} for count in self._counts.values()) else WRONG

    # -- asking ------------------------------------------------------------------------------------------

    async def _ask_all(self, ledger: Ledger, name: str, verdicts: asyncio.Queue[Verdict | None]) -> None:
        config = self._settings.destinations.get(name)
        backend = open_backend(config, owner=f"{ledger.owner}v") if config else None
        rows = self._rows(ledger, name)
        turn = asyncio.Lock()  # an asynchronous generator serves one at a time
        dead: list[Verdict] = []

        async def ask_one_by_one() -> None:
            while True:
                async with turn:
                    row = await anext(rows, None)
                if row is None:
                    return
                if backend is None:
                    verdict = Verdict(row, RESULTS[3], detail="it is not in the configuration any more")
                elif dead:
                    verdict = msgspec.structs.replace(dead[0], row=row)
                else:
                    verdict = await _ask(backend, row)
                if verdict.is_whole:
                    dead.append(verdict)
                await verdicts.put(verdict)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range((config.workers if config else None) or AT_ONCE):
                    group.create_task(ask_one_by_one())
        finally:
            if backend is not None:
                await in_thread(backend.close)
        await verdicts.put(None)

    async def _rows(self, ledger: Ledger, name: str) -> AsyncIterator[Row]:
        after = 0
        while True:
            page = await ledger.views.delivered(
                name, since=self._since, sample=self._sample, after_id=after, limit=PAGE
            )
            for row in page:
                yield row
            if self._sample is not None or len(page) < PAGE:
                return
            after = page[-1]["id"]

    # -- telling -----------------------------------------------------------------------------------------

    async def _tell_all(self, verdicts: asyncio.Queue[Verdict | None], askers: int) -> None:
        told: set[tuple[str, str | None]] = set()
        while askers:
            verdict = await verdicts.get()
            if verdict is None:
                askers -= 1
                continue
            name = verdict.row["destination"]
            count = self._counts.setdefault(name, Counter())
            count[verdict.result] += 1
            if verdict.result in ("missing", "different"):
                self._lost[verdict.row["id"]] = verdict.row
            elif verdict.proof in (Proof.READBACK, Proof.CHECKSUM) and verdict.row["id"] in self._doubtful:
                self._found.append(verdict.row["id"])
            if self._is_json:
                emit(_as_json(verdict))
            elif verdict.result != "same" and (name, verdict.code) not in told:
                self._clear()
                _say_verdict(verdict)
                if verdict.is_whole:  # once is enough
                    told.add((name, verdict.code))
            if self._shows:
                done = sum(sum(each.values()) for each in self._counts.values())
                print(f"\r{measures.number(done)} asked about", end="", file=sys.stderr, flush=True)
        self._clear()

    def _clear(self) -> None:
        if self._shows:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    async def _keep(self) -> None:
        """Let the ledger know, so that no file is deleted from its card for what is lost."""
        lost, found = sorted(set(self._lost) - self._doubtful), self._found
        for start in range(0, max(len(lost), len(found)), lines.IDS_PER_ORDER):
            end = start + lines.IDS_PER_ORDER
            order = lines.Verified(tuple(lost[start:end]), tuple(found[start:end]))
            try:
                await orders.give(self._settings.state_dir, order)
            except orders.NotRunning:
                ledger = await Ledger.open(self._settings.state_dir)
                try:
                    await ledger.journal.doubt(order.lost)
                    await ledger.journal.trust(order.found)
                finally:
                    await ledger.close()

    async def _requeue(self) -> list[int]:
        """Through the running agent; without one, in the ledger alone: the next run begins with it."""
        files: list[int] = []
        lost = list(self._lost)
        for start in range(0, len(lost), lines.IDS_PER_ORDER):
            part = tuple(lost[start : start + lines.IDS_PER_ORDER])
            try:
                files += (await orders.give(self._settings.state_dir, lines.Requeue(part)))["files"]
            except orders.NotRunning:
                ledger = await Ledger.open(self._settings.state_dir)
                try:
                    files += await ledger.orders.requeue(part)
                finally:
                    await ledger.close()
        return files

    def _conclude(self, requeued: Sequence[int]) -> None:
        whole: Counter[str] = sum(self._counts.values(), Counter())
        if self._is_json:
            destinations = {name: _figures(count) for name, count in self._counts.items()}
            refused = [row["file_id"] for row in self._refused(requeued)]
            sums = {**_figures(whole), "requeued": len(requeued), "refused": refused}
            emit({"summary": {**sums, "destinations": destinations}})
            return
        for name, count in self._counts.items():
            parts = [f"{measures.number(count[each])} {each}" for each in RESULTS if count[each]]
            say(f"{paint(safe(name), 'bold')}: {', '.join(parts)}")
        if not whole:
            hint("Nothing has been delivered yet that could be verified.")
        elif self._lost and self._requeues:
            say(f"{measures.several(len(requeued), 'delivery', 'deliveries')} queued again.")
            if refused := self._refused(requeued):
                for line in fold(f"{measures.number(len(refused))} cannot be: {_NOWHERE}", 0):
                    say(line)
            for row in refused[:_MOST_NAMED]:
                say(f"  {_file(row)}")
            if len(refused) > _MOST_NAMED:
                say("  and others")
        elif self._lost:
            for line in fold("hotshoe verify … --requeue delivers again what is missing or different.", 0):
                say(line)

    def _refused(self, requeued: Sequence[int]) -> list[Row]:
        """What was to be sent again and is not."""
        sent = set(requeued)
        return [row for row in self._lost.values() if row["file_id"] not in sent] if self._requeues else []


def _first(several: ExceptionGroup[Exception]) -> Exception:
    first = several.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


async def _ask(backend: Backend, row: Row) -> Verdict:
    digests = Digests(row["sha256"], row["crc32c"])
    try:
        found = await in_thread(lambda: backend.find(row["key"], row["size_bytes"], digests))
    except Fault as caught:
        return Verdict(
            row,
            RESULTS[3],
            code=caught.code,
            hint=caught.hint,
            detail=caught.detail,
            is_whole=caught.scope is Scope.WHOLE,
        )
    if found.presence not in _WORDS:
        return Verdict(row, RESULTS[3], detail="the size is the same, and no more can be compared")
    return Verdict(row, _WORDS[found.presence], proof=found.receipt.proof if found.receipt else None)


def _as_json(verdict: Verdict) -> dict[str, Any]:
    row = verdict.row
    return {
        "id": row["file_id"],
        "camera": row["camera"],
        "folder": row["folder"],
        "filename": row["name"],
        "destination": row["destination"],
        "key": row["key"],
        "size_bytes": row["size_bytes"],
        "done_at": row["done_at"],
        "result": verdict.result,
        "proof": verdict.proof,
        "fault_code": verdict.code,
        "hint": verdict.hint or None,
        "detail": verdict.detail,
    }


def _say_verdict(verdict: Verdict) -> None:
    row, (mark, colour) = verdict.row, _MARKS[verdict.result]
    say(
        f"{paint(f'{mark} {verdict.result}', colour)}  {_file(row)} \u2192"
        f" {safe(row['destination'])}: {safe(row['key'])}"
    )
    if verdict.code or verdict.detail:
        told = sentence(verdict.code, verdict.hint, verdict.detail) if verdict.code else verdict.detail
        for line in fold(safe(told.replace("\n", " ")), 4):
            say(line)


def _file(row: Row) -> str:
    place = "/".join(filter(None, (row["camera"], row["folder"], row["name"])))
    return f"{row['file_id']} {safe(place)}"


def _figures(count: Counter[str]) -> dict[str, int]:
    return {result.replace(" ", "_"): count[result] for result in RESULTS}


def _text(since: datetime | None) -> str:
    return as_text(since) if since else ""
