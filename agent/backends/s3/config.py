"""The settings of an S3 destination."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from agent.backends.base import Proof
from agent.backends.object_store import ObjectStoreConfig

MEBIBYTE = 1 << 20


class S3Config(ObjectStoreConfig):
    """A bucket at Amazon S3 or at any store that speaks its language."""

    wanted_digests: ClassVar[frozenset[str]] = frozenset({"sha256", "crc32c"})

    kind: Literal["s3"] = Field("s3", title="Kind", description="An S3 bucket, at Amazon or elsewhere.")
    bucket: str = Field(
        title="Bucket",
        description="The bucket's name, of lower-case letters, digits, dots and dashes. It must exist.",
        min_length=3,
        max_length=255,
    )
    region: str | None = Field(
        None,
        title="Region",
        description="For example eu-central-1; empty: as configured on this machine, else as Amazon says it.",
        max_length=100,
    )
    credentials: Literal["keys", "profile", "role"] = Field(
        "keys",
        title="Credentials",
        description=(
            "keys: as entered here, else AWS_ACCESS_KEY_ID or ~/.aws of this machine. profile: one of ~/.aws. "
            "role: that of the EC2 instance or container that hotshoe runs in."
        ),
    )
    profile: str | None = Field(
        None,
        title="Profile",
        description="The name of a profile in ~/.aws/config or ~/.aws/credentials.",
        min_length=1,
        max_length=200,
    )
    access_key_id: str | None = Field(
        None,
        title="Access key",
        description="The id of the access key; empty: see credentials.",
        min_length=1,
        max_length=200,
    )
    secret_access_key: SecretStr | None = Field(
        None, title="Secret key", description="The secret that belongs to the access key.", max_length=500
    )
    session_token: SecretStr | None = Field(
        None, title="Session token", description="For temporary credentials alone.", max_length=5000
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto",
        title="Bucket in the address",
        description="path: host/bucket. virtual: bucket.host. auto: virtual at Amazon, path elsewhere.",
    )
    storage_class: str | None = Field(
        None,
        title="Storage class",
        description="For example STANDARD_IA; empty: the bucket's own.",
        pattern=r"^[A-Z][A-Z_]{1,40}$",
    )
    encryption: Literal["sse-s3", "sse-kms"] | None = Field(
        None,
        title="Encryption at rest",
        description="sse-s3: with keys of the store. sse-kms: with a key of KMS. Empty: the bucket's own.",
    )
    kms_key_id: str | None = Field(
        None,
        title="KMS key",
        description="With sse-kms alone: id or ARN of the key; empty: the account's own for S3.",
        min_length=1,
        max_length=2048,
    )
    part_bytes: int = Field(
        8 * MEBIBYTE,
        title="Part size in bytes",
        description="Larger files go up in parts of this size; each upload at work holds one or two in memory.",
        ge=5 * MEBIBYTE,
        le=64 * MEBIBYTE,
    )
    minimum_proof: Proof = Field(
        Proof.READBACK,
        title="Proof wanted",
        description=(
            "checksum: only stores that compute one. readback: the store's checksum, or the file is downloaded "
            "and compared. size: never counts as verified."
        ),
    )

    @model_validator(mode="after")
    def _whole_credentials(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together: give both or neither")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key")
        if self.credentials != "keys" and self.access_key_id is not None:
            raise ValueError(f'credentials = "{self.credentials}" and an access key: give one of them')
        if (self.credentials == "profile") != (self.profile is not None):
            raise ValueError('profile and credentials = "profile" belong together: give both or neither')
        if self.kms_key_id is not None and self.encryption != "sse-kms":
            raise ValueError('kms_key_id needs encryption = "sse-kms"')
        return self

    def encryption_headers(self) -> dict[str, str]:
        """Return what PutObject and CreateMultipartUpload say of encryption."""
        if self.encryption is None:
            return {}
        if self.encryption == "sse-s3":
            return {"ServerSideEncryption": "AES256"}
        key = {"SSEKMSKeyId": self.kms_key_id} if self.kms_key_id else {}
        return {"ServerSideEncryption": "aws:kms", **key}

    def secrets(self) -> tuple[str, ...]:
        """Return what must not appear in any text."""
        return tuple(
            s.get_secret_value() for s in (self.secret_access_key, self.session_token) if s is not None
        )
