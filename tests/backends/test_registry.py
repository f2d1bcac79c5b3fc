"""What holds for every registered backend's settings and faults."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from agent.backends import BACKENDS, Destination, S3Config
from agent.backends.base import DestinationConfig
from agent.faults import Advice

SDKS = ["boto3", "botocore", "urllib3", "google_crc32c"]
ADAPTER: TypeAdapter[Any] = TypeAdapter(Destination)


@pytest.mark.parametrize(
    "code",
    [
        "import agent.backends",
        "from agent.backends import *; open_backend(S3Config(bucket='bbb'), owner='o').close()",
        "from agent.backends import *; open_backend(FolderConfig(path='/'), owner='o').find('x', 1, None)",
    ],
)
def test_no_sdk_is_loaded_before_it_is_needed(code: str) -> None:
    program = f"import sys\n{code}\nprint([name for name in {SDKS!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
    assert ADAPTER.validate_python({"kind": "folder", "path": "./photos"}).kind == "folder"
    assert ADAPTER.validate_python({"kind": "s3", "bucket": "photos"}).kind == "s3"


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


def test_secrets_are_secret() -> None:
    config = S3Config.model_validate(
        {"bucket": "photos", "access_key_id": "key", "secret_access_key": "hush1", "session_token": "hush2"}
    )
    assert "hush" not in repr(config) + str(config) + config.model_dump_json()
    named = [name for name in S3Config.model_fields if "secret" in name or "token" in name]
    assert all(isinstance(getattr(config, name), SecretStr) for name in named)


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
