"""What the settings of every object store have in common."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from agent.backends.base import DestinationConfig, split_key


class ObjectStoreConfig(DestinationConfig):
    prefix: str = Field(
        "",
        title="Folder",
        description="What every name begins with, for example wedding/card-a.",
        max_length=500,
    )
    endpoint_url: str | None = Field(
        None,
        title="Endpoint",
        description="The store's own address, for example https://store.example.com:9000; empty: the service's.",
        max_length=500,
    )
    ca_bundle: Path | None = Field(
        None,
        title="Certificates to trust",
        description="A PEM file, for a store with a certificate of your own.",
    )
    connect_timeout_seconds: float = Field(
        10.0,
        title="Connect timeout in seconds",
        description="How long to wait for a connection, and for each piece that is sent to be taken.",
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
            raise ValueError("write it like https://store.example.com:9000")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("only scheme, host, port and path: keys and signatures have their own fields")
        return value.rstrip("/")
