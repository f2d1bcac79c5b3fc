"""The settings of an Azure destination."""

from __future__ import annotations

import base64
import ipaddress
from typing import ClassVar, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from agent.backends.base import Proof
from agent.backends.object_store import ObjectStoreConfig

MEBIBYTE = 1 << 20


class AzureConfig(ObjectStoreConfig):
    """A container of Azure Blob Storage."""

    wanted_digests: ClassVar[frozenset[str]] = frozenset({"sha256", "crc32c"})

    kind: Literal["azure"] = Field(
        "azure", title="Kind", description="A container of Azure Blob Storage, in any of its clouds."
    )
    container: str = Field(
        title="Container",
        description="The container's name, of lower-case letters, digits and dashes. It must exist.",
        pattern=r"^(\$root|[a-z0-9](-?[a-z0-9]){2,62})$",
        max_length=63,
    )
    account: str | None = Field(
        None,
        title="Storage account",
        description="The account's name; empty if the SAS address or the connection string says it.",
        pattern=r"^[a-z0-9]{3,24}$",
    )
    endpoint_suffix: str = Field(
        "core.windows.net",
        title="Cloud",
        description="core.windows.net, or of another cloud: core.chinacloudapi.cn, core.usgovcloudapi.net.",
        pattern=r"^[A-Za-z0-9.-]+$",
        max_length=200,
    )
    account_key: SecretStr | None = Field(
        None, title="Account key", description="One of the two keys of the account.", max_length=200
    )
    sas: SecretStr | None = Field(
        None,
        title="SAS",
        description="A shared access signature: the token, or the whole address that contains it.",
        max_length=5000,
    )
    connection_string: SecretStr | None = Field(
        None,
        title="Connection string",
        description="As Azure's portal shows it under Access keys.",
        max_length=5000,
    )
    managed_identity: bool = Field(
        False,
        title="Managed identity",
        description="Sign in as the machine that hotshoe runs on, in Azure or connected by Azure Arc.",
    )
    managed_identity_client_id: str | None = Field(
        None,
        title="Client id of the identity",
        description="Of a user-assigned identity alone.",
        min_length=1,
        max_length=100,
    )
    access_tier: Literal["Hot", "Cool", "Cold", "Archive"] | None = Field(
        None,
        title="Access tier",
        description="Empty: the account's own. Archive cannot be read back.",
    )
    block_bytes: int = Field(
        4 * MEBIBYTE,
        title="Block size in bytes",
        description="Larger files go up in blocks of this size; each upload at work holds one or two in memory.",
        ge=MEBIBYTE,
        le=64 * MEBIBYTE,
    )
    minimum_proof: Proof = Field(
        Proof.READBACK,
        title="Proof wanted",
        description=(
            "checksum: each block was checked as it arrived. readback: that, or the file is downloaded and "
            "compared. size: never counts as verified."
        ),
    )

    @field_validator("account_key")
    @classmethod
    def _whole_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_key(value.get_secret_value(), "account_key")
        return value

    @field_validator("sas")
    @classmethod
    def _signed(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and "sig" not in _fields_of(value.get_secret_value()):
            raise ValueError("not a SAS: it has no sig=, copy all of it")
        return value

    @field_validator("connection_string")
    @classmethod
    def _whole_string(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        parts = _parts_of(value.get_secret_value())
        if "accountkey" in parts:
            _check_key(parts["accountkey"], "AccountKey in connection_string")
        elif "sharedaccesssignature" not in parts:
            raise ValueError(
                "connection_string has neither AccountKey nor SharedAccessSignature: copy all of it"
            )
        if not {"accountname", "blobendpoint"} & parts.keys():
            raise ValueError("connection_string has neither AccountName nor BlobEndpoint: copy all of it")
        return value

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        ways = [self.account_key, self.sas, self.connection_string, self.managed_identity or None]
        if sum(way is not None for way in ways) != 1:
            raise ValueError("give one of account_key, sas, connection_string, or managed_identity = true")
        if self.managed_identity_client_id and not self.managed_identity:
            raise ValueError("managed_identity_client_id needs managed_identity = true")
        if self.account_key and not self.account:
            raise ValueError("account_key needs account")
        if not self.service_url():
            raise ValueError("give account or endpoint_url")
        signature, identity = self.sas_token() is not None, self.managed_identity
        if (signature or identity) and not _is_private_enough(self.service_url()):
            raise ValueError("a SAS or an identity's token needs an endpoint with https")
        return self

    def service_url(self) -> str:
        """Return the address of the blob service, without a slash at its end; empty if nothing says it."""
        if self.endpoint_url:
            return self.endpoint_url
        parts = _parts_of(self.connection_string.get_secret_value()) if self.connection_string else {}
        if "blobendpoint" in parts:
            return parts["blobendpoint"].partition("?")[0].rstrip("/")
        if parts and not self.account:
            protocol = parts.get("defaultendpointsprotocol", "https")
            suffix = parts.get("endpointsuffix", self.endpoint_suffix)
            return f"{protocol}://{parts['accountname']}.blob.{suffix}"
        if self.account:
            return f"https://{self.account}.blob.{self.endpoint_suffix}"
        address = urlsplit(self.sas.get_secret_value() if self.sas else "")
        if not address.netloc:
            return ""
        path = address.path.rstrip("/")
        return f"{address.scheme}://{address.netloc}{path.removesuffix('/' + self.container)}"

    def account_name(self) -> str | None:
        """Return the account that the key belongs to."""
        if self.connection_string:
            return _parts_of(self.connection_string.get_secret_value()).get("accountname", self.account)
        return self.account

    def key(self) -> str | None:
        """Return the account's key, wherever it stands."""
        if self.connection_string:
            return _parts_of(self.connection_string.get_secret_value()).get("accountkey")
        return self.account_key.get_secret_value() if self.account_key else None

    def sas_token(self) -> str | None:
        """Return the SAS without address and question mark, wherever it stands."""
        if self.connection_string:
            said = _parts_of(self.connection_string.get_secret_value()).get("sharedaccesssignature")
            return said.lstrip("?") if said else None
        return self.sas.get_secret_value().rpartition("?")[2].strip() if self.sas else None

    def sas_fields(self) -> dict[str, str]:
        """Return the fields of the SAS, such as ``se``, when it expires. Empty if there is none."""
        return _fields_of(self.sas_token() or "")

    def secrets(self) -> tuple[str, ...]:
        """Return what must not appear in any text."""
        found = [self.key(), self.sas_token(), self.sas_fields().get("sig")]
        return tuple(secret for secret in found if secret)


def _parts_of(connection_string: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in connection_string.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _fields_of(sas: str) -> dict[str, str]:
    return dict(parse_qsl(sas.rpartition("?")[2].strip()))


def _check_key(key: str, name: str) -> None:
    try:
        whole = len(base64.b64decode(key, validate=True)) > 0
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"{name} is no key of Azure's: copy all of it, with the = at its end")


def _is_private_enough(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
