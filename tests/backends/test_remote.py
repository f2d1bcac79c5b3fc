"""What file trees on other machines have in common, over a tree that fails on demand."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path as Folder

import pytest

from agent.backends.base import Entry, Exclusive, Presence, Proof
from agent.backends.remote import NO_FILE, Path, RemoteBackend, Tree
from agent.backends.remote.pool import Pool
from agent.faults import Advice, Fault, Kind, Scope, fault
from tests.backends.conformance import content_of, deliver, digests_of, send

_ITEM = Scope.ITEM
FAULTS = {
    "local.exists": Advice(Kind.PERMANENT, "taken", _ITEM),
    "local.damaged": Advice(Kind.RETRYABLE, "damaged", _ITEM),
    "local.bad_key": Advice(Kind.PERMANENT, "bad", _ITEM),
    "local.busy": Advice(Kind.RETRYABLE, "busy", _ITEM),
    "local.refused_name": Advice(Kind.PERMANENT, "refused", _ITEM),
    "local.full": Advice(Kind.RETRYABLE, "full"),
    "local.missing": Advice(Kind.NEEDS_USER, "missing"),
    "local.not_readable": Advice(Kind.NEEDS_USER, "unreadable"),
    "local.lost": Advice(Kind.RETRYABLE, "lost"),
}
CHUNK = 1 << 20


class Server:
    """A folder, and what its connections have been told to do."""

    def __init__(self, root: Folder):
        self.root = root
        self.connected = 0
        self.open_connections = 0
        self.calls: list[str] = []
        self.held: set[str] = set()  # names that somebody has open
        self.replaces = False
        self.is_readable = True
        self.free: int | None = None
        self.before: dict[str, Callable[[], None]] = {}  # call → what happens before it
        self.after: dict[str, Callable[[], None]] = {}

    def connect(self) -> LocalTree:
        self.connected += 1
        self.open_connections += 1
        return LocalTree(self)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())


def cut() -> None:
    raise fault(FAULTS, "local.lost")


class LocalTree:
    def __init__(self, server: Server):
        self.is_usable = True
        self._server = server

    def _call(self, name: str, path: Path, act: Callable[[Folder], object]) -> object:
        assert self.is_usable, "nothing is asked of a dead connection"
        self._server.calls.append(name)
        try:
            if trouble := self._server.before.pop(name, None):
                trouble()
            if name in ("open", "remove") and path[-1] in self._server.held:
                raise fault(FAULTS, "local.busy")
            result = act(self._server.root.joinpath(*path))
            if trouble := self._server.after.pop(name, None):
                trouble()
        except Fault as caught:
            self.is_usable = caught.code != "local.lost"
            raise
        except FileNotFoundError:
            raise fault(FAULTS, "local.missing") from None
        return result

    def size(self, path: Path) -> int | None:
        def look(place: Folder) -> int | None:
            return None if not place.exists() else place.stat().st_size if place.is_file() else NO_FILE

        size = self._call("size", path, look)
        assert size is None or isinstance(size, int)
        return size

    def make_folders(self, folders: Path) -> None:
        if not self._server.root.is_dir():
            raise fault(FAULTS, "local.missing")
        self._call("make_folders", folders, lambda place: place.mkdir(parents=True, exist_ok=True))

    def open(self, path: Path, offset: int) -> LocalWriter:
        def begin(place: Folder) -> int:
            file = os.open(place, os.O_CREAT | os.O_WRONLY | (0 if offset else os.O_TRUNC))
            os.lseek(file, offset, os.SEEK_SET)
            return file

        file = self._call("open", path, begin)
        assert isinstance(file, int)
        return LocalWriter(self, path, file)

    def read(self, path: Path) -> Generator[bytes, None, None]:
        if not self._server.is_readable:
            raise fault(FAULTS, "local.not_readable")
        content = self._call("read", path, lambda place: place.read_bytes())
        assert isinstance(content, bytes)
        yield content

    def rename(self, path: Path, to: Path) -> None:
        def move(place: Folder) -> None:
            target = self._server.root.joinpath(*to)
            if target.exists() and not self._server.replaces:
                raise fault(FAULTS, "local.exists")
            place.rename(target)

        self._call("rename", path, move)

    def remove(self, path: Path) -> None:
        self._call("remove", path, lambda place: place.unlink(missing_ok=True))

    def list(self, folders: Path) -> Generator[Entry, None, None]:
        try:
            for place in self._server.root.joinpath(*folders).iterdir():
                yield Entry(name=place.name, is_folder=place.is_dir(), size=place.stat().st_size)
        finally:
            self._server.calls.append("end of list")

    def free_bytes(self) -> int | None:
        return self._server.free

    def location(self, path: Path) -> str:
        return "local://" + "/".join(path)

    def close(self) -> None:
        self._server.open_connections -= 1


class LocalWriter:
    def __init__(self, tree: LocalTree, path: Path, file: int):
        self._tree, self._path, self._file = tree, path, file

    def write(self, chunk: memoryview) -> None:
        self._tree._call("write", self._path, lambda _: os.write(self._file, chunk))

    def finish(self) -> None:
        self._tree._call("finish", self._path, lambda _: None)
        self.close()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class LocalBackend(RemoteBackend):
    def __init__(self, server: Server, minimum_proof: Proof = Proof.READBACK):
        super().__init__(
            kind="local", faults=FAULTS, connect=server.connect, minimum_proof=minimum_proof, owner="suite"
        )


@pytest.fixture
def server(tmp_path: Folder) -> Server:
    return Server(tmp_path)


@pytest.fixture
def backend(server: Server) -> Iterator[LocalBackend]:
    backend = LocalBackend(server)
    yield backend
    backend.close()
    assert server.open_connections == 0, "every connection is closed"


def test_what_the_server_does_when_a_name_is_taken_is_found_out(
    server: Server, backend: LocalBackend
) -> None:
    assert backend.check().exclusive is Exclusive.ATOMIC
    server.replaces = True
    assert backend.check().exclusive is Exclusive.CHECKED
    assert server.names() == []


@pytest.mark.parametrize("known", [None, Exclusive.CHECKED, Exclusive.ATOMIC])
def test_before_it_is_known_or_safe_the_place_is_looked_at(
    server: Server, backend: LocalBackend, known: Exclusive | None
) -> None:
    server.replaces = known is not Exclusive.ATOMIC
    backend.exclusive = known
    content = content_of(10)
    upload = backend.start("x.jpg", 10, "tag")
    send(upload, content)
    (server.root / "x.jpg").write_bytes(b"foreign")
    with pytest.raises(Fault, match=r"local\.exists"):
        upload.commit(digests_of(content))
    upload.abort()
    assert server.names() == ["x.jpg"]
    assert (server.root / "x.jpg").read_bytes() == b"foreign"


def test_a_partial_that_is_held_gets_a_second_name_and_is_removed_when_it_is_let_go(
    server: Server, backend: LocalBackend
) -> None:
    content = content_of(2 * CHUNK)
    upload = backend.start("a/x.mp4", len(content), "tag")
    send(upload, content, 1)
    upload.close()
    server.held.add(".hotshoe-tag.part")

    second = backend.start("a/x.mp4", len(content), "tag")
    assert (second.token, second.offset) == ("tag|2", 0)
    send(second, content, 1)
    second.close()
    third = backend.start("a/x.mp4", len(content), "tag|2")
    assert (third.token, third.offset) == ("tag|2", CHUNK)
    send(third, content)
    receipt = third.commit(digests_of(content))
    third.close()
    assert receipt.has_leftovers
    assert server.names() == ["a/.hotshoe-tag.part", "a/x.mp4"]
    with pytest.raises(Fault, match=r"local\.busy"):
        backend.drop("a/x.mp4", "tag|2")

    server.held.clear()
    backend.drop("a/x.mp4", "tag|2")
    assert server.names() == ["a/x.mp4"]
    assert deliver(backend, "a/y.jpg", b"y").has_leftovers is False


def test_a_login_that_cannot_read_is_enough_where_size_is(server: Server) -> None:
    """As a hint of FTP's says; and a file whose owner cannot be told is never taken for ours."""
    server.is_readable = False
    content = content_of(10)
    backend = LocalBackend(server, Proof.SIZE)
    check = backend.check()
    assert (check.fault, check.proof) == (None, Proof.SIZE)
    assert deliver(backend, "x.jpg", content).proof is Proof.SIZE
    found = backend.find("x.jpg", 10, digests_of(content))
    assert (found.presence, found.receipt) == (Presence.DIFFERENT, None)
    backend.close()
    strict = LocalBackend(server)
    assert strict.check().proof is None
    with pytest.raises(Fault, match=r"local\.not_readable"):
        strict.find("x.jpg", 10, digests_of(content))
    strict.close()


def test_size_is_not_enough_for_what_was_gone_on_with(server: Server) -> None:
    """After a power cut at the server a file can be as long as before, with zeros at its end."""
    backend = LocalBackend(server, Proof.SIZE)
    content = content_of(2 * CHUNK)
    partial = server.root / ".hotshoe-tag.part"
    partial.write_bytes(content[: CHUNK - 100] + bytes(100))
    with pytest.raises(Fault, match=r"local\.damaged"):
        deliver(backend, "x.mp4", content, "tag")
    partial.write_bytes(content[:CHUNK])
    receipt = deliver(backend, "x.mp4", content, "tag")
    assert receipt.proof is Proof.READBACK
    server.is_readable = False
    (server.root / ".hotshoe-tag2.part").write_bytes(content[:CHUNK])
    assert deliver(backend, "y.mp4", content, "tag2").proof is Proof.SIZE
    backend.close()
    assert server.names() == ["x.mp4", "y.mp4"]


def test_names_come_to_an_end(server: Server, backend: LocalBackend) -> None:
    server.held |= {f".hotshoe-tag{number}.part" for number in ("", ".2", ".3", ".4")}
    with pytest.raises(Fault, match=r"local\.busy"):
        backend.start("x.mp4", 5, "tag")


@pytest.mark.parametrize("way", ["commit", "drop"])
def test_a_second_name_that_was_never_noted_is_removed_too(
    server: Server, backend: LocalBackend, way: str
) -> None:
    """The agent was killed after `start` had made it, and before the changed token was saved."""
    content = content_of(CHUNK)
    (server.root / ".hotshoe-tag.part").write_bytes(content[:10])
    server.held.add(".hotshoe-tag.part")
    backend.start("x.mp4", len(content), "tag").close()
    server.held.clear()
    assert server.names() == [".hotshoe-tag.2.part", ".hotshoe-tag.part"]
    if way == "drop":
        backend.drop("x.mp4", "tag")
        assert server.names() == []
    else:
        assert not deliver(backend, "x.mp4", content, "tag").has_leftovers
        assert server.names() == ["x.mp4"]


def test_a_name_that_is_refused_at_last_leaves_nothing(server: Server, backend: LocalBackend) -> None:
    def refuse() -> None:
        raise fault(FAULTS, "local.refused_name")

    server.before["rename"] = refuse
    with pytest.raises(Fault, match=r"local\.refused_name"):
        deliver(backend, "x?.jpg", b"x")
    assert server.names() == []


def test_a_listing_has_ended_when_its_connection_goes_back(
    server: Server, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (server.root / f"{number}.jpg").write_bytes(b"")
    give_back = backend._pool.give_back

    def look(tree: Tree) -> None:
        server.calls.append("given back")
        give_back(tree)

    monkeypatch.setattr(backend._pool, "give_back", look)
    monkeypatch.setattr("agent.backends.remote.backend._MOST_ENTRIES", 2)
    assert len(backend.browse("")) == 2
    assert server.calls == ["end of list", "given back"]


def test_a_rename_whose_answer_was_lost_is_not_sent_again(server: Server, backend: LocalBackend) -> None:
    content = content_of(CHUNK + 1)
    upload = backend.start("x.mp4", len(content), "tag")
    send(upload, content)
    server.after["rename"] = cut
    with pytest.raises(Fault, match=r"local\.lost"):
        upload.commit(digests_of(content))
    upload.close()
    writes = server.calls.count("write")
    with pytest.raises(Fault, match=r"local\.exists"):
        backend.start("x.mp4", len(content), "tag")
    assert backend.find("x.mp4", len(content), digests_of(content)).presence is Presence.SAME
    backend.drop("x.mp4", "tag")
    assert not backend._context.doubtful, "nothing is remembered for ever"
    assert server.calls.count("write") == writes
    assert server.names() == ["x.mp4"]


def test_a_rename_that_was_lost_on_the_way_is_repeated(server: Server, backend: LocalBackend) -> None:
    content = content_of(CHUNK + 1)
    upload = backend.start("x.mp4", len(content), "tag")
    send(upload, content)
    server.before["rename"] = cut
    with pytest.raises(Fault, match=r"local\.lost"):
        upload.commit(digests_of(content))
    upload.close()
    again = backend.start("x.mp4", len(content), "tag")
    assert again.offset == len(content)
    again.commit(digests_of(content))
    again.close()
    assert server.names() == ["x.mp4"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_chunk_may_be_written_again(server: Server, backend: LocalBackend, when: str) -> None:
    """The same upload goes on over a new connection, whatever the first has left."""
    content = content_of(3 * CHUNK)
    upload = backend.start("x.mp4", len(content), "tag")
    send(upload, content, 1)
    getattr(server, when)["write"] = cut
    with pytest.raises(Fault, match=r"local\.lost"):
        send(upload, content, 1)
    assert upload.offset == CHUNK
    send(upload, content)
    upload.commit(digests_of(content))
    upload.close()
    assert (server.root / "x.mp4").read_bytes() == content


def test_a_folder_that_somebody_removed_is_made_again(server: Server, backend: LocalBackend) -> None:
    deliver(backend, "a/b/x.jpg", b"x")
    (server.root / "a/b/x.jpg").unlink()
    (server.root / "a/b").rmdir()
    deliver(backend, "a/b/y.jpg", b"y", "tag2")
    assert server.names() == ["a/b/y.jpg"]


def test_no_room_is_told_before_the_first_byte(server: Server, backend: LocalBackend) -> None:
    server.free = 1000
    with pytest.raises(Fault, match=r"local\.full"):
        backend.start("x.mp4", 1 << 30, "tag")
    deliver(backend, "x.jpg", b"small enough to try")


def test_round_trips_per_file(server: Server, backend: LocalBackend) -> None:
    backend.check()
    deliver(backend, "a/first.jpg", b"1")
    server.calls.clear()
    connected = server.connected
    assert backend.find("a/x.jpg", 5, None).presence is Presence.ABSENT
    deliver(backend, "a/x.jpg", b"12345", "tag2")
    assert server.calls == ["size", "size", "open", "write", "finish", "size", "read", "rename"]
    assert server.connected == connected


class TestPool:
    def test_a_dead_connection_is_not_used_again(self, server: Server) -> None:
        pool = Pool(server.connect)
        with pool.borrowed() as tree:
            assert isinstance(tree, LocalTree)
            tree.is_usable = False
        with pool.borrowed() as other:
            assert other is not tree
        pool.close()
        assert server.open_connections == 0

    def test_a_connection_that_was_idle_for_long_is_not_trusted(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 100.0
        monkeypatch.setattr("agent.backends.remote.pool.time.monotonic", lambda: now)
        pool = Pool(server.connect)
        with pool.borrowed() as tree:
            pass
        now += 19
        with pool.borrowed() as other:
            assert other is tree
        now += 21
        with pool.borrowed() as other:
            assert other is not tree
        assert server.open_connections == 1
        pool.close()

    def test_few_are_kept(self, server: Server) -> None:
        pool = Pool(server.connect)
        for tree in [pool.take() for _ in range(10)]:
            pool.give_back(tree)
        assert server.open_connections == 4
        pool.close()
        assert server.open_connections == 0

    def test_one_that_is_still_out_when_the_pool_closes_is_closed_when_it_comes_back(
        self, server: Server
    ) -> None:
        pool = Pool(server.connect)
        tree = pool.take()
        pool.close()
        pool.give_back(tree)
        assert server.open_connections == 0
