"""What comes in at the tests' Cloud Storage: request bodies in pieces, split and hashed as they go by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import google_crc32c

from tests.backends.servers.gcs_disk import encoded

PIECE = 1 << 18
_MOST_METADATA = 1 << 16


class Refused(Exception):
    def __init__(self, status: int, reason: str, message: str = ""):
        super().__init__(f"{status} {reason}")
        self.status, self.reason, self.message = status, reason, message or reason


class Cut(Exception):
    """The connection ends here, without an answer."""


class Intake:
    """A request's body, by length or in chunks, in pieces; counted, and hashed once `hash` is set."""

    def __init__(self, handler: BaseHTTPRequestHandler):
        self._file = handler.rfile
        self._chunked = "chunked" in handler.headers.get("Transfer-Encoding", "")
        self._left = 0 if self._chunked else int(handler.headers.get("Content-Length") or 0)
        self._is_over = not self._chunked and not self._left
        self.count = 0

    def pieces(self) -> Iterator[bytes]:
        while not self._is_over:
            if self._chunked and not self._left:
                self._left = int(self._file.readline().split(b";")[0], 16)
                if not self._left:
                    self._file.readline()
                    self._is_over = True
                    return
            piece = self._file.read1(min(self._left, PIECE))
            if not piece:
                raise Cut
            self._left -= len(piece)
            self.count += len(piece)
            if self._chunked and not self._left:
                self._file.readline()
            self._is_over = not self._chunked and not self._left
            yield piece

    def whole(self) -> bytes:
        content = b"".join(self.pieces())
        if len(content) > _MOST_METADATA:
            raise Refused(413, "uploadTooLarge")
        return content


class Hashes:
    """The two digests of what goes by."""

    def __init__(self) -> None:
        self.crc, self.md5 = 0, hashlib.md5()

    def update(self, piece: bytes) -> None:
        self.crc = google_crc32c.extend(self.crc, piece)
        self.md5.update(piece)

    def named(self) -> dict[str, str]:
        return {"crc32c": encoded(self.crc.to_bytes(4, "big")), "md5Hash": encoded(self.md5.digest())}


def split_parts(boundary: str, pieces: Iterator[bytes]) -> tuple[dict[str, Any], Iterator[bytes]]:
    """Split multipart/related: the metadata, and the media in pieces."""
    line = b"--" + boundary.encode()
    head = b""
    start = -1
    while start < 0:
        piece = next(pieces, b"")
        head += piece
        if not piece or len(head) > _MOST_METADATA + PIECE:
            raise Refused(400, "parseError")
        second = head.find(b"\r\n" + line, len(line))
        start = head.find(b"\r\n\r\n", second + 1) if second > 0 else -1
    said: dict[str, Any] = json.loads(head[head.index(b"\r\n\r\n") + 4 : second])
    lines = [one.partition(b":") for one in head[second:start].split(b"\r\n")]
    typed = [value.strip() for name, _, value in lines if name.lower() == b"content-type"]
    said.setdefault("contentType", typed[0].decode() if typed else "application/octet-stream")
    return said, _media(head[start + 4 :], pieces, b"\r\n" + line + b"--")


def _media(first: bytes, pieces: Iterator[bytes], end: bytes) -> Iterator[bytes]:
    """Yield all before `end`, which comes last."""
    held = first
    for piece in pieces:
        if len(held) > len(end) + 4:
            yield held[: -len(end) - 4]
            held = held[-len(end) - 4 :]
        held += piece
    content, found, _ = held.rpartition(end)
    if not found:
        raise Refused(400, "parseError")
    yield content
