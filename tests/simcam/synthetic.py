"""Files that exist only as a formula: content from (name, size), at any offset, without storing a byte.

A file begins as its kind must (`head`), goes on with a digest of its name and size, and then is a window that slides
over one fixed random pattern. The pattern's length is a prime a little above 1 MiB, so chunks that are taken from
different offsets differ (no two multiples of a chunk size meet within a terabyte), and a slice of up to a whole period
is contiguous: sending costs no copy. Where the window starts depends on name and size, too.

`content` and `sha256_of` are what tests check with; they share nothing with the sockets.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from functools import lru_cache

from tests.simcam import head

PERIOD = 1_048_583
"""Length of the pattern: the smallest prime above 1 MiB."""

_PATTERN = memoryview(random.Random("hotshoe simcam").randbytes(PERIOD) * 2)


def extension(name: str) -> str:
    """The upper-case extension without the dot; "" when there is none."""
    return name.rpartition(".")[2].upper() if "." in name else ""


@lru_cache(maxsize=20_000)
def _head(name: str, size: int) -> memoryview:
    digest = hashlib.sha256(f"{name}:{size}".encode()).hexdigest()
    return memoryview(
        head.beginning(name.rpartition("/")[2], extension(name)) + b"hotshoe " + digest.encode()
    )


@lru_cache(maxsize=20_000)
def _start(name: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(f"start {name}:{size}".encode()).digest()[:8], "little") % PERIOD


def views(name: str, size: int, offset: int = 0, length: int | None = None) -> Iterator[memoryview]:
    """Yield slices that together are bytes [offset, offset + length) of the file, clipped at its end."""
    end = size if length is None else min(size, offset + length)
    first = _head(name, size)
    if offset < min(len(first), end):
        yield first[offset : min(len(first), end)]
        offset = min(len(first), end)
    start = _start(name, size)
    while offset < end:
        at = (start + offset) % PERIOD
        take = min(end - offset, PERIOD)
        yield _PATTERN[at : at + take]
        offset += take


def content(name: str, size: int, offset: int = 0, length: int | None = None) -> bytes:
    """Bytes [offset, offset + length) of the file, clipped at its end."""
    return b"".join(views(name, size, offset, length))


@lru_cache(maxsize=20_000)
def sha256_of(name: str, size: int) -> str:
    """Hex digest of the whole file (about a second per 1–2 GB)."""
    digest = hashlib.sha256()
    for view in views(name, size):
        digest.update(view)
    return digest.hexdigest()
