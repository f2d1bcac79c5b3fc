"""What is special about Azure: leftovers, blocks, proofs that fail, and links that break at bad moments."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import google_crc32c
import pytest

from agent.backends import open_backend
from agent.backends.azure.blocks import Round, block_bytes_for, round_of, stored
from agent.backends.azure.crc32c import combined, crc32c_of
from agent.backends.azure.faults import FAULTS
from agent.backends.azure.proof import Prover
from agent.backends.azure.store import Block, Made, Store
from agent.backends.base import Backend, Digests, Exclusive, Presence, Proof
from agent.faults import Fault, Kind, Scope, fault
from tests.backends.areas.azure import AzuriteArea
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.servers.azurite import Azurite
from tests.system.s3_proxy import ProxyHandle, proxy_in_thread

MIB = 1 << 20


@pytest.fixture
def area(azurite: Azurite) -> AzuriteArea:
    return AzuriteArea(azurite)


@pytest.fixture
def backend(area: AzuriteArea) -> Iterator[Backend]:
    backend = open_backend(area.config(), owner="test")
    yield backend
    backend.close()


@pytest.fixture
def proxy(azurite: Azurite) -> Iterator[ProxyHandle]:
    with proxy_in_thread(azurite.port) as handle:
        yield handle


@pytest.fixture
def far(area: AzuriteArea, proxy: ProxyHandle) -> Iterator[Backend]:
    """A backend behind the proxy."""
    url = f"{proxy.url}/{area.url.rpartition('/')[2]}"
    backend = open_backend(area.config(endpoint_url=url), owner="test")
    yield backend
    backend.close()


# Checksums of parts.


def test_the_checksum_of_a_whole_from_its_parts() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(50):
        parts = [chance.randbytes(chance.choice([0, 1, 7, 1000, 4096])) for _ in range(chance.randrange(6))]
        whole = combined((crc32c_of(memoryview(part)), len(part)) for part in parts)
        assert whole == google_crc32c.value(b"".join(parts))
    assert combined([(crc32c_of(memoryview(b"123456789")), 9)]) == 0xE3069283  # RFC 3720, B.4's check value


# Blocks and their ids.


def test_fifty_thousand_blocks_suffice() -> None:
    assert block_bytes_for(6 << 30, 4 * MIB) == 4 * MIB
    for size in (50_000 * 4 * MIB, 50_000 * 4 * MIB + 1, 5 << 40):
        block = block_bytes_for(size, 4 * MIB)
        assert block % MIB == 0
        assert (size + block - 1) // block <= 50_000
    assert block_bytes_for(50_000 * 4 * MIB + 1, 4 * MIB) == 5 * MIB


def blocks_of(round: Round, sizes: Sequence[int]) -> list[Block]:
    return [Block(id=round.id_of(place, place), size=size) for place, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "there"),
    [([], 0), ([100], 1), ([100, 100, 50], 3), ([100, 99, 50], 1), ([99, 100], 0), ([100, 100, 49], 2)],
)
def test_only_a_gapless_run_of_whole_blocks_counts(sizes: list[int], there: int) -> None:
    ours = Round(tag="token1", number=0)
    listed = blocks_of(ours, sizes)
    random.shuffle(listed)
    foreign = [*blocks_of(Round(tag="token2", number=0), [100] * 3), Block(id="AAAA", size=100)]
    assert len(stored(ours, listed + foreign, 250, 100)) == there
    assert len(stored(ours, [block for block in listed if block.id != ours.id_of(0, 0)], 250, 100)) == 0


def test_two_blocks_for_one_place_are_not_trusted() -> None:
    ours = Round(tag="token1", number=0)
    listed = [*blocks_of(ours, [100, 100, 50]), Block(id=ours.id_of(1, 77), size=100)]
    assert len(stored(ours, listed, 250, 100)) == 1


def test_an_aborted_round_is_not_gone_on_with() -> None:
    first = Round(tag="token1", number=0)
    listed = [*blocks_of(first, [100, 100]), Block(id=first.abort_id(), size=7)]
    second = round_of("token1", listed)
    assert (second.number, stored(second, listed, 250, 100)) == (1, [])
    last = [Block(id=Round(tag="token1", number=number).abort_id(), size=7) for number in range(256)]
    assert round_of("token1", last).number == 255
    assert (
        len(
            {
                len(Round(tag="t" * length, number=number).id_of(0, 0))
                for length in (1, 99)
                for number in (0, 255)
            }
        )
        == 1
    )


@pytest.mark.server
def test_blocks_of_another_size_are_not_trusted(area: AzuriteArea, backend: Backend) -> None:
    content = content_of(3 * MIB)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 2)
    larger = open_backend(area.config(block_bytes=MIB + 1), owner="test")
    again = larger.start("x.mp4", len(content), upload.token)
    assert again.offset == 0
    send(again, content)
    assert again.commit(digests_of(content)).proof is Proof.CHECKSUM
    assert area.published() == {"x.mp4": content}
    assert area.partials() == []
    larger.close()


# Leftovers.


@pytest.mark.server
def test_nothing_is_swept_beside_somebody_elses_blocks(area: AzuriteArea, backend: Backend) -> None:
    content = content_of(3 * MIB)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 2)
    stranger = "a stranger's".ljust(37)
    area.server.stage(area.container, "pre/fix/x.mp4", stranger, b"theirs")
    upload.abort()
    assert f"pre/fix/x.mp4 {stranger}" in area.partials()
    assert area.published() == {}
    again = backend.start("x.mp4", len(content), "token1")
    assert again.offset == 0, "what was aborted is not gone on with"
    send(again, content, 1)
    assert backend.start("x.mp4", len(content), "token1").offset == MIB
    send(again, content)
    again.commit(digests_of(content))
    assert area.published() == {"x.mp4": content}


@pytest.mark.server
def test_a_published_blob_is_never_swept(area: AzuriteArea, backend: Backend) -> None:
    upload = backend.start("x.mp4", 3 * MIB, "token1")
    send(upload, content_of(3 * MIB), 2)
    # Put Blob; Azurite 3.35 keeps the uncommitted blocks beside it, as Azure does after it was overwritten.
    area.server.put(area.container, "pre/fix/x.mp4", b"theirs", {"x-ms-meta-who": "stranger"})
    before = area.server.headers(area.container, "pre/fix/x.mp4")
    upload.abort()
    backend.drop("x.mp4", "token1")
    after = area.server.headers(area.container, "pre/fix/x.mp4")
    assert (after["etag"], after["x-ms-meta-who"]) == (before["etag"], "stranger")
    assert area.published() == {"x.mp4": b"theirs"}


@pytest.mark.server
@pytest.mark.parametrize("reason", ["retention", "unknown", "may not delete"])
def test_blocks_stay_where_sweeping_could_do_harm(
    area: AzuriteArea, backend: Backend, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Azurite knows no policies: what the container says of itself is put into its mouth."""
    if reason == "may not delete":
        backend = open_backend(area.config(account_key=None, sas=area.sas("rcwl")), owner="test")
        monkeypatch.setattr(Store, "keeps_what_is_deleted", lambda self: False)
    else:
        said = True if reason == "retention" else None
        monkeypatch.setattr(Store, "keeps_what_is_deleted", lambda self: said)
    commits: list[str] = []
    commit = Store.commit

    def counted(self: Store, key: str, ids: Sequence[str], metadata: Mapping[str, str], **more: Any) -> Made:
        commits.append(key)
        return commit(self, key, ids, metadata, **more)

    monkeypatch.setattr(Store, "commit", counted)
    content = content_of(2 * MIB)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content)
    upload.abort()
    upload.abort()
    assert commits == [], "no empty blob that could not be deleted"
    assert backend.start("x.mp4", len(content), "token1").offset == 0
    deliver(backend, "x.mp4", content)
    assert area.published() == {"x.mp4": content}
    assert area.partials() == []


@pytest.mark.server
def test_an_empty_blob_that_a_kill_left_is_taken_away(
    area: AzuriteArea, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = content_of(2 * MIB)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 1)
    with monkeypatch.context() as killed:
        delete = Store.delete

        def dies(self: Store, key: str, etag: str | None = None) -> None:
            if etag:
                raise KeyboardInterrupt
            delete(self, key)

        killed.setattr(Store, "delete", dies)
        with pytest.raises(KeyboardInterrupt):
            upload.abort()
    assert area.published() == {"x.mp4": b""}
    assert backend.find("x.mp4", len(content), digests_of(content)).presence is Presence.ABSENT
    assert area.published() == {}
    area.plant("x.mp4", b"")  # a stranger's empty file is nobody's leftover
    assert backend.find("x.mp4", len(content), digests_of(content)).presence is Presence.DIFFERENT
    assert area.published() == {"x.mp4": b""}


@pytest.mark.server
def test_another_programs_unfinished_upload(area: AzuriteArea, backend: Backend) -> None:
    """All ids of a blob's blocks must be of one length: theirs are not ours."""
    area.server.stage(area.container, "pre/fix/x.mp4", "0001", b"theirs")
    upload = backend.start("x.mp4", 2 * MIB, "token1")
    with pytest.raises(Fault) as refusal:
        send(upload, content_of(2 * MIB))
    assert (refusal.value.code, refusal.value.kind, refusal.value.scope) == (
        "azure.busy",
        Kind.RETRYABLE,
        Scope.ITEM,
    )
    upload.abort()
    assert area.partials() == ["pre/fix/x.mp4 0001"]


@pytest.mark.server
def test_blocks_that_are_gone(area: AzuriteArea, backend: Backend) -> None:
    """A week has passed, or somebody has committed the name and deleted it."""
    content = content_of(2 * MIB)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content)
    backend.drop("x.mp4", "token1")
    with pytest.raises(Fault) as gone:
        upload.commit(digests_of(content))
    assert (gone.value.code, gone.value.kind, gone.value.scope) == (
        "azure.upload_gone",
        Kind.RETRYABLE,
        Scope.ITEM,
    )
    deliver(backend, "x.mp4", content)
    assert area.published() == {"x.mp4": content}


# Proofs that fail.


@pytest.mark.server
@pytest.mark.parametrize("size", [1000, 2 * MIB])
@pytest.mark.parametrize("checks", [True, False])
def test_a_damaged_copy_never_ends_as_done(
    area: AzuriteArea, backend: Backend, monkeypatch: pytest.MonkeyPatch, size: int, checks: bool
) -> None:
    """A service that loses a bit between taking a blob and being asked for it."""
    monkeypatch.setattr(Prover, "_refuses_damage", lambda self: checks)
    content = content_of(size)
    damaged = bytes([content[0] ^ 1]) + content[1:]
    for name in ("put", "commit"):
        publish = getattr(Store, name)

        def badly(self: Store, key: str, *rest: Any, publish: Any = publish, **more: Any) -> Made:
            made: Made = publish(self, key, *rest, **more)
            area.server.put(area.container, key, damaged, {"x-ms-meta-hotshoe": "test"})
            return made

        monkeypatch.setattr(Store, name, badly)
    with pytest.raises(Fault) as refusal:
        deliver(backend, "x.mp4", content)
    assert (refusal.value.code, refusal.value.kind, refusal.value.scope) == (
        "azure.damaged",
        Kind.RETRYABLE,
        Scope.ITEM,
    )
    assert backend.find("x.mp4", size, digests_of(content)).presence is Presence.DIFFERENT


@pytest.mark.server
@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_a_server_that_checks_nothing_is_read_back(
    area: AzuriteArea, backend: Backend, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(Prover, "_refuses_damage", lambda self: False)
    content = content_of(size)
    receipt = deliver(backend, "x.mp4", content)
    assert (receipt.proof, receipt.exclusive) == (Proof.READBACK, Exclusive.ATOMIC)
    found = backend.find("x.mp4", size, digests_of(content))
    assert found.receipt is not None and found.receipt.proof is Proof.READBACK
    read = Store.read
    monkeypatch.setattr(
        Store, "read", lambda self, key, take: read(self, key, lambda piece: take(b"?" + piece[1:]))
    )
    with pytest.raises(Fault) as refusal:
        deliver(backend, "y.mp4", content)
    assert refusal.value.code == "azure.damaged"
    assert area.published() == {"x.mp4": content}, "what was damaged is taken back"


@pytest.mark.server
def test_metadata_alone_proves_nothing(area: AzuriteArea, backend: Backend) -> None:
    """Somebody changes a picture and puts it back with the metadata that it had."""
    content = content_of(1000)
    deliver(backend, "x.jpg", content)
    kept = area.server.headers(area.container, "pre/fix/x.jpg")
    marks = {name: value for name, value in kept.items() if name.startswith("x-ms-meta-")}
    assert len(marks) == 3
    area.server.put(area.container, "pre/fix/x.jpg", content_of(1000, seed=1), marks)
    assert backend.find("x.jpg", 1000, digests_of(content)).presence is Presence.DIFFERENT
    other = Digests(sha256="0" * 64, crc32c=digests_of(content).crc32c)  # a stranger's collision
    assert backend.find("x.jpg", 1000, other).presence is Presence.DIFFERENT


@pytest.mark.server
def test_what_is_stored_beside_a_blob(area: AzuriteArea) -> None:
    backend = open_backend(area.config(access_tier="Cool"), owner="test")
    for name, size in (("small.jpg", 1000), ("large.jpg", 2 * MIB)):
        receipt = deliver(backend, name, content_of(size))
        headers = area.server.headers(area.container, f"pre/fix/{name}")
        assert headers["x-ms-access-tier"] == "Cool"
        assert headers["content-type"] == "image/jpeg"
        assert headers["x-ms-meta-hotshoe"] == "test"
        assert receipt.version == headers["etag"]
        assert ("content-md5" in headers) == (name == "small.jpg"), "of blocks nobody has checked one"
    backend.close()


# The check.


@pytest.mark.server
def test_a_check_where_nothing_can_be_deleted(
    area: AzuriteArea, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retention policy or legal hold: writing, reading and refusing are what a delivery needs."""

    def refuses(self: Store, key: str, etag: str | None = None) -> None:
        if self.head(key) is not None:
            raise fault(FAULTS, "azure.immutable", "BlobImmutableDueToPolicy")

    monkeypatch.setattr(Store, "delete", refuses)
    for number in (1, 2, 3):
        check = backend.check()
        assert check.fault is None, check.fault
        assert (check.proof, check.exclusive) == (Proof.CHECKSUM, Exclusive.ATOMIC)
        assert len(area.published()) == number


# Links that break.


@pytest.mark.server
@pytest.mark.parametrize("after", [1, MIB // 2, MIB + MIB // 3])
def test_a_cut_costs_one_block(area: AzuriteArea, far: Backend, proxy: ProxyHandle, after: int) -> None:
    content = content_of(3 * MIB)
    upload = far.start("x.mp4", len(content), "token1")
    proxy.do(lambda proxy: proxy.reset())
    proxy.do(lambda proxy: proxy.cut_after(after))
    with pytest.raises(Fault) as cut:
        send(upload, content)
    assert (cut.value.code, cut.value.kind, cut.value.scope) == (
        "azure.unreachable",
        Kind.RETRYABLE,
        Scope.WHOLE,
    )
    send(upload, content)
    upload.commit(digests_of(content))
    assert area.published() == {"x.mp4": content}
    assert len(content) < proxy.stats.request_body_bytes < len(content) + MIB + 10_000


@pytest.mark.server
def test_a_slow_uplink(area: AzuriteArea, proxy: ProxyHandle) -> None:
    """A block, and a small file, take longer than the timeout, in many sends that each take less."""
    url = f"{proxy.url}/{area.url.rpartition('/')[2]}"
    backend = open_backend(
        area.config(endpoint_url=url, connect_timeout_seconds=1, block_bytes=16 * MIB), owner="test"
    )
    backend.find("x.mp4", 1, None)
    proxy.proxy.bytes_per_second = 8 * MIB
    for key, size in (("small.jpg", 16 * MIB), ("large.mp4", 16 * MIB + 1)):
        begun = time.monotonic()
        deliver(backend, key, content_of(size))
        assert time.monotonic() - begun > 1.5
    assert len(area.published()) == 2
    backend.close()


@pytest.mark.server
@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_a_link_that_stalls_is_given_up(area: AzuriteArea, proxy: ProxyHandle, size: int) -> None:
    url = f"{proxy.url}/{area.url.rpartition('/')[2]}"
    backend = open_backend(
        area.config(endpoint_url=url, connect_timeout_seconds=0.5, read_timeout_seconds=0.5), owner="test"
    )
    content = content_of(size)
    upload = backend.start("x.mp4", len(content), "token1")
    proxy.do(lambda proxy: proxy.stall())
    begun = time.monotonic()
    with pytest.raises(Fault) as stalled:
        send(upload, content)
        upload.commit(digests_of(content))
    assert stalled.value.code in ("azure.timeout", "azure.unreachable")
    assert (stalled.value.kind, stalled.value.scope) == (Kind.RETRYABLE, Scope.WHOLE)
    assert time.monotonic() - begun < 5
    proxy.do(lambda proxy: proxy.flow())
    backend.close()


@pytest.mark.server
def test_a_service_that_does_not_answer(area: AzuriteArea) -> None:
    backend = open_backend(area.config(connect_timeout_seconds=1, read_timeout_seconds=1), owner="test")
    area.server.process.pause()
    try:
        with pytest.raises(Fault) as refusal:
            backend.find("x.jpg", 1, None)
        assert (refusal.value.code, refusal.value.kind) == ("azure.timeout", Kind.RETRYABLE)
        faults: list[str] = []

        def start(number: int) -> None:
            try:
                backend.start(f"{number}.jpg", 1, f"token{number}")
            except Fault as fault:
                faults.append(fault.code)

        threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == ["azure.timeout"] * 8
        assert time.monotonic() - begun < 5, "all who wait pay one timeout together"
    finally:
        area.server.process.resume()
    deliver(backend, "x.jpg", b"1")
    backend.close()


@pytest.mark.server
def test_a_lost_answer_publishes_nothing_twice(
    area: AzuriteArea, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = content_of(2 * MIB)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content)
    with monkeypatch.context() as lost:
        commit = Store.commit

        def unheard(self: Store, *rest: Any, **more: Any) -> Made:
            commit(self, *rest, **more)
            raise KeyboardInterrupt

        lost.setattr(Store, "commit", unheard)
        with pytest.raises(KeyboardInterrupt):
            upload.commit(digests_of(content))
    with pytest.raises(Fault) as known:
        backend.start("x.mp4", len(content), "token1")
    assert known.value.code == "azure.exists"
    found = backend.find("x.mp4", len(content), digests_of(content))
    assert found.receipt is not None and found.receipt.proof is Proof.CHECKSUM
    assert area.partials() == []
