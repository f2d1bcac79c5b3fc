"""What is particular to SFTP: ways to log in, what a cut leaves, orderly servers and others, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from pydantic import ValidationError
from tenacity import Retrying, stop_after_delay, wait_fixed

from agent.backends import SftpConfig, open_backend
from agent.backends.base import Backend, Exclusive, Presence
from agent.backends.remote import NO_FILE
from agent.backends.sftp.loop import Loop
from agent.backends.sftp.transfer import keeps_order
from agent.backends.sftp.transfer import send as send_blocks
from agent.backends.sftp.tree import SftpTree
from agent.faults import Fault
from tests.backends.areas.sftp import OpenSSHArea
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.servers.openssh import PASSPHRASE, OpenSSH, make_key
from tests.backends.servers.ssh_in_process import PASSWORD, USER, Files, Guard, InProcess

server = pytest.mark.server
MIB = 1 << 20


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def area(openssh: OpenSSH) -> OpenSSHArea:
    return OpenSSHArea(openssh)


def backend_at(stack: ExitStack, area: OpenSSHArea, **changes: object) -> Backend:
    backend = open_backend(area.config(**changes), owner="test")
    stack.callback(backend.close)
    return backend


def tree_at(stack: ExitStack, config: object) -> SftpTree:
    assert isinstance(config, SftpConfig)
    loop = Loop("sftp-test")
    stack.callback(loop.close)
    return SftpTree(config, loop)


def in_process(
    stack: ExitStack,
    root: Path,
    guard: type[Guard] = Guard,
    files: type[Files] = Files,
    version: str = "",
    **changes: object,
) -> SftpConfig:
    root.mkdir(exist_ok=True)
    running = InProcess(guard, type("Rooted", (files,), {"root": root}), version)
    stack.callback(running.stop)
    settings: dict[str, object] = {
        "host": "127.0.0.1",
        "port": running.port,
        "user": USER,
        "password": PASSWORD,
        "host_key": running.fingerprint,
        "connect_timeout_seconds": 5,
        "timeout_seconds": 5,
    }
    return SftpConfig.model_validate({**settings, **changes})


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """asyncio's, as of a failure that nobody asked for."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# Logging in.


@server
@pytest.mark.parametrize("kind", ["PEM", "PKCS8"])
def test_a_key_with_a_passphrase(stack: ExitStack, tmp_path: Path, kind: str) -> None:
    key = tmp_path / "locked"
    make_key(key, "-t", "rsa", "-m", kind, passphrase=PASSPHRASE)
    folder = tmp_path / "server"
    folder.mkdir()
    running = OpenSSH(folder)
    stack.callback(running.remove)
    running.authorize(key)
    running.process.start()
    stack.callback(running.process.kill)
    backend = backend_at(stack, OpenSSHArea(running), key_file=key, key_passphrase=PASSPHRASE)
    deliver(backend, "x.jpg", b"content")


@server
@pytest.mark.parametrize("way", ["password", "question"])
def test_a_password(stack: ExitStack, tmp_path: Path, way: str) -> None:
    guard = type("Asking", (Guard,), {"ways": {way}})
    config = in_process(stack, tmp_path / "root", guard)
    backend = open_backend(config, owner="test")
    stack.callback(backend.close)
    deliver(backend, "x.jpg", b"content")
    assert (tmp_path / "root/x.jpg").read_bytes() == b"content"


@server
@pytest.mark.parametrize("is_hashed", [False, True])
def test_known_hosts(stack: ExitStack, area: OpenSSHArea, tmp_path: Path, is_hashed: bool) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(area.server.known_host())
    if is_hashed:
        subprocess.run(["ssh-keygen", "-H", "-f", str(known)], check=True, capture_output=True)
        assert "127.0.0.1" not in known.read_text()
    deliver(backend_at(stack, area, host_key=None, known_hosts_file=known), "x.jpg", b"content")


@server
def test_nothing_of_the_user_is_used(
    stack: ExitStack, area: OpenSSHArea, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither ~/.ssh, which knows the server and would lead elsewhere, nor an agent."""
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "known_hosts").write_text(area.server.known_host())
    (ssh / "config").write_text("Host *\n  HostName 192.0.2.1\n  ProxyCommand /bin/false\n")
    shutil.copy(area.server.key, ssh / "id_ed25519")
    agent = stack.enter_context(socket.socket(socket.AF_UNIX))
    agent.bind(str(tmp_path / "agent"))
    agent.listen()
    agent.setblocking(False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))

    deliver(backend_at(stack, area), "x.jpg", b"content")
    for changes, code in (
        ({"host_key": None}, "sftp.unknown_host_key"),
        ({"key_file": None, "password": "x"}, "sftp.login_kind"),
    ):
        with pytest.raises(Fault) as refusal:
            backend_at(stack, area, **changes).browse("")
        assert refusal.value.code == code
    with pytest.raises(BlockingIOError):
        agent.accept()


# Where things lie.


@server
@pytest.mark.parametrize(("path", "below"), [("", ""), ("in/side", "in/side"), ("/in/side", "in/side")])
def test_the_folder(stack: ExitStack, tmp_path: Path, path: str, below: str) -> None:
    """The server shows its guests `root` alone, as a chroot does."""
    (tmp_path / "root/in/side").mkdir(parents=True)
    config = in_process(stack, tmp_path / "root", path=path)
    backend = open_backend(config, owner="test")
    stack.callback(backend.close)
    receipt = deliver(backend, "a/x.jpg", b"content")
    assert (tmp_path / "root" / below / "a/x.jpg").read_bytes() == b"content"
    shown = "/".join(each for each in (f"sftp://127.0.0.1:{config.port}", below, "a/x.jpg") if each)
    assert receipt.location == shown


@server
def test_a_link_is_no_file(stack: ExitStack, area: OpenSSHArea) -> None:
    area.plant("real.jpg", b"content")
    (area.root / "link.jpg").symlink_to("real.jpg")
    (area.root / "folder").mkdir()
    tree = tree_at(stack, area.config())
    assert [tree.size((name,)) for name in ("real.jpg", "link.jpg", "folder", "none")] == [
        7,
        NO_FILE,
        NO_FILE,
        None,
    ]
    assert backend_at(stack, area).find("link.jpg", 7, None).presence is Presence.DIFFERENT


@server
def test_a_long_listing_is_not_read_to_its_end(stack: ExitStack, tmp_path: Path) -> None:
    asked: list[bytes] = []

    class Endless(Files):
        async def scandir(self, path: bytes) -> Any:
            for number in range(1_000_000):
                asked.append(path)
                yield asyncssh.SFTPName(b"%d.jpg" % number, attrs=asyncssh.SFTPAttrs(permissions=0o100644))

    backend = open_backend(in_process(stack, tmp_path / "root", files=Endless), owner="test")
    stack.callback(backend.close)
    assert len(backend.browse("")) == 1000
    assert len(asked) < 3000


@server
def test_names_that_are_not_utf8_are_shown(stack: ExitStack, area: OpenSSHArea) -> None:
    path = os.fsencode(area.root) + b"/caf\xe9.jpg"
    with open(path, "wb"):
        pass
    assert [entry.name for entry in backend_at(stack, area).browse("")] == [
        "caf\N{REPLACEMENT CHARACTER}.jpg"
    ]


# Publishing.


@server
def test_a_server_that_replaces_is_found_out(stack: ExitStack, tmp_path: Path) -> None:
    class Replacing(Files):
        def rename(self, oldpath: bytes, newpath: bytes) -> None:
            os.replace(self.map_path(oldpath), self.map_path(newpath))

    backend = open_backend(in_process(stack, tmp_path / "root", files=Replacing), owner="test")
    stack.callback(backend.close)
    check = backend.check()
    assert (check.fault, check.exclusive) == (None, Exclusive.CHECKED)
    (tmp_path / "root/x.jpg").write_bytes(b"theirs")
    with pytest.raises(Fault) as refusal:
        deliver(backend, "x.jpg", b"ours")
    assert refusal.value.code == "sftp.exists"
    assert (tmp_path / "root/x.jpg").read_bytes() == b"theirs"


@server
def test_a_server_that_looks_first_is_not_called_atomic(stack: ExitStack, tmp_path: Path) -> None:
    """asyncssh's own does: it refuses, but not in one step."""
    backend = open_backend(in_process(stack, tmp_path / "root"), owner="test")
    stack.callback(backend.close)
    check = backend.check()
    assert (check.fault, check.exclusive) == (None, Exclusive.CHECKED)
    assert os.listdir(tmp_path / "root") == []


@server
def test_where_no_hard_link_can_be_made_nothing_is_called_atomic(stack: ExitStack, tmp_path: Path) -> None:
    """As on FAT; there, OpenSSH looks and renames then."""
    running = OpenSSH(tmp_path, ForceCommand="internal-sftp -P hardlink")
    stack.callback(running.remove)
    running.process.start()
    stack.callback(running.process.kill)
    area = OpenSSHArea(running)
    check = backend_at(stack, area).check()
    assert (check.fault, check.exclusive) == (None, Exclusive.CHECKED)
    assert os.listdir(area.root) == []


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
        reading.close()  # type: ignore[attr-defined]
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


# Settings.

SETTINGS = {"host": "nas.local", "user": "cam", "password": "hush"}


@pytest.mark.parametrize(
    "changes",
    [
        {"password": None},
        {"password": ""},
        {"host": ""},
        {"host": "sftp://nas.local"},
        {"host": "cam@nas.local"},
        {"host": "nas.local/photos"},
        {"port": 0},
        {"path": "a/../../b"},
        {"path": "~/photos"},
        {"path": "a\0b"},
        {"host_key": "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48"},
        {"host_key": "SHA256:short"},
        {"host_key": f"SHA256:{'a' * 43}", "known_hosts_file": "known_hosts"},
        {"key_passphrase": "hush"},
        {"timeout_seconds": 0},
        {"minimum_proof": "checksum"},
    ],
)
def test_bad_settings(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refusal:
        SftpConfig.model_validate({**SETTINGS, **changes})
    assert "hush" not in repr(SftpConfig.model_validate(SETTINGS))
    assert refusal.value.error_count() == 1


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", ""),
        ("photos/", "photos"),
        ("./photos//raw", "photos/raw"),
        ("/", "/"),
        ("/volume1/photos/", "/volume1/photos"),
    ],
)
def test_ways_to_write_a_folder(written: str, meant: str) -> None:
    assert SftpConfig.model_validate({**SETTINGS, "path": written}).path == meant


def test_an_address_in_brackets() -> None:
    assert SftpConfig.model_validate({**SETTINGS, "host": "[fe80::1]"}).host == "fe80::1"
