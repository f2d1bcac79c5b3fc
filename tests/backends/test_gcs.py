"""What is special about Cloud Storage: sessions that stop in the middle, are lost, or race."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from agent.backends import open_backend
from agent.backends.base import Backend, Presence, Proof
from agent.faults import Fault, Kind, Scope
from tests.backends.areas.gcs import MIB, GcsArea
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.servers.gcs import GcsServer

HALF = 1 << 18  # what the service keeps of an unfinished upload is a multiple of it


@pytest.fixture
def area(gcs: GcsServer) -> Iterator[GcsArea]:
    gcs.disk.forget_requests()
    yield GcsArea(gcs)
    assert gcs.disk.end_troubles() == [], "all that was to go wrong has"


@pytest.fixture
def backend(area: GcsArea) -> Iterator[Backend]:
    backend = open_backend(area.config(), owner="test")
    yield backend
    backend.close()


def sent_bytes(area: GcsArea) -> int:
    """How many bytes of content went by; of a single request, with its metadata."""
    requests = area.disk.requests()
    return sum(int(count) for method, path, _, count, _ in requests if method == "PUT" or int(count) > 2000)


def code_of(caught: pytest.ExceptionInfo[Fault]) -> str:
    return caught.value.code


# Sessions that stop in the middle.


@pytest.mark.server
@pytest.mark.parametrize("kept", [HALF, 2 * HALF, 3 * HALF])
def test_a_service_that_takes_a_part_of_a_chunk(area: GcsArea, backend: Backend, kept: int) -> None:
    content = content_of(3 * MIB + 7)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 1)
    area.disk.make_trouble("keep a part", kept)
    send(upload, content, 1)
    assert upload.offset == 2 * MIB
    spans = [span for method, _, span, *_ in area.disk.requests() if method == "PUT"]
    assert spans[-1] == f"bytes {MIB + kept}-{2 * MIB - 1}/*", "it goes on where the service stands"
    send(upload, content)
    upload.commit(digests_of(content))
    assert area.published() == {"x.mp4": content}


@pytest.mark.server
@pytest.mark.parametrize("life", ["the same upload", "a new one"])
@pytest.mark.parametrize("cut", [1, HALF + 5, 3 * HALF])
def test_a_link_that_breaks_in_a_chunk(area: GcsArea, backend: Backend, life: str, cut: int) -> None:
    content = content_of(3 * MIB + 7)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 1)
    area.disk.make_trouble("cut after", cut)
    with pytest.raises(Fault) as broken:
        send(upload, content, 1)
    assert (code_of(broken), broken.value.kind) == ("gcs.unreachable", Kind.RETRYABLE)
    assert upload.offset == MIB
    stored = area.disk.session_path(area.partials()[0]).stat().st_size
    assert stored % HALF == 0 and stored >= MIB
    if life == "a new one":
        upload.close()
        upload = backend.start("x.mp4", len(content), upload.token)
        assert upload.offset == stored
    before = sent_bytes(area)
    send(upload, content)
    upload.commit(digests_of(content))
    assert area.published() == {"x.mp4": content}
    assert sent_bytes(area) - before == len(content) - stored, "nothing that is stored is sent again"
    assert area.partials() == []


@pytest.mark.server
def test_the_end_of_a_file_goes_along_with_the_commit(area: GcsArea, backend: Backend) -> None:
    """Also when the service takes a part of it, and when the link breaks in it."""
    for number, trouble in enumerate(("keep a part", "cut after")):
        content = content_of(2 * MIB + 3 * HALF + 9)
        upload = backend.start(f"{number}.mp4", len(content), f"token{number}")
        send(upload, content)
        area.disk.make_trouble(trouble, HALF)
        if trouble == "cut after":
            with pytest.raises(Fault):
                upload.commit(digests_of(content))
        upload.commit(digests_of(content))
        assert area.published()[f"{number}.mp4"] == content


# Sessions that are lost.


@pytest.mark.server
def test_a_session_that_expired(area: GcsArea, backend: Backend) -> None:
    content = content_of(2 * MIB)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 1)
    area.disk.expire(area.partials()[0])
    with pytest.raises(Fault) as gone:
        send(upload, content)
    fault = gone.value
    assert (fault.code, fault.kind, fault.scope) == ("gcs.upload_gone", Kind.RETRYABLE, Scope.ITEM)
    backend.drop("x.mp4", upload.token)
    upload.abort()
    again = backend.start("x.mp4", len(content), upload.token)
    assert again.offset == 0
    assert again.token != upload.token and again.token.startswith("token1|")
    send(again, content)
    area.disk.expire(area.partials()[0])
    with pytest.raises(Fault) as lost_at_the_end:
        again.commit(digests_of(content))
    assert code_of(lost_at_the_end) == "gcs.upload_gone"
    deliver(backend, "x.mp4", content, again.token)
    assert area.published() == {"x.mp4": content}


@pytest.mark.server
def test_a_session_of_another_endpoint_or_size(area: GcsArea, backend: Backend) -> None:
    other = "http://127.0.0.1:9/upload/storage/v1/b/x/o?uploadType=resumable&upload_id=y"
    content = content_of(2 * MIB)
    backend.drop("x.mp4", f"token1|{other}")
    upload = backend.start("x.mp4", len(content), f"token1|{other}")
    assert upload.offset == 0 and upload.token.startswith(f"token1|{area.url}/")
    send(upload, content)
    shorter = backend.start("x.mp4", MIB + 5, upload.token)
    assert shorter.offset == 0
    assert len(area.partials()) == 1, "the old one was cancelled"
    small = open_backend(area.config(chunk_bytes=4 * MIB), owner="test")
    deliver(small, "x.mp4", content, shorter.token)
    small.close()
    assert area.published() == {"x.mp4": content}
    assert area.partials() == []


# Answers that are lost.


@pytest.mark.server
@pytest.mark.parametrize("size", [2 * MIB, 2 * MIB + 5])
def test_the_last_answer_is_lost(area: GcsArea, backend: Backend, size: int) -> None:
    content = content_of(size)
    upload = backend.start("x.mp4", size, "token1")
    send(upload, content)
    area.disk.make_trouble("lose the answer")
    with pytest.raises(Fault) as lost:
        upload.commit(digests_of(content))
    assert (code_of(lost), lost.value.kind) == ("gcs.unreachable", Kind.RETRYABLE)
    sent = sent_bytes(area)
    with pytest.raises(Fault) as there:
        backend.start("x.mp4", size, upload.token)
    assert code_of(there) == "gcs.exists"
    assert backend.find("x.mp4", size, digests_of(content)).presence is Presence.SAME
    receipt = upload.commit(digests_of(content))  # or the same upload asks again, and is told
    assert (receipt.proof, receipt.checksum) == (Proof.CHECKSUM, f"crc32c:{digests_of(content).crc32c}")
    assert sent_bytes(area) == sent == size
    assert area.published() == {"x.mp4": content}
    assert area.partials() == []


@pytest.mark.server
def test_the_only_answer_is_lost(area: GcsArea, backend: Backend) -> None:
    content = content_of(10_000)
    area.disk.make_trouble("lose the answer")
    with pytest.raises(Fault) as lost:
        deliver(backend, "x.jpg", content)
    assert code_of(lost) == "gcs.unreachable"
    sent = sent_bytes(area)
    with pytest.raises(Fault) as there:
        backend.start("x.jpg", len(content), "token1")
    assert code_of(there) == "gcs.exists"
    assert backend.find("x.jpg", len(content), digests_of(content)).presence is Presence.SAME
    assert sent_bytes(area) == sent, "nothing is sent to learn that"


@pytest.mark.server
@pytest.mark.parametrize("remembers", [True, False])
def test_published_and_deleted_by_somebody(area: GcsArea, backend: Backend, remembers: bool) -> None:
    """Whether the service forgets the session with its object is not documented."""
    content = content_of(2 * MIB)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content)
    upload.commit(digests_of(content))
    area.disk.delete(area.bucket, "pre/fix/x.mp4")
    if remembers:
        area.disk.make_trouble("remember the deleted")
    deliver(backend, "x.mp4", content, upload.token)
    assert area.published() == {"x.mp4": content}


# Others.


@pytest.mark.server
def test_another_writer_at_the_last_moment(area: GcsArea, backend: Backend) -> None:
    content = content_of(2 * MIB + 5)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content)
    area.disk.make_trouble("another writer")
    for _ in range(2):
        with pytest.raises(Fault) as refusal:
            upload.commit(digests_of(content))
        assert code_of(refusal) == "gcs.exists"
    upload.abort()
    assert area.published() == {"x.mp4": b"somebody was faster"}
    assert area.partials() == []


@pytest.mark.server
@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_two_of_us_at_once(area: GcsArea, backend: Backend, size: int) -> None:
    contents = [content_of(size, seed=number) for number in range(4)]
    uploads = [backend.start("x.mp4", size, f"token{number}") for number in range(4)]
    for upload, content in zip(uploads, contents, strict=True):
        send(upload, content)
    outcomes: list[str] = []
    together = threading.Barrier(4)

    def finish(number: int) -> None:
        together.wait(10)
        try:
            uploads[number].commit(digests_of(contents[number]))
            outcomes.append(f"done {number}")
        except Fault as refusal:
            outcomes.append(refusal.code)
        uploads[number].abort()

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = next(outcome for outcome in outcomes if outcome.startswith("done"))
    assert sorted(outcomes) == sorted([winner, *["gcs.exists"] * 3])
    assert area.published() == {"x.mp4": contents[int(winner.split()[1])]}
    assert area.partials() == []
