"""The settings of an SFTP destination."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from agent.backends.base import DestinationConfig, Proof


class SftpConfig(DestinationConfig):
    """A folder on an SFTP server."""

    kind: Literal["sftp"] = Field("sftp", title="Kind", description="A folder on an SFTP (SSH) server.")
    host: str = Field(
        title="Server",
        description="The server's name or address, for example nas.local.",
        min_length=1,
        max_length=255,
    )
    port: int = Field(22, title="Port", description="The server's SSH port.", ge=1, le=65535)
    user: str = Field(title="User", description="The name to log in with.", min_length=1, max_length=255)
    password: SecretStr | None = Field(
        None,
        title="Password",
        description="The user's password; not needed with a key file.",
        min_length=1,
        max_length=1000,
    )
    key_file: Path | None = Field(
        None,
        title="Key file",
        description="A private key to log in with, as ssh-keygen writes it.",
    )
    key_passphrase: SecretStr | None = Field(
        None,
        title="Passphrase of the key",
        description="Needed when the key file is encrypted.",
        min_length=1,
        max_length=1000,
    )
    host_key: str | None = Field(
        None,
        title="Fingerprint of the server",
        description=(
            "The server's key must have this fingerprint, for example "
            "SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDmUSfqRyZD3gDxnXA. A check without it shows the one to compare."
        ),
        pattern=r"^SHA256:[A-Za-z0-9+/]{43}=?$",
    )
    known_hosts_file: Path | None = Field(
        None,
        title="Known hosts",
        description="Instead of a fingerprint: a file of known servers, as ssh keeps it.",
    )
    path: str = Field(
        "",
        title="Folder on the server",
        description=(
            "/photos counts from the server's top, photos from the folder that a login starts in; empty: that folder "
            "itself. It must exist; folders inside of it are made as needed."
        ),
        max_length=1000,
    )
    connect_timeout_seconds: float = Field(
        20.0,
        title="Connect timeout in seconds",
        description="How long to wait for a connection and the login.",
        gt=0,
        le=300,
    )
    read_timeout_seconds: float = Field(
        60.0,
        title="Answer timeout in seconds",
        description="How long to wait for an answer while nothing moves.",
        gt=0,
        le=900,
    )
    minimum_proof: Literal[Proof.READBACK, Proof.SIZE] = Field(
        Proof.READBACK,
        title="Proof wanted",
        description=(
            "readback: every file is read again from the server and compared. size: only its length is checked, "
            "unless it was interrupted on its way; that halves the traffic and does not count as verified."
        ),
    )

    @field_validator("host")
    @classmethod
    def _plain_host(cls, value: str) -> str:
        value = value.strip()
        if value.startswith("[") and value.endswith("]"):
            value = value[1:-1]
        if not value or set(value) & set("/@ \0"):
            raise ValueError("only the server's name or address: user, port and folder have their own fields")
        return value

    @field_validator("host_key")
    @classmethod
    def _without_padding(cls, value: str | None) -> str | None:
        return value.rstrip("=") if value else value

    @field_validator("path")
    @classmethod
    def _plain_path(cls, value: str) -> str:
        value.encode()
        segments = value.split("/")
        if "\0" in value or ".." in segments:
            raise ValueError("write the folder without '..'")
        if segments[0].startswith("~"):
            raise ValueError("leave '~/' away: a path without '/' in front counts from the user's own folder")
        plain = "/".join(each for each in segments if each not in ("", "."))
        return f"/{plain}" if value.startswith("/") else plain

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if self.password is None and self.key_file is None:
            raise ValueError("give a password or a key_file")
        if self.key_passphrase is not None and self.key_file is None:
            raise ValueError("key_passphrase needs a key_file")
        if self.host_key is not None and self.known_hosts_file is not None:
            raise ValueError("host_key and known_hosts_file exclude each other: give one")
        return self

    def secrets(self) -> tuple[str, ...]:
        """Return what must not appear in any text."""
        return tuple(s.get_secret_value() for s in (self.password, self.key_passphrase) if s is not None)
