"""CRC32C of blocks, and of what they make together: the checksum of a whole from those of its parts.

CRCs are linear over GF(2): ``crc(a + b) = shift(crc(a), len(b)) ^ crc(b)``, where shift is the effect of that many
zero bytes, a 32 × 32 matrix of bits (the method of zlib's crc32_combine). All blocks but the last are of one length,
so a matrix is made twice for a file, and each block costs one multiplication.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

_SLICE_BYTES = 1 << 18
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected

_Matrix = tuple[int, ...]
"""32 columns: what each single bit becomes."""


def crc32c_of(data: memoryview) -> int:
    """Return the CRC32C of `data`. The library takes bytes alone, hence small copies."""
    import google_crc32c

    value = 0
    for start in range(0, len(data), _SLICE_BYTES):
        value = google_crc32c.extend(value, bytes(data[start : start + _SLICE_BYTES]))
    return value


def combined(parts: Iterable[tuple[int, int]]) -> int:
    """Return the CRC32C of what `parts` make together, each given as (CRC32C, length in bytes)."""
    value = 0
    for crc, length in parts:
        value = _times(_zero_bytes(length), value) ^ crc
    return value


@lru_cache(maxsize=16)
def _zero_bytes(count: int) -> _Matrix:
    square: _Matrix = (_POLYNOMIAL, *(1 << bit for bit in range(31)))  # one zero bit
    for _ in range(3):
        square = _product(square, square)  # one zero byte
    result: _Matrix = tuple(1 << bit for bit in range(32))
    while count:
        if count & 1:
            result = _product(square, result)
        square = _product(square, square)
        count >>= 1
    return result


def _product(left: _Matrix, right: _Matrix) -> _Matrix:
    return tuple(_times(left, column) for column in right)


def _times(matrix: _Matrix, vector: int) -> int:
    total = 0
    for column in matrix:
        if vector & 1:
            total ^= column
        vector >>= 1
    return total
