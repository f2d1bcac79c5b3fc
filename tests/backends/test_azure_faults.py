"""Each refusal of Azure, as it comes over the wire, becomes the fault that says who acts next."""

from __future__ import annotations

import base64
import json
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from agent.backends import AzureConfig, open_backend
from agent.backends.azure import faults
from agent.backends.base import Backend
from agent.faults import Fault, Kind, Scope
from tests.backends.areas.azure import AzuriteArea
from tests.backends.conformance import content_of, deliver, digests_of
from tests.backends.servers.azurite import Azurite
from tests.backends.servers.canned import Canned, canned
from tests.backends.servers.certificates import make_certificate
from tests.backends.servers.process import free_port

KEY = base64.b64encode(b"a very secret key of an account").decode()
SIGNATURE = "c2VjcmV0c2lnbmF0dXJl"

RETRYABLE, NEEDS_USER, PERMANENT = Kind.RETRYABLE, Kind.NEEDS_USER, Kind.PERMANENT
WHOLE, ITEM = Scope.WHOLE, Scope.ITEM

# Statuses and codes as in "Blob service error codes" and "Common REST API error codes"; one per way of going wrong.
ANSWERS = [
    (403, "AuthenticationFailed", "azure.wrong_key", NEEDS_USER, WHOLE),
    (401, "NoAuthenticationInformation", "azure.wrong_key", NEEDS_USER, WHOLE),
    (403, "KeyBasedAuthenticationNotPermitted", "azure.keys_off", NEEDS_USER, WHOLE),
    (403, "AuthorizationPermissionMismatch", "azure.access_denied", NEEDS_USER, WHOLE),
    (403, "InsufficientAccountPermissions", "azure.access_denied", NEEDS_USER, WHOLE),
    (403, "AuthorizationFailure", "azure.firewall", NEEDS_USER, WHOLE),
    (403, "AuthorizationSourceIPMismatch", "azure.firewall", NEEDS_USER, WHOLE),
    (403, "AccountIsDisabled", "azure.account_off", NEEDS_USER, WHOLE),
    (404, "ContainerNotFound", "azure.no_container", NEEDS_USER, WHOLE),
    (409, "ContainerBeingDeleted", "azure.container_going", RETRYABLE, WHOLE),
    (503, "ServerBusy", "azure.slow_down", RETRYABLE, WHOLE),
    (429, "TooManyRequests", "azure.slow_down", RETRYABLE, WHOLE),
    (500, "OperationTimedOut", "azure.timeout", RETRYABLE, WHOLE),
    (500, "InternalError", "azure.server_error", RETRYABLE, WHOLE),
    (502, "", "azure.server_error", RETRYABLE, WHOLE),
    (507, "", "azure.full", RETRYABLE, WHOLE),
    (400, "Md5Mismatch", "azure.damaged", RETRYABLE, ITEM),
    (409, "BlobAlreadyExists", "azure.exists", PERMANENT, ITEM),
    (412, "ConditionNotMet", "azure.exists", PERMANENT, ITEM),
    (409, "BlobImmutableDueToPolicy", "azure.immutable", PERMANENT, ITEM),
    (412, "LeaseIdMissing", "azure.busy", RETRYABLE, ITEM),
    (400, "InvalidBlobOrBlock", "azure.busy", RETRYABLE, ITEM),
    (409, "BlockCountExceedsLimit", "azure.busy", RETRYABLE, ITEM),
    (400, "InvalidBlockList", "azure.upload_gone", RETRYABLE, ITEM),
    (409, "NeverHeardOf", "azure.conflict", RETRYABLE, ITEM),
    (413, "RequestBodyTooLarge", "azure.too_large", PERMANENT, ITEM),
    (400, "InvalidResourceName", "azure.refused_name", PERMANENT, ITEM),
    (409, "BlobArchived", "azure.not_readable", NEEDS_USER, WHOLE),
    (409, "BlobAccessTierNotSupportedForAccountType", "azure.bad_settings", NEEDS_USER, WHOLE),
    (400, "NeverHeardOf", "azure.unclassified", RETRYABLE, WHOLE),
]


def open_azure(url: str, **changes: object) -> Backend:
    settings: dict[str, object] = {
        "container": "photos",
        "account": "studio",
        "endpoint_url": url,
        "account_key": KEY,
        "connect_timeout_seconds": 1,
        "read_timeout_seconds": 1,
    }
    return open_backend(AzureConfig.model_validate({**settings, **changes}), owner="test")


def fault_of(backend: Backend) -> Fault:
    """Ask for a listing: a call with an answer that has a body."""
    with pytest.raises(Fault) as refusal:
        backend.browse("")
    backend.close()
    return refusal.value


def answer(prepared: Canned, status: int, code: str) -> None:
    said = f"<Error><Code>{code}</Code><Message>{KEY} and sig={SIGNATURE}</Message></Error>"
    prepared.status, prepared.body = status, said.encode() if code else b""
    prepared.headers = {"Content-Type": "application/xml"}
    if code:
        prepared.headers["x-ms-error-code"] = code


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[Canned, Backend]]:
    """A service that says what it is told to, and a backend that talks to it."""
    with canned() as prepared:
        backend = open_azure(prepared.url, connect_timeout_seconds=20, read_timeout_seconds=20)
        yield prepared, backend
        backend.close()


@pytest.mark.parametrize(("status", "code", "expected", "kind", "scope"), ANSWERS)
def test_answers(
    service: tuple[Canned, Backend], status: int, code: str, expected: str, kind: Kind, scope: Scope
) -> None:
    prepared, backend = service
    answer(prepared, status, code)
    with pytest.raises(Fault) as caught:
        backend.browse("")
    fault = caught.value
    assert (fault.code, fault.kind, fault.scope) == (expected, kind, scope)
    assert code in fault.detail
    told = "".join(traceback.format_exception(fault)) + repr(fault)
    assert KEY not in told and SIGNATURE not in told


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AuthorizationPermissionMismatch", "azure.access_denied"),
        (404, "ContainerNotFound", "azure.no_container"),
        (503, "", "azure.slow_down"),
        (500, "", "azure.server_error"),
    ],
)
def test_answers_without_a_body(
    service: tuple[Canned, Backend], status: int, code: str, expected: str
) -> None:
    """As to every HEAD: Azure names its code in a header, what stands before it may not."""
    prepared, backend = service
    answer(prepared, status, code)
    with pytest.raises(Fault) as refusal:
        backend.find("x.jpg", 1, None)
    assert refusal.value.code == expected


@pytest.mark.parametrize(("says", "seconds"), [("17", 17.0), ("Wed, 21 Oct 2015 07:28:00 GMT", None)])
def test_how_long_to_wait(service: tuple[Canned, Backend], says: str, seconds: float | None) -> None:
    prepared, backend = service
    answer(prepared, 503, "ServerBusy")
    prepared.headers["Retry-After"] = says
    with pytest.raises(Fault) as refusal:
        backend.browse("")
    assert refusal.value.retry_after_seconds == seconds


# One code of Azure's, several reasons.


def test_a_clock_that_is_wrong(service: tuple[Canned, Backend], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, backend = service
    answer(prepared, 403, "AuthenticationFailed")
    ours = SimpleNamespace(time=lambda: time.time() - 16 * 60)
    monkeypatch.setattr(faults, "time", ours)
    with pytest.raises(Fault) as refusal:
        backend.browse("")
    assert (refusal.value.code, refusal.value.kind) == ("azure.clock", RETRYABLE)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (-48, -1, "azure.sas_expired"),
        (1, 48, "azure.sas_expired"),
        (-48, 48, "azure.wrong_key"),
        (None, None, "azure.wrong_key"),
    ],
)
def test_a_sas_of_another_time(start: int | None, end: int | None, expected: str) -> None:
    hours = {"st": start, "se": end}
    fields = [
        f"{name}={(datetime.now(UTC) + timedelta(hours=value)).strftime('%Y-%m-%dT%H:%M:%SZ')}"
        for name, value in hours.items()
        if value is not None
    ]
    sas = "&".join(["sv=2024-11-04", "sp=rcwld", *fields, f"sig={SIGNATURE}"])
    with canned() as prepared:
        answer(prepared, 403, "AuthenticationFailed")
        fault = fault_of(open_azure(prepared.url, account_key=None, sas=sas))
    assert (fault.code, fault.kind, fault.scope) == (expected, NEEDS_USER, WHOLE)
    assert SIGNATURE not in "".join(traceback.format_exception(fault))


@pytest.mark.server
def test_a_real_sas_that_has_expired_or_says_too_little(azurite: Azurite) -> None:
    area = AzuriteArea(azurite)
    area.plant("x.jpg", b"1")
    for sas, expected in (
        (area.sas("rcwld", hours=-1), "azure.sas_expired"),
        (area.sas("rl"), "azure.access_denied"),
        (area.sas("rcwld").replace("sig=", "sig=AAAA"), "azure.wrong_key"),
    ):
        backend = open_backend(area.config(account_key=None, sas=sas), owner="test")
        with pytest.raises(Fault) as refusal:
            deliver(backend, "y.jpg", content_of(10))
        # Azurite 3.35 says AuthorizationFailure for a signature that is out of date or does not fit.
        assert refusal.value.code in (expected, "azure.firewall")
        assert refusal.value.kind is NEEDS_USER
        assert sas not in "".join(traceback.format_exception(refusal.value))
        backend.close()


# What is not there.


def test_nobody_listens() -> None:
    fault = fault_of(open_azure(f"http://127.0.0.1:{free_port()}"))
    assert (fault.code, fault.kind, fault.scope) == ("azure.unreachable", RETRYABLE, WHOLE)


def test_no_such_host() -> None:
    fault = fault_of(open_azure("http://no-such-account.invalid"))
    assert (fault.code, fault.kind, fault.scope) == ("azure.unknown_host", RETRYABLE, WHOLE)


@pytest.mark.parametrize("body", [b"<html>Welcome to your router", b"<html></html>", b""])
def test_something_that_is_no_azure(body: bytes) -> None:
    with canned(200, body) as prepared:
        backend = open_azure(prepared.url)
        check = backend.check()
        backend.close()
    assert check.fault is not None
    assert not check.steps[0].ok


def test_a_server_that_checks_nothing() -> None:
    """It takes a block with a wrong MD5."""
    with canned(201) as prepared:
        backend = open_azure(prepared.url, minimum_proof="checksum")
        with pytest.raises(Fault) as refusal:
            backend.start("x.jpg", 1000, "token1")
        backend.close()
    assert (refusal.value.code, refusal.value.kind) == ("azure.no_checksum", NEEDS_USER)


@pytest.mark.server
@pytest.mark.parametrize("key", ["a" * 1025, "/".join("a" * 255)])
def test_names_that_are_too_long(azurite: Azurite, key: str) -> None:
    backend = open_backend(AzuriteArea(azurite).config(), owner="test")
    with pytest.raises(Fault) as refusal:
        backend.start(key, 1, "token1")
    assert (refusal.value.code, refusal.value.kind, refusal.value.scope) == (
        "azure.bad_key",
        PERMANENT,
        ITEM,
    )
    backend.close()


# TLS and identities.


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return pem_of(tmp_path)


def pem_of(folder: Path, begins_in_days: int = -2) -> Path:
    """Return a file of key and certificate."""
    made = make_certificate(folder, begins_in_days=begins_in_days)
    pem = folder / "pem"
    pem.write_text(made.key.read_text() + made.certificate.read_text())
    return pem


def test_a_certificate_that_nobody_vouches_for(certificate: Path) -> None:
    with canned(certificate=certificate) as prepared:
        answer(prepared, 403, "AuthorizationPermissionMismatch")
        fault = fault_of(open_azure(prepared.url))
        assert (fault.code, fault.kind, fault.scope) == ("azure.tls", NEEDS_USER, WHOLE)
        assert fault_of(open_azure(prepared.url, ca_bundle=certificate)).code == "azure.access_denied"
        fault = fault_of(open_azure(prepared.url, account_key=None, sas=f"sp=rcwld&sig={SIGNATURE}"))
        told = "".join(traceback.format_exception(fault))
        assert SIGNATURE not in told, "what the libraries say of this quotes the whole address"


def test_tls_with_a_server_that_has_none() -> None:
    with canned(200) as prepared:
        assert fault_of(open_azure(prepared.url.replace("http:", "https:"))).code == "azure.unreachable"


def test_a_file_of_certificates_that_is_not_there(tmp_path: Path) -> None:
    fault = fault_of(open_azure("https://127.0.0.1:9", ca_bundle=tmp_path / "missing.pem"))
    assert (fault.code, fault.kind) == ("azure.bad_settings", NEEDS_USER)


def test_a_clock_that_was_never_set(tmp_path: Path) -> None:
    """A Pi has no clock of its own: until it has asked one, every certificate is "not yet valid"."""
    pem = pem_of(tmp_path, begins_in_days=2)
    with canned(certificate=pem) as prepared:
        fault = fault_of(open_azure(prepared.url, ca_bundle=pem))
    assert (fault.code, fault.kind, fault.scope) == ("azure.clock", RETRYABLE, WHOLE)


IDENTITY: dict[str, object] = {"account_key": None, "managed_identity": True}


def test_a_machine_without_an_identity(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{free_port()}")
    begun = time.monotonic()
    fault = fault_of(open_azure("https://127.0.0.1:9", ca_bundle=certificate, **IDENTITY))
    assert (fault.code, fault.kind, fault.scope) == ("azure.no_identity", NEEDS_USER, WHOLE)
    assert time.monotonic() - begun < 15


def test_an_identity_that_azure_does_not_know(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    said = json.dumps({"error": "invalid_request", "error_description": "Identity not found"}).encode()
    with canned(400, said, {"Content-Type": "application/json"}) as metadata:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.url)
        fault = fault_of(open_azure("https://127.0.0.1:9", ca_bundle=certificate, **IDENTITY))
    assert (fault.code, fault.kind, fault.scope) == ("azure.no_identity", NEEDS_USER, WHOLE)


def test_an_identity_that_works(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    token = {"access_token": "hush", "expires_in": "3600", "resource": "r", "token_type": "Bearer"}
    listing = b"<EnumerationResults><Blobs></Blobs><NextMarker/></EnumerationResults>"
    with (
        canned(200, json.dumps(token).encode(), {"Content-Type": "application/json"}) as metadata,
        canned(200, listing, {"Content-Type": "application/xml"}, certificate=certificate) as service,
    ):
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.url)
        backend = open_azure(service.url, ca_bundle=certificate, **IDENTITY)
        assert backend.browse("") == []
        backend.close()


# Settings.

GOOD: dict[str, object] = {"container": "photos", "account": "studio", "account_key": KEY}
SAS = f"sv=2024-11-04&sp=rcwld&se=2030-01-01T00:00:00Z&sig={SIGNATURE}"
STRING = f"DefaultEndpointsProtocol=https;AccountName=studio;AccountKey={KEY};EndpointSuffix=core.windows.net"


@pytest.mark.parametrize(
    "changes",
    [
        {"container": "Photos"},
        {"container": "p"},
        {"account_key": "cut off!"},
        {"account_key": None},
        {"account": None},
        {"sas": SAS},
        {"account_key": None, "sas": "sv=2024-11-04&sp=rcwld"},
        {"account_key": None, "connection_string": "AccountName=studio"},
        {"account_key": None, "connection_string": f"AccountKey={KEY}"},
        {"account_key": None, "connection_string": "AccountName=studio;AccountKey=cut off!"},
        {"managed_identity": True},
        {"managed_identity_client_id": "x"},
        {"account_key": None, "sas": SAS, "endpoint_url": "http://nas.example"},
        {"account_key": None, "managed_identity": True, "endpoint_url": "http://nas.example"},
        {"endpoint_url": "studio.blob.core.windows.net"},
        {"endpoint_url": f"https://studio.blob.core.windows.net?{SAS}"},
        {"prefix": "a/../b"},
        {"access_tier": "Warm"},
        {"block_bytes": 1000},
    ],
)
def test_bad_settings(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refusal:
        AzureConfig.model_validate({**GOOD, **changes})
    told = str(refusal.value.errors(include_input=False))
    assert KEY not in told and SIGNATURE not in told


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (GOOD, "https://studio.blob.core.windows.net"),
        (
            {**GOOD, "endpoint_suffix": "core.usgovcloudapi.net"},
            "https://studio.blob.core.usgovcloudapi.net",
        ),
        ({"container": "photos", "connection_string": STRING}, "https://studio.blob.core.windows.net"),
        (
            {
                "container": "photos",
                "connection_string": f"BlobEndpoint=https://b.example/;SharedAccessSignature={SAS}",
            },
            "https://b.example",
        ),
        (
            {"container": "photos", "sas": f"https://studio.blob.core.chinacloudapi.cn/photos?{SAS}"},
            "https://studio.blob.core.chinacloudapi.cn",
        ),
        (
            {"container": "photos", "account": "studio", "sas": f"?{SAS}"},
            "https://studio.blob.core.windows.net",
        ),
    ],
)
def test_where_and_with_what(settings: dict[str, object], url: str) -> None:
    config = AzureConfig.model_validate(settings)
    assert config.service_url() == url
    assert KEY in config.secrets() or SIGNATURE in config.secrets()
    assert config.sas_token() in (None, SAS)
    shown = repr(config) + str(config) + config.model_dump_json()
    assert KEY not in shown and SIGNATURE not in shown


@pytest.mark.server
@pytest.mark.parametrize("way", ["key", "sas", "sas address", "connection string", "its sas"])
def test_every_way_in(azurite: Azurite, way: str) -> None:
    area = AzuriteArea(azurite)
    sas, key = area.sas("rcwld"), area.settings()["account_key"]
    ways: dict[str, dict[str, object]] = {
        "key": {},
        "sas": {"account_key": None, "sas": f"?{sas}"},
        "sas address": {
            "account_key": None,
            "account": None,
            "endpoint_url": None,
            "sas": f"{area.url}/{area.container}?{sas}",
        },
        "connection string": {
            "account_key": None,
            "endpoint_url": None,
            "account": None,
            "connection_string": f"AccountName=hotshoetests;AccountKey={key};BlobEndpoint={area.url};",
        },
        "its sas": {
            "account_key": None,
            "endpoint_url": None,
            "account": None,
            "connection_string": f"BlobEndpoint={area.url};SharedAccessSignature={sas}",
        },
    }
    backend = open_backend(area.config(**ways[way]), owner="test")
    content = content_of(1 << 21)
    deliver(backend, "x.mp4", content)
    assert backend.find("x.mp4", len(content), digests_of(content)).receipt is not None
    assert backend.check().fault is None
    backend.close()
    assert area.published() == {"x.mp4": content}
    assert area.partials() == []


def test_every_code_is_provoked() -> None:
    """By an answer above, or by name in one of the tests here."""
    named = Path(__file__).read_text() + (Path(__file__).parent / "conformance.py").read_text()
    for code in faults.FAULTS:
        assert f'"{code}"' in named or f"{{self.kind}}{code.removeprefix('azure')}" in named, code
