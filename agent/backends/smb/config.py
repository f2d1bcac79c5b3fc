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
            r"Where photos go: \\server\share\folder or smb://server:port/share/folder. Share and folder must exist."
        ),
        min_length=1,
        max_length=1000,
    )
    username: str = Field(
        title="User name",
        description=r"An account of the server, or of a domain: DOMAIN\user or user@domain.",
        min_length=1,
        max_length=256,
    )
    password: SecretStr = Field(
        title="Password", description="The password of that account.", min_length=1, max_length=256
    )
    domain: str | None = Field(
        None,
        title="Domain",
        description="For a domain account, unless the user name says it; empty: an account of the server itself.",
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
    answer_timeout_seconds: float = Field(
        30.0,
        title="Answer timeout in seconds",
        description=(
            "How long the server may be silent before the connection is given up; four times as long while it says "
            "that it is still at work."
        ),
        ge=1,
        le=900,
    )
    minimum_proof: Literal[Proof.READBACK, Proof.SIZE] = Field(
        Proof.READBACK,
        title="Proof wanted",
        description=(
            "readback: every file is read back from the server and compared. size: only its length is checked, "
            "which takes half of the time and never counts as verified."
        ),
    )

    @field_validator("address")
    @classmethod
    def _readable_address(cls, value: str) -> str:
        parse(value.strip())
        return value.strip()

    @model_validator(mode="after")
    def _one_domain(self) -> Self:
        if self.domain is not None and ("\\" in self.username or "@" in self.username):
            raise ValueError(
                "the user name already names a domain: leave 'domain' empty, or shorten the user name"
            )
        return self

    def place(self) -> Address:
        return parse(self.address)

    def account(self) -> str:
        r"""Return the user name as a server wants it: with its domain, if it has one."""
        return f"{self.domain}\\{self.username}" if self.domain is not None else self.username
