"""CRC32C in the two spellings that are needed: ours is hex, S3's is base64, both big-endian."""

from __future__ import annotations

import base64

_SLICE_BYTES = 1 << 18


def crc32c_of(data: memoryview) -> str:
    """Return the CRC32C of `data` as S3 writes it. The library takes bytes alone, hence small copies."""
    import google_crc32c

    value = 0
    for start in range(0, len(data), _SLICE_BYTES):
        value = google_crc32c.extend(value, bytes(data[start : start + _SLICE_BYTES]))
    return base64.b64encode(value.to_bytes(4, "big")).decode()


def to_base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def to_hex(text: str) -> str:
    return base64.b64decode(text).hex()
