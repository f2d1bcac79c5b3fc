"""The spool as its users see it: one writer, many followers, faults, and what a disk can do to them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.faults import Fault, Kind
from agent.spool import FAULTS, Gone, Reader, Restarted, Room, Spool, Suspended, Writer, boot_id, prepare
from agent.spool import disk as disk_module
from agent.spool import reader as reader_module
from agent.spool import writer as writer_module

MIB = 1 << 20


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


async def started(folder: Path, *, budget_bytes: int | None = None, margin_bytes: int = 0) -> Spool:
    spool = Spool(
        folder, budget_bytes=budget_bytes, boot_id="boot", last_boot_id="boot", margin_bytes=margin_bytes
    )
    await spool.recover()
    return spool


async def begun(spool: Spool, file_id: int, size: int, *algorithms: str) -> Writer:
    assert spool.reserve(file_id, size).is_granted
    return await spool.writer(file_id, size, ("sha256", *algorithms))


async def stored(spool: Spool, file_id: int, data: bytes) -> dict[str, str]:
    async with await begun(spool, file_id, len(data)) as writer:
        await writer.write(memoryview(data))
        return await writer.finish()


async def read_all(reader: Reader, size: int, *, step: Callable[[], int] = lambda: 65_536) -> bytes:
    data = bytearray()
    while True:
        buffer = bytearray(step())
        changes = reader.growth.changed.count
        try:
            got = await reader.read_into(len(data), memoryview(buffer))
        except Suspended:
            await reader.growth.changed.after(changes)
            continue
        data += buffer[:got]
        if got < len(buffer):
            return bytes(data)


def small_strides(monkeypatch: pytest.MonkeyPatch, stride: int) -> None:
    monkeypatch.setattr(disk_module, "STRIDE_BYTES", stride)
    monkeypatch.setattr(writer_module, "STRIDE_BYTES", stride)


class Gate:
    """Holds the threads that run a function, at its begin, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self._entered = threading.Event()
        self._opened = threading.Event()
        original = getattr(module, name)

        def held(*args: Any, **kwargs: Any) -> Any:
            self._entered.set()
            assert self._opened.wait(10)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, held)

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, 10)

    def open(self) -> None:
        self._opened.set()


def fail(monkeypatch: pytest.MonkeyPatch, name: str, number: int, *, after: int = 0) -> None:
    """Make ``os.name`` raise an OSError of `number` from the call after the first `after` on."""
    original, calls = getattr(os, name), 0

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(number, os.strerror(number))
        return original(*args, **kwargs)

    monkeypatch.setattr(os, name, failing)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A spool folder, in which no test may leave an open descriptor."""
    path = tmp_path / "spool"
    yield path
    assert open_descriptors(path) == []


def open_descriptors(path: Path) -> list[str]:
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return [link for link in links if link.startswith(str(path))]


# Writing


async def test_a_finished_file_has_its_bytes_its_digests_and_no_part(folder: Path) -> None:
    data = content(3 * MIB + 17)
    spool = await started(folder)
    writer = await begun(spool, 7, len(data), "crc32c", "md5")
    for start in range(0, len(data), 100_001):
        await writer.write(memoryview(data)[start : start + 100_001])
    digests = await writer.finish()
    assert sorted(os.listdir(folder)) == ["7"]
    assert spool.path(7).read_bytes() == data
    assert digests["sha256"] == run("sha256sum", folder / "7").split()[0]
    assert digests["md5"] == hashlib.md5(data).hexdigest()
    assert await spool.rehash(7, ("sha256", "crc32c", "md5")) == digests
    assert (folder.stat().st_mode & 0o777, (folder / "7").stat().st_mode & 0o777) == (0o700, 0o600)


async def test_crc32c_is_the_published_check_value(folder: Path) -> None:
    spool = await started(folder)
    writer = await begun(spool, 1, 9, "crc32c")
    await writer.write(memoryview(b"123456789"))
    assert (await writer.finish())["crc32c"] == "e3069283"  # the check value of CRC-32C, RFC 3720 polynomial


async def test_an_empty_file_can_be_finished(folder: Path) -> None:
    spool = await started(folder)
    assert await stored(spool, 1, b"") == {"sha256": sha256(b"")}
    with spool.follow(1, 0) as reader:
        assert await reader.read_into(0, memoryview(bytearray(5))) == 0


@pytest.mark.parametrize("is_new_process", [False, True])
async def test_a_suspended_part_is_digested_again_and_gone_on_with(
    folder: Path, is_new_process: bool
) -> None:
    data = content(20 * MIB)
    spool = await started(folder)
    async with await begun(spool, 1, len(data), "crc32c") as writer:
        await writer.write(memoryview(data)[: 17 * MIB + 5])
    if is_new_process:
        spool = await started(folder)
    async with await begun(spool, 1, len(data), "crc32c") as writer:
        assert writer.offset == 17 * MIB + 5
        await writer.write(memoryview(data)[writer.offset :])
        digests = await writer.finish()
    assert digests["sha256"] == sha256(data)
    assert await spool.rehash(1, ("sha256", "crc32c")) == digests


async def test_bytes_beyond_or_below_the_size_are_refused_and_harm_nothing(folder: Path) -> None:
    spool = await started(folder)
    writer = await begun(spool, 1, 10)
    with pytest.raises(Fault, match=r"spool\.wrong_size"):
        await writer.write(memoryview(b"x" * 11))
    await writer.write(memoryview(b"12345"))
    with pytest.raises(Fault, match=r"spool\.wrong_size"):
        await writer.finish()
    await writer.write(memoryview(b"67890"))
    assert await writer.finish() == {"sha256": sha256(b"1234567890")}


async def test_a_part_longer_than_the_file_is_begun_again(folder: Path) -> None:
    spool = await started(folder)
    async with await begun(spool, 1, 10) as writer:
        await writer.write(memoryview(b"old bytes"))
    async with await begun(spool, 1, 3) as writer:
        assert writer.offset == 0
        await writer.write(memoryview(b"new"))
        assert await writer.finish() == {"sha256": sha256(b"new")}
    assert spool.path(1).read_bytes() == b"new"


async def test_a_writer_needs_its_reservation_and_is_alone(folder: Path) -> None:
    spool = await started(folder)
    with pytest.raises(ValueError, match="reservation"):
        await spool.writer(1, 10)
    async with await begun(spool, 1, 10):
        with pytest.raises(ValueError, match="writer"):
            await spool.writer(1, 10)
        with pytest.raises(ValueError, match="writer"):
            await spool.forget(1)
    await stored(spool, 2, b"whole")
    with pytest.raises(ValueError, match="finished"):
        await begun(spool, 2, 5)


async def test_the_name_comes_after_the_bytes_and_is_made_durable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def logged_fsync(descriptor: int) -> None:
        steps.append("fsync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def logged_rename(old: Path, new: Path) -> None:
        steps.append(f"rename {old.name} {new.name}")
        rename(old, new)

    spool = await started(folder)
    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "rename", logged_rename)
    await stored(spool, 1, b"data")
    assert steps == ["fsync 1.part", "rename 1.part 1", "fsync spool"]


async def test_a_name_that_cannot_be_made_durable_is_taken_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = await started(folder)
    with monkeypatch.context() as patch:
        fail(patch, "fsync", errno.EIO, after=1)  # the file's passes, the folder's does not
        with pytest.raises(Fault, match=r"spool\.io"):
            await stored(spool, 1, b"data")
    assert os.listdir(folder) == ["1.part"]
    assert await stored_rest(spool, 1, b"data") == {"sha256": sha256(b"data")}


async def stored_rest(spool: Spool, file_id: int, data: bytes) -> dict[str, str]:
    async with await begun(spool, file_id, len(data)) as writer:
        await writer.write(memoryview(data)[writer.offset :])
        return await writer.finish()


async def test_a_cancelled_write_ends_with_its_thread_and_counts_what_was_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = content(MIB)
    spool = await started(folder)
    writer = await begun(spool, 1, len(data))
    gate = Gate(monkeypatch, writer_module, "write_all")
    writing = asyncio.create_task(writer.write(memoryview(data)[:1000]))
    await gate.entered()
    writing.cancel()
    done, _ = await asyncio.wait([writing], timeout=0.05)
    assert not done  # the thread still uses the caller's buffer
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await writer.suspend()
    assert (folder / "1.part").read_bytes() == data[:1000]
    assert await stored_rest(spool, 1, data) == {"sha256": sha256(data)}


async def test_a_cancelled_finish_still_leaves_a_finished_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = await started(folder)
    writer = await begun(spool, 1, 4)
    await writer.write(memoryview(b"data"))
    gate = Gate(monkeypatch, writer_module, "publish")
    finishing = asyncio.create_task(writer.finish())
    await gate.entered()
    finishing.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    assert await spool.rehash(1) == {"sha256": sha256(b"data")}
    assert spool.reserved_bytes == 0


async def test_resuming_can_be_cancelled_without_losing_the_part(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = content(MIB)
    spool = await started(folder)
    async with await begun(spool, 1, len(data)) as writer:
        await writer.write(memoryview(data)[:-1])
    with monkeypatch.context() as patch:
        gate = Gate(patch, writer_module, "read_full")
        opening = asyncio.create_task(begun(spool, 1, len(data)))
        await gate.entered()
        opening.cancel()
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert open_descriptors(folder) == []
    async with await begun(spool, 1, len(data)) as writer:
        assert writer.offset == len(data) - 1


# Following


async def test_followers_get_every_byte_of_a_growing_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    data = content(3 * MIB, seed)
    small_strides(monkeypatch, 1 << rng.randrange(12, 20))
    spool = await started(folder)

    async def follow(reader: Reader) -> None:
        with reader:
            assert await read_all(reader, len(data), step=lambda: rng.randint(1, 200_000)) == data

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(follow(spool.follow(1, len(data))))
        for is_last in (False, False, True):
            async with await begun(spool, 1, len(data)) as writer:
                group.create_task(follow(spool.follow(1, len(data))))
                while writer.offset < len(data) and (is_last or rng.random() > 0.2):
                    step = rng.randint(1, 300_000)
                    await writer.write(memoryview(data)[writer.offset : writer.offset + step])
                if is_last:
                    digests = await writer.finish()
        group.create_task(follow(spool.follow(1, len(data))))
    assert digests == {"sha256": sha256(data)}


async def test_bytes_are_seen_only_after_their_write_and_completeness_after_the_rename(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = await started(folder)
    writer = await begun(spool, 1, 8)
    with spool.follow(1, 8) as reader:
        buffer = memoryview(bytearray(8))
        reading = asyncio.create_task(reader.read_into(0, buffer))
        gate = Gate(monkeypatch, writer_module, "write_all")
        writing = asyncio.create_task(writer.write(memoryview(b"01234567")))
        await gate.entered()
        assert reader.available_bytes == 0
        assert not reading.done()
        gate.open()
        await writing
        assert await asyncio.wait_for(reading, 10) == 8
        assert bytes(buffer) == b"01234567"
        assert not reader.is_complete
        await writer.finish()
        assert reader.is_complete


async def test_a_read_ends_short_at_the_end_of_the_file_and_nowhere_else(folder: Path) -> None:
    spool = await started(folder)
    await stored(spool, 1, b"0123456789")
    buffer = memoryview(bytearray(4))
    with spool.follow(1, 10) as reader:
        async with asyncio.timeout(10):
            assert await reader.read_into(6, buffer) == 4
            assert bytes(buffer) == b"6789"
            assert await reader.read_into(8, buffer) == 2
            assert await reader.read_into(10, buffer) == 0
            assert await reader.read_into(99, buffer) == 0
    with pytest.raises(ValueError, match="closed"):
        await reader.read_into(0, buffer)
    with pytest.raises(ValueError, match="10 bytes"):
        spool.follow(1, 11)


async def test_a_waiting_read_can_be_cancelled_and_tried_again(folder: Path) -> None:
    spool = await started(folder)
    writer = await begun(spool, 1, 4)
    with spool.follow(1, 4) as reader:
        buffer = memoryview(bytearray(4))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await reader.read_into(0, buffer)
        await writer.write(memoryview(b"data"))
        assert await reader.read_into(0, buffer) == 4
    await writer.suspend()


async def test_nobody_waits_for_a_fetch_that_does_not_go_on(folder: Path) -> None:
    spool = await started(folder)
    with spool.follow(1, 8) as reader:
        buffer = memoryview(bytearray(8))
        with pytest.raises(Suspended):
            await asyncio.wait_for(reader.read_into(0, buffer), 10)
        writer = await begun(spool, 1, 8)
        assert list(spool.growing) == [1]
        await writer.write(memoryview(b"0123"))
        reading = asyncio.create_task(reader.read_into(0, buffer))
        digests = asyncio.create_task(spool.fetched(1))
        await asyncio.sleep(0)
        await writer.suspend()
        assert not spool.growing
        with pytest.raises(Suspended):
            await asyncio.wait_for(reading, 10)
        with pytest.raises(Suspended):
            await asyncio.wait_for(digests, 10)
        assert await reader.read_into(0, buffer[:4]) == 4  # what is there is there
        await stored_rest(spool, 1, b"01234567")
        assert await reader.read_into(0, buffer) == 8
        assert bytes(buffer) == b"01234567"


async def test_digests_are_told_when_they_are_announced_and_only_for_the_fetch_one_followed(
    folder: Path,
) -> None:
    spool = await started(folder)
    writer = await begun(spool, 1, 4)
    with spool.follow(1, 4) as old:
        await writer.write(memoryview(b"old!"))
        await old.read_into(0, memoryview(bytearray(4)))
    await writer.discard()
    await writer.write(memoryview(b"new!"))
    with spool.follow(1, 4) as new:
        pass
    waiting = [
        asyncio.create_task(spool.fetched(1, ("crc32c",))),
        asyncio.create_task(spool.fetched(1, read_by=new)),
    ]
    digests = await writer.finish()
    assert spool.is_finished(1)
    done, _ = await asyncio.wait(waiting, timeout=0.02)
    assert not done  # not in the ledger yet
    spool.announce(1, digests)
    assert await asyncio.wait_for(waiting[1], 10) == {"sha256": sha256(b"new!")}
    assert await asyncio.wait_for(waiting[0], 10) == await spool.rehash(1, ("sha256", "crc32c"))
    with pytest.raises(Restarted):
        await spool.fetched(1, read_by=old)
    await spool.evict(1)
    with pytest.raises(Gone):
        await spool.fetched(1, read_by=new)
    with pytest.raises(Suspended):
        await spool.fetched(1)


async def test_digests_of_a_file_from_an_earlier_run_are_made_again(folder: Path) -> None:
    digests = await stored(await started(folder), 1, b"data")
    spool = await started(folder)
    assert await asyncio.wait_for(spool.fetched(1), 10) == digests


async def test_a_fetch_that_begins_again_tells_every_follower(folder: Path) -> None:
    spool = await started(folder)
    writer = await begun(spool, 1, 6)
    await writer.write(memoryview(b"old"))
    with spool.follow(1, 6) as waiting, spool.follow(1, 6) as idle:
        read = asyncio.create_task(waiting.read_into(0, memoryview(bytearray(6))))
        await idle.read_into(0, memoryview(bytearray(3)))
        await writer.discard()
        assert writer.offset == 0
        assert (folder / "1.part").stat().st_size == 0
        with pytest.raises(Restarted):
            await asyncio.wait_for(read, 10)
        await writer.write(memoryview(b"newnew"))
        with pytest.raises(Restarted):
            await idle.read_into(0, memoryview(bytearray(3)))
    assert await writer.finish() == {"sha256": sha256(b"newnew")}
    with spool.follow(1, 6) as reader:
        assert await read_all(reader, 6) == b"newnew"


async def test_a_read_overtaken_by_a_new_fetch_is_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = await started(folder)
    writer = await begun(spool, 1, 3)
    await writer.write(memoryview(b"old"))
    with spool.follow(1, 3) as reader:
        gate = Gate(monkeypatch, reader_module, "read_full")
        buffer = memoryview(bytearray(3))
        reading = asyncio.create_task(reader.read_into(0, buffer))
        await gate.entered()
        await writer.discard()
        await writer.write(memoryview(b"new"))
        gate.open()
        with pytest.raises(Restarted):
            await reading
        assert bytes(buffer) == b"new"  # which is why it must not be believed
    await writer.suspend()


async def test_old_bytes_cannot_come_back_after_a_new_fetch_began(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = await started(folder)
    async with await begun(spool, 1, 6) as writer:
        await writer.write(memoryview(b"old"))
        lengths: list[int] = []
        fsync = os.fsync

        def logged_fsync(descriptor: int) -> None:
            lengths.append(os.fstat(descriptor).st_size)
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", logged_fsync)
        await writer.discard()
    assert lengths == [0]


# Removing


async def test_forgetting_tells_followers_and_gives_the_space_back(folder: Path) -> None:
    spool = await started(folder)
    async with await begun(spool, 1, 100) as writer:
        await writer.write(memoryview(b"abc"))
    with spool.follow(1, 100) as reader:
        await spool.forget(1)
        with pytest.raises(Gone):
            await reader.read_into(0, memoryview(bytearray(3)))
    assert os.listdir(folder) == []
    assert (spool.used_bytes, spool.reserved_bytes) == (0, 0)
    await spool.forget(1)
    assert await stored(spool, 1, b"again") == {"sha256": sha256(b"again")}
    waiting = asyncio.create_task(spool.fetched(1))
    await asyncio.sleep(0)
    await spool.forget(1)
    with pytest.raises(Gone):
        await asyncio.wait_for(waiting, 10)


async def test_a_file_that_is_being_read_is_not_evicted(folder: Path) -> None:
    spool = await started(folder)
    await stored(spool, 1, b"data")
    with spool.follow(1, 4) as reader:
        assert not await spool.evict(1)
        assert await read_all(reader, 4) == b"data"
    assert await spool.evict(1)
    assert os.listdir(folder) == []
    assert spool.used_bytes == 0
    assert await spool.evict(1)  # once more, as after a crash
    async with await begun(spool, 2, 4):
        pass
    with pytest.raises(ValueError, match="not finished"):
        await spool.evict(2)


async def test_a_removal_that_fails_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = await started(folder)
    await stored(spool, 1, b"data")
    with monkeypatch.context() as patch:
        fail(patch, "unlink", errno.EROFS)
        with pytest.raises(Fault, match=r"spool\.read_only"):
            await spool.evict(1)
    assert spool.used_bytes == 4
    assert await spool.evict(1)


async def test_the_least_recently_read_file_is_known(folder: Path) -> None:
    spool = await started(folder)
    for file_id in (1, 2, 3):
        await stored(spool, file_id, b"data")
    for file_id in (2, 1, 3):
        with spool.follow(file_id, 4) as reader:
            await read_all(reader, 4)
    assert sorted((1, 2, 3), key=spool.last_read_at) == [2, 1, 3]


async def test_following_what_never_comes_leaves_nothing_behind(folder: Path) -> None:
    spool = await started(folder)
    for file_id in range(100):
        spool.follow(file_id, 10).close()
    assert spool._growths == {}


# Recovery


async def test_recovery_tells_parts_from_finished_files_and_counts_both(folder: Path) -> None:
    spool = await started(folder)
    await stored(spool, 1, b"finished")
    async with await begun(spool, 2, 100) as writer:
        await writer.write(memoryview(b"part"))
    (folder / "1.part").write_bytes(b"left over")
    (folder / "notes.txt").write_bytes(b"not ours")
    (folder / "4.part.bak").write_bytes(b"not ours either")
    (folder / "3").symlink_to("1")
    spool = await started(folder)
    again = await spool.recover()
    assert (again.parts, again.finished) == ({2: 4}, {1: 8})
    assert sorted(os.listdir(folder)) == ["1", "2.part", "3", "4.part.bak", "notes.txt"]
    assert (spool.used_bytes, spool.reserved_bytes) == (12, 0)
    with spool.follow(2, 100) as reader:
        assert await reader.read_into(0, memoryview(buffer := bytearray(4))) == 4
    assert buffer == b"part"


async def test_a_part_that_somebody_shortened_is_gone_on_with_from_there(folder: Path) -> None:
    spool = await started(folder)
    async with await begun(spool, 1, 8) as writer:
        await writer.write(memoryview(b"01234567"))
    os.truncate(folder / "1.part", 3)
    assert await stored_rest(spool, 1, b"01234567") == {"sha256": sha256(b"01234567")}
    assert (folder / "1").read_bytes() == b"01234567"


def test_a_spool_folder_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    prepare(tmp_path / "state" / "spool")
    assert (tmp_path / "state" / "spool").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    for impossible in (tmp_path / "file", tmp_path / "file" / "spool", Path("/proc/none/spool")):
        with pytest.raises(Fault) as caught:
            prepare(impossible)
        assert caught.value.code == "spool.missing"


def test_a_boot_id_holds_for_one_mount(tmp_path: Path) -> None:
    assert boot_id(tmp_path) == boot_id(tmp_path)
    assert boot_id(tmp_path) != boot_id(Path("/dev/shm"))
    with pytest.raises(Fault, match=r"spool\.missing"):
        boot_id(tmp_path / "absent")


# Faults


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "spool.full"),
        (errno.EDQUOT, "spool.full"),
        (errno.EFBIG, "spool.file_too_large"),
        (errno.EROFS, "spool.read_only"),
        (errno.EACCES, "spool.permission"),
        (errno.EPERM, "spool.permission"),
        (errno.ENODEV, "spool.missing"),
        (errno.EIO, "spool.io"),
        (errno.EMFILE, "spool.exhausted"),
        (errno.EXDEV, "spool.unclassified"),
    ],
)
async def test_every_error_of_the_disk_is_a_fault_and_the_part_stays_right(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    data = content(100_000)
    spool = await started(folder)
    writer = await begun(spool, 1, len(data))
    await writer.write(memoryview(data)[:50_000])
    with monkeypatch.context() as patch:
        fail(patch, "pwrite", number)
        with pytest.raises(Fault) as caught:
            await writer.write(memoryview(data)[50_000:])
    assert caught.value.code == code
    assert caught.value.kind is FAULTS[code].kind
    assert (folder / "1.part").read_bytes() == data[:50_000]
    with pytest.raises(ValueError, match="closed"):
        await writer.write(memoryview(b"more"))
    assert await stored_rest(spool, 1, data) == {"sha256": sha256(data)}


def test_every_fault_has_a_sentence() -> None:
    assert all(code.startswith("spool.") for code in FAULTS)
    assert all(advice.hint.endswith(".") and advice.kind in Kind for advice in FAULTS.values())


async def test_a_failed_sync_takes_back_what_it_was_to_make_durable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_strides(monkeypatch, 1000)
    data = content(10_000)
    spool = await started(folder)
    writer = await begun(spool, 1, len(data))
    with monkeypatch.context() as patch:
        fail(patch, "fdatasync", errno.EIO, after=2)  # 1000 and 2000 are durable
        with pytest.raises(Fault, match=r"spool\.io"):
            await writer.write(memoryview(data)[:9_000])
    assert (folder / "1.part").stat().st_size == 2000
    assert spool.used_bytes == 2000
    assert await stored_rest(spool, 1, data) == {"sha256": sha256(data)}


async def test_a_failed_sync_of_a_resumed_part_leaves_what_a_power_loss_would(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_strides(monkeypatch, 1000)
    data = content(10_000)
    spool = await started(folder)
    async with await begun(spool, 1, len(data)) as writer:
        await writer.write(memoryview(data)[:3500])
    with monkeypatch.context() as patch:
        fail(patch, "fdatasync", errno.EIO)
        async with await begun(spool, 1, len(data)):
            pass
    assert (folder / "1.part").stat().st_size == 2000
    assert await stored_rest(spool, 1, data) == {"sha256": sha256(data)}


async def test_a_folder_that_vanishes_is_missing(folder: Path) -> None:
    spool = await started(folder)
    assert spool.reserve(1, 10).is_granted
    folder.rmdir()
    with pytest.raises(Fault, match=r"spool\.missing"):
        await spool.writer(1, 10)
    with pytest.raises(Fault, match=r"spool\.missing"):
        spool.reserve(2, 10)
    folder.mkdir()
    assert await stored(spool, 1, b"0123456789") == {"sha256": sha256(b"0123456789")}


async def test_a_path_that_is_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Fault, match=r"spool\.missing"):
        await started(tmp_path / "file")


async def test_a_limit_on_file_sizes_is_told_from_a_full_disk(folder: Path) -> None:
    spool = await started(folder)
    writer = await begun(spool, 1, 2 * MIB)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        with pytest.raises(Fault, match=r"spool\.file_too_large"):
            await writer.write(memoryview(content(2 * MIB)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted tmpfs of 4 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", path], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mount.stderr.strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


async def test_a_full_disk_is_a_wait_and_the_fetch_goes_on_where_it_stopped(small_disk: Path) -> None:
    data = content(3 * MIB)
    spool = await started(small_disk / "spool")
    writer = await begun(spool, 1, len(data))
    (small_disk / "other").write_bytes(b"x" * (2 * MIB))  # somebody else's, after the reservation
    with pytest.raises(Fault) as caught:
        while writer.offset < len(data):
            await writer.write(memoryview(data)[writer.offset : writer.offset + 300_000])
    assert (caught.value.code, caught.value.kind) == ("spool.full", Kind.RETRYABLE)
    assert (small_disk / "spool" / "1.part").stat().st_size == writer.offset == spool.used_bytes > MIB
    assert spool.reserve(1, len(data)).room is Room.DISK_FULL
    (small_disk / "other").unlink()
    assert await stored_rest(spool, 1, data) == {"sha256": sha256(data)}
    assert spool.reserve(2, 5 * MIB).room is Room.TOO_LARGE


async def test_a_read_only_disk_needs_a_person(small_disk: Path) -> None:
    spool = await started(small_disk / "spool")
    assert spool.reserve(1, 10).is_granted
    run("mount", "-o", "remount,ro", small_disk)
    with pytest.raises(Fault) as caught:
        await spool.writer(1, 10)
    assert (caught.value.code, caught.value.kind) == ("spool.read_only", Kind.NEEDS_USER)
