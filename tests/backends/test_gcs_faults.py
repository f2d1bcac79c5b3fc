"""Every fault of a Cloud Storage destination is brought about: by the tests' server where it can be, else by a canned answer."""

from __future__ import annotations

import datetime
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.backends import GcsConfig, open_backend
from agent.backends.base import Backend
from agent.backends.gcs import faults
from agent.backends.gcs.session import Session
from agent.backends.gcs.store import Store
from agent.faults import Fault, Kind, Scope
from tests.backends.areas.gcs import MIB, GcsArea
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.servers.canned import Canned, canned
from tests.backends.servers.gcs import READER, STRANGER, GcsServer
from tests.backends.servers.process import free_port

pytestmark = pytest.mark.server
RETRYABLE, NEEDS_USER, PERMANENT = Kind.RETRYABLE, Kind.NEEDS_USER, Kind.PERMANENT
WHOLE, ITEM = Scope.WHOLE, Scope.ITEM
SECRET_URL = "upload_id=AEnB2UqVerySecret"

# Statuses and reasons as Google lists them for the JSON API; one per way of going wrong.
ANSWERS = [
    (400, "invalidParameter", "gcs.bad_settings", NEEDS_USER, WHOLE),
    (400, "userProjectMissing", "gcs.user_project", NEEDS_USER, WHOLE),
    (400, "required", "gcs.user_project", NEEDS_USER, WHOLE),
    (401, "authError", "gcs.wrong_key", NEEDS_USER, WHOLE),
    (401, "required", "gcs.no_credentials", NEEDS_USER, WHOLE),
    (403, "forbidden", "gcs.no_permission", NEEDS_USER, WHOLE),
    (403, "insufficientPermissions", "gcs.scopes", NEEDS_USER, WHOLE),
    (403, "accountDisabled", "gcs.account", NEEDS_USER, WHOLE),
    (403, "UserProjectAccountProblem", "gcs.account", NEEDS_USER, WHOLE),
    (403, "userProjectAccessDenied", "gcs.user_project", NEEDS_USER, WHOLE),
    (403, "rateLimitExceeded", "gcs.slow_down", RETRYABLE, WHOLE),
    (403, "userRateLimitExceeded", "gcs.slow_down", RETRYABLE, WHOLE),
    (403, "quotaExceeded", "gcs.full", RETRYABLE, WHOLE),
    (403, "retentionPolicyNotMet", "gcs.retained", NEEDS_USER, WHOLE),
    (404, "notFound", "gcs.no_bucket", NEEDS_USER, WHOLE),
    (407, "", "gcs.bad_settings", NEEDS_USER, WHOLE),
    (408, "", "gcs.timeout", RETRYABLE, WHOLE),
    (409, "conflict", "gcs.busy", RETRYABLE, ITEM),
    (412, "conditionNotMet", "gcs.exists", PERMANENT, ITEM),
    (412, "orgPolicyConstraintFailed", "gcs.no_permission", NEEDS_USER, WHOLE),
    (413, "uploadTooLarge", "gcs.too_large", PERMANENT, ITEM),
    (418, "neverHeardOf", "gcs.unclassified", RETRYABLE, WHOLE),
    (429, "rateLimitExceeded", "gcs.slow_down", RETRYABLE, WHOLE),
    (500, "backendError", "gcs.server_error", RETRYABLE, WHOLE),
    (502, "", "gcs.server_error", RETRYABLE, WHOLE),
    (503, "backendError", "gcs.slow_down", RETRYABLE, WHOLE),
    (504, "", "gcs.timeout", RETRYABLE, WHOLE),
]


def open_gcs(url: str, **changes: object) -> Backend:
    settings: dict[str, object] = {
        "bucket": "photos",
        "endpoint_url": url,
        "anonymous": True,
        "chunk_bytes": MIB,
        "connect_timeout_seconds": 1,
        "read_timeout_seconds": 1,
    }
    return open_backend(GcsConfig.model_validate({**settings, **changes}), owner="test")


def refusal_of(backend: Backend, ask: Callable[[Backend], object] | None = None) -> Fault:
    """Ask for a listing, or as told."""
    try:
        with pytest.raises(Fault) as caught:
            (ask or (lambda backend: backend.browse("")))(backend)
    finally:
        backend.close()
    return caught.value


@pytest.fixture(scope="module")
def store() -> Iterator[tuple[Canned, Backend]]:
    with canned() as prepared:
        backend = open_gcs(prepared.url, connect_timeout_seconds=20, read_timeout_seconds=20)
        yield prepared, backend
        backend.close()


WAYS: dict[str, Callable[[Backend], object]] = {
    "the library's calls": lambda backend: backend.browse(""),
    "the library's uploads": lambda backend: backend.start("x.mp4", 2 * MIB, "token1"),
    "our own": lambda backend: deliver(backend, "x.jpg", b"1"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("status", "reason", "expected", "kind", "scope"), ANSWERS)
def test_answers(
    store: tuple[Canned, Backend], way: str, status: int, reason: str, expected: str, kind: Kind, scope: Scope
) -> None:
    prepared, backend = store
    said = {"message": f"see {SECRET_URL}", "reason": reason}
    error = {"error": {"code": status, "message": f"see {SECRET_URL}", "errors": [said]}}
    prepared.status, prepared.body = status, json.dumps(error).encode() if reason else b"<html>no"
    with pytest.raises(Fault) as caught:
        WAYS[way](backend)
    if (way, reason) == ("our own", "invalidParameter"):
        expected, kind, scope = "gcs.damaged", RETRYABLE, ITEM  # only the checksum can be wrong there
    assert (caught.value.code, caught.value.kind, caught.value.scope) == (expected, kind, scope)
    assert reason in caught.value.detail
    assert SECRET_URL not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None, (
        "no traceback shows a session's address"
    )


@pytest.mark.parametrize(("says", "seconds"), [("17", 17.0), ("Wed, 21 Oct 2015 07:28:00 GMT", None)])
@pytest.mark.parametrize("way", WAYS)
def test_how_long_to_wait(store: tuple[Canned, Backend], way: str, says: str, seconds: float | None) -> None:
    prepared, backend = store
    prepared.status, prepared.headers = 429, {"Retry-After": says}
    with pytest.raises(Fault) as caught:
        WAYS[way](backend)
    prepared.headers = {}
    assert (caught.value.code, caught.value.retry_after_seconds) == ("gcs.slow_down", seconds)


class Lab:
    """What it takes to bring about a fault."""

    def __init__(self, server: GcsServer, folder: Path, patch: pytest.MonkeyPatch, ends: ExitStack):
        self.server, self.folder, self.patch, self.ends = server, folder, patch, ends
        self.area = GcsArea(server)

    def open(self, **changes: object) -> Backend:
        return open_backend(self.area.config(**changes), owner="test")

    def canned(self, status: int, body: object = b"", **more: Any) -> str:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ends.enter_context(canned(status, body, **more)).url

    def mute(self) -> str:
        """A server that takes connections and never says a word."""
        listener = self.ends.enter_context(socket.create_server(("127.0.0.1", 0)))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    def key_file(self, **changes: object) -> Path:
        path = self.folder / "key.json"
        whole = json.loads(self.server.keys[STRANGER].read_text())
        path.write_text(json.dumps({**whole, **changes}))
        return path


@pytest.fixture
def lab(gcs: GcsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with ExitStack() as ends:
        yield Lab(gcs, tmp_path, monkeypatch, ends)


def unreachable(lab: Lab) -> Fault:
    return refusal_of(open_gcs(f"http://127.0.0.1:{free_port()}"))


def timeout(lab: Lab) -> Fault:
    return refusal_of(open_gcs(lab.mute(), read_timeout_seconds=0.2))


def full(lab: Lab) -> Fault:
    config = lab.area.full()
    assert config is not None
    return refusal_of(
        open_backend(config, owner="test"), lambda backend: deliver(backend, "x", content_of(17_000_000))
    )


def clock(lab: Lab) -> Fault:
    """Ours is an hour ahead: the token server calls what we sign invalid, and its Date shows why."""
    from google.auth import _helpers

    then: Any = _helpers.utcnow
    lab.patch.setattr(_helpers, "utcnow", lambda: then() + datetime.timedelta(hours=1))
    ahead = SimpleNamespace(time=lambda: time.time() + 3600, monotonic=time.monotonic)
    lab.patch.setattr("agent.backends.gcs.client.time", ahead)
    return refusal_of(lab.open())


def upload_gone(lab: Lab) -> Fault:
    backend = lab.open()
    upload = backend.start("x.mp4", 2 * MIB, "token1")
    lab.area.disk.expire(lab.area.partials()[0])
    return refusal_of(backend, lambda _: send(upload, content_of(2 * MIB)))


def damaged(lab: Lab) -> Fault:
    lab.area.disk.make_trouble("flip a bit")
    return refusal_of(lab.open(), lambda backend: deliver(backend, "x.mp4", content_of(2 * MIB)))


def no_credentials(lab: Lab) -> Fault:
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "GCE_", "CLOUDSDK_"))]:
        lab.patch.delenv(name)
    lab.patch.setenv("CLOUDSDK_CONFIG", str(lab.folder))
    lab.patch.setenv("NO_GCE_CHECK", "true")
    return refusal_of(lab.open(key_file=None))


def no_permission(lab: Lab) -> Fault:
    return refusal_of(
        lab.open(key_file=lab.server.keys[READER]), lambda backend: deliver(backend, "x.jpg", b"1")
    )


def user_project(lab: Lab) -> Fault:
    lab.server.make_bucket(f"{lab.area.bucket}-pays", requester_pays=True)
    return refusal_of(lab.open(bucket=f"{lab.area.bucket}-pays"))


def tls(lab: Lab) -> Fault:
    return refusal_of(open_gcs(lab.canned(403, certificate=certificate(lab.folder))))


def no_checksum(lab: Lab) -> Fault:
    url = lab.canned(200, {"size": "1", "generation": "1"})
    return refusal_of(open_gcs(url, minimum_proof="checksum"), WAYS["our own"])


def retained(lab: Lab) -> Fault:
    bucket = f"{lab.area.bucket}-kept"
    lab.server.make_bucket(bucket, retained=True)
    lab.area.disk.plant(bucket, "x", b"1")
    config = lab.area.config(bucket=bucket)
    assert isinstance(config, GcsConfig)
    return refusal_of(lab.open(), lambda _: Store(config).delete("x"))


def exists(lab: Lab) -> Fault:
    lab.area.plant("x.jpg", b"2")
    return refusal_of(lab.open(), lambda backend: deliver(backend, "x.jpg", b"1"))


def answered(status: int, reason: str) -> Callable[[Lab], Fault]:
    error = {"error": {"code": status, "message": "no", "errors": [{"reason": reason}]}}
    return lambda lab: refusal_of(open_gcs(lab.canned(status, error)))


PROVOCATIONS: dict[str, Callable[[Lab], Fault]] = {
    "gcs.unreachable": unreachable,
    "gcs.timeout": timeout,
    "gcs.slow_down": answered(429, "rateLimitExceeded"),
    "gcs.server_error": answered(500, "backendError"),
    "gcs.full": full,
    "gcs.clock": clock,
    "gcs.busy": answered(409, "conflict"),
    "gcs.upload_gone": upload_gone,
    "gcs.damaged": damaged,
    "gcs.unclassified": answered(418, "neverHeardOf"),
    "gcs.no_credentials": no_credentials,
    "gcs.bad_key_file": lambda lab: refusal_of(lab.open(key_file=lab.folder / "missing.json")),
    "gcs.wrong_key": lambda lab: refusal_of(lab.open(key_file=lab.server.keys[STRANGER])),
    "gcs.no_permission": no_permission,
    "gcs.scopes": answered(403, "insufficientPermissions"),
    "gcs.account": answered(403, "accountDisabled"),
    "gcs.no_bucket": lambda lab: refusal_of(lab.open(bucket="no-such-bucket")),
    "gcs.user_project": user_project,
    "gcs.tls": tls,
    "gcs.bad_settings": lambda lab: refusal_of(lab.open(ca_bundle=lab.folder / "missing.pem")),
    "gcs.no_checksum": no_checksum,
    "gcs.retained": retained,
    "gcs.exists": exists,
    "gcs.too_large": answered(413, "uploadTooLarge"),
    "gcs.bad_key": lambda lab: refusal_of(lab.open(), lambda backend: backend.find("../x", 1, None)),
    "gcs.refused_name": lambda lab: refusal_of(lab.open(), lambda backend: backend.find("a\nb", 1, None)),
}


@pytest.mark.parametrize("code", faults.FAULTS)
def test_every_fault_is_brought_about(lab: Lab, code: str) -> None:
    fault = PROVOCATIONS[code](lab)
    assert fault.code == code
    advice = faults.FAULTS[code]
    assert (fault.kind, fault.scope, fault.hint) == (advice.kind, advice.scope, advice.hint)
    for private in ("BEGIN PRIVATE KEY", "ya29.", "upload_id=A"):
        assert private not in str(fault)


def test_no_fault_is_made_up() -> None:
    assert list(PROVOCATIONS) == list(faults.FAULTS)
    told = {*faults._BY_REASON.values(), *faults._BY_STATUS.values(), *faults._BY_CLASS.values()}
    assert told | set(faults._BY_GRANT.values()) <= set(faults.FAULTS)


def test_no_such_host() -> None:
    assert refusal_of(open_gcs("http://no-such-host.invalid")).code == "gcs.unreachable"


def test_a_clock_that_was_never_set() -> None:
    """A Pi has no clock of its own: until it has asked one, every certificate is "not yet valid"."""
    refusal = ssl.SSLCertVerificationError("certificate is not yet valid")
    refusal.verify_code = 9
    outer = OSError("handshake")
    outer.__cause__ = refusal
    assert faults.of_exception(outer).code == "gcs.clock"


def test_a_certificate_of_ones_own(lab: Lab) -> None:
    pem = certificate(lab.folder)
    lab.patch.setenv("REQUESTS_CA_BUNDLE", ssl.get_default_verify_paths().cafile or "")  # counts for less
    assert refusal_of(open_gcs(lab.canned(403, certificate=pem), ca_bundle=pem)).code == "gcs.no_permission"


@pytest.mark.parametrize(
    "content", ["", "no json", "[]", "{}", '{"type": "authorized_user"}', '{"private_key": "hush"}', "\ud800"]
)
def test_key_files_that_are_none(lab: Lab, content: str) -> None:
    path = lab.folder / "key.json"
    path.write_text(content, errors="surrogatepass")
    fault = refusal_of(lab.open(key_file=path))
    assert (fault.code, fault.kind) == ("gcs.bad_key_file", NEEDS_USER)
    assert "hush" not in str(fault)
    if content.isascii():
        assert refusal_of(lab.open(key_file=None, key_json=content)).code == "gcs.bad_key_file"


def test_a_key_as_text(lab: Lab) -> None:
    text = lab.server.keys[STRANGER].read_text()
    config = lab.area.config(key_file=None, key_json=text)
    assert "PRIVATE" not in repr(config) + str(config) + config.model_dump_json()
    assert refusal_of(open_backend(config, owner="test")).code == "gcs.wrong_key"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, "gcs.wrong_key"),
        (401, {"error": "deleted_client"}, "gcs.wrong_key"),
        (400, {"error": "invalid_scope"}, "gcs.scopes"),
        (400, {"error": "never_heard_of"}, "gcs.wrong_key"),
        (500, {"error": "internal_failure"}, "gcs.unreachable"),
        (503, b"<html>", "gcs.unreachable"),
        (200, b"<html>a hotel's page", "gcs.unreachable"),
    ],
)
def test_the_token_server(lab: Lab, status: int, body: object, expected: str) -> None:
    asked: list[object] = []
    key = lab.key_file(token_uri=lab.canned(status, body, before=lambda *request: asked.append(request)))
    assert refusal_of(lab.open(key_file=key)).code == expected
    assert len(asked) <= 3, "google.auth itself would repeat each of them"


def test_a_token_server_that_says_nothing(lab: Lab) -> None:
    key = lab.key_file(token_uri=lab.mute())
    begun = time.monotonic()
    assert refusal_of(lab.open(key_file=key, read_timeout_seconds=0.5)).code == "gcs.timeout"
    assert time.monotonic() - begun < 6


@pytest.mark.parametrize("body", [b"<html>Welcome to your hotel", b"[]", b""])
def test_something_that_is_no_store(lab: Lab, body: bytes) -> None:
    backend = open_gcs(lab.canned(200, body))
    check = backend.check()
    assert check.fault is not None and not check.steps[0].ok
    assert refusal_of(backend, WAYS["the library's uploads"]).code != "gcs.exists"


def test_uploads_go_nowhere_else(lab: Lab) -> None:
    """Our token goes to the endpoint alone, whatever a server says."""
    url = lab.canned(200, b"", headers={"Location": "http://127.0.0.1:9/upload?upload_id=x"})
    assert refusal_of(open_gcs(url), WAYS["the library's uploads"]).code == "gcs.bad_settings"


@pytest.mark.parametrize(("status", "code"), [(403, "gcs.no_permission"), (429, "gcs.slow_down"), (500, "")])
def test_a_session_that_is_not_let_go(lab: Lab, status: int, code: str) -> None:
    """Only an answer that says it is gone ends it; else the engine comes back."""
    url = lab.canned(status)
    backend = open_gcs(url)
    fault = refusal_of(backend, lambda backend: backend.drop("x", f"token1|{url}/upload?upload_id=x"))
    assert fault.code == (code or "gcs.server_error")


@pytest.mark.parametrize("status", [200, 204, 404, 410, 499])
def test_a_session_that_is_let_go(lab: Lab, status: int) -> None:
    url = lab.canned(status)
    backend = open_gcs(url)
    backend.drop("x", f"token1|{url}/upload?upload_id=x")
    backend.close()


@pytest.mark.parametrize("status", [404, 410, 499])
def test_a_session_that_is_gone(lab: Lab, status: int) -> None:
    """And so another is begun: a refusal would be met again with every try."""
    url = lab.canned(status)
    settings = {"bucket": "photos", "endpoint_url": url, "anonymous": True}
    store = Store(GcsConfig.model_validate(settings))
    session = Session(store, f"{url}/upload?upload_id=x")
    assert session.ask().is_gone
    assert session.send(0, memoryview(b"1")).is_gone
    assert session.finish(0, memoryview(b"1"), 1, "AAAAAA==").is_gone
    store.close()


def test_the_token_goes_to_nobody_else(lab: Lab) -> None:
    """The library would send it to iamcredentials.googleapis.com, in a thread of its own."""
    begun: list[object] = []
    lab.patch.setattr(
        "google.auth._regional_access_boundary_utils._RegionalAccessBoundaryRefreshThread.start", begun.append
    )
    backend = open_backend(lab.area.config(), owner="test")
    deliver(backend, "x.jpg", b"1")
    backend.close()
    assert begun == []


def test_tls_with_a_server_that_has_none(lab: Lab) -> None:
    url = lab.canned(200).replace("http:", "https:")
    assert refusal_of(open_gcs(url)).code == "gcs.unreachable"


def certificate(folder: Path) -> Path:
    """Make a key and a certificate for 127.0.0.1 that nobody vouches for."""
    path = folder / "pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(path), "-out", str(folder / "certificate")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    path.write_text(path.read_text() + (folder / "certificate").read_text())
    return path


def test_digests_are_what_the_suite_says() -> None:
    from agent.backends.gcs.crc32c import hex_of, to_base64, to_hex

    assert hex_of(b"123456789") == "e3069283"  # the check value of CRC-32C
    assert to_hex(to_base64("e3069283")) == "e3069283" == digests_of(b"123456789").crc32c
