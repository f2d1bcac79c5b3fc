"""The Cloud Storage server of the suite, and its areas."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from agent.backends import Destination, GcsConfig
from agent.backends.base import Exclusive, Proof
from tests.backends.servers.gcs import READER, STRANGER, WRITER, GcsServer
from tests.backends.servers.process import Process

MIB = 1 << 20
_numbers = itertools.count(1)


class GcsArea:
    """A bucket, and a service account that logs in at the server's own token endpoint."""

    proof = Proof.CHECKSUM
    exclusive = Exclusive.ATOMIC
    chunk_bytes = MIB
    takes_back = True
    refused_names: frozenset[str] = frozenset()

    def __init__(self, server: GcsServer, url: str = ""):
        """`url`: another way to the server, such as a proxy."""
        self.server = server
        self.disk = server.disk
        self.url = url or server.url
        self.process: Process | None = server.process
        self.bucket = f"bucket-{next(_numbers)}"
        server.make_bucket(self.bucket)

    def config(self, **changes: object) -> Destination:
        settings: dict[str, object] = {
            "bucket": self.bucket,
            "prefix": "pre/fix",
            "endpoint_url": self.url,
            "key_file": self.server.keys[WRITER],
            "chunk_bytes": MIB,
            "connect_timeout_seconds": 3,
            "read_timeout_seconds": 5,
        }
        return GcsConfig.model_validate({**settings, **changes})

    def published(self) -> dict[str, bytes]:
        objects = self.server.objects(self.bucket)
        return {name.removeprefix("pre/fix/"): content for name, content in objects.items()}

    def partials(self) -> list[str]:
        return self.disk.unfinished(self.bucket)

    def plant(self, key: str, content: bytes) -> None:
        self.disk.plant(self.bucket, f"pre/fix/{key}", content)

    def vanish(self) -> None:
        self.disk.remove_bucket(self.bucket)

    def wrong_secret(self) -> Destination | None:
        return self.config(key_file=self.server.keys[STRANGER])

    def missing_root(self) -> Destination | None:
        return self.config(bucket="no-such-bucket")

    def forbidden(self) -> Destination | None:
        return self.config(key_file=self.server.keys[READER])

    def full(self) -> Destination | None:
        bucket = f"small-{next(_numbers)}"
        self.server.make_bucket(bucket, quota=16 * MIB)
        return self.config(bucket=bucket)

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    server = GcsServer(tmp_path_factory.mktemp("gcs"))
    server.process.start()
    yield server
    server.process.kill()
