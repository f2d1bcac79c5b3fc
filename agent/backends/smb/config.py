"""The settings of an SMB destination."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from agent.backends.base import DestinationConfig, Proof
from agent.backends.smb.address import Address, parse


class SmbConfig(DestinationConfig):
    """A shared folder of a Windows computer, a NAS or a Samba server."""

    kind: Literal["smb"] = Field("smb", title="Kind", description="A shared folder in the network (SMB).")
    address: str = Field(
        title="Shared folder",
        description=(
            r"\\server\share\folder or smb://server:port/share/folder. It must exist; folders inside of it are made as needed."
        ),
        min_length=1,
        max_length=1000,
    )
    user: str = Field(
        title="User",
        description=r"The name to log in with: of the server, or of a domain as DOMAIN\user or user@domain.",
        min_length=1,
        max_length=256,
    )
    password: SecretStr = Field(
        title="Password", description="The user's password.", min_length=1, max_length=256
    )
    domain: str | None = Field(
        None,
        title="Domain",
        description="The user's domain, unless the user's name says it; empty: a user of the server itself.",
        min_length=1,
        max_length=256,
    )
    signing: Literal["required", "if_asked"] = Field(
        "required",
        title="Signed messages",
        description=(
            "required: nothing is sent or believed unsigned. if_asked: only where the server demands it, which "
            "saves processor time and lets anybody in between change what is stored."
        ),
    )
    encryption: Literal["required", "if_asked"] = Field(
        "if_asked",
        title="Encryption",
        description=(
            "required: photos and names travel encrypted (SMB 3), or not at all. if_asked: where the share demands it."
        ),
    )
    connect_timeout_seconds: float = Field(
        10.0,
        title="Connect timeout in seconds",
        description="How long to wait for a connection.",
        gt=0,
        le=300,
    )
    read_timeout_seconds: float = Field(
        30.0,
        title="Answer timeout in seconds",
        description=(
            "How long to wait for an answer while nothing moves; four times as long while the server says that it is "
            "still at work."
        ),
        ge=1,
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

    @field_validator("address")
    @classmethod
    def _readable_address(cls, value: str) -> str:
        parse(value.strip())
        return value.strip()

    @model_validator(mode="after")
    def _one_domain(self) -> Self:
        if self.domain is not None and ("\\" in self.user or "@" in self.user):
            raise ValueError(
                "the user's name already says a domain: leave 'domain' empty, or shorten the name"
            )
        return self

    def place(self) -> Address:
        return parse(self.address)

    def account(self) -> str:
        r"""Return the user's name as a server wants it: with its domain, if it has one."""
        return f"{self.domain}\\{self.user}" if self.domain is not None else self.user
