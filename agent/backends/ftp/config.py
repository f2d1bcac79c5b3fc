"""The settings of an FTP destination."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from agent.backends.base import DestinationConfig, Proof, split_key

_PORTS = {"explicit": 21, "none": 21, "implicit": 990}


class FtpConfig(DestinationConfig):
    """A folder on an FTP server."""

    kind: Literal["ftp"] = Field(
        "ftp", title="Kind", description="An FTP server, encrypted unless told not to."
    )
    host: str = Field(
        title="Server",
        description="The server's name or address, as in its certificate, for example ftp.example.com.",
        pattern=r"^[^\s/@\[\]\x00-\x1f\x7f]+$",
        max_length=253,
    )
    port: int | None = Field(
        None,
        title="Port",
        description="The server's FTP port; empty: 990 for implicit encryption, else 21.",
        ge=1,
        le=65535,
    )
    security: Literal["explicit", "implicit", "none"] = Field(
        "explicit",
        title="Encryption",
        description=(
            "explicit: the usual FTPS. implicit: FTPS on a port of its own. none: plain FTP; everybody on the way "
            "can read the password and the photos, and change them: only inside a network that is all yours."
        ),
    )
    user: str = Field(
        title="User",
        description="The name to log in with. For a server without users write anonymous.",
        pattern=r"^[^\x00-\x1f\x7f]+$",
        max_length=200,
    )
    password: SecretStr | None = Field(
        None, title="Password", description="The user's password.", max_length=500
    )
    path: str = Field(
        "",
        title="Folder on the server",
        description=(
            "/photos counts from the server's top, photos from the folder that a login starts in; empty: that folder "
            "itself. It must exist; folders inside of it are made as needed."
        ),
        max_length=500,
    )
    ca_bundle: Path | None = Field(
        None,
        title="Certificates to trust",
        description="A PEM file, for a server with a certificate of your own.",
    )
    certificate_sha256: str | None = Field(
        None,
        title="Fingerprint of the certificate",
        description=(
            "SHA-256 of the server's own certificate in hex, for a server whose certificate nobody vouches for. Only "
            "this very certificate is then accepted, whatever its name and dates."
        ),
        pattern=r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$",
        max_length=95,
    )
    mode: Literal["passive", "active"] = Field(
        "passive",
        title="Data connections",
        description="passive: made by us, which passes most routers. active: made by the server to us.",
    )
    connect_timeout_seconds: float = Field(
        10.0,
        title="Connect timeout in seconds",
        description="How long to wait for a connection.",
        gt=0,
        le=300,
    )
    read_timeout_seconds: float = Field(
        60.0,
        title="Answer timeout in seconds",
        description="How long to wait for an answer, and for each 64 KiB that are sent to be taken.",
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

    @field_validator("path")
    @classmethod
    def _plain_path(cls, value: str) -> str:
        top = "/" if value.startswith("/") else ""
        value = value.strip("/")
        if value:
            split_key(value)
        if not value.isprintable():
            raise ValueError("no line breaks or other control characters")
        return top + value

    @field_validator("password")
    @classmethod
    def _one_line(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and {"\r", "\n", "\0"} & set(value.get_secret_value()):
            raise ValueError("a password has no line breaks")
        return value

    @model_validator(mode="after")
    def _one_way_to_trust(self) -> Self:
        if self.ca_bundle is not None and self.certificate_sha256 is not None:
            raise ValueError("ca_bundle and certificate_sha256 exclude each other: give one")
        if self.security == "none" and (self.ca_bundle or self.certificate_sha256):
            raise ValueError(
                "without encryption there is no certificate to check: remove it, or set security"
            )
        return self

    def effective_port(self) -> int:
        return self.port or _PORTS[self.security]

    def secrets(self) -> tuple[str, ...]:
        """Return what must not appear in any text."""
        return (self.password.get_secret_value(),) if self.password else ()
