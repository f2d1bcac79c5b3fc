"""Each refusal of a store, as it comes over the wire, becomes the fault that says who acts next."""

from __future__ import annotations

import errno
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.backends import S3Config, open_backend
from agent.backends.base import Backend
from agent.backends.s3 import faults
from agent.faults import Fault, Kind, Scope
from tests.backends.servers.canned import Canned, canned
from tests.backends.servers.process import free_port

SECRET = "wJalrXUtnFEMI/K7MDENG"
TOKEN = "FwoGZXIvYXdzEXAMPLE"

RETRYABLE, NEEDS_USER, PERMANENT = Kind.RETRYABLE, Kind.NEEDS_USER, Kind.PERMANENT
WHOLE, ITEM = Scope.WHOLE, Scope.ITEM

# Statuses and codes as in Amazon's list of error responses and MinIO's; one per way of going wrong.
ANSWERS = [
    (403, "InvalidAccessKeyId", "s3.wrong_keys", NEEDS_USER, WHOLE),
    (403, "SignatureDoesNotMatch", "s3.wrong_keys", NEEDS_USER, WHOLE),
    (400, "InvalidToken", "s3.wrong_keys", NEEDS_USER, WHOLE),
    (400, "ExpiredToken", "s3.expired_keys", NEEDS_USER, WHOLE),
    (403, "AccessDenied", "s3.access_denied", NEEDS_USER, WHOLE),
    (403, "AccountProblem", "s3.account", NEEDS_USER, WHOLE),
    (404, "NoSuchBucket", "s3.no_bucket", NEEDS_USER, WHOLE),
    (400, "InvalidBucketName", "s3.no_bucket", NEEDS_USER, WHOLE),
    (400, "AuthorizationHeaderMalformed", "s3.wrong_region", NEEDS_USER, WHOLE),
    (301, "PermanentRedirect", "s3.wrong_region", NEEDS_USER, WHOLE),
    (403, "RequestTimeTooSkewed", "s3.clock", RETRYABLE, WHOLE),
    (503, "SlowDown", "s3.slow_down", RETRYABLE, WHOLE),
    (503, "ServiceUnavailable", "s3.slow_down", RETRYABLE, WHOLE),
    (429, "TooManyRequests", "s3.slow_down", RETRYABLE, WHOLE),
    (500, "InternalError", "s3.server_error", RETRYABLE, WHOLE),
    (502, "", "s3.server_error", RETRYABLE, WHOLE),
    (400, "RequestTimeout", "s3.timeout", RETRYABLE, WHOLE),
    (507, "XMinioStorageFull", "s3.full", RETRYABLE, WHOLE),
    (403, "QuotaExceeded", "s3.full", RETRYABLE, WHOLE),
    (409, "ConditionalRequestConflict", "s3.conflict", RETRYABLE, ITEM),
    (412, "PreconditionFailed", "s3.exists", PERMANENT, ITEM),
    (400, "BadDigest", "s3.damaged", RETRYABLE, ITEM),
    (400, "EntityTooLarge", "s3.too_large", PERMANENT, ITEM),
    (400, "KeyTooLongError", "s3.bad_key", PERMANENT, ITEM),
    (400, "XMinioInvalidObjectName", "s3.refused_name", PERMANENT, ITEM),
    (400, "KMS.NotFoundException", "s3.kms_key", NEEDS_USER, WHOLE),
    (400, "KMS.DisabledException", "s3.kms_key", NEEDS_USER, WHOLE),
    (400, "InvalidEncryptionAlgorithmError", "s3.no_encryption", NEEDS_USER, WHOLE),
    (404, "NoSuchUpload", "s3.upload_gone", RETRYABLE, ITEM),
    (400, "InvalidPart", "s3.damaged", RETRYABLE, ITEM),
    (403, "InvalidObjectState", "s3.not_readable", NEEDS_USER, WHOLE),
    (400, "InvalidStorageClass", "s3.bad_settings", NEEDS_USER, WHOLE),
    (501, "NotImplemented", "s3.bad_settings", NEEDS_USER, WHOLE),
    (400, "NeverHeardOf", "s3.unclassified", RETRYABLE, WHOLE),
]


def open_s3(url: str, **changes: object) -> Backend:
    settings: dict[str, object] = {
        "bucket": "photos",
        "endpoint_url": url,
        "region": "us-east-1",
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": SECRET,
        "session_token": TOKEN,
        "connect_timeout_seconds": 1,
        "read_timeout_seconds": 1,
    }
    return open_backend(S3Config.model_validate({**settings, **changes}), owner="test")


def fault_of(backend: Backend) -> Fault:
    """Ask for a listing: a call with an answer that has a body."""
    with pytest.raises(Fault) as refusal:
        backend.browse("")
    backend.close()
    return refusal.value


@pytest.fixture(scope="module")
def store() -> Iterator[tuple[Canned, Backend]]:
    """A store that says what it is told to, and a backend that talks to it: making one takes half a second."""
    with canned() as prepared:
        backend = open_s3(prepared.url, connect_timeout_seconds=20, read_timeout_seconds=20)
        yield prepared, backend
        backend.close()


@pytest.mark.parametrize(("status", "code", "expected", "kind", "scope"), ANSWERS)
def test_answers(
    store: tuple[Canned, Backend], status: int, code: str, expected: str, kind: Kind, scope: Scope
) -> None:
    prepared, backend = store
    said = f"<Error><Code>{code}</Code><Message>{SECRET} and {TOKEN}</Message></Error>" if code else ""
    prepared.status, prepared.body = status, said.encode()
    with pytest.raises(Fault) as caught:
        backend.browse("")
    fault = caught.value
    assert (fault.code, fault.kind, fault.scope) == (expected, kind, scope)
    assert code in fault.detail
    assert SECRET not in str(fault) and TOKEN not in str(fault)


@pytest.mark.parametrize(
    ("status", "expected"), [(403, "s3.access_denied"), (503, "s3.slow_down"), (500, "s3.server_error")]
)
def test_answers_without_a_body(store: tuple[Canned, Backend], status: int, expected: str) -> None:
    """As to every HEAD."""
    prepared, backend = store
    prepared.status = status
    with pytest.raises(Fault) as refusal:
        backend.find("x.jpg", 1, None)
    assert refusal.value.code == expected


@pytest.mark.parametrize(("says", "seconds"), [("17", 17.0), ("Wed, 21 Oct 2015 07:28:00 GMT", None)])
def test_how_long_to_wait(store: tuple[Canned, Backend], says: str, seconds: float | None) -> None:
    prepared, backend = store
    prepared.status, prepared.body = 503, b"<Error><Code>SlowDown</Code></Error>"
    prepared.headers = {"Retry-After": says}
    with pytest.raises(Fault) as refusal:
        backend.browse("")
    assert refusal.value.retry_after_seconds == seconds


@pytest.mark.parametrize("code", ["NotImplemented", "InvalidArgument", "InvalidRequest"])
@pytest.mark.parametrize("size", [1000, 9 << 20])
def test_a_store_that_cannot_encrypt(code: str, size: int) -> None:
    """MinIO without a KMS says NotImplemented to the header; it is no word on conditions or checksums."""
    with canned(501, f"<Error><Code>{code}</Code></Error>".encode()) as prepared:
        backend = open_s3(prepared.url, encryption="sse-s3")
        with pytest.raises(Fault) as refusal:
            backend.start("x.mp4", size, "token1")
        backend.close()
    fault = refusal.value
    assert (fault.code, fault.kind, fault.scope) == ("s3.no_encryption", NEEDS_USER, WHOLE)
    assert code in fault.detail


def test_nobody_listens() -> None:
    fault = fault_of(open_s3(f"http://127.0.0.1:{free_port()}"))
    assert (fault.code, fault.kind, fault.scope) == ("s3.unreachable", RETRYABLE, WHOLE)


def test_no_such_host() -> None:
    assert fault_of(open_s3("http://no-such-host.invalid")).code == "s3.unreachable"


@pytest.mark.parametrize("body", [b"<html>Welcome to your router", b"<html></html>", b""])
def test_something_that_is_no_store(body: bytes) -> None:
    with canned(200, body) as prepared:
        backend = open_s3(prepared.url)
        check = backend.check()
        backend.close()
    assert check.fault is not None
    assert not check.steps[0].ok


NOTHING: dict[str, object] = {"access_key_id": None, "secret_access_key": None, "session_token": None}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without credentials; its configuration is at the path returned."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path / "config"


def test_keys_are_never_asked_of_the_network(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    role = json.dumps({"AccessKeyId": "AKID", "SecretAccessKey": SECRET, "Token": TOKEN}).encode()
    with canned(200, role) as metadata:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.url)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        assert fault_of(open_s3("http://127.0.0.1:9", **NOTHING)).code == "s3.no_credentials"


def test_a_profile(bare: Path) -> None:
    bare.write_text(f"[profile studio]\naws_access_key_id = AKID\naws_secret_access_key = {SECRET}\n")
    profile = {**NOTHING, "credentials": "profile"}
    with canned(403, b"<Error><Code>AccessDenied</Code></Error>") as prepared:
        assert fault_of(open_s3(prepared.url, **profile, profile="studio")).code == "s3.access_denied"
        fault = fault_of(open_s3(prepared.url, **profile, profile="wedding"))
    assert (fault.code, fault.kind, fault.scope) == ("s3.no_profile", NEEDS_USER, WHOLE)


def test_a_role(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a container; an EC2 instance's comes the same way from another address."""
    role = {"AccessKeyId": "AKID", "SecretAccessKey": SECRET, "Token": TOKEN}
    role["Expiration"] = "2100-01-01T00:00:00Z"
    listing = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    with canned(200, json.dumps(role).encode()) as metadata, canned(200, listing) as store:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.url)
        backend = open_s3(store.url, **NOTHING, credentials="role")
        assert backend.browse("") == []
        backend.close()


@pytest.mark.parametrize("stalls", [False, True])
def test_a_machine_without_a_role(bare: Path, monkeypatch: pytest.MonkeyPatch, stalls: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if stalls else free_port()
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{port}")
        begun = time.monotonic()
        fault = fault_of(open_s3("http://127.0.0.1:9", **NOTHING, credentials="role"))
    assert (fault.code, fault.kind, fault.scope) == ("s3.no_role", NEEDS_USER, WHOLE)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    "changes",
    [
        {"credentials": "role"},
        {"credentials": "profile", "profile": "studio"},
        {**NOTHING, "credentials": "profile"},
        {**NOTHING, "profile": "studio"},
        {"kms_key_id": "1234"},
        {"encryption": "sse-s3", "kms_key_id": "1234"},
    ],
)
def test_settings_that_contradict_each_other(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        open_s3("http://127.0.0.1:9", **changes)


def test_the_bucket_says_its_region() -> None:
    """A wrong region, or none, is put right by what Amazon's redirect says; nobody is asked twice."""
    listing = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    asked: list[str] = []

    def answer(prepared: Canned, headers: Mapping[str, str]) -> None:
        region = headers["Authorization"].split("/")[2]
        asked.append(region)
        if region == "eu-central-1":
            prepared.status, prepared.body, prepared.headers = 200, listing, {}
        else:
            prepared.status, prepared.body = 301, b"<Error><Code>PermanentRedirect</Code></Error>"
            prepared.headers = {"x-amz-bucket-region": "eu-central-1"}

    with canned(before=answer) as store:
        backend = open_s3(store.url, region=None)
        assert backend.browse("") == []
        assert backend.browse("") == []
        backend.close()
    assert asked == ["us-east-1", "eu-central-1", "eu-central-1"]


def test_a_file_of_certificates_that_is_not_there(tmp_path: Path) -> None:
    fault = fault_of(open_s3("https://127.0.0.1:9", ca_bundle=tmp_path / "missing.pem"))
    assert (fault.code, fault.kind) == ("s3.bad_settings", NEEDS_USER)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    command += [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(path),
        "-out",
        str(tmp_path / "certificate"),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    path.write_text(path.read_text() + (tmp_path / "certificate").read_text())
    return path


def test_a_certificate_that_nobody_vouches_for(certificate: Path) -> None:
    with canned(403, b"<Error><Code>AccessDenied</Code></Error>", certificate=certificate) as prepared:
        fault = fault_of(open_s3(prepared.url))
        assert (fault.code, fault.kind, fault.scope) == ("s3.tls", NEEDS_USER, WHOLE)
        assert fault_of(open_s3(prepared.url, ca_bundle=certificate)).code == "s3.access_denied"


def test_tls_with_a_server_that_has_none() -> None:
    with canned(200) as prepared:
        assert fault_of(open_s3(prepared.url.replace("http:", "https:"))).code == "s3.unreachable"


def test_a_clock_that_was_never_set() -> None:
    """A Pi has no clock of its own: until it has asked one, every certificate is "not yet valid"."""
    refusal = ssl.SSLCertVerificationError("certificate is not yet valid")
    refusal.verify_code = 9
    with pytest.raises(Fault) as caught, faults.translated():
        try:
            raise refusal
        except ssl.SSLCertVerificationError as inner:
            raise OSError(errno.EPROTO, "handshake") from inner
    assert (caught.value.code, caught.value.kind) == ("s3.clock", RETRYABLE)
