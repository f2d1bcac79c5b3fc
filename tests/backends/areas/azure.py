"""Azure's places."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from agent.backends import AzureConfig, Destination
from agent.backends.base import Exclusive, Proof
from tests.backends.servers.azurite import ACCOUNT, ACCOUNT_KEY, Azurite
from tests.backends.servers.process import Process

MIB = 1 << 20
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    try:
        server = Azurite(tmp_path_factory.mktemp("azurite"))
    except FileNotFoundError as missing:
        pytest.skip(f"not installed: {missing}")
    server.process.start()
    yield server
    server.process.kill()


class AzuriteArea:
    proof = Proof.CHECKSUM
    exclusive = Exclusive.ATOMIC
    chunk_bytes = MIB
    takes_back = True
    refused_names: frozenset[str] = frozenset()

    def __init__(self, server: Azurite, url: str = ""):
        """`url`: another way to the server, such as a proxy."""
        self.server = server
        self.url = url or server.url
        self.process: Process | None = server.process
        self.container = f"container-{next(_numbers)}"
        server.make_container(self.container)

    def config(self, **changes: object) -> Destination:
        return AzureConfig.model_validate({**self.settings(), **changes})

    def settings(self) -> dict[str, object]:
        return {
            "container": self.container,
            "prefix": "pre/fix",
            "account": ACCOUNT,
            "endpoint_url": self.url,
            "account_key": ACCOUNT_KEY,
            "block_bytes": MIB,
            "connect_timeout_seconds": 2,
            "read_timeout_seconds": 5,
        }

    def sas(self, rights: str, *, hours: float = 1) -> str:
        """Return a SAS of the container, by Microsoft's own reading of how it is made."""
        from azure.storage.blob import generate_container_sas

        token: str = generate_container_sas(
            ACCOUNT,
            self.container,
            account_key=ACCOUNT_KEY,
            permission=rights,
            expiry=datetime.now(UTC) + timedelta(hours=hours),
        )
        return token

    def published(self) -> dict[str, bytes]:
        objects = self.server.objects(self.container)
        return {key.removeprefix("pre/fix/"): content for key, content in objects.items()}

    def partials(self) -> list[str]:
        return self.server.unfinished(self.container)

    def plant(self, key: str, content: bytes) -> None:
        self.server.plant(self.container, f"pre/fix/{key}", content)

    def vanish(self) -> None:
        self.server.remove_container(self.container)

    def wrong_secret(self) -> Destination | None:
        return self.config(account_key=base64.b64encode(b"another key").decode())

    def missing_root(self) -> Destination | None:
        return self.config(container="no-such-container")

    def forbidden(self) -> Destination | None:
        return self.config(account_key=None, sas=self.sas("rl"))

    def full(self) -> Destination | None:
        return None  # Azure has no end, and Azurite no quota

    def close(self) -> None:
        pass
