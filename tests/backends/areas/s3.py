"""S3's place at moto; those at SeaweedFS and rclone are in places.py."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from agent.backends import Destination
from agent.backends.base import Exclusive, Proof
from tests.backends.places import MIB, s3_config
from tests.backends.servers.moto import ACCESS_KEY, SECRET_KEY, Moto
from tests.backends.servers.process import Process

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    try:
        server = Moto(tmp_path_factory.mktemp("moto"))
    except FileNotFoundError as missing:
        pytest.skip(f"not installed: {missing}")
    server.process.start()
    yield server
    server.process.kill()


class MotoArea:
    proof = Proof.READBACK  # it takes a wrong checksum, so none of its checksums proves anything
    exclusive = Exclusive.ATOMIC
    chunk_bytes = 5 * MIB
    takes_back = True
    refused_names: frozenset[str] = frozenset()

    def __init__(self, server: Moto):
        self.server = server
        self.process: Process | None = server.process
        self.bucket = f"bucket-{next(_numbers)}"
        server.make_bucket(self.bucket)

    def config(self, **changes: object) -> Destination:
        return s3_config(self.server.url, self.bucket, ACCESS_KEY, SECRET_KEY, changes)

    def published(self) -> dict[str, bytes]:
        objects = self.server.objects(self.bucket)
        return {key.removeprefix("pre/fix/"): content for key, content in objects.items()}

    def partials(self) -> list[str]:
        return self.server.unfinished(self.bucket)

    def plant(self, key: str, content: bytes) -> None:
        self.server.plant(self.bucket, f"pre/fix/{key}", content)

    def vanish(self) -> None:
        self.server.remove_bucket(self.bucket)

    def wrong_secret(self) -> Destination | None:
        return None  # it believes everybody

    def missing_root(self) -> Destination | None:
        return self.config(bucket="no-such-bucket")

    def forbidden(self) -> Destination | None:
        return None

    def full(self) -> Destination | None:
        return None

    def close(self) -> None:
        pass
