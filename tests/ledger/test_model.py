"""The ledger against a model of ten lines, in any order of calls and with restarts in between."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.ledger import Ledger, NewDelivery
from tests.ledger.given import RECEIPT, SERIAL, behind_the_back, keys_of, opened, sha256, shot

T = TypeVar("T")
DESTINATIONS = ("archive", "cloud")
any_file = st.integers(0, 2)
any_destination = st.sampled_from(DESTINATIONS)


class Model:
    """State of every file, and of every delivery by (file, destination)."""

    def __init__(self) -> None:
        self.files: dict[int, str] = {}
        self.deliveries: dict[tuple[int, str], str] = {}

    def change(self, file_id: int, old: tuple[str, ...], new: str) -> bool:
        if is_legal := self.files[file_id] in old:
            self.files[file_id] = new
        return is_legal

    def settle(self, file_id: int, old: tuple[str, ...], new: str, to: tuple[str, ...] = DESTINATIONS) -> int:
        found = [(file_id, d) for d in to if self.deliveries.get((file_id, d)) in old]
        self.deliveries.update(dict.fromkeys(found, new))
        return len(found)

    def restart(self) -> None:
        for file_id in self.files:
            self.settle(file_id, ("uploading",), "queued")


class LedgerMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger: Ledger = self.wait(opened(Path(self.folder.name)))
        self.db = behind_the_back(Path(self.folder.name))
        self.model = Model()
        self.order: dict[int, tuple[int, str, int]] = {}  # what goes first: rank, newest, latest found
        self.seq = 0

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(call, 30))

    def pick(self, number: int) -> int:
        return list(self.model.files)[number % len(self.model.files)]

    def delivery(self, file_id: int, destination: str) -> int:
        rows = self.wait(self.ledger.views.files(after_id=file_id - 1, limit=1))
        return int(next(d["id"] for d in rows[0]["deliveries"] if d["destination"] == destination))

    # -- files

    @rule(
        name=st.sampled_from("ab"), rank=st.integers(0, 1), second=st.integers(0, 3), is_skipped=st.booleans()
    )
    def discover(self, name: str, rank: int, second: int, is_skipped: bool) -> None:
        captured = f"2024-05-01T10:00:0{second}"
        file = shot(
            f"{name}.JPG",
            size=1 + len(self.model.files),
            rank=rank,
            captured=captured,
            skipped_by="backlog" if is_skipped else None,
        )
        (file_id,) = self.wait(self.ledger.files.discover(SERIAL, [file]))
        self.model.files[file_id] = "skipped" if is_skipped else "discovered"
        self.order[file_id] = (-rank, captured, 0)

    @precondition(lambda self: self.model.files)
    @rule(number=any_file, to=st.sets(any_destination, min_size=1))
    def begin_fetch(self, number: int, to: set[str]) -> None:
        file_id = self.pick(number)
        row = self.wait(self.ledger.files.file(file_id))
        assert row is not None
        keys = keys_of(shot(row["name"], size=row["size_bytes"], captured=row["captured"]))
        owed = [NewDelivery(each, keys) for each in sorted(to)]
        begun = self.wait(self.ledger.files.begin_fetch(file_id, 1, from_zero=True, owed=owed))
        if self.model.change(file_id, ("discovered", "fetching", "evicted"), "fetching"):
            assert begun == row["generation"] + 1
            for each in to:
                self.model.deliveries.setdefault((file_id, each), "queued")
        else:
            assert begun is None

    @precondition(lambda self: self.model.files)
    @rule(number=any_file)
    def finish_fetch(self, number: int) -> None:
        file_id = self.pick(number)
        fetched = self.wait(self.ledger.files.finish_fetch(file_id, sha256("x"), None))
        self.model.change(file_id, ("fetching",), "fetched")
        assert fetched == (self.model.files[file_id] == "fetched")

    @precondition(lambda self: self.model.files)
    @rule(number=any_file)
    def mark_gone(self, number: int) -> None:
        file_id = self.pick(number)
        is_owed = any(self.model.deliveries.get((file_id, d)) == "queued" for d in DESTINATIONS)
        gone = self.wait(self.ledger.files.mark_gone([file_id]))
        if self.model.change(file_id, ("discovered", "fetching", *(("evicted",) if is_owed else ())), "gone"):
            self.model.settle(file_id, ("queued", "uploading"), "skipped by the card")
        assert gone == ([file_id] if self.model.files[file_id] == "gone" and gone else [])

    @precondition(lambda self: self.model.files)
    @rule(number=any_file)
    def bring_back(self, number: int) -> None:
        file_id = self.pick(number)
        row = self.wait(self.ledger.files.file(file_id))
        assert row is not None
        self.wait(self.ledger.files.bring_back([file_id]))
        old = ("gone", "skipped") if row["skipped_by"] == "backlog" else ("gone",)
        if self.model.change(file_id, old, "discovered"):
            self.model.settle(file_id, ("skipped by the card",), "queued")

    @precondition(lambda self: self.model.files)
    @rule(number=any_file)
    def lose(self, number: int) -> None:
        file_id = self.pick(number)
        self.wait(self.ledger.files.fetch_again([file_id]))
        self.model.change(file_id, ("fetched", "fetching"), "discovered")

    @precondition(lambda self: self.model.files)
    @rule(number=any_file)
    def evict(self, number: int) -> None:
        file_id = self.pick(number)
        self.wait(self.ledger.files.mark_evicted(file_id))
        self.model.change(file_id, ("fetched",), "evicted")

    # -- deliveries

    @rule(destination=any_destination, is_growing=st.booleans())
    def claim(self, destination: str, is_growing: bool) -> None:
        follow = list(self.model.files) if is_growing else []
        able = [
            file_id
            for (file_id, d), state in self.model.deliveries.items()
            if (d, state) == (destination, "queued")
            and (
                self.model.files[file_id] == "fetched"
                or (self.model.files[file_id] == "fetching" and file_id in follow)
            )
        ]
        job = self.wait(self.ledger.deliveries.claim(destination, follow))
        if job is None:
            assert not able
            return
        assert job.file_id in able and all(self.order[job.file_id] >= self.order[each] for each in able)
        self.model.settle(job.file_id, ("queued",), "uploading", (destination,))

    @precondition(lambda self: self.model.deliveries)
    @rule(number=any_file, outcome=st.sampled_from(["done", "failed", "queued"]))
    def end_an_attempt(self, number: int, outcome: str) -> None:
        """Told by a worker: of any delivery, since a person may have acted meanwhile."""
        file_id, destination = list(self.model.deliveries)[number % len(self.model.deliveries)]
        delivery_id = self.delivery(file_id, destination)
        if outcome == "done":
            told = self.wait(self.ledger.deliveries.finish_delivery(delivery_id, RECEIPT))
            assert told == bool(self.model.settle(file_id, ("uploading", "queued"), "done", (destination,)))
        elif outcome == "failed":
            self.wait(self.ledger.deliveries.fail_delivery(delivery_id, "x.y", ""))
            self.model.settle(file_id, ("uploading", "queued"), "failed", (destination,))
        else:
            self.wait(self.ledger.deliveries.postpone(delivery_id, waiting_for="retry", code="x.y"))
            self.model.settle(file_id, ("uploading",), "queued", (destination,))

    # -- people, and the agent itself

    @precondition(lambda self: self.model.files)
    @rule(number=any_file)
    def skip(self, number: int) -> None:
        file_id = self.pick(number)
        count = self.wait(self.ledger.orders.skip([file_id], "somebody", "no"))
        given_up = self.model.settle(file_id, ("queued", "uploading", "failed"), "skipped")
        changed = self.model.change(file_id, ("discovered", "fetching", "gone"), "skipped")
        assert count == int(bool(given_up or changed))

    @precondition(lambda self: self.model.files)
    @rule(number=st.one_of(st.none(), any_file))
    def retry(self, number: int | None) -> None:
        chosen = list(self.model.files) if number is None else [self.pick(number)]
        count = self.wait(self.ledger.orders.retry(None if number is None else chosen))
        old = ("failed",) if number is None else ("failed", "skipped", "skipped by the card")
        expected = 0
        for file_id in chosen:
            if number is not None:
                self.model.change(file_id, ("skipped",), "discovered")
            if self.model.files[file_id] != "gone":
                expected += self.model.settle(file_id, old, "queued")
        assert count == expected

    @rule()
    def restart(self) -> None:
        self.wait(self.ledger.close())
        self.ledger = self.wait(Ledger.open(Path(self.folder.name)))
        self.model.restart()

    @invariant()
    def the_file_agrees_with_the_model(self) -> None:
        """Read by another program, not by the ledger."""
        files = dict(self.db.execute("SELECT id, state FROM file"))
        rows = self.db.execute("SELECT file_id, destination, state, skipped_by, key FROM delivery").fetchall()
        (seq,) = self.db.execute("SELECT seq FROM counter").fetchone()
        (highest,) = self.db.execute(
            "SELECT max(seq) FROM (SELECT seq FROM file UNION ALL SELECT seq FROM delivery UNION ALL SELECT seq FROM camera)"
        ).fetchone()
        assert files == self.model.files
        found = {
            (f, d): "skipped by the card" if by == "card" and state == "skipped" else state
            for f, d, state, by, _ in rows
        }
        assert found == self.model.deliveries
        keys = [(d, key.lower()) for _, d, _, _, key in rows]
        assert len(set(keys)) == len(keys)
        assert self.seq <= seq and highest <= seq
        self.seq = seq

    def teardown(self) -> None:
        self.wait(self.ledger.close())
        self.db.close()
        self.loop.close()
        self.folder.cleanup()


TestLedgerAgainstModel = LedgerMachine.TestCase
TestLedgerAgainstModel.settings = settings(max_examples=20, stateful_step_count=40)
