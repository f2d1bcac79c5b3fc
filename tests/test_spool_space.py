"""Reservation: the arithmetic, against a ten-line model and against the folder itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.spool import Room, Spool, Writer

BUDGET = 100_000
IDS = st.integers(1, 5)
SIZES = st.integers(1, 60_000) | st.just(BUDGET) | st.just(BUDGET + 1)


class SpaceMachine(RuleBasedStateMachine):
    """Any order of what a collector may do. The model: bytes stored and promised per file."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-"))
        self.writers: dict[int, Writer] = {}
        self.finished: set[int] = set()
        self.stored: dict[int, int] = {}
        self.promised: dict[int, int] = {}
        self.begin()

    def begin(self) -> None:
        self.spool = Spool(
            self.folder, budget_bytes=BUDGET, boot_id="boot", last_boot_id="boot", margin_bytes=0
        )
        recovered = self.runner.run(self.spool.recover())
        assert recovered.finished == {file_id: self.stored[file_id] for file_id in self.finished}
        assert {i: n for i, n in recovered.parts.items() if n} == {
            i: n for i, n in self.stored.items() if n and i not in self.finished
        }

    def held(self, file_id: int) -> int:
        return max(self.stored.get(file_id, 0), self.promised.get(file_id, 0))

    @rule(file_id=IDS, size=SIZES)
    def reserve(self, file_id: int, size: int) -> None:
        if file_id in self.writers:
            return
        verdict = self.spool.reserve(file_id, size)
        others = sum(self.held(other) for other in range(1, 6) if other != file_id)
        if file_id in self.finished:
            assert verdict.is_granted
        elif size > BUDGET:
            assert (verdict.room, verdict.missing_bytes) == (Room.TOO_LARGE, size - BUDGET)
        elif others + size > BUDGET:
            assert (verdict.room, verdict.missing_bytes) == (Room.BUDGET_FULL, others + size - BUDGET)
        else:
            assert verdict.is_granted
            self.promised[file_id] = size

    @rule(file_id=IDS, length=st.integers(0, 60_000), is_last=st.booleans())
    def write(self, file_id: int, length: int, is_last: bool) -> None:
        size = self.promised.get(file_id, 0)
        if not size:
            return
        if file_id not in self.writers:
            self.writers[file_id] = self.runner.run(self.spool.writer(file_id, size))
            if self.stored.get(file_id, 0) > size:
                self.stored[file_id] = 0
        writer = self.writers[file_id]
        assert writer.offset == self.stored.get(file_id, 0)
        step = size - writer.offset if is_last else min(length, size - writer.offset)
        self.runner.run(writer.write(memoryview(bytes(step))))
        self.stored[file_id] = self.stored.get(file_id, 0) + step
        if is_last:
            self.runner.run(writer.finish())
            del self.writers[file_id], self.promised[file_id]
            self.finished.add(file_id)

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), is_kept=st.booleans())
    def stop(self, data: st.DataObject, is_kept: bool) -> None:
        file_id = data.draw(st.sampled_from(sorted(self.writers)))
        if is_kept:
            self.runner.run(self.writers.pop(file_id).suspend())
        else:
            self.runner.run(self.writers[file_id].discard())
            self.stored[file_id] = 0

    @rule(file_id=IDS)
    def release(self, file_id: int) -> None:
        if file_id not in self.writers:
            self.spool.release(file_id)
            self.promised.pop(file_id, None)

    @rule(file_id=IDS)
    def remove(self, file_id: int) -> None:
        if file_id in self.writers:
            return
        if file_id in self.finished:
            assert self.runner.run(self.spool.evict(file_id))
        else:
            self.runner.run(self.spool.forget(file_id))
        self.finished.discard(file_id)
        self.stored.pop(file_id, None)
        self.promised.pop(file_id, None)

    @rule()
    def restart(self) -> None:
        for writer in self.writers.values():
            self.runner.run(writer.suspend())
        self.writers.clear()
        self.promised.clear()
        self.spool.close()
        self.begin()

    @invariant()
    def the_folder_holds_what_is_counted(self) -> None:
        on_disk = sum(entry.stat().st_size for entry in os.scandir(self.folder))
        assert self.spool.used_bytes == on_disk == sum(self.stored.values())
        promised = sum(self.held(file_id) for file_id in range(1, 6)) - on_disk
        assert self.spool.reserved_bytes == promised
        assert on_disk + promised <= BUDGET

    def teardown(self) -> None:
        for writer in self.writers.values():
            self.runner.run(writer.suspend())
        self.spool.close()
        self.runner.close()
        shutil.rmtree(self.folder)


TestSpace = SpaceMachine.TestCase
TestSpace.settings = settings(max_examples=60, stateful_step_count=25, deadline=None, print_blob=True)


async def started(folder: Path, *, budget_bytes: int | None, margin_bytes: int = 0) -> Spool:
    spool = Spool(
        folder, budget_bytes=budget_bytes, boot_id="boot", last_boot_id="boot", margin_bytes=margin_bytes
    )
    await spool.recover()
    return spool


async def stored(spool: Spool, file_id: int, size: int) -> None:
    assert spool.reserve(file_id, size).is_granted
    async with await spool.writer(file_id, size) as writer:
        await writer.write(memoryview(bytes(size)))
        await writer.finish()


async def test_the_disk_must_hold_all_promises_and_a_margin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk: Any = SimpleNamespace(f_frsize=10, f_blocks=1000, f_bavail=500)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    spool = await started(tmp_path / "spool", budget_bytes=None, margin_bytes=1000)
    too_large = spool.reserve(1, 9001)
    assert (too_large.room, too_large.missing_bytes) == (Room.TOO_LARGE, 1)
    full = spool.reserve(1, 4001)
    assert (full.room, full.missing_bytes) == (Room.DISK_FULL, 1)
    assert spool.reserve(1, 3000).is_granted
    assert spool.reserve(1, 3000).is_granted  # its own promise is not in its way
    other = spool.reserve(2, 1500)
    assert (other.room, other.missing_bytes) == (Room.DISK_FULL, 500)
    async with await spool.writer(1, 3000) as writer:
        await writer.write(memoryview(bytes(1000)))
    disk.f_bavail = 400  # these 1000 bytes are on it
    assert spool.reserve(2, 1001).missing_bytes == 1
    assert spool.reserve(2, 1000).is_granted
    assert spool.reserve(1, 3000).is_granted


@pytest.mark.parametrize("how", ["evict", "forget", "release", "budget"])
async def test_whoever_waits_for_space_is_woken_and_misses_nothing(tmp_path: Path, how: str) -> None:
    spool = await started(tmp_path / "spool", budget_bytes=100)
    await stored(spool, 1, 60)
    assert spool.reserve(2, 30).is_granted
    verdict = spool.reserve(3, 20)
    assert (verdict.room, verdict.missing_bytes) == (Room.BUDGET_FULL, 10)
    early = asyncio.create_task(spool.space_changed.after(verdict.seen))
    await asyncio.sleep(0)
    assert not early.done()
    match how:
        case "evict":
            assert await spool.evict(1)
        case "forget":
            await spool.forget(1)
        case "release":
            spool.release(2)
        case "budget":
            spool.budget_bytes = 110
    await asyncio.wait_for(early, 10)
    await asyncio.wait_for(spool.space_changed.after(verdict.seen), 10)  # who comes late does not wait
    assert spool.reserve(3, 20).is_granted


async def test_storing_what_was_promised_frees_nothing(tmp_path: Path) -> None:
    spool = await started(tmp_path / "spool", budget_bytes=100)
    seen = spool.space_changed.count
    await stored(spool, 1, 60)
    assert spool.space_changed.count == seen
    assert (spool.used_bytes, spool.reserved_bytes) == (60, 0)
