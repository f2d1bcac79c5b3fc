"""What only SMB has: dialects, handles that a server holds, servers that stop in the middle, threads."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.backends import open_backend
from agent.backends.base import Backend, Entry
from agent.backends.remote import NO_FILE, Tree
from agent.backends.smb.backend import connect
from agent.backends.smb.tree import SmbTree
from agent.faults import Fault
from tests.backends.areas.smb import ENCRYPTED, SambaArea
from tests.backends.conformance import content_of, digests_of, send
from tests.backends.servers.samba import PASSWORD, USER, Samba

pytestmark = pytest.mark.server

MIB = 1 << 20
CHUNK = memoryview(bytearray(content_of(MIB)))
PART = (".hotshoe-token1.part",)


@pytest.fixture
def area(samba: Samba) -> SambaArea:
    """With a server whose connections of tests before have ended."""
    gone_within(10, lambda: samba.process.connections())
    return SambaArea(samba)


def gone_within(seconds: float, left: Callable[[], object]) -> None:
    """Wait until `left` says that nothing is."""
    deadline = time.monotonic() + seconds
    while found := left():
        assert time.monotonic() < deadline, found
        time.sleep(0.01)  # between two looks


@pytest.fixture
def trees(area: SambaArea) -> Iterator[Callable[..., SmbTree]]:
    opened: list[Tree] = []

    def tree(**changes: object) -> SmbTree:
        made = connect(area.config(**changes))
        assert isinstance(made, SmbTree)
        opened.append(made)
        return made

    yield tree
    for each in opened:
        each.close()


@pytest.fixture
def backend(area: SambaArea) -> Iterator[Backend]:
    made = open_backend(area.config(), owner="test")
    yield made
    made.close()


def receivers() -> list[str]:
    """The threads of smbprotocol."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("msg_worker")]


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(Fault) as caught:
        action()
    return caught.value.code


# Dialects.

DIALECTS = ["SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"]


@pytest.mark.parametrize(
    ("dialect", "server", "client"),
    [
        *((dialect, "mandatory", {}) for dialect in DIALECTS),
        *((dialect, "auto", {"signing": "if_asked"}) for dialect in DIALECTS),
        *((dialect, "mandatory", {"encryption": "required"}) for dialect in DIALECTS[2:]),
        ("SMB3_11", "mandatory\n  server smb3 signing algorithms = AES-128-CMAC", {}),
        ("SMB3_11", "mandatory\n  server smb3 signing algorithms = HMAC-SHA256", {}),
        (
            "SMB3_11",
            "mandatory\n  server smb3 encryption algorithms = AES-128-CCM",
            {"encryption": "required"},
        ),
        (
            "SMB3_11",
            "mandatory\n  server smb3 encryption algorithms = AES-256-GCM",
            {"encryption": "required"},
        ),
    ],
)
def test_each_dialect(
    area: SambaArea, tmp_path: Path, dialect: str, server: str, client: dict[str, str]
) -> None:
    lines = (
        f"  server min protocol = {dialect}\n  server max protocol = {dialect}\n  server signing = {server}\n"
    )
    own = Samba(tmp_path / "own", {"photos": ""}, lines)
    own.process.start()
    try:
        tree = connect(area.config(address=f"smb://127.0.0.1:{own.port}/photos", **client))
        content = content_of(3 * MIB + 5)
        writer = tree.open(PART, 0)
        for start in range(0, len(content), MIB):
            writer.write(memoryview(content)[start : start + MIB])
        writer.finish()
        assert b"".join(bytes(piece) for piece in tree.read(PART)) == content
        tree.rename(PART, ("x.mp4",))
        assert (own.share("photos") / "x.mp4").read_bytes() == content
        tree.close()
    finally:
        own.process.kill()


# Accounts.


@pytest.mark.parametrize(
    "account",
    [{"user": rf"STUDIO\{USER}"}, {"user": USER, "domain": "STUDIO"}, {"user": USER.upper()}],
)
def test_ways_to_name_an_account(trees: Callable[..., SmbTree], account: dict[str, str]) -> None:
    assert trees(**account).size(("not-there",)) is None


def test_the_password_gets_nowhere(
    area: SambaArea, trees: Callable[..., SmbTree], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tree = trees()
    wrong = code_of(lambda: connect(area.config(password=f"{PASSWORD}?")))
    assert wrong == "smb.wrong_login"
    assert PASSWORD not in caplog.text + repr(vars(tree)) + tree.location(("x",))
    assert PASSWORD not in repr(vars(tree._wire)) + repr(vars(tree._share.session))


# The tree itself.


def test_what_lies_there(area: SambaArea, trees: Callable[..., SmbTree]) -> None:
    area.plant("b/c.jpg", b"12345")
    area.plant(".hidden", b"")
    tree = trees()
    assert sorted(tree.list(()), key=lambda entry: entry.name) == [
        Entry(name=".hidden", is_folder=False, size=0),
        Entry(name="b", is_folder=True, size=None),
    ]
    assert list(tree.list(("b",))) == [Entry(name="c.jpg", is_folder=False, size=5)]
    assert list(tree.list(("nowhere",))) == []
    assert [tree.size(path) for path in (("b", "c.jpg"), ("b",), ("nowhere",), ("b", "c.jpg", "x"))] == [
        5,
        NO_FILE,
        None,
        None,
    ]


def test_a_long_listing_comes_in_parts(area: SambaArea, trees: Callable[..., SmbTree]) -> None:
    names = {f"{number:04} Größe 📷.jpg" for number in range(1500)}
    for name in names:
        (area.root / name).touch()
    tree = trees()
    assert {entry.name for entry in tree.list(())} == names
    some = tree.list(())
    next(some)
    some.close()
    assert tree.size(("0000 Größe 📷.jpg",)) == 0


def test_the_room_that_is_left(area: SambaArea, trees: Callable[..., SmbTree]) -> None:
    disk = os.statvfs(area.root)
    assert abs(trees().free_bytes() - disk.f_bavail * disk.f_frsize) < 1 << 30


def test_a_place_is_never_taken_by_another_spelling(area: SambaArea, trees: Callable[..., SmbTree]) -> None:
    area.plant("IMG_1.JPG", b"theirs")
    area.plant("img_1.part", b"ours")
    assert code_of(lambda: trees().rename(("img_1.part",), ("img_1.jpg",))) == "smb.exists"
    assert area.published() == {"IMG_1.JPG": b"theirs", "img_1.part": b"ours"}


def test_what_lies_behind_the_offset_is_cut_off(area: SambaArea, trees: Callable[..., SmbTree]) -> None:
    area.plant("x.part", b"0123456789")
    tree = trees()
    for offset, more, after in ((4, b"ab", b"0123ab"), (6, b"", b"0123ab"), (0, b"new", b"new")):
        writer = tree.open(("x.part",), offset)
        writer.write(memoryview(more))
        writer.finish()
        assert (area.root / "x.part").read_bytes() == after
    assert code_of(lambda: tree.open(("x.part",), 100)) == "smb.gone"
    tree.remove(("x.part",))
    tree.remove(("x.part",))
    tree.remove(("name: that cannot be",))
    assert area.published() == {}


def test_a_link_out_of_the_share_is_not_followed(
    area: SambaArea, trees: Callable[..., SmbTree], tmp_path: Path
) -> None:
    (area.root / "out").symlink_to(tmp_path)
    tree = trees()
    assert code_of(lambda: tree.make_folders(("out", "x"))) == "smb.blocked"
    assert code_of(lambda: tree.open(("out", "x"), 0)) == "smb.gone"
    assert list(tmp_path.iterdir()) == []


def test_what_is_finished_is_flushed(trees: Callable[..., SmbTree], monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is asked to keep content and name for good, before and after the rename."""
    tree = trees()
    asked: list[str] = []
    ask = tree._wire.send

    def send_and_note(message: object, *arguments: object) -> object:
        asked.append(type(message).__name__.removeprefix("SMB2").removesuffix("Request"))
        return ask(message, *arguments)

    writer = tree.open(PART, 0)
    writer.write(CHUNK)
    monkeypatch.setattr(tree._wire, "send", send_and_note)
    writer.finish()
    assert asked == ["Flush", "Close"]
    asked.clear()
    tree.rename(PART, ("x.jpg",))
    assert asked == ["Create", "SetInfo", "Close", "Create", "Flush", "Close"]


# Who may write.


def test_one_writer_at_a_time(area: SambaArea, trees: Callable[..., SmbTree]) -> None:
    first = trees().open(PART, 0)
    first.write(CHUNK)
    second = trees()
    assert code_of(lambda: second.open(PART, MIB)) == "smb.busy"
    assert code_of(lambda: second.remove(PART)) == "smb.busy"
    assert code_of(lambda: second.rename(PART, ("x.jpg",))) == "smb.busy"
    assert b"".join(bytes(piece) for piece in second.read(PART)) == CHUNK
    first.close()
    second.open(PART, MIB).finish()
    assert len(area.partials()) == 1


def test_an_upload_has_a_connection_of_its_own(area: SambaArea, backend: Backend) -> None:
    uploads = [backend.start(f"{number}.mp4", 2 * MIB, f"token{number}") for number in range(2)]
    assert len(area.server.process.connections()) == 2
    for upload in uploads:
        upload.write(CHUNK)
        upload.close()


def test_a_partial_that_the_server_holds(area: SambaArea, backend: Backend) -> None:
    """A connection that died without a word: the next attempt goes on beside it, and clears it away later."""
    content = content_of(3 * MIB)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 1)
    (holder,) = area.server.process.connections()
    os.kill(holder, signal.SIGSTOP)
    try:
        with pytest.raises(Fault) as caught:
            send(upload, content)
        assert caught.value.code == "smb.stalled"
        upload.close()

        again = backend.start("x.mp4", len(content), "token1")
        assert (again.token, again.offset) == ("token1|2", 0)
        send(again, content)
        receipt = again.commit(digests_of(content))
        again.close()
        assert receipt.has_leftovers
        assert area.published() == {"x.mp4": content}
        assert area.partials() == [".hotshoe-token1.part"]
        assert code_of(lambda: backend.drop("x.mp4", again.token)) == "smb.busy"
    finally:
        os.kill(holder, signal.SIGCONT)
    gone_within(10, lambda: holder in area.server.process.connections())
    backend.drop("x.mp4", again.token)
    assert area.partials() == []
    assert area.published() == {"x.mp4": content}


def test_what_was_sent_to_a_stopped_server_does_not_arrive_late(area: SambaArea, backend: Backend) -> None:
    """It wakes up with requests of the fenced connection: they end with its handle, and nothing else is touched."""
    content, wrong = content_of(2 * MIB), content_of(2 * MIB, seed=1)
    upload = backend.start("x.mp4", len(content), "token1")
    before = set(area.server.process.connections())
    area.server.process.pause()
    with pytest.raises(Fault):
        send(upload, wrong)
    upload.close()
    area.server.process.resume()
    gone_within(10, lambda: before & set(area.server.process.connections()))
    again = backend.start("x.mp4", len(content), "token1")
    again.abort()
    again.close()
    last = backend.start("x.mp4", len(content), "token1")
    assert last.offset == 0
    send(last, content)
    last.commit(digests_of(content))
    last.close()
    assert area.published() == {"x.mp4": content}


@pytest.mark.parametrize("taken", [0, 2 * MIB])
def test_a_server_that_takes_nothing_or_too_much_is_not_believed(
    trees: Callable[..., SmbTree], monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    tree = trees()
    writer = tree.open(PART, 0)
    answers = iter([taken] * 3)
    monkeypatch.setattr(tree._wire, "write", lambda *_: next(answers))
    assert code_of(lambda: writer.write(CHUNK)) == "smb.tampered"
    writer.close()


# Servers that stop, and what is left of it here.


def test_a_connection_that_is_killed_mid_write(area: SambaArea, trees: Callable[..., SmbTree]) -> None:
    tree = trees()
    writer = tree.open(PART, 0)
    for _ in range(3):
        writer.write(CHUNK)
    area.server.process.end_connections()

    def go_on() -> None:
        for _ in range(3):
            writer.write(CHUNK)

    assert code_of(go_on) == "smb.connection_lost"
    assert not tree.is_usable
    writer.close()
    assert receivers() == []
    other = trees()
    held = other.size(PART)
    assert held in (3 * MIB, 4 * MIB)
    other.open(PART, held).finish()


Pause = Callable[[], None]


def write_on(tree: SmbTree, pause: Pause) -> None:
    writer = tree.open(PART, 0)
    pause()
    for _ in range(64):  # more than any socket takes
        writer.write(CHUNK)


def finish(tree: SmbTree, pause: Pause) -> None:
    writer = tree.open(PART, 0)
    writer.write(CHUNK)
    pause()
    writer.finish()


def close_writer(tree: SmbTree, pause: Pause) -> None:
    writer = tree.open(PART, 0)
    pause()
    writer.close()
    tree.size(PART)


def read_on(tree: SmbTree, pause: Pause) -> None:
    content = tree.read(("big",))
    next(content)
    pause()
    for _ in content:
        pass


def stop_reading(tree: SmbTree, pause: Pause) -> None:
    content = tree.read(("big",))
    next(content)
    pause()
    content.close()
    tree.size(PART)


def asked(call: Callable[[SmbTree], object]) -> Callable[[SmbTree, Pause], None]:
    def paused(tree: SmbTree, pause: Pause) -> None:
        pause()
        call(tree)

    return paused


STALLED_CALLS: dict[str, Callable[[SmbTree, Pause], None]] = {
    "write": write_on,
    "finish": finish,
    "close": close_writer,
    "read": read_on,
    "stop reading": stop_reading,
    "size": asked(lambda tree: tree.size(PART)),
    "make folders": asked(lambda tree: tree.make_folders(("a", "b"))),
    "open": asked(lambda tree: tree.open(PART, 0)),
    "rename": asked(lambda tree: tree.rename(("big",), ("x",))),
    "remove": asked(lambda tree: tree.remove(("big",))),
    "list": asked(lambda tree: list(tree.list(()))),
    "free": asked(lambda tree: tree.free_bytes()),
}

# What is closed closes without a word; the call after it says that the connection has ended.
STALLED_CODES = {"close": "smb.connection_lost", "stop reading": "smb.connection_lost"}


@pytest.mark.parametrize("call", STALLED_CALLS)
def test_no_call_hangs_at_a_stopped_server(area: SambaArea, trees: Callable[..., SmbTree], call: str) -> None:
    """It ends within its deadline, its thread with it, and the connection is not used again."""
    area.plant("big", content_of(8 * MIB))
    tree = trees(read_timeout_seconds=1)
    begun = time.monotonic()
    try:
        code = code_of(lambda: STALLED_CALLS[call](tree, area.server.process.pause))
        assert code == STALLED_CODES.get(call, "smb.stalled")
        assert receivers() == [], "the connection is fenced at once"
        tree.close()
        assert time.monotonic() - begun < 10
    finally:
        area.server.process.resume()
    assert not tree.is_usable
    assert receivers() == []
    assert code_of(lambda: tree.size(PART)) == "smb.connection_lost"


def test_logging_in_at_a_stopped_server(area: SambaArea) -> None:
    area.server.process.pause()
    begun = time.monotonic()
    try:
        assert code_of(lambda: connect(area.config(read_timeout_seconds=1))) == "smb.stalled"
        assert time.monotonic() - begun < 10
    finally:
        area.server.process.resume()
    assert receivers() == []


def test_closing_a_connection_to_a_stopped_server(area: SambaArea, trees: Callable[..., SmbTree]) -> None:
    tree = trees()
    area.server.process.pause()
    begun = time.monotonic()
    tree.close()
    assert time.monotonic() - begun < 0.5
    area.server.process.resume()
    assert receivers() == []


def test_failures_leave_nothing_behind(area: SambaArea, caplog: pytest.LogCaptureFixture) -> None:
    """No thread, no descriptor, no line in the log."""
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        for config in (area.wrong_secret(), area.missing_root(), area.config(address=r"\\127.0.0.1:9\x")):
            with suppress(Fault):
                connect(config)
        tree = connect(area.config())
        area.server.process.end_connections()
        with suppress(Fault):
            tree.size(PART)
        tree.close()
    assert receivers() == []
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert caplog.records == []


# Cost.


@pytest.mark.parametrize("share", [None, ENCRYPTED])
def test_memory_is_a_few_chunks(samba: Samba, share: str | None) -> None:
    area = SambaArea(samba, share) if share else SambaArea(samba)
    tree = connect(area.config())
    writer = tree.open(PART, 0)
    writer.write(CHUNK)
    peaks = []
    for chunks in (4, 32):
        tracemalloc.start()
        for _ in range(chunks):
            writer.write(CHUNK)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    writer.finish()
    for _ in range(2):
        tracemalloc.start()
        for _ in tree.read(PART):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    tree.close()
    assert max(peaks[:2]) < 2 * MIB
    assert max(peaks[2:]) < 6 * MIB
