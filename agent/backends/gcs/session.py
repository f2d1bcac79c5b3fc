"""One resumable upload session: what the service holds of it, and what becomes of it.

Facts that this rests on (Google's documentation and clients; the numbers stand for answers):

- 308 with ``Range: bytes=0-N``, or without: N + 1 bytes are stored, or none. It may be less than was sent, down to
  a multiple of 256 KiB.
- ``bytes */*`` asks. ``bytes */SIZE`` publishes when SIZE bytes are stored, so it is not what we ask with.
- 200 or 201: published, with the object's resource; asked again, the same answer.
- 404 or 410: the service knows the session no more (after a week, or at its pleasure). 499: it was cancelled.
- Cancelling is a DELETE, and 499 is how it is confirmed.
"""

from __future__ import annotations

import re

import msgspec

from agent.backends.gcs.store import Answer, Head, Store

_GONE = (404, 410, 499)
_TRANSIENT = (401, 403, 408, 429)
_RANGE = re.compile(r"bytes=0-(\d+)")


class Standing(msgspec.Struct, frozen=True):
    """Where a session stands: at `held` bytes, published as `head`, or gone."""

    held: int = 0
    head: Head | None = None
    is_gone: bool = False


class Session:
    """`url` lets anybody write to the session: it must not reach a log, a fault, or a page."""

    def __init__(self, store: Store, url: str):
        self._store = store
        self._url = url

    def ask(self) -> Standing:
        return self._standing(self._put("*", None))

    def send(self, offset: int, chunk: memoryview) -> Standing:
        """Append `chunk`, which is not known to be the last."""
        return self._standing(self._put(f"{offset}-{offset + len(chunk) - 1}", None, chunk))

    def finish(self, offset: int, rest: memoryview, size: int, crc32c: str | None) -> Standing:
        """Append `rest` and publish all of it. Raises ``gcs.damaged`` if the checksum (base64) is another."""
        span = f"{offset}-{size - 1}" if rest else "*"
        answer = self._put(span, size, rest, crc32c=crc32c)
        if answer.status == 400 and crc32c:
            raise answer.refusal_of_content()
        return self._standing(answer)

    def cancel(self) -> None:
        """Drop what is stored; harmless when it is gone or published."""
        answer = self._store.send("DELETE", self._url, {"Content-Length": "0"})
        if answer.status >= 500 and answer.status not in _GONE or answer.status in _TRANSIENT:
            raise answer.refusal()

    def _put(self, span: str, size: int | None, *pieces: memoryview, crc32c: str | None = None) -> Answer:
        headers = {"Content-Range": f"bytes {span}/{'*' if size is None else size}"}
        if crc32c:
            headers["X-Goog-Hash"] = f"crc32c={crc32c}"
        return self._store.send("PUT", self._url, headers, *pieces)

    @staticmethod
    def _standing(answer: Answer) -> Standing:
        if answer.status == 308:
            held = _RANGE.fullmatch(answer.headers.get("Range", ""))
            return Standing(held=int(held[1]) + 1 if held else 0)
        if answer.status in (200, 201):
            return Standing(head=answer.head())
        if answer.status in _GONE:
            return Standing(is_gone=True)
        raise answer.refusal()
