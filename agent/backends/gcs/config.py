"""The settings of a Google Cloud Storage destination."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from agent.backends.base import Proof
from agent.backends.object_store import ObjectStoreConfig

GRANULE_BYTES = 1 << 18
"""What the service stores of an unfinished upload is a multiple of this, and so must every chunk be."""

MEBIBYTE = 1 << 20


class GcsConfig(ObjectStoreConfig):
    """A bucket at Google Cloud Storage."""

    wanted_digests: ClassVar[frozenset[str]] = frozenset({"sha256", "crc32c"})

    kind: Literal["gcs"] = Field("gcs", title="Kind", description="A bucket at Google Cloud Storage.")
    bucket: str = Field(
        title="Bucket",
        description="The bucket's name, of lower-case letters, digits, dots and dashes. It must exist.",
        pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$",
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
    minimum_proof: Proof = Field(
        Proof.READBACK,
        title="Proof wanted",
        description="The service computes a checksum of every object, which is what deliveries are proven by.",
    )

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> Self:
        if sum((self.key_file is not None, self.key_json is not None, self.anonymous)) > 1:
            raise ValueError("give one of key_file, key_json and anonymous")
        return self
