"""What holds for every registered backend's settings and faults."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.backends import BACKENDS, PACKAGES, Destination, is_installed
from agent.backends.base import DestinationConfig
from agent.faults import Advice

PLANTED = "hush-hush"
SETTINGS: dict[str, dict[str, object]] = {
    "azure": {"container": "photos", "account": "someone", "account_key": "aHVzaC1odXNo"},
    "folder": {"path": "./photos"},
    "ftp": {"host": "nas.local", "user": "anna", "password": PLANTED},
    "gcs": {"bucket": "photos", "key_json": PLANTED},
    "s3": {
        "bucket": "photos",
        "access_key_id": "key",
        "secret_access_key": PLANTED,
        "session_token": PLANTED,
    },
    "sftp": {
        "host": "nas.local",
        "user": "anna",
        "password": PLANTED,
        "key_file": "key",
        "key_passphrase": PLANTED,
    },
    "smb": {"address": "smb://nas/photos", "user": "anna", "password": PLANTED},
}
"""For every kind: what it cannot do without, and the secrets that go together."""

SDKS = [
    "OpenSSL",
    "asyncssh",
    "azure",
    "bcrypt",
    "boto3",
    "botocore",
    "cryptography",
    "google",
    "google_crc32c",
    "msal",
    "requests",
    "smbclient",
    "smbprotocol",
    "spnego",
    "urllib3",
]
ADAPTER: TypeAdapter[Any] = TypeAdapter(Destination)


def loaded_by(code: str) -> str:
    program = f"import sys\n{code}\nprint([name for name in {SDKS!r} if name in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import agent.backends",
        "from agent.backends import *; open_backend(FolderConfig(path='/'), owner='o').find('x', 1, None)",
    ],
)
def test_no_sdk_is_loaded_without_need(code: str) -> None:
    assert loaded_by(code) == "[]"


@pytest.mark.parametrize("kind", BACKENDS)
def test_no_sdk_is_loaded_before_the_first_call(kind: str) -> None:
    config = BACKENDS[kind][0].__name__
    opened = f"{config}.model_validate({SETTINGS[kind]!r})"
    assert loaded_by(f"from agent.backends import *; open_backend({opened}, owner='o').close()") == "[]"


def test_every_sdk_is_watched() -> None:
    """What the extras of the package install, by the names under which it is imported."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    wanted = {
        re.split(r"[^A-Za-z0-9._-]", each)[0]
        for extra, packages in project["optional-dependencies"].items()
        for each in packages
        if extra != "all"
    }
    watched = {package for name in SDKS for package in packages_distributions()[name]}
    assert len(wanted) >= len(BACKENDS) - 2, "all but a folder and FTP have one"
    assert wanted <= watched


@pytest.mark.parametrize("kind", BACKENDS)
def test_every_setting_explains_itself(kind: str) -> None:
    config = BACKENDS[kind][0]
    assert issubclass(config, DestinationConfig)
    properties = config.model_json_schema()["properties"]
    for name, field in config.model_fields.items():
        assert field.title and field.description, name
        assert field.description.endswith("."), name
        assert _is_bounded(properties[name]), f"{name} has no bounds"
    assert properties["kind"]["const"] == kind


def _is_bounded(schema: dict[str, Any]) -> bool:
    if "anyOf" in schema:
        return all(_is_bounded(each) for each in schema["anyOf"])
    if schema.get("type") in ("integer", "number"):
        return "maximum" in schema
    if schema.get("type") == "string" and schema.get("format") != "path":
        return bool({"maxLength", "enum", "const", "pattern"} & schema.keys())
    return True


def test_the_kind_decides() -> None:
    assert SETTINGS.keys() == BACKENDS.keys()
    for kind, settings in SETTINGS.items():
        assert type(ADAPTER.validate_python({"kind": kind, **settings})) is BACKENDS[kind][0]


S3 = {"kind": "s3", "bucket": "photos"}


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "tape"},
        {"path": "./photos"},
        {"kind": "folder"},
        {"kind": "folder", "path": "x", "colour": "red"},
        {"kind": "folder", "path": "x", "minimum_proof": "checksum"},
        {"kind": "folder", "path": "x", "workers": 0},
        {**S3, "bucket": "b"},
        {**S3, "part_bytes": 1 << 20},
        {**S3, "access_key_id": "key"},
        {**S3, "secret_access_key": "secret"},
        {**S3, "session_token": "token"},
        {**S3, "prefix": "a/../../b"},
        {**S3, "endpoint_url": "s3.example.com"},
        {**S3, "endpoint_url": "https://key:secret@s3.example.com"},
        {**S3, "storage_class": "cheap"},
        {**S3, "read_timeout_seconds": 0},
    ],
)
def test_bad_settings(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(settings)


@pytest.mark.parametrize("kind", BACKENDS)
def test_secrets_are_secret(kind: str) -> None:
    config = ADAPTER.validate_python({"kind": kind, **SETTINGS[kind]})
    for said in (repr(config), str(config), config.model_dump_json()):
        assert PLANTED not in said and "aHVzaC1odXNo" not in said
    for name, field in type(config).model_fields.items():
        if re.search(r"password|passphrase|secret|token|sas$|connection_string|account_key|key_json", name):
            assert "SecretStr" in str(field.annotation), name


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_secret_that_is_refused_is_not_repeated(kind: str) -> None:
    secrets = [name for name, value in SETTINGS[kind].items() if value in (PLANTED, "aHVzaC1odXNo")]
    for name in secrets:
        with pytest.raises(ValidationError) as refusal:
            BACKENDS[kind][0].model_validate(SETTINGS[kind] | {name: [PLANTED], "colour": PLANTED})
        assert PLANTED not in str(refusal.value)


@pytest.mark.parametrize("kind", BACKENDS)
def test_every_fault_has_a_hint_and_a_test(kind: str) -> None:
    table: dict[str, Advice] = import_module(f"agent.backends.{kind}.faults").FAULTS
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    for code, advice in table.items():
        assert code.startswith(f"{kind}.")
        assert advice.hint.endswith("."), code
        suffix = code.removeprefix(kind)
        assert code in tests or f"{{self.kind}}{suffix}" in tests, f"no test brings about {code}"


def test_the_settings_are_models() -> None:
    assert all(issubclass(config, BaseModel) for config, _ in BACKENDS.values())


def test_what_a_kind_needs_is_what_its_extra_brings() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {
        kind: tuple(re.split(r"[^A-Za-z0-9._-]", each)[0] for each in wanted)
        for kind, wanted in project["optional-dependencies"].items()
        if wanted and kind != "all"
    }
    assert extras == PACKAGES
    assert all(is_installed(kind) for kind in BACKENDS)


@pytest.mark.parametrize("kind", PACKAGES)
def test_every_package_of_a_kind_is_looked_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for absent in PACKAGES[kind]:

        def found(name: str, absent: str = absent) -> None:
            if name == absent:
                raise PackageNotFoundError(name)

        monkeypatch.setattr("agent.backends.distribution", found)
        assert not is_installed(kind)
