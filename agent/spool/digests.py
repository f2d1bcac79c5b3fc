"""Several digests of one stream in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol

# google_crc32c takes nothing but `bytes`: the copy of a slice this small stays in the cache.
_SLICE_BYTES = 256 << 10


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Crc32c:
    def __init__(self) -> None:
        import google_crc32c  # an extra: only destinations that compare CRC32C need it

        self._extend = google_crc32c.extend
        self._value = 0

    def update(self, data: memoryview, /) -> None:
        for start in range(0, len(data), _SLICE_BYTES):
            self._value = self._extend(self._value, bytes(data[start : start + _SLICE_BYTES]))

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def _new(algorithm: str) -> _Hash:
    if algorithm == "crc32c":
        return _Crc32c()
    return hashlib.new(algorithm, usedforsecurity=False)


class Digester:
    """Digests by name: ``sha256``, ``crc32c``, ``md5``. ValueError for a name that hashlib does not know."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashes = {algorithm: _new(algorithm) for algorithm in algorithms}

    def update(self, data: memoryview) -> None:
        for digest in self._hashes.values():
            digest.update(data)

    def hexdigests(self) -> dict[str, str]:
        """Return lower-case hex by algorithm; CRC32C as 8 digits, big-endian."""
        return {algorithm: digest.hexdigest() for algorithm, digest in self._hashes.items()}
