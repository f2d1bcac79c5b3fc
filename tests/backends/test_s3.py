"""What is special about S3: links that break at bad moments, leftovers, parts, and what a store is asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay

from agent.backends import S3Config, open_backend
from agent.backends.base import Backend, Digests, Presence, Proof
from agent.backends.s3.client import make_client
from agent.backends.s3.crc32c import to_base64
from agent.backends.s3.store import Store
from agent.backends.s3.upload import part_bytes_for
from agent.faults import Fault, Kind, Scope
from tests.backends.areas.s3 import MotoArea
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.places import MIB, RcloneArea, SeaweedArea
from tests.backends.servers.moto import Moto
from tests.backends.servers.rclone import Rclone
from tests.backends.servers.seaweedfs import SeaweedFS
from tests.system.s3_proxy import ProxyHandle, proxy_in_thread

PART = 5 * MIB
KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[ProxyHandle]:
    with proxy_in_thread(seaweedfs.s3_port) as handle:
        yield handle


@pytest.fixture
def area(seaweedfs: SeaweedFS, proxy: ProxyHandle) -> SeaweedArea:
    return SeaweedArea(seaweedfs, proxy.url)


@pytest.fixture
def backend(area: SeaweedArea) -> Iterator[Backend]:
    backend = open_backend(area.config(), owner="test")
    yield backend
    backend.close()


def key_of(area: SeaweedArea, key: str) -> str:
    return f"{area.bucket}/pre/fix/{key}"


# Keys and rights.


@pytest.mark.server
@pytest.mark.parametrize(
    ("key", "secret", "code"),
    [
        ("testkey", "hushhush", "s3.wrong_keys"),
        ("unknown", "testsecret", "s3.wrong_keys"),
        ("readerkey", "readersecret", "s3.access_denied"),
    ],
)
def test_wrong_keys_and_too_few_rights(area: SeaweedArea, key: str, secret: str, code: str) -> None:
    backend = open_backend(area.config(access_key_id=key, secret_access_key=secret), owner="test")
    for size in (10, PART + 1):
        with pytest.raises(Fault) as refusal:
            deliver(backend, "x.jpg", content_of(size))
        assert (refusal.value.code, refusal.value.kind, refusal.value.scope) == (
            code,
            Kind.NEEDS_USER,
            Scope.WHOLE,
        )
    check = backend.check()
    assert check.fault is not None and check.fault.code == code
    assert area.published() == {}
    assert secret not in str(refusal.value) + str(check)
    backend.close()


# Links and servers that break.


@pytest.mark.server
@pytest.mark.parametrize("after", [1, PART // 2, PART + PART // 3])
def test_a_cut_costs_one_part(area: SeaweedArea, backend: Backend, proxy: ProxyHandle, after: int) -> None:
    content = content_of(3 * PART)
    upload = backend.start("x.mp4", len(content), "token1")
    proxy.do(lambda proxy: proxy.reset())
    proxy.do(lambda proxy: proxy.cut_after(after))
    with pytest.raises(Fault) as cut:
        send(upload, content)
    assert (cut.value.code, cut.value.kind, cut.value.scope) == (
        "s3.unreachable",
        Kind.RETRYABLE,
        Scope.WHOLE,
    )
    send(upload, content)
    upload.commit(digests_of(content))
    assert area.published() == {"x.mp4": content}
    assert proxy.stats.publishes == {key_of(area, "x.mp4"): 1}
    assert len(content) < proxy.stats.request_body_bytes < len(content) + PART + 10_000


@pytest.mark.server
@pytest.mark.parametrize(
    ("size", "operation"),
    [(1000, "PutObject"), (2 * PART, "CompleteMultipartUpload"), (2 * PART, "UploadPart")],
)
def test_a_lost_answer_publishes_nothing_twice(
    area: SeaweedArea, backend: Backend, proxy: ProxyHandle, size: int, operation: str
) -> None:
    content = content_of(size)
    upload = backend.start("x.mp4", size, "token1")
    proxy.do(lambda proxy: proxy.reset())
    proxy.do(lambda proxy: proxy.lose_answer(operation))
    with pytest.raises(Fault) as lost:
        send(upload, content)
        upload.commit(digests_of(content))
    assert lost.value.code == "s3.unreachable"
    upload.close()
    sent = proxy.stats.request_body_bytes

    if operation == "UploadPart":  # the store has the part, and says so
        again = backend.start("x.mp4", size, upload.token)
        assert again.offset == PART
        send(again, content)
        again.commit(digests_of(content))
    else:
        assert backend.find("x.mp4", size, digests_of(content)).presence is Presence.SAME
        if size > PART:
            with pytest.raises(Fault) as known:
                backend.start("x.mp4", size, upload.token)
            assert known.value.code == "s3.exists"
        assert proxy.stats.request_body_bytes == sent, "nothing is sent again"
    assert area.published() == {"x.mp4": content}
    assert area.partials() == []
    assert proxy.stats.publishes == {key_of(area, "x.mp4"): 1}


@pytest.mark.server
def test_a_slow_uplink(area: SeaweedArea, proxy: ProxyHandle) -> None:
    """A part takes longer than the timeout, in many sends that each take less."""
    backend = open_backend(
        area.config(connect_timeout_seconds=1, part_bytes=16 * MIB, read_timeout_seconds=10), owner="test"
    )
    content = content_of(16 * MIB)
    backend.find("x.mp4", 1, None)
    proxy.proxy.bytes_per_second = 4 * MIB
    begun = time.monotonic()
    deliver(backend, "x.mp4", content)
    assert time.monotonic() - begun > 3
    assert area.published() == {"x.mp4": content}
    backend.close()


@pytest.mark.server
def test_a_link_that_stalls_is_given_up(area: SeaweedArea, proxy: ProxyHandle) -> None:
    backend = open_backend(area.config(connect_timeout_seconds=0.5, read_timeout_seconds=0.5), owner="test")
    content = content_of(2 * PART)
    upload = backend.start("x.mp4", len(content), "token1")
    proxy.do(lambda proxy: proxy.stall())
    begun = time.monotonic()
    with pytest.raises(Fault) as stalled:
        send(upload, content)
    assert stalled.value.code in ("s3.timeout", "s3.unreachable")
    assert (stalled.value.kind, stalled.value.scope) == (Kind.RETRYABLE, Scope.WHOLE)
    check = backend.check()
    assert check.fault is not None and not check.steps[0].ok
    assert time.monotonic() - begun < 10
    proxy.do(lambda proxy: proxy.flow())
    send(upload, content)
    upload.commit(digests_of(content))
    assert area.published() == {"x.mp4": content}
    backend.close()


@pytest.mark.server
def test_a_dead_store_costs_all_who_wait_one_timeout(area: SeaweedArea, proxy: ProxyHandle) -> None:
    backend = open_backend(area.config(connect_timeout_seconds=1, read_timeout_seconds=1), owner="test")
    for attempt in Retrying(retry=retry_if_exception_type(Fault), stop=stop_after_delay(30), reraise=True):
        with attempt:  # a busy machine may take longer than the timeout
            backend.find("x.jpg", 1, None)
    proxy.do(lambda proxy: proxy.stall())
    faults: list[Fault] = []
    together = threading.Barrier(8)

    def start(number: int) -> None:
        together.wait(30)
        try:
            backend.start(f"{number}.jpg", 1, f"token{number}")
        except Fault as fault:
            faults.append(fault)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    assert {fault.code for fault in faults} == {"s3.timeout"} and len(faults) == 8
    assert took < 12, "one after the other they would take two seconds each: 100-continue, and the answer"
    proxy.do(lambda proxy: proxy.flow())
    for attempt in Retrying(retry=retry_if_exception_type(Fault), stop=stop_after_delay(30), reraise=True):
        with (
            attempt
        ):  # a store that makes its first volumes on a busy machine may take longer than the timeout
            deliver(backend, "x.jpg", b"1")
    backend.close()


@pytest.mark.server
def test_a_server_that_is_stopped_killed_and_started_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        server = SeaweedFS(tmp_path_factory.mktemp("seaweedfs"))
    except FileNotFoundError as missing:
        pytest.skip(f"not installed: {missing}")
    server.process.start()
    try:
        area = SeaweedArea(server)
        patient = open_backend(area.config(read_timeout_seconds=60), owner="test")
        content = content_of(3 * PART)
        deliver(patient, "first.mp4", content_of(PART + 1))  # a fresh server makes its volumes now
        backend = open_backend(area.config(connect_timeout_seconds=1, read_timeout_seconds=1), owner="test")
        upload = backend.start("x.mp4", len(content), "token1")
        send(upload, content, 1)

        server.process.pause()
        begun = time.monotonic()
        with pytest.raises(Fault) as stopped:
            send(upload, content, 1)
        assert time.monotonic() - begun < 5
        assert stopped.value.code in ("s3.timeout", "s3.unreachable")
        server.process.kill()
        with pytest.raises(Fault) as dead:
            backend.start("x.mp4", len(content), upload.token)
        assert (dead.value.code, dead.value.kind, dead.value.scope) == (
            "s3.unreachable",
            Kind.RETRYABLE,
            Scope.WHOLE,
        )

        server.process.start()
        again = patient.start("x.mp4", len(content), upload.token)
        assert again.offset in (PART, 2 * PART)  # the part under way may have arrived whole
        send(again, content)
        again.commit(digests_of(content))
        assert area.published() == {"first.mp4": content_of(PART + 1), "x.mp4": content}
        assert area.partials() == []
        patient.close()
        backend.close()
    finally:
        server.process.kill()


# Parts and leftovers.


def test_ten_thousand_parts_suffice() -> None:
    assert part_bytes_for(6 << 30, 8 * MIB) == 8 * MIB
    for size in (10_000 * 8 * MIB, 10_000 * 8 * MIB + 1, 5 << 40):
        part = part_bytes_for(size, 8 * MIB)
        assert part % MIB == 0
        assert (size + part - 1) // part <= 10_000
    assert part_bytes_for(10_000 * 8 * MIB, 8 * MIB) == 8 * MIB
    assert part_bytes_for(10_000 * 8 * MIB + 1, 8 * MIB) == 9 * MIB


@pytest.mark.server
def test_parts_of_another_size_are_not_trusted(area: SeaweedArea, backend: Backend) -> None:
    content = content_of(3 * PART)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 2)
    larger = open_backend(area.config(part_bytes=6 * MIB), owner="test")
    again = larger.start("x.mp4", len(content), upload.token)
    assert (again.offset, again.token) == (0, upload.token)
    send(again, content)
    assert again.commit(digests_of(content)).proof is Proof.CHECKSUM
    assert area.published() == {"x.mp4": content}
    assert area.partials() == []
    larger.close()


@pytest.mark.server
def test_a_file_that_needs_no_parts_any_more(area: SeaweedArea, backend: Backend) -> None:
    content = content_of(PART + 1)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 1)
    larger = open_backend(area.config(part_bytes=6 * MIB), owner="test")
    deliver(larger, "x.mp4", content, upload.token)
    assert area.published() == {"x.mp4": content}
    assert area.partials() == []
    larger.close()


@pytest.mark.server
def test_parts_are_listed_page_by_page_up_to_a_gap(
    area: SeaweedArea, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = content_of(3 * PART + 1)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content)
    call = Store.call

    def one_a_page(self: Store, operation: str, **arguments: object) -> dict[str, object]:
        return call(self, operation, **arguments, **({"MaxParts": 1} if operation == "list_parts" else {}))

    monkeypatch.setattr(Store, "call", one_a_page)
    assert backend.start("x.mp4", len(content), upload.token).offset == len(content)

    def without_the_second(self: Store, operation: str, **arguments: object) -> dict[str, object]:
        answer = call(self, operation, **arguments)
        answer["Parts"] = [part for part in answer.get("Parts", []) if part["PartNumber"] != 2]
        return answer

    monkeypatch.setattr(Store, "call", without_the_second)
    again = backend.start("x.mp4", len(content), upload.token)
    assert again.offset == PART
    monkeypatch.undo()
    send(again, content)
    again.commit(digests_of(content))
    assert area.published() == {"x.mp4": content}


@pytest.mark.server
def test_an_upload_that_the_store_has_dropped(area: SeaweedArea, backend: Backend) -> None:
    content = content_of(2 * PART)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 1)
    backend.drop("x.mp4", upload.token)  # as a lifecycle rule would
    with pytest.raises(Fault) as gone:
        send(upload, content)
    assert (gone.value.code, gone.value.kind, gone.value.scope) == (
        "s3.upload_gone",
        Kind.RETRYABLE,
        Scope.ITEM,
    )
    again = backend.start("x.mp4", len(content), upload.token)
    assert again.offset == 0
    assert again.token.startswith("token1|") and again.token != upload.token
    send(again, content)
    again.commit(digests_of(content))
    assert area.published() == {"x.mp4": content}


@pytest.mark.server
@pytest.mark.parametrize("settled_by", ["commit", "find"])
def test_leftovers_of_a_key_go_when_it_is_settled(
    area: SeaweedArea, backend: Backend, settled_by: str
) -> None:
    """A kill between CreateMultipartUpload and the saving of its id leaves an upload that nobody knows."""
    content = content_of(2 * PART)
    backend.start("x.mp4", len(content), "token1")  # its token is lost
    longer_name = backend.start("x.mp4.xmp", len(content), "token2")
    if settled_by == "commit":
        deliver(backend, "x.mp4", content)
    else:
        area.plant("x.mp4", content)
        assert backend.find("x.mp4", len(content), digests_of(content)).presence is Presence.SAME
    assert area.partials() == [longer_name.token.partition("|")[2]]
    longer_name.abort()


# What a store is asked for.


@pytest.mark.server
def test_what_a_killed_probe_left_goes_with_the_next(area: SeaweedArea, backend: Backend) -> None:
    config = area.config()
    assert isinstance(config, S3Config)
    for key in ("pre/fix/.hotshoe-probe-test", "pre/fix/.hotshoe-probe-other"):
        Store(config).call("create_multipart_upload", Key=key)
    deliver(backend, "x.jpg", content_of(10))
    assert len(area.partials()) == 1, "only our own"


@pytest.mark.server
def test_requests_per_file(area: SeaweedArea, backend: Backend, proxy: ProxyHandle) -> None:
    for size in (1, PART + 1):  # the traits of the store are found once
        deliver(backend, f"first-{size}.jpg", content_of(size))
    proxy.do(lambda proxy: proxy.reset())
    deliver(backend, "small.jpg", content_of(1000))
    assert proxy.stats.operations == {"PutObject": 1, "HeadObject": 1}
    proxy.do(lambda proxy: proxy.reset())
    deliver(backend, "large.jpg", content_of(2 * PART))
    assert proxy.stats.operations == {
        "CreateMultipartUpload": 1,
        "UploadPart": 2,
        "CompleteMultipartUpload": 1,
        "HeadObject": 1,
        "ListMultipartUploads": 1,
    }


@pytest.mark.server
@pytest.mark.parametrize("size", [1000, 2 * PART])
def test_our_own_object_is_known_without_reading_it(
    area: SeaweedArea, backend: Backend, proxy: ProxyHandle, size: int
) -> None:
    content = content_of(size)
    deliver(backend, "ours.jpg", content)
    area.plant("foreign.jpg", content)
    proxy.do(lambda proxy: proxy.reset())
    assert backend.find("ours.jpg", size, digests_of(content)).presence is Presence.SAME
    assert proxy.stats.reads == {}
    assert backend.find("foreign.jpg", size, digests_of(content)).presence is Presence.SAME
    assert proxy.stats.reads == {key_of(area, "foreign.jpg"): 1}


@pytest.mark.server
def test_a_checksum_alone_does_not_make_a_strangers_object_ours(
    area: SeaweedArea, backend: Backend, proxy: ProxyHandle
) -> None:
    """32 bits are for finding damage: of content that somebody else wrote they prove too little."""
    content = content_of(1000)
    config = area.config()
    assert isinstance(config, S3Config)
    checksum = to_base64(digests_of(content).crc32c or "")
    make_client(config).put_object(
        Bucket=area.bucket, Key="pre/fix/x.jpg", Body=content, ChecksumCRC32C=checksum
    )
    found = backend.find("x.jpg", 1000, digests_of(content))
    assert found.receipt is not None and found.receipt.proof is Proof.READBACK
    assert proxy.stats.reads == {key_of(area, "x.jpg"): 1}
    other = Digests(sha256="0" * 64, crc32c=digests_of(content).crc32c)  # a collision
    assert backend.find("x.jpg", 1000, other).presence is Presence.DIFFERENT


@pytest.mark.server
def test_a_checksum_is_not_claimed_of_a_store_that_has_none(rclone: Rclone) -> None:
    area = RcloneArea(rclone)
    backend = open_backend(area.config(minimum_proof="checksum"), owner="test")
    with pytest.raises(Fault) as refusal:
        backend.start("x.jpg", 1000, "token1")
    assert (refusal.value.code, refusal.value.kind) == ("s3.no_checksum", Kind.NEEDS_USER)
    assert area.published() == {}
    backend.close()


# Encryption at rest.


@pytest.mark.server
@pytest.mark.parametrize(
    ("wish", "stored"),
    [
        ({"encryption": "sse-s3"}, ("AES256", None)),
        ({"encryption": "sse-kms"}, ("aws:kms", None)),
        ({"encryption": "sse-kms", "kms_key_id": KMS_KEY}, ("aws:kms", KMS_KEY)),
    ],
)
def test_encryption_is_asked_for(moto: Moto, wish: dict[str, object], stored: tuple[str, str | None]) -> None:
    area = MotoArea(moto)
    backend = open_backend(area.config(**wish), owner="test")
    for key, size in (("small.jpg", 1000), ("large.mp4", PART + 1)):
        deliver(backend, key, content_of(size))
        headers = moto.headers(area.bucket, f"pre/fix/{key}")
        assert headers["x-amz-server-side-encryption"] == stored[0]
        if stored[1]:
            assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == stored[1]
    assert backend.check().fault is None
    backend.close()


@pytest.mark.server
@pytest.mark.parametrize("size", [1000, PART + 1])
def test_a_store_that_forgets_to_encrypt_gets_nothing(rclone: Rclone, size: int) -> None:
    area = RcloneArea(rclone)
    backend = open_backend(area.config(encryption="sse-s3"), owner="test")
    with pytest.raises(Fault) as refusal:
        backend.start("x.mp4", size, "token1")
    assert (refusal.value.code, refusal.value.kind, refusal.value.scope) == (
        "s3.no_encryption",
        Kind.NEEDS_USER,
        Scope.WHOLE,
    )
    assert area.published() == {}
    assert area.partials() == []
    backend.close()
