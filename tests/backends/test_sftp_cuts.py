"""Cuts, two at a time, and nothing left behind: what an SFTP server holds is always a whole beginning."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from tenacity import Retrying, stop_after_delay, wait_fixed

from agent.backends.sftp.transfer import keeps_order
from agent.backends.sftp.transfer import send as send_blocks
from agent.faults import Fault
from tests.backends.areas.sftp import OpenSSHArea
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.servers.openssh import OpenSSH
from tests.backends.servers.ssh_in_process import Files
from tests.backends.sftp_places import backend_at, in_process, tree_at

server = pytest.mark.server
MIB = 1 << 20


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def area(openssh: OpenSSH) -> OpenSSHArea:
    return OpenSSHArea(openssh)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """asyncio's, as of a failure that nobody asked for."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# Cuts.


@server
def test_a_cut_in_the_middle_of_a_chunk(
    stack: ExitStack, area: OpenSSHArea, caplog: pytest.LogCaptureFixture
) -> None:
    """What is there is a whole beginning, wherever the connection broke, and it is gone on with."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    content = content_of(12 * MIB)
    backend = backend_at(stack, area)
    upload = backend.start("x.mp4", len(content), "token1")
    cut_at = random.Random(seed).randrange(MIB, 10 * MIB)
    partial = area.root / ".hotshoe-token1.part"

    def cut() -> None:
        while partial.stat().st_size < cut_at:
            pass
        for child in area.server.process.connections():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    cutter = threading.Thread(target=cut)
    cutter.start()
    with pytest.raises(Fault) as refusal:
        send(upload, content)
        upload.commit(digests_of(content))
    cutter.join()
    upload.close()
    assert refusal.value.code == "sftp.lost"
    held = partial.read_bytes()
    assert held == content[: len(held)] and len(held) >= cut_at

    again = backend.start("x.mp4", len(content), "token1")
    assert again.offset == len(held)
    send(again, content)
    again.commit(digests_of(content))
    again.close()
    assert area.published() == {"x.mp4": content}


@pytest.mark.parametrize(
    ("version", "is_orderly"), [("SSH-2.0-OpenSSH_9.2p1 Debian-2", True), ("SSH-2.0-Go", False)]
)
def test_a_server_without_order_gets_one_write_at_a_time(version: str, is_orderly: bool) -> None:
    """Those in Go write with many hands: a cut would leave holes in front of the length."""
    content = content_of(MIB + 1)

    class Slow:
        held = bytearray()
        at_work = most = 0

        async def write(self, data: memoryview, offset: int) -> None:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            await asyncio.sleep(0)
            self.at_work -= 1
            assert offset == len(self.held)
            self.held += data

    file = Slow()
    asyncio.run(send_blocks(file, 0, memoryview(content), 32768, 5, keeps_order(version)))
    assert file.held == content
    assert file.most == (MIB // 32768 if is_orderly else 1)


@server
def test_what_succeeds_behind_a_failure_is_cut_off(stack: ExitStack, tmp_path: Path) -> None:
    """A disk that was full for one block: the length must not claim it."""
    failing_at = 8 * 32768

    class FullForAMoment(Files):
        def write(self, file_obj: object, offset: int, data: bytes) -> Any:
            if offset <= failing_at < offset + len(data):
                raise asyncssh.SFTPFailure("")
            return super().write(file_obj, offset, data)

    tree = tree_at(stack, in_process(stack, tmp_path / "root", files=FullForAMoment))
    writer = tree.open(("x",), 0)
    with pytest.raises(Fault):
        writer.write(memoryview(content_of(MIB)))
    writer.close()
    held = (tmp_path / "root/x").read_bytes()
    assert len(held) <= failing_at and held == content_of(MIB)[: len(held)]
    tree.close()


@server
@pytest.mark.parametrize("size", [0, 1, 5000, 300_000, 3 * MIB + 1])
def test_a_server_that_gives_less_than_it_is_asked_for(stack: ExitStack, tmp_path: Path, size: int) -> None:
    class Stingy(Files):
        def read(self, file_obj: object, offset: int, size: int) -> Any:
            return super().read(file_obj, offset, min(size, 5000))

    tree = tree_at(stack, in_process(stack, tmp_path / "root", files=Stingy))
    (tmp_path / "root/x").write_bytes(content_of(size))
    assert b"".join(tree.read(("x",))) == content_of(size)
    tree.close()


# Two at a time.


@server
def test_an_attempt_that_still_holds_the_partial_harms_nobody(stack: ExitStack, area: OpenSSHArea) -> None:
    first, second = (tree_at(stack, area.config()) for _ in range(2))
    old = first.open(("x",), 0)
    old.write(memoryview(b"old content"))
    new = second.open(("x",), 0)  # starts again: what the first holds has no name any more
    new.write(memoryview(b"new"))
    old.write(memoryview(b", and more of it"))
    new.finish()
    old.finish()
    assert (area.root / "x").read_bytes() == b"new"
    for tree in (first, second):
        tree.close()


@server
def test_a_partial_that_got_shorter_is_held_by_somebody(stack: ExitStack, area: OpenSSHArea) -> None:
    area.plant("x", b"12345")
    tree = tree_at(stack, area.config())
    with pytest.raises(Fault) as refusal:
        tree.open(("x",), 6)
    assert refusal.value.code == "sftp.busy"
    tree.close()


@server
def test_a_connection_that_broke_while_idle_is_not_used_again(stack: ExitStack, area: OpenSSHArea) -> None:
    backend = backend_at(stack, area)
    deliver(backend, "x.jpg", b"content")
    tree = backend._pool._idle[0][1]  # type: ignore[attr-defined]
    for child in area.server.process.connections():
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    for attempt in Retrying(stop=stop_after_delay(10), wait=wait_fixed(0.01)):
        with attempt:
            assert not tree.is_usable
    deliver(backend, "y.jpg", b"content", "token2")


# Nothing is left behind.


@server
def test_no_thread_task_or_complaint_is_left(area: OpenSSHArea, caplog: pytest.LogCaptureFixture) -> None:
    threads = set(threading.enumerate())
    files = len(os.listdir("/proc/self/fd"))
    with ExitStack() as stack:
        backend = backend_at(stack, area)
        content = content_of(3 * MIB)
        deliver(backend, "x.jpg", content)
        reading = tree_at(stack, area.config()).read(("x.jpg",))
        next(reading)
        reading.close()
        uploads = [backend.start(f"{number}.mp4", len(content), f"token{number}") for number in range(2)]
        send(uploads[0], content, 1)
        area.server.process.pause()
        try:
            for upload in uploads:
                with pytest.raises(Fault):
                    send(upload, content)
                upload.close()
        finally:
            area.server.process.resume()
        backend.start("open.mp4", len(content), "token9")  # and never closed
    gc.collect()
    for attempt in Retrying(stop=stop_after_delay(10), wait=wait_fixed(0.01)):
        with attempt:
            assert set(threading.enumerate()) <= threads
            assert len(os.listdir("/proc/self/fd")) <= files
    assert complaints(caplog) == []


@server
def test_a_closed_backend_refuses(stack: ExitStack, area: OpenSSHArea) -> None:
    backend = backend_at(stack, area)
    upload = backend.start("x.jpg", 10, "token1")
    backend.close()
    with pytest.raises(Fault):
        upload.write(memoryview(b"0123456789"))
    upload.close()
    with pytest.raises(Fault) as refusal:
        backend.browse("")
    assert refusal.value.code == "sftp.lost"
