"""What is special about Cloud Storage: sessions that stop in the middle, are lost or race; tokens; rights; secrets."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.backends import GcsConfig, open_backend
from agent.backends.base import Backend, Exclusive, Presence, Proof
from agent.backends.gcs.client import Body
from agent.faults import Fault, Kind, Scope
from tests.backends.areas.gcs import MIB, GcsArea
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.servers.gcs import KEEPER, STRANGER, WRITER, GcsServer

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


# Proof.


@pytest.mark.server
def test_a_damaged_copy_is_refused_before_it_is_one(area: GcsArea) -> None:
    """By an account that could not take it back: the checksum goes along with the end."""
    backend = open_backend(area.config(key_file=area.server.keys[KEEPER]), owner="test")
    content = content_of(2 * MIB)
    for number, digests in enumerate([digests_of(content_of(2 * MIB, seed=1)), digests_of(content)]):
        upload = backend.start(f"{number}.mp4", len(content), "token1")
        if number:
            area.disk.make_trouble("flip a bit")
        send(upload, content)
        with pytest.raises(Fault) as refusal:
            upload.commit(digests)
        assert code_of(refusal) == "gcs.damaged"
    with pytest.raises(Fault) as refusal:
        small = backend.start("small.jpg", 5, "token1")
        send(small, b"wrong")
        small.commit(digests_of(b"right"))
    assert code_of(refusal) == "gcs.damaged"
    backend.close()
    assert area.published() == {}
    assert area.partials() == []


@pytest.mark.server
@pytest.mark.parametrize("may_delete", [True, False])
def test_a_service_that_would_keep_a_damaged_copy(area: GcsArea, may_delete: bool) -> None:
    """It publishes in spite of the checksum that we sent along; what it says of the object gives it away."""
    key = {} if may_delete else {"key_file": area.server.keys[KEEPER]}
    backend = open_backend(area.config(**key), owner="test")
    content = content_of(2 * MIB)
    upload = backend.start("x.mp4", len(content), "token1")
    send(upload, content, 1)
    area.disk.make_trouble("flip a bit")
    area.disk.make_trouble("ignore checksums")
    send(upload, content)
    with pytest.raises(Fault) as refusal:
        upload.commit(digests_of(content))
    assert (code_of(refusal), refusal.value.scope) == ("gcs.damaged", Scope.ITEM)
    if may_delete:
        assert area.published() == {}
        deliver(backend, "x.mp4", content, upload.token)
        assert area.published() == {"x.mp4": content}
    else:
        assert backend.find("x.mp4", len(content), digests_of(content)).presence is Presence.DIFFERENT
    backend.close()


@pytest.mark.server
def test_a_copy_of_ours_that_was_replaced_is_told_apart(area: GcsArea, backend: Backend) -> None:
    content = content_of(1000)
    receipt = deliver(backend, "x.jpg", content)
    resource = area.disk.object(area.bucket, "pre/fix/x.jpg")
    assert resource is not None
    assert receipt.version == resource["generation"]
    assert receipt.location == f"gs://{area.bucket}/pre/fix/x.jpg"
    assert resource["contentType"] == "image/jpeg"
    assert resource["metadata"] == {"hotshoe": "test"}
    area.disk.delete(area.bucket, "pre/fix/x.jpg")
    area.plant("x.jpg", content_of(1000, seed=1))
    assert backend.find("x.jpg", 1000, digests_of(content)).presence is Presence.DIFFERENT


@pytest.mark.server
@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_settings_that_go_along(area: GcsArea, size: int) -> None:
    area.server.make_bucket(f"{area.bucket}-pays", requester_pays=True)
    changes = {"bucket": f"{area.bucket}-pays", "user_project": "my-project", "storage_class": "NEARLINE"}
    backend = open_backend(area.config(**changes), owner="test")
    content = content_of(size)
    upload = backend.start("Größe/x.png", size, "token1")
    send(upload, content)
    upload.commit(digests_of(content))
    area.disk.plant(f"{area.bucket}-pays", "pre/fix/strange.jpg", content)
    assert backend.find("strange.jpg", size, digests_of(content)).presence is Presence.SAME
    assert [entry.name for entry in backend.browse("")] == ["Größe", "strange.jpg"]
    assert backend.check().fault is None
    backend.close()
    resource = area.disk.object(f"{area.bucket}-pays", "pre/fix/Größe/x.png")
    assert resource is not None
    assert (resource["storageClass"], resource["contentType"]) == ("NEARLINE", "image/png")


# Tokens and rights.


@pytest.mark.server
@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_a_token_that_is_no_longer_taken(area: GcsArea, backend: Backend, size: int) -> None:
    content = content_of(size)
    backend.find("x.mp4", 1, None)
    area.disk.forget_requests()
    area.disk.revoke_tokens()
    deliver(backend, "x.mp4", content)
    assert area.published() == {"x.mp4": content}
    tokens = [path for _, path, *_ in area.disk.requests() if path == "/token"]
    assert len(tokens) == 1, "fetched once, and the request repeated whole"


@pytest.mark.server
def test_a_token_that_runs_out(area: GcsArea, backend: Backend) -> None:
    area.disk.make_trouble("short tokens", 60)  # the library takes one for run out some minutes early
    for number in range(3):
        deliver(backend, f"{number}.jpg", b"1")
    assert len([1 for _, path, *_ in area.disk.requests() if path == "/token"]) == 2


@pytest.mark.server
def test_the_credentials_of_this_machine(area: GcsArea, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(area.server.keys[WRITER]))
    backend = open_backend(area.config(key_file=None), owner="test")
    deliver(backend, "x.jpg", b"1")
    backend.close()
    assert area.published() == {"x.jpg": b"1"}


@pytest.mark.server
@pytest.mark.parametrize("why", ["no right", "retention"])
def test_the_check_where_nothing_can_be_deleted(area: GcsArea, why: str) -> None:
    if why == "retention":
        area.server.make_bucket(f"{area.bucket}-kept", retained=True)
        backend = open_backend(area.config(bucket=f"{area.bucket}-kept"), owner="test")
    else:
        backend = open_backend(area.config(key_file=area.server.keys[KEEPER]), owner="test")
    for _ in range(2):
        check = backend.check()
        assert check.fault is None
        assert [step.ok for step in check.steps] == [True, True, True, True, False]
        expected = "gcs.retained" if why == "retention" else "gcs.no_permission"
        assert expected in check.steps[-1].detail
        assert (check.proof, check.exclusive) == (Proof.CHECKSUM, Exclusive.ATOMIC)
    deliver(backend, "x.mp4", content_of(2 * MIB))
    assert backend.find("x.mp4", 2 * MIB, digests_of(content_of(2 * MIB))).presence is Presence.SAME
    assert [entry.name for entry in backend.browse("")] == ["x.mp4"], "the probes are not shown"
    backend.close()


@pytest.mark.server
def test_a_long_folder(area: GcsArea, backend: Backend) -> None:
    for number in range(1003):
        area.plant(f"many/{number:04}/x.jpg" if number % 100 == 0 else f"many/{number:04}.jpg", b"1")
    entries = backend.browse("many")
    assert len(entries) == 1000
    assert [entry.name for entry in entries[:2]] == ["0000", "0100"]
    assert all(entry.is_folder == (entry.size is None) for entry in entries)


# Secrets.


@pytest.mark.server
def test_the_address_of_a_session_is_shown_nowhere(
    area: GcsArea, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    content = content_of(2 * MIB + 5)
    upload = backend.start("x.mp4", len(content), "token1")
    secret = upload.token.partition("upload_id=")[2]
    assert len(secret) > 20
    told = [repr(upload), repr(backend)]
    area.server.process.kill()
    try:
        calls = (lambda: send(upload, content), lambda: backend.drop("x.mp4", upload.token), upload.abort)
        for call in (*calls, lambda: backend.start("x.mp4", len(content), upload.token)):
            with pytest.raises(Fault) as refusal:
                call()
            told += traceback.format_exception(refusal.value) + [repr(refusal.value.detail)]
    finally:
        area.server.process.start()
    assert "upload_id=***" in "".join(told)
    assert secret not in "".join(told) + caplog.text


@pytest.mark.server
def test_a_key_is_shown_nowhere(area: GcsArea, tmp_path: Path) -> None:
    text = area.server.keys[STRANGER].read_text()
    for content in (text, text.replace("BEGIN PRIVATE", "BEGIN PIRATE"), text[:-5]):
        backend = open_backend(area.config(key_file=None, key_json=content), owner="test")
        with pytest.raises(Fault) as refusal:
            backend.browse("")
        shown = "".join(traceback.format_exception(refusal.value)) + repr(vars(backend))
        assert "MII" not in shown and "PRIVATE KEY" not in shown
        backend.close()


# Memory.

_PROGRAM = """
import os, sys
from agent.backends import open_backend, GcsConfig
from agent.backends.base import Digests
import google_crc32c, hashlib, random
config = GcsConfig.model_validate_json(sys.argv[1])
size, chunk = int(sys.argv[2]), config.chunk_bytes
backend = open_backend(config, owner="test")
backend.find("x", 1, None)
sha, crc = hashlib.sha256(), 0
buffer = memoryview(bytearray(random.Random(1).randbytes(chunk)))
status = lambda: int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
open("/proc/self/clear_refs", "w").write("5")
before = status()
upload = backend.start("x.mp4", size, "token1")
while upload.offset < size:
    piece = buffer[: min(chunk, size - upload.offset)]
    sha.update(piece); crc = google_crc32c.extend(crc, bytes(piece[:0]) or bytes(piece))
    upload.write(piece)
upload.commit(Digests(sha.hexdigest(), crc.to_bytes(4, "big").hex()))
print(status() - before)
"""


@pytest.mark.server
def test_memory_is_flat(area: GcsArea) -> None:
    """Ours beyond the engine's buffer: an end that waits for the commit, and nothing that grows with the file."""
    config = area.config(chunk_bytes=8 * MIB).model_dump_json()
    grown = []
    for size in (24 * MIB + 5, 120 * MIB + 5):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, config, str(size)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        grown.append(int(done.stdout) / 1024)
        area.disk.delete(area.bucket, "pre/fix/x.mp4")
    print(f"grown by {grown} MiB")
    assert max(grown) < 24, grown
    assert abs(grown[1] - grown[0]) < 2, grown


def test_a_body_is_read_without_copies() -> None:
    whole = memoryview(bytes(range(200)))
    body = Body(whole[:3], whole[3:3], whole[3:150])
    assert len(body) == 150
    pieces = []
    while piece := body.read(64):
        pieces.append(piece)
    assert [len(piece) for piece in pieces] == [3, 64, 64, 19]
    assert b"".join(pieces) == whole[:150]
    assert all(isinstance(piece, memoryview) and piece.obj is whole.obj for piece in pieces)


@pytest.mark.parametrize(
    "changes",
    [
        {"bucket": "b"},
        {"bucket": "Has Spaces"},
        {"chunk_bytes": MIB + 1},
        {"prefix": "a/../../b"},
        {"endpoint_url": "storage.example.com"},
        {"endpoint_url": "https://key:secret@storage.example.com"},
        {"storage_class": "cheap"},
        {"key_file": "a.json", "anonymous": True},
        {"key_file": "a.json", "key_json": "{}"},
        {"user_project": "a b"},
    ],
)
def test_bad_settings(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="."):
        GcsConfig.model_validate({"bucket": "photos", **changes})
