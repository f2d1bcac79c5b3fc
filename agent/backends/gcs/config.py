"""The settings of a Google Cloud Storage destination."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from agent.backends.base import DestinationConfig, Proof, split_key

GRANULE_BYTES = 1 << 18
"""What the service stores of an unfinished upload is a multiple of this, and so must every chunk be."""

MEBIBYTE = 1 << 20


class GcsConfig(DestinationConfig):
    """A bucket at Google Cloud Storage."""

    wanted_digests: ClassVar[frozenset[str]] = frozenset({"sha256", "crc32c"})

    kind: Literal["gcs"] = Field("gcs", title="Kind", description="A bucket at Google Cloud Storage.")
    bucket: str = Field(
        title="Bucket",
        description="The bucket's name. It must exist.",
        pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$",
    )
    prefix: str = Field(
        "",
        title="Folder in the bucket",
        description="What every name begins with, for example wedding/card-a.",
        max_length=500,
    )
    key_file: Path | None = Field(
        None,
        title="Key file",
        description="The JSON file of a service account; empty: the credentials that this machine has.",
    )
    key_json: SecretStr | None = Field(
        None,
        title="Key",
        description="The content of a service account's JSON file, instead of the file.",
        max_length=10_000,
    )
    anonymous: bool = Field(
        False,
        title="Without credentials",
        description="For emulators, and for buckets that everybody may write to.",
    )
    endpoint_url: str | None = Field(
        None,
        title="Endpoint",
        description="For example https://storage.europe-west3.rep.googleapis.com; empty: the global one.",
        max_length=500,
    )
    ca_bundle: Path | None = Field(
        None,
        title="Certificates to trust",
        description="A PEM file, for an endpoint with a certificate of your own.",
    )
    user_project: str | None = Field(
        None,
        title="Project that pays",
        description="For a bucket with requester pays: the project that the requests are billed to.",
        pattern=r"^[a-z0-9.:-]{4,100}$",
    )
    storage_class: Literal["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"] | None = Field(
        None, title="Storage class", description="For example NEARLINE; empty: the bucket's own."
    )
    chunk_bytes: int = Field(
        8 * MEBIBYTE,
        title="Chunk size in bytes",
        description="Larger files go up in chunks of this size; each upload at work holds one or two in memory.",
        ge=GRANULE_BYTES,
        le=64 * MEBIBYTE,
        multiple_of=GRANULE_BYTES,
    )
    connect_timeout_seconds: float = Field(
        10.0,
        title="Connect timeout in seconds",
        description="How long to wait for a connection, and for each 64 KiB that are sent to be taken.",
        gt=0,
        le=300,
    )
    read_timeout_seconds: float = Field(
        60.0,
        title="Answer timeout in seconds",
        description="How long to wait for an answer once all is sent.",
        gt=0,
        le=900,
    )
    minimum_proof: Proof = Field(
        Proof.READBACK,
        title="Proof wanted",
        description="The service computes a checksum of every object, which is what deliveries are proven by.",
    )

    @field_validator("prefix")
    @classmethod
    def _plain_prefix(cls, value: str) -> str:
        value = value.strip("/")
        if value:
            split_key(value)
        return value

    @field_validator("endpoint_url")
    @classmethod
    def _plain_endpoint(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it like https://storage.googleapis.com")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("only scheme, host and port: keys have their own fields")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> Self:
        if sum((self.key_file is not None, self.key_json is not None, self.anonymous)) > 1:
            raise ValueError("give one of key_file, key_json and anonymous")
        return self
