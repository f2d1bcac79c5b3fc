"""What every destination must do, at every server. Subclass it with an `area` (test_conformance.py).

Nothing is believed that a backend says of itself: what was published, and what was left behind, is looked up in
the server's own store.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator

import google_crc32c
import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from agent.backends import Destination, open_backend
from agent.backends.base import Backend, Digests, Presence, Proof, Receipt, Upload
from agent.faults import Fault, Kind, Scope
from tests.backends.matrix import Note
from tests.backends.places import Area

OWNER = "suite"
STALL_SECONDS = 25.0
"""The longest that a call may take at a server that does not answer, with the timeouts of the tests."""
_POOL = random.Random(20261122).randbytes(17_000_000)

ODD_NAMES = [
    "Größe ﬁ 日本語 📷.jpg",
    "e\u0301 decomposed and \u00e9 composed.jpg",
    "spaces  and + & % ? # = ; , @ $ ! ' \" ( ) [ ] { } ~ ` ^ * < > | : .jpg",
    "%2e%2e%2fescaped.jpg",
    "-dash.jpg",
    "no_extension",
    "ends with a dot.",
    "n" * 240 + ".jpg",
    "deep/er/and/deep/er/x.jpg",
]
BAD_KEYS = [
    "",
    "/",
    "/etc/x",
    "../x",
    "a/../x",
    "a/./x",
    "a//x",
    "a/",
    ".hotshoe-x.part",
    "a/.hotshoe-y",
    "a\0b",
    "\ud800",
    "a\\..\\..\\x",
]


def content_of(size: int, seed: int = 0) -> bytes:
    start = seed * 4099 % 1_000_000
    return _POOL[start : start + size]


def digests_of(content: bytes) -> Digests:
    return Digests(
        sha256=hashlib.sha256(content).hexdigest(),
        crc32c=google_crc32c.value(content).to_bytes(4, "big").hex(),
    )


def send(upload: Upload, content: bytes, chunks: int = 1000) -> None:
    """Write at most `chunks` chunks from where the upload stands."""
    view = memoryview(bytearray(content))  # writable, as the engine's buffer is
    while upload.offset < len(content) and chunks:
        upload.write(view[upload.offset : upload.offset + upload.chunk_bytes])
        chunks -= 1


def deliver(backend: Backend, key: str, content: bytes, token: str = "token1") -> Receipt:
    upload = backend.start(key, len(content), token)
    try:
        send(upload, content)
        return upload.commit(digests_of(content))
    finally:
        upload.close()


class Conformance:
    """The suite. `area` is a fixture of the subclass."""

    kind: str
    place: type[Area]
    keeps_every_write = True
    """Whether what `write` has taken is at the server, or may still be on its way there when the agent is killed."""

    @pytest.fixture
    def backends(self, area: Area) -> Iterator[list[Backend]]:
        opened: list[Backend] = []
        yield opened
        for backend in opened:
            backend.close()
        area.close()

    @pytest.fixture
    def backend(self, area: Area, backends: list[Backend]) -> Backend:
        return self._open(area.config(), backends)

    @pytest.fixture
    def reborn(self, area: Area, backends: list[Backend]) -> Backend:
        """Another life of the agent: a backend that knows nothing of the first."""
        return self._open(area.config(), backends)

    def _open(self, config: Destination, backends: list[Backend]) -> Backend:
        backend = open_backend(config, owner=OWNER)
        backends.append(backend)
        return backend

    # Content.

    @pytest.mark.parametrize("chunks", [0, 1, 2, 3])
    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_arrives_byte_for_byte(self, area: Area, backend: Backend, chunks: int, more: int) -> None:
        content = content_of(max(0, chunks * area.chunk_bytes + more))
        backend.exclusive = area.exclusive  # as the engine remembers it from a check
        upload = backend.start("2026-11-22/IMG_0001.CR3", len(content), "token1")
        assert upload.offset == 0
        send(upload, content)
        assert upload.offset == len(content)
        assert area.published() == {}, "nothing is visible before the commit"

        receipt = upload.commit(digests_of(content))
        upload.close()

        assert area.published() == {"2026-11-22/IMG_0001.CR3": content}
        assert area.partials() == []
        assert (receipt.size, receipt.proof, receipt.exclusive) == (len(content), area.proof, area.exclusive)
        assert receipt.location.endswith("2026-11-22/IMG_0001.CR3")
        assert receipt.checksum in (
            f"sha256:{digests_of(content).sha256}",
            f"crc32c:{digests_of(content).crc32c}",
        )

    @pytest.mark.parametrize("key", ODD_NAMES)
    def test_odd_names(self, area: Area, backend: Backend, key: str) -> None:
        content = content_of(1000)
        if key in area.refused_names:
            with pytest.raises(Fault) as refusal:
                deliver(backend, key, content)
            assert refusal.value.code == f"{self.kind}.refused_name"
            assert (refusal.value.kind, refusal.value.scope) == (Kind.PERMANENT, Scope.ITEM)
            assert area.published() == {}
            return
        deliver(backend, key, content)
        assert area.published() == {key: content}
        assert backend.find(key, 1000, digests_of(content)).presence is Presence.SAME

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_a_key_cannot_leave_the_root(self, area: Area, backend: Backend, key: str) -> None:
        for call in (lambda: backend.start(key, 1, "token1"), lambda: backend.find(key, 1, None)):
            with pytest.raises(Fault) as refusal:
                call()
            assert refusal.value.code == f"{self.kind}.bad_key"
            assert (refusal.value.kind, refusal.value.scope) == (Kind.PERMANENT, Scope.ITEM)
        assert area.published() == {}

    def test_side_by_side(self, area: Area, backend: Backend) -> None:
        files = {f"d/{number}.jpg": content_of(area.chunk_bytes + number, seed=number) for number in range(4)}
        errors: list[BaseException] = []

        def work(key: str, content: bytes, token: str) -> None:
            try:
                deliver(backend, key, content, token)
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=work, args=(key, content, f"token{number}"))
            for number, (key, content) in enumerate(files.items())
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert area.published() == files
        assert area.partials() == []

    # Resume.

    @pytest.mark.parametrize("done", [1, 2, 3])
    @pytest.mark.parametrize("life", ["same", "reborn"])
    def test_resumes_where_the_destination_stands(
        self, request: pytest.FixtureRequest, area: Area, backend: Backend, done: int, life: str
    ) -> None:
        content = content_of(3 * area.chunk_bytes + 5)
        first = backend.start("a/x.mp4", len(content), "token1")
        send(first, content, done)
        token = first.token
        first.close()
        assert area.published() == {}

        if life == "reborn":
            backend = request.getfixturevalue("reborn")
        second = backend.start("a/x.mp4", len(content), token)
        assert second.offset == done * area.chunk_bytes
        assert second.token == token
        send(second, content)
        second.commit(digests_of(content))
        second.close()
        assert area.published() == {"a/x.mp4": content}
        assert area.partials() == []

    def test_resumes_after_a_kill(self, area: Area, backend: Backend) -> None:
        """kill -9 in another process, with the upload open."""
        content = content_of(3 * area.chunk_bytes + 5)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                doomed = open_backend(area.config(), owner=OWNER).start("x.mp4", len(content), "token1")
                send(doomed, content, 2)
                os.write(writing, doomed.token.encode())
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.close(writing)
        with open(reading) as pipe:
            token = pipe.read()
        os.waitpid(child, 0)

        upload = backend.start("x.mp4", len(content), token)
        if self.keeps_every_write:
            assert upload.offset == 2 * area.chunk_bytes
        assert upload.offset <= 2 * area.chunk_bytes
        send(upload, content)
        upload.commit(digests_of(content))
        upload.close()
        assert area.published() == {"x.mp4": content}
        assert area.partials() == []

    def test_resumes_twice(self, area: Area, backend: Backend) -> None:
        content = content_of(3 * area.chunk_bytes)
        token = "token1"
        for expected in (0, 1, 2):
            upload = backend.start("x.mp4", len(content), token)
            assert upload.offset == expected * area.chunk_bytes
            send(upload, content, 1)
            token = upload.token
            upload.close()
        upload = backend.start("x.mp4", len(content), token)
        assert upload.offset == len(content)
        upload.commit(digests_of(content))
        upload.close()
        assert area.published() == {"x.mp4": content}

    def test_meets_only_its_own_leftovers(self, area: Area, backend: Backend) -> None:
        content, other = content_of(2 * area.chunk_bytes), content_of(2 * area.chunk_bytes, seed=1)
        upload = backend.start("x.mp4", len(other), "token1")
        send(upload, other, 1)
        upload.close()
        second = backend.start("x.mp4", len(content), "token2")
        assert second.offset == 0
        send(second, content)
        second.commit(digests_of(content))
        second.close()
        backend.drop("x.mp4", upload.token)
        assert area.published() == {"x.mp4": content}
        assert area.partials() == []

    # The end of an upload.

    def test_commit_twice(self, area: Area, backend: Backend) -> None:
        content = content_of(area.chunk_bytes + 1)
        upload = backend.start("x.mp4", len(content), "token1")
        send(upload, content)
        assert upload.commit(digests_of(content)) == upload.commit(digests_of(content))
        upload.abort()  # too late to do anything
        upload.close()
        assert area.published() == {"x.mp4": content}

    @pytest.mark.parametrize("chunks", [1, 2])
    def test_a_commit_that_was_forgotten_is_found(
        self, area: Area, backend: Backend, reborn: Backend, chunks: int
    ) -> None:
        content = content_of(chunks * area.chunk_bytes)
        upload = backend.start("x.mp4", len(content), "token1")
        token = upload.token
        send(upload, content)
        receipt = upload.commit(digests_of(content))
        upload.close()

        found = reborn.find("x.mp4", len(content), digests_of(content))
        assert found.presence is Presence.SAME
        assert found.receipt is not None
        assert (found.receipt.proof, found.receipt.checksum) == (receipt.proof, receipt.checksum)
        with pytest.raises(Fault) as refusal:  # and an engine that does not ask is told so
            again = reborn.start("x.mp4", len(content), token)
            send(again, content)
            again.commit(digests_of(content))
        assert refusal.value.code == f"{self.kind}.exists"
        reborn.drop("x.mp4", token)
        assert area.published() == {"x.mp4": content}
        assert area.partials() == []

    @pytest.mark.parametrize("chunks", [0, 1, 2])
    def test_abort_leaves_nothing(self, area: Area, backend: Backend, chunks: int) -> None:
        content = content_of(2 * area.chunk_bytes + 1)
        upload = backend.start("a/b/x.mp4", len(content), "token1")
        send(upload, content, chunks)
        upload.abort()
        upload.abort()
        upload.close()
        assert area.published() == {}
        assert area.partials() == []

        again = backend.start("a/b/x.mp4", len(content), upload.token)
        assert again.offset == 0
        send(again, content)
        again.commit(digests_of(content))
        again.close()
        assert area.published() == {"a/b/x.mp4": content}

    def test_drop(self, area: Area, backend: Backend, reborn: Backend) -> None:
        content = content_of(2 * area.chunk_bytes + 1)
        upload = backend.start("a/x.mp4", len(content), "token1")
        send(upload, content, 1)
        upload.close()
        reborn.drop("a/x.mp4", upload.token)
        reborn.drop("a/x.mp4", upload.token)
        reborn.drop("never/there.jpg", "token9")
        assert area.partials() == []
        deliver(backend, "a/x.mp4", content, upload.token)
        reborn.drop("a/x.mp4", upload.token)
        assert area.published() == {"a/x.mp4": content}

    # Others.

    @pytest.mark.parametrize("chunks", [1, 2])
    @pytest.mark.parametrize("longer", [0, 1])
    def test_foreign_content_is_never_replaced(
        self, area: Area, backend: Backend, chunks: int, longer: int
    ) -> None:
        content = content_of(chunks * area.chunk_bytes)
        foreign = content_of(len(content) + longer, seed=1)
        upload = backend.start("x.jpg", len(content), "token1")
        send(upload, content)
        area.plant("x.jpg", foreign)

        with pytest.raises(Fault) as refusal:
            upload.commit(digests_of(content))
        assert refusal.value.code == f"{self.kind}.exists"
        assert (refusal.value.kind, refusal.value.scope) == (Kind.PERMANENT, Scope.ITEM)
        assert area.published() == {"x.jpg": foreign}
        undecided = Presence.DIFFERENT if longer else Presence.UNDECIDED
        assert backend.find("x.jpg", len(content), None).presence is undecided
        found = backend.find("x.jpg", len(content), digests_of(content))
        assert (found.presence, found.receipt) == (Presence.DIFFERENT, None)
        upload.abort()
        upload.close()
        assert area.published() == {"x.jpg": foreign}
        assert area.partials() == []

    def test_the_same_content_is_recognised(self, area: Area, backend: Backend) -> None:
        content = content_of(area.chunk_bytes + 1)
        area.plant("x.jpg", content)
        found = backend.find("x.jpg", len(content), digests_of(content))
        assert found.presence is Presence.SAME
        assert found.receipt is not None
        assert found.receipt.proof is Proof.READBACK, "a stranger's copy is compared byte by byte"
        assert found.receipt.checksum == f"sha256:{digests_of(content).sha256}"
        assert found.receipt.size == len(content)

    def test_nothing_is_absent(self, backend: Backend) -> None:
        assert backend.find("a/b/x.jpg", 5, None).presence is Presence.ABSENT

    # Damage.

    @pytest.mark.parametrize("chunks", [1, 3])
    def test_a_flipped_bit_is_never_delivered(self, area: Area, backend: Backend, chunks: int) -> None:
        content = content_of(chunks * area.chunk_bytes)
        damaged = bytearray(content)
        damaged[len(damaged) // 2] ^= 0x10
        upload = backend.start("x.jpg", len(content), "token1")
        send(upload, bytes(damaged))
        with pytest.raises(Fault) as refusal:
            upload.commit(digests_of(content))
        upload.close()
        assert refusal.value.code == f"{self.kind}.damaged"
        assert (refusal.value.kind, refusal.value.scope) == (Kind.RETRYABLE, Scope.ITEM)
        assert area.partials() == []
        if area.published():
            assert not area.takes_back
            assert backend.find("x.jpg", len(content), digests_of(content)).presence is Presence.DIFFERENT
            return

        again = backend.start("x.jpg", len(content), upload.token)
        assert again.offset == 0
        send(again, content)
        again.commit(digests_of(content))
        again.close()
        assert area.published() == {"x.jpg": content}

    @pytest.mark.parametrize("chunks", [1, 2])
    def test_a_size_that_was_a_lie(self, area: Area, backend: Backend, chunks: int) -> None:
        content = content_of(chunks * area.chunk_bytes)
        upload = backend.start("x.jpg", len(content), "token1")
        if chunks > 1:
            send(upload, content, 1)
        with pytest.raises(Fault) as refusal:
            upload.commit(digests_of(content))
        assert refusal.value.code == f"{self.kind}.damaged"
        upload.close()
        longer = backend.start("y.jpg", len(content), "token2")
        send(longer, content)
        with pytest.raises(ValueError, match="."):
            longer.write(memoryview(b"more"))
        longer.abort()
        longer.close()
        assert area.published() == {}
        assert area.partials() == []

    # Settings.

    def test_opting_down_to_size(self, area: Area, backends: list[Backend]) -> None:
        backend = self._open(area.config(minimum_proof="size"), backends)
        content = content_of(1000)
        receipt = deliver(backend, "x.jpg", content)
        expected = Proof.CHECKSUM if area.proof is Proof.CHECKSUM else Proof.SIZE
        assert receipt.proof is expected
        assert (receipt.checksum is None) == (expected is Proof.SIZE)
        assert area.published() == {"x.jpg": content}

    # The check, and looking around.

    def test_check(self, area: Area, backend: Backend) -> None:
        area.plant("there.jpg", b"before")
        check = backend.check()
        assert check.fault is None
        assert [step.name for step in check.steps if step.ok] == [
            "write",
            "read back",
            "list",
            "refuse overwrite",
            "delete",
        ]
        assert (check.proof, check.exclusive) == (area.proof, area.exclusive)
        assert backend.exclusive is area.exclusive
        assert all(0 < step.seconds < 30 for step in check.steps)
        assert area.published() == {"there.jpg": b"before"}
        assert area.partials() == []

    def test_check_cleans_up_after_a_killed_one(self, area: Area, backend: Backend) -> None:
        area.plant(f".hotshoe-check-{OWNER}", b"of a check that was killed")
        area.plant(".hotshoe-check-another", b"of another installation")
        check = backend.check()
        assert check.fault is None
        left = area.partials() + list(area.published())
        assert left == [".hotshoe-check-another"]

    def test_check_never_raises(self, area: Area, backend: Backend) -> None:
        area.vanish()
        check = backend.check()
        assert check.fault is not None
        assert [step.ok for step in check.steps] == [False]
        assert check.fault.code in check.steps[0].detail

    def test_browse(self, area: Area, backend: Backend) -> None:
        area.plant("b/c/d.jpg", b"12345")
        area.plant("b/a.jpg", b"1")
        area.plant("z.jpg", b"123")
        assert [(entry.name, entry.is_folder, entry.size) for entry in backend.browse("")] == [
            ("b", True, None),
            ("z.jpg", False, 3),
        ]
        assert [(entry.name, entry.is_folder, entry.size) for entry in backend.browse("b")] == [
            ("c", True, None),
            ("a.jpg", False, 1),
        ]
        with pytest.raises(Fault) as refusal:
            backend.browse("../..")
        assert refusal.value.code == f"{self.kind}.bad_key"

    # Trouble with the whole destination.

    def test_a_root_that_vanished(self, area: Area, backend: Backend) -> None:
        area.vanish()
        for content in (content_of(10), content_of(area.chunk_bytes + 1)):
            with pytest.raises(Fault) as refusal:
                deliver(backend, "a/x.jpg", content)
            assert refusal.value.code.endswith((".missing", ".no_bucket", ".no_container", ".no_share"))
            assert refusal.value.scope is Scope.WHOLE

    @pytest.mark.parametrize("trouble", ["wrong_secret", "missing_root", "forbidden"])
    def test_a_person_must_act(self, area: Area, backends: list[Backend], note: Note, trouble: str) -> None:
        """A wrong password, no such share or bucket, no right to write: nobody burns tries on it."""
        config = getattr(area, trouble)()
        if config is None:
            return note.nothing_to_test()
        backend = self._open(config, backends)
        for key, size in (("a/x.jpg", 10), ("a/y.mp4", area.chunk_bytes + 1)):
            with pytest.raises(Fault) as refusal:
                deliver(backend, key, content_of(size))
            assert (refusal.value.kind, refusal.value.scope) == (Kind.NEEDS_USER, Scope.WHOLE), refusal.value
            assert not refusal.value.code.endswith(".unclassified")
        check = backend.check()
        assert check.fault is not None
        assert (check.fault.kind, check.proof) == (Kind.NEEDS_USER, None)
        assert not check.steps[-1].ok
        assert check.fault.code in check.steps[-1].detail

    def test_a_full_destination_is_a_wait(self, area: Area, backends: list[Backend], note: Note) -> None:
        config = area.full()
        if config is None:
            return note.nothing_to_test()
        backend = self._open(config, backends)
        content = content_of(1000)
        deliver(backend, "before.jpg", content)
        large = content_of(17_000_000) * 2
        with pytest.raises(Fault) as refusal:
            deliver(backend, "x.mp4", large, "token2")
        assert (refusal.value.kind, refusal.value.scope) == (Kind.RETRYABLE, Scope.WHOLE), refusal.value
        assert refusal.value.code.endswith((".full", ".quota"))
        backend.drop("x.mp4", "token2")
        deliver(backend, "after.jpg", content)
        for key in ("before.jpg", "after.jpg"):
            assert backend.find(key, 1000, digests_of(content)).presence is Presence.SAME
        assert backend.find("x.mp4", len(large), None).presence is Presence.ABSENT

    def test_a_stalled_server_hangs_nobody(
        self, request: pytest.FixtureRequest, area: Area, backend: Backend, note: Note
    ) -> None:
        if area.process is None:
            return note.nothing_to_test()
        content = content_of(3 * area.chunk_bytes)
        upload = backend.start("x.mp4", len(content), "token1")
        send(upload, content, 1)
        token = upload.token
        area.process.pause()
        begun = time.monotonic()
        try:
            with pytest.raises(Fault) as refusal:
                send(upload, content)
                upload.commit(digests_of(content))
            upload.close()
            assert time.monotonic() - begun < STALL_SECONDS
            assert (refusal.value.kind, refusal.value.scope) == (Kind.RETRYABLE, Scope.WHOLE), refusal.value
            with pytest.raises(Fault) as refusal:
                backend.find("y.jpg", 1, None)
            assert refusal.value.kind is Kind.RETRYABLE
            assert time.monotonic() - begun < 2 * STALL_SECONDS
        finally:
            area.process.resume()
        self._finish(backend, area, token, content)

    def test_a_server_that_is_killed(self, area: Area, backend: Backend, note: Note) -> None:
        """In the middle of an upload; then it is started again and the upload goes on."""
        if area.process is None:
            return note.nothing_to_test()
        content = content_of(3 * area.chunk_bytes)
        upload = backend.start("x.mp4", len(content), "token1")
        send(upload, content, 1)
        token = upload.token
        area.process.kill()
        try:
            with pytest.raises(Fault) as refusal:
                send(upload, content)
                upload.commit(digests_of(content))
            upload.close()
            assert (refusal.value.kind, refusal.value.scope) == (Kind.RETRYABLE, Scope.WHOLE), refusal.value
            with pytest.raises(Fault) as refusal:
                deliver(backend, "y.jpg", b"1", "token2")
            assert (refusal.value.kind, refusal.value.scope) == (Kind.RETRYABLE, Scope.WHOLE), refusal.value
        finally:
            area.process.start()
        self._finish(backend, area, token, content)

    def _finish(self, backend: Backend, area: Area, token: str, content: bytes) -> None:
        """As the engine would: look, go on, commit, clear away; a server may need a moment to let go."""
        for attempt in Retrying(
            retry=retry_if_exception_type(Fault),
            stop=stop_after_delay(60),
            wait=wait_fixed(0.5),
            reraise=True,
        ):
            with attempt:
                found = backend.find("x.mp4", len(content), digests_of(content))
                if found.presence is Presence.ABSENT:
                    upload = backend.start("x.mp4", len(content), token)
                    token = upload.token
                    try:
                        send(upload, content)
                        upload.commit(digests_of(content))
                    finally:
                        upload.close()
                backend.drop("x.mp4", token)
        assert area.published() == {"x.mp4": content}
        assert area.partials() == []

    @pytest.mark.slow_link
    def test_on_a_slow_link(self, area: Area, backend: Backend) -> None:
        """2 Mbit/s: no timeout may count a whole transfer."""
        content = content_of(min(area.chunk_bytes + 100_000, 1_500_000))
        receipt = deliver(backend, "x.jpg", content)
        assert receipt.proof is area.proof
        assert area.published() == {"x.jpg": content}
