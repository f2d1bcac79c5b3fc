"""CRC32C in the two spellings that are needed: ours is hex, Google's is base64, both big-endian."""

from __future__ import annotations

import base64


def to_base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def to_hex(text: str) -> str:
    return base64.b64decode(text).hex()


def hex_of(content: bytes) -> str:
    import google_crc32c

    return int(google_crc32c.value(content)).to_bytes(4, "big").hex()
