"""What stands behind a delivery to Cloud Storage, and what it needs: proof, tokens, rights, secrets, memory."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from agent.backends import GcsConfig, open_backend
from agent.backends.base import Backend, Exclusive, Presence, Proof
from agent.backends.gcs.client import Body
from agent.faults import Fault, Scope
from tests.backends.areas.gcs import MIB, GcsArea
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.servers.gcs import KEEPER, STRANGER, WRITER
from tests.backends.test_gcs import area as area
from tests.backends.test_gcs import backend as backend
from tests.backends.test_gcs import code_of

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
def test_the_check_sees_sessions_that_replace(area: GcsArea, backend: Backend) -> None:
    """As the packaged emulators do: nothing that comes from there may say that it is atomic."""
    area.disk.make_trouble("forget the condition")
    check = backend.check()
    assert check.fault is not None and check.fault.code == "check.unmet"
    assert check.steps[-1].name == "refuse overwrite" and "session" in check.steps[-1].detail
    assert area.published() == {} and area.partials() == []
    assert backend.check().fault is None


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
