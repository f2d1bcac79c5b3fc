"""Where the conformance suite runs: each registered backend against each server, seen from behind its back.

A place is one backend at one server. It hands out fresh, empty areas, so tests do not see each other.
"""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from agent.backends import Destination, FolderConfig, S3Config
from agent.backends.base import Exclusive, Proof
from tests.backends.disks import lock, small_disk
from tests.backends.servers import rclone, seaweedfs
from tests.backends.servers.process import Process

MIB = 1 << 20
FULL_BYTES = 24 * MIB
"""More than a full root takes."""
_numbers = itertools.count(1)


class Area(Protocol):
    """An empty root at a place."""

    proof: Proof
    """What a delivery here must be proven by."""
    exclusive: Exclusive
    chunk_bytes: int
    """Of a file that needs more than one."""

    takes_back: bool
    """Whether a damaged copy can be told to be ours, and so be removed once it is published."""
    refused_names: frozenset[str]
    """Keys among the suite's odd ones that this server cannot store."""
    process: Process | None
    """The server; None for a place without one."""

    def config(self, **changes: object) -> Destination: ...

    def published(self) -> dict[str, bytes]:
        """What everybody sees: key → content."""

    def partials(self) -> list[str]:
        """What is kept of unfinished uploads."""

    def plant(self, key: str, content: bytes) -> None:
        """Put a stranger's content under `key`."""

    def vanish(self) -> None:
        """Take the root away: the drive is unplugged, the bucket deleted."""

    # What cannot be had at a place is None, and a dash in the matrix.

    def wrong_secret(self) -> Destination | None: ...

    def missing_root(self) -> Destination | None: ...

    def forbidden(self) -> Destination | None:
        """Logged in, but without the right to write."""

    def full(self) -> Destination | None:
        """A root with room for less than `FULL_BYTES`."""

    def close(self) -> None:
        """Take down what was set up for one of these."""


class FolderArea:
    proof = Proof.READBACK
    exclusive = Exclusive.ATOMIC
    chunk_bytes = MIB
    takes_back = True
    refused_names: frozenset[str] = frozenset()
    process: Process | None = None

    def __init__(self, root: Path):
        self.root = root
        self._mounted = ExitStack()

    def config(self, **changes: object) -> Destination:
        return FolderConfig.model_validate({"path": self.root, "create": False, **changes})

    def published(self) -> dict[str, bytes]:
        return {
            key: path.read_bytes() for key, path in self._files() if not path.name.startswith(".hotshoe-")
        }

    def partials(self) -> list[str]:
        return [key for key, path in self._files() if path.name.startswith(".hotshoe-")]

    def plant(self, key: str, content: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def vanish(self) -> None:
        shutil.rmtree(self.root)

    def wrong_secret(self) -> Destination | None:
        return None  # it has none

    def missing_root(self) -> Destination | None:
        return None  # a folder that is not there is a drive to plug in, which is a wait: test_folder.py

    def forbidden(self) -> Destination | None:
        disk = self._mounted.enter_context(small_disk(self.root.parent / "locked", 4))
        lock(disk)
        return self.config(path=disk)

    def full(self) -> Destination | None:
        return self.config(path=self._mounted.enter_context(small_disk(self.root.parent / "small", 16)))

    def close(self) -> None:
        self._mounted.close()

    def _files(self) -> list[tuple[str, Path]]:
        found = []
        for folder, _, names in os.walk(self.root):
            found += [Path(folder) / name for name in names]
        return [(str(path.relative_to(self.root)), path) for path in found]


class SeaweedArea:
    proof = Proof.CHECKSUM
    exclusive = Exclusive.ATOMIC
    chunk_bytes = 5 * MIB
    takes_back = True
    refused_names: frozenset[str] = frozenset()

    def __init__(self, server: seaweedfs.SeaweedFS, url: str = ""):
        """`url`: another way to the server, such as a proxy."""
        self.server = server
        self.process: Process | None = server.process
        self.url = url or server.url
        self.bucket = f"bucket-{next(_numbers)}"
        server.make_bucket(self.bucket)

    def config(self, **changes: object) -> Destination:
        return s3_config(self.url, self.bucket, seaweedfs.ACCESS_KEY, seaweedfs.SECRET_KEY, changes)

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
        return self.config(secret_access_key="wrong")

    def missing_root(self) -> Destination | None:
        return self.config(bucket="no-such-bucket")

    def forbidden(self) -> Destination | None:
        return self.config(access_key_id="readerkey", secret_access_key="readersecret")

    def full(self) -> Destination | None:
        return None  # it has no quotas here

    def close(self) -> None:
        pass


_PARTIAL = ".rclone_temp_multipart_"  # where rclone collects the parts, hidden from its own listings


class RcloneArea:
    proof = Proof.READBACK
    exclusive = Exclusive.CHECKED
    chunk_bytes = 5 * MIB
    takes_back = False  # its ETag of a multipart upload is one thing at the end and another when asked
    refused_names: frozenset[str] = frozenset()

    def __init__(self, server: rclone.Rclone):
        self.server = server
        self.process: Process | None = server.process
        self.bucket = f"bucket-{next(_numbers)}"
        server.make_bucket(self.bucket)

    def config(self, **changes: object) -> Destination:
        return s3_config(self.server.url, self.bucket, rclone.ACCESS_KEY, rclone.SECRET_KEY, changes)

    def published(self) -> dict[str, bytes]:
        objects = self.server.objects(self.bucket)
        return {
            key.removeprefix("pre/fix/"): content for key, content in objects.items() if _PARTIAL not in key
        }

    def partials(self) -> list[str]:
        return [key for key in self.server.objects(self.bucket) if _PARTIAL in key]

    def plant(self, key: str, content: bytes) -> None:
        path = self.server.data / self.bucket / "pre/fix" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def vanish(self) -> None:
        shutil.rmtree(self.server.data / self.bucket)

    def wrong_secret(self) -> Destination | None:
        return self.config(secret_access_key="wrong")

    def missing_root(self) -> Destination | None:
        return self.config(bucket="no-such-bucket")

    def forbidden(self) -> Destination | None:
        return None  # it has one kind of user

    def full(self) -> Destination | None:
        return None

    def close(self) -> None:
        pass


def s3_config(url: str, bucket: str, key: str, secret: str, changes: dict[str, object]) -> S3Config:
    settings: dict[str, object] = {
        "bucket": bucket,
        "prefix": "pre/fix",
        "endpoint_url": url,
        "region": "us-east-1",
        "access_key_id": key,
        "secret_access_key": secret,
        "part_bytes": 5 * MIB,
        "connect_timeout_seconds": 2,
        "read_timeout_seconds": 5,
    }
    return S3Config.model_validate({**settings, **changes})
