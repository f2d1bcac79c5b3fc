"""What is left of a spool after kill -9, and what may be believed of it after a power loss."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.spool import Spool
from agent.spool import disk as disk_module
from agent.spool import writer as writer_module
from agent.spool.disk import trusted_bytes

MIB = 1 << 20

# Goes on with file 1 in small writes and says how far it came; its end is the parent's kill, or "done".
CHILD = """
import asyncio, mmap, random, sys
from pathlib import Path
from agent.spool import Spool

async def main(folder, source, seed):
    rng = random.Random(seed)
    with open(source, "rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    spool = Spool(Path(folder), budget_bytes=None, boot_id="boot", last_boot_id="boot", margin_bytes=0)
    await spool.recover()
    assert spool.reserve(1, len(data)).is_granted
    print("resuming", flush=True)
    writer = await spool.writer(1, len(data), ("sha256", "crc32c"))
    print(writer.offset, flush=True)
    while writer.offset < len(data):
        await writer.write(data[writer.offset : writer.offset + rng.randint(1, 60_000)])
        print(writer.offset, flush=True)
    print("done", (await writer.finish())["sha256"], flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def started(folder: Path, last_boot_id: str | None = "boot") -> Spool:
    return Spool(folder, budget_bytes=None, boot_id="boot", last_boot_id=last_boot_id, margin_bytes=0)


def killed_run(folder: Path, source: Path, rng: random.Random, *, reach: int | None) -> list[str]:
    """Run the child, kill it once it came `reach` bytes further (None: never); return the lines it said."""
    command = [sys.executable, "-c", CHILD, str(folder), str(source), str(rng.randrange(1 << 32))]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line.strip())
            offsets = [int(said) for said in lines[1:2] + lines[-1:] if said.isdigit()]
            if reach is not None and (reach == 0 or (offsets and offsets[-1] - offsets[0] >= reach)):
                child.kill()
                lines += [left.strip() for left in child.stdout if left.endswith("\n")]
    assert child.returncode == (0 if lines[-1].startswith("done") else -9)
    return lines


def test_kills_lose_no_byte_that_was_written_and_spoil_none(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    size = 100 * MIB
    source, folder = tmp_path / "source", tmp_path / "spool"
    source.write_bytes(data := random.Random(seed).randbytes(size))
    part = folder / "1.part"
    kills, last = 0, 0
    while kills < 22:
        # Every fifth is killed where it opens the part and digests it.
        lines = killed_run(folder, source, rng, reach=0 if kills % 5 == 4 else rng.randrange(1, 3 * MIB))
        assert not lines[-1].startswith("done"), f"the file ended after {kills} kills"
        kills += 1
        offsets = [int(line) for line in lines if line.isdigit()]
        assert offsets[:1] in ([], [last])
        left = part.stat().st_size if part.exists() else 0
        assert left >= max([last, *offsets])
        assert part.read_bytes() == data[:left] if left else True
        last = left
    print("kills", kills, "bytes", last)
    assert last > 16 * MIB
    lines = killed_run(folder, source, rng, reach=None)
    assert lines[1] == str(last)
    assert lines[-1] == f"done {hashlib.sha256(data).hexdigest()}"
    assert os.listdir(folder) == ["1"]
    assert (folder / "1").read_bytes() == data


@given(st.integers(0, 1 << 40))
def test_at_most_32_mib_are_fetched_again(length: int) -> None:
    trusted = trusted_bytes(length)
    assert 0 <= trusted <= length <= trusted + 32 * MIB


@pytest.mark.parametrize("last_boot_id", ["another boot", None])
async def test_after_a_power_loss_the_doubtful_tail_is_cut_and_fetched_again(
    tmp_path: Path, last_boot_id: str | None
) -> None:
    data = random.Random(5).randbytes(45 * MIB)
    folder = tmp_path / "spool"
    spool = await started(folder)
    await spool.recover()
    for file_id, length in ((1, 40 * MIB), (2, 32 * MIB), (3, 32 * MIB + 1), (4, 5)):
        assert spool.reserve(file_id, len(data)).is_granted
        async with await spool.writer(file_id, len(data)) as writer:
            await writer.write(memoryview(data)[:length])
    assert spool.reserve(5, 6).is_granted
    async with await spool.writer(5, 6) as writer:
        await writer.write(memoryview(b"finish"))
        await writer.finish()
    durable = {1: 16 * MIB, 2: 0, 3: 16 * MIB, 4: 0}
    for file_id, length in durable.items():
        part = folder / f"{file_id}.part"
        with part.open("r+b") as file:  # the length survives, the bytes beyond the last sync do not
            file.seek(length)
            file.write(bytes(part.stat().st_size - length))

    spool = await started(folder, last_boot_id)
    recovered = await spool.recover()
    assert (recovered.parts, recovered.finished) == (durable, {5: 6})
    assert {file_id: (folder / f"{file_id}.part").stat().st_size for file_id in durable} == durable
    assert spool.used_bytes == sum(durable.values()) + 6
    assert spool.reserve(1, len(data)).is_granted
    async with await spool.writer(1, len(data)) as writer:
        assert writer.offset == 16 * MIB
        await writer.write(memoryview(data)[writer.offset :])
        assert await writer.finish() == {"sha256": hashlib.sha256(data).hexdigest()}


class Platter:
    """Watches the writing of one part, and what a power loss at this moment would be sure to leave of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
        self.durable = 0
        self.longest = 0  # also by writes that are still under way
        self.syncs = 0
        self.overlaps = 0
        self.broken: list[tuple[int, int]] = []
        self._written = 0
        self._is_syncing = False
        self._life = 0
        self._lock = threading.Lock()
        self._rng = rng
        self._pwrite, self._fdatasync = os.pwrite, os.fdatasync
        monkeypatch.setattr(os, "pwrite", self.pwrite)
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)

    def pwrite(self, descriptor: int, view: memoryview, offset: int) -> int:
        view = view[: self._rng.randint(1, len(view))]  # writes may be short
        with self._lock:
            self.longest = max(self.longest, offset + len(view))
            self.overlaps += self._is_syncing
            if trusted_bytes(self.longest) > self.durable:
                self.broken.append((self.longest, self.durable))
        done = self._pwrite(descriptor, view, offset)
        with self._lock:
            self._written = max(self._written, offset + done)
        return done

    def fdatasync(self, descriptor: int) -> None:
        with self._lock:
            covered, life, self._is_syncing = self._written, self._life, True
        time.sleep(self._rng.random() * 0.003)  # a slow disk
        self._fdatasync(descriptor)
        with self._lock:
            self._is_syncing = False
            if life == self._life:
                self.durable = max(self.durable, covered)
                self.syncs += 1

    def kill(self) -> None:
        """A sync that is under way at a kill promises nothing."""
        with self._lock:
            self._life += 1


async def test_at_every_moment_what_would_be_trusted_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    monkeypatch.setattr(disk_module, "STRIDE_BYTES", 10_000)
    monkeypatch.setattr(writer_module, "STRIDE_BYTES", 10_000)
    monkeypatch.setattr(writer_module, "SYNC_SECONDS", 0.002)  # timed syncs come in between
    platter = Platter(monkeypatch, rng)
    size = 2_000_000
    data = rng.randbytes(size)
    folder = tmp_path / "spool"
    spool = await started(folder)
    await spool.recover()
    assert spool.reserve(1, size).is_granted
    offset = 0
    async with asyncio.timeout(60):
        while offset < size:
            async with await spool.writer(1, size) as writer:  # suspended or killed now and then
                while writer.offset < size and rng.random() > 0.1:
                    step = rng.choice((10_000, rng.randint(1, 35_000)))
                    await writer.write(memoryview(data)[writer.offset : writer.offset + step])
                offset = writer.offset
                if is_killed := rng.random() < 0.7:
                    platter.kill()
            if is_killed:
                spool = await started(folder)
                await spool.recover()
                assert spool.reserve(1, size).is_granted
    print("syncs", platter.syncs, "writes during a sync", platter.overlaps)
    assert platter.longest == size
    assert platter.broken == []
    assert platter.overlaps > 0
    assert (folder / "1.part").read_bytes() == data


async def test_a_slow_fetch_is_synced_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platter = Platter(monkeypatch, random.Random(1))
    moment = 1000.0
    monkeypatch.setattr(writer_module, "time", SimpleNamespace(monotonic=lambda: moment))
    spool = await started(tmp_path / "spool")
    await spool.recover()
    assert spool.reserve(1, 100).is_granted
    durable: list[int] = []
    async with asyncio.timeout(10), await spool.writer(1, 100) as writer:
        for seconds in (1.0, 3.9, 0.2, 4.8, 0.1, 0.3):
            moment += seconds
            await writer.write(memoryview(bytes(10)))
            await writer._settle_sync()
            durable.append(platter.durable)
    assert durable == [0, 0, 30, 30, 30, 60]
