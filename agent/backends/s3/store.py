"""The calls to one bucket that the rest needs: client made at first use, every error a Fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from agent.backends.s3.client import make_client
from agent.backends.s3.config import S3Config
from agent.backends.s3.crc32c import to_hex
from agent.backends.s3.faults import FAULTS, translated
from agent.faults import Fault, fault

_READ_BYTES = 1 << 18
_MOST_PAGES = 100


class Head(msgspec.Struct, frozen=True):
    """What the store says of one object."""

    size: int
    etag: str
    version: str | None
    crc32c: str | None  # of the whole object, hex; None: none, or one of parts
    is_ours: bool  # carries the mark of a hotshoe


class Store:
    """One bucket. Safe to use from several threads."""

    def __init__(self, config: S3Config):
        self._config = config
        self._lock = threading.Lock()
        self._client: Any = None

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call `operation` of boto3's client on the bucket."""
        with translated(self._config.secrets()):
            answer: dict[str, Any] = getattr(self._connected(), operation)(
                Bucket=self._config.bucket, **arguments
            )
        return answer

    def pages(self, operation: str, marks: dict[str, str], **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing. `marks`: request parameter → the field of the page before that fills it."""
        for _ in range(_MOST_PAGES):
            page = self.call(operation, **arguments)
            yield page
            if not page.get("IsTruncated"):
                return
            arguments |= {parameter: page[field] for parameter, field in marks.items() if field in page}
        raise fault(FAULTS, "s3.unclassified", f"{operation}: a listing without end")

    def head(self, key: str) -> Head | None:
        """Return what stands under `key`, None for nothing. A bucket that is missing looks like nothing, too."""
        try:
            answer = self.call("head_object", Key=key, ChecksumMode="ENABLED")
        except Fault as refusal:
            if status_of(refusal) == 404:
                return None
            raise
        crc32c = answer.get("ChecksumCRC32C", "")
        is_whole = crc32c and answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" and "-" not in crc32c
        return Head(
            size=answer["ContentLength"],
            etag=answer.get("ETag", ""),
            version=answer.get("VersionId"),
            crc32c=to_hex(crc32c) if is_whole else None,
            is_ours="hotshoe" in answer.get("Metadata", {}),
        )

    def read(self, key: str, take: Callable[[bytes], object]) -> int:
        """Give the object's content to `take`, piece by piece. Return the number of bytes."""
        size = 0
        body = self.call("get_object", Key=key)["Body"]
        with translated(self._config.secrets()):
            try:
                while piece := body.read(_READ_BYTES):
                    take(piece)
                    size += len(piece)
            finally:
                body.close()
        return size

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                try:
                    self._client = make_client(self._config)
                except ValueError as error:  # botocore's word for an address that it cannot take
                    raise fault(FAULTS, "s3.bad_settings", str(error)) from error
            return self._client


def code_of(refusal: Fault) -> str:
    """Return the store's own error code behind `refusal`; of a HEAD, its status. Empty if it did not answer."""
    return str(_response(refusal).get("Error", {}).get("Code", ""))


def status_of(refusal: Fault) -> int:
    """Return the HTTP status behind `refusal`, 0 if the store did not answer."""
    return int(_response(refusal).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _response(refusal: Fault) -> dict[str, Any]:
    response: dict[str, Any] = getattr(refusal.__cause__, "response", None) or {}
    return response


def drop_leftovers(store: Store, key: str) -> None:
    """Abort every unfinished upload to `key`, which holds an object (none of them could ever be published) or is our
    probe's.

    Such uploads are left by a kill between CreateMultipartUpload and the saving of its id. Not done any earlier:
    two installations that share a key would end each other's uploads for ever. Best effort, since listing
    needs a right of its own.
    """
    marks = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
    with suppress(Fault):
        for page in store.pages("list_multipart_uploads", marks, Prefix=key):
            for upload in page.get("Uploads", ()):
                if upload["Key"] == key:
                    store.call("abort_multipart_upload", Key=key, UploadId=upload["UploadId"])
