"""The smallest honest thumbnail: a baseline JPEG, 160×120, of one grey.

Written out by hand so that the simulated camera needs no image library; any decoder opens it. The grey tells
pictures apart.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

WIDTH, HEIGHT = 160, 120
_BLOCKS = (WIDTH // 8) * (HEIGHT // 8)


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">HH", 0xFF00 | marker, len(payload) + 2) + payload


def _entropy(level: int) -> bytes:
    """Scan data: the first block carries the level, all others no difference. DC codes have 4 bits, EOB one."""
    category = abs(level).bit_length()
    amplitude = level if level >= 0 else level + (1 << category) - 1
    bits = f"{category:04b}" + (f"{amplitude:0{category}b}" if category else "") + "0"
    bits += "00000" * (_BLOCKS - 1)
    bits += "1" * (-len(bits) % 8)
    raw = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return raw.replace(b"\xff", b"\xff\x00")


@lru_cache(maxsize=256)
def grey_jpeg(grey: int) -> bytes:
    """A JPEG of `grey` (0–255)."""
    dc_table = b"\x00" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12))
    ac_table = b"\x10" + bytes([1] + [0] * 15) + b"\x00"
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            _segment(0xDB, b"\0" + bytes([8] * 64)),
            _segment(0xC0, struct.pack(">BHHB", 8, HEIGHT, WIDTH, 1) + b"\x01\x11\x00"),
            _segment(0xC4, dc_table),
            _segment(0xC4, ac_table),
            _segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
            _entropy(grey - 128),
            b"\xff\xd9",
        )
    )


def of(name: str) -> bytes:
    """The thumbnail of a file of this name, wherever it lies."""
    return grey_jpeg(zlib.crc32(name.encode()) & 0xFF)
