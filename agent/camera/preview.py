"""The small picture inside a picture, from the first bytes of a file. Pure.

JPEG with EXIF, CR2, CR3 and HEIF all carry a small JPEG near their beginning, in front of any larger preview. It is found by
its own structure (markers, a frame header, an end), not by the container's, so one way serves all of them.
"""

from __future__ import annotations

START = b"\xff\xd8\xff"
END = b"\xff\xd9"
SMALLEST_BYTES = 256  # below that it is a few bytes that happen to look like one
MAX_MARKERS = 256

_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_SCAN = 0xDA


def embedded_jpeg(head: bytes) -> bytes | None:
    """Return the first complete JPEG that lies inside `head`, None if there is none.

    A file that is a JPEG itself counts only if nothing lies inside it and it is complete.
    """
    whole: bytes | None = None
    at = head.find(START)
    while at >= 0:
        end = _jpeg_end(head, at)
        if end is not None and end - at >= SMALLEST_BYTES:
            if at > 0:
                return head[at:end]
            whole = head[:end]
        at = head.find(START, at + 1)
    return whole


def _jpeg_end(data: bytes, start: int) -> int | None:
    """Follow the markers of the JPEG at `start` and return where it ends."""
    at, has_frame = start + 2, False
    for _ in range(MAX_MARKERS):
        if at + 4 > len(data) or data[at] != 0xFF:
            return None
        marker = data[at + 1]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _FRAMES:
            has_frame = True
        elif marker == _SCAN:
            # In the entropy-coded data a 0xFF is followed by 0 or a restart marker, so the next end is the end.
            end = data.find(END, at)
            return end + 2 if has_frame and end >= 0 else None
    return None
