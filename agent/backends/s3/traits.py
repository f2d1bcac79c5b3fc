"""What a store really does, found out by trying.

Stores accept ``If-None-Match`` and checksum headers and ignore them (rclone: both; B2 answers NotImplemented), and
some echo a checksum that they never computed. So before the first upload of a kind, a store is asked to replace a
small probe and to accept a wrong checksum: only what it refuses is claimed afterwards. The probe is deleted; where
that is not allowed it stays, and the next run finds it and needs not write another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from agent.backends.base import RESERVED
from agent.backends.s3.client import Body
from agent.backends.s3.crc32c import crc32c_of
from agent.backends.s3.faults import FAULTS
from agent.backends.s3.store import Store, code_of, drop_leftovers
from agent.faults import Fault, Kind, fault

_CONTENT = b"hotshoe was here"
_WRONG = "AAAAAA=="

_CHECKSUM_REFUSED = {
    "BadDigest",
    "InvalidDigest",
    "XAmzContentChecksumMismatch",
    "ChecksumMismatch",
}
# What stores without a feature say to its headers.
_NOT_UNDERSTOOD = {
    "NotImplemented",
    "InvalidRequest",
    "InvalidArgument",
    "MalformedXML",
    "UnsupportedArgument",
}


class Traits(msgspec.Struct, frozen=True):
    """For one way of publishing: PutObject or CompleteMultipartUpload."""

    refuses_existing: bool
    computes_crc32c: bool


class Prober:
    """Finds the traits of one store, each kind once and only when it is needed."""

    def __init__(self, store: Store, prefix: str, owner: str, encryption: Mapping[str, str]):
        self._store = store
        self._encryption = encryption
        self._key = f"{prefix}{RESERVED}probe-{owner}"
        self._lock = threading.Lock()
        self._traits: dict[str, Traits] = {}
        self._failure: Fault | None = None
        self._failed_at = 0.0

    def put(self) -> Traits:
        return self._known("put", self._probe_put)

    def multipart(self) -> Traits:
        return self._known("multipart", self._probe_multipart)

    def _known(self, way: str, probe: Callable[[], Traits]) -> Traits:
        arrived = time.monotonic()
        with self._lock:
            if way not in self._traits:
                # One after the other, each caller would wait for a dead store's timeout once more.
                if self._failure is not None and self._failed_at > arrived:
                    raise self._failure
                try:
                    self._traits[way] = probe()
                except Fault as failure:
                    self._failure, self._failed_at = failure, time.monotonic()
                    if failure.kind is not Kind.RETRYABLE:  # else each call would cost one more timeout
                        self._clean_up()
                    raise
                self._clean_up()
            return self._traits[way]

    def _clean_up(self) -> None:
        with suppress(Fault):
            self._store.call("delete_object", Key=self._key)
        drop_leftovers(self._store, self._key)  # of a probe that was killed, or got no answer

    def _probe_put(self) -> Traits:
        if self._encryption:
            self._place_probe()
        computes = self._refuses(_CHECKSUM_REFUSED, lambda: self._put_probe(ChecksumCRC32C=_WRONG))
        with suppress(Fault):
            self._store.call("delete_object", Key=self._key)
        exists = self._refuses({"PreconditionFailed"}, lambda: self._put_probe(IfNoneMatch="*"))
        refuses = exists or self._refuses({"PreconditionFailed"}, lambda: self._put_probe(IfNoneMatch="*"))
        return Traits(refuses_existing=refuses, computes_crc32c=computes)

    def _probe_multipart(self) -> Traits:
        self._place_probe()
        computes = self._refuses(
            _CHECKSUM_REFUSED,
            lambda: self._multipart_probe(ChecksumCRC32C=_WRONG, ChecksumType="FULL_OBJECT"),
        )
        refuses = self._refuses({"PreconditionFailed"}, lambda: self._multipart_probe(IfNoneMatch="*"))
        return Traits(refuses_existing=refuses, computes_crc32c=computes)

    def _place_probe(self) -> None:
        """With nothing unusual but the wish for encryption: a store that does not understand that says so."""
        try:
            self._put_probe()
        except Fault as refusal:
            if not self._encryption or code_of(refusal) not in _NOT_UNDERSTOOD:
                raise
            raise fault(FAULTS, "s3.no_encryption", refusal.detail) from None

    def _put_probe(self, **headers: str) -> None:
        answer = self._store.call(
            "put_object", Key=self._key, Body=Body(memoryview(_CONTENT)), **self._encryption, **headers
        )
        self._require_encryption(answer)

    def _multipart_probe(self, **headers: str) -> None:
        checks = "ChecksumCRC32C" in headers
        kind: dict[str, Any] = (
            {"ChecksumAlgorithm": "CRC32C", "ChecksumType": "FULL_OBJECT"} if checks else {}
        )
        begun = self._store.call("create_multipart_upload", Key=self._key, **self._encryption, **kind)
        upload = begun["UploadId"]
        try:
            self._require_encryption(begun)
            content = memoryview(_CONTENT)
            part = {"ChecksumCRC32C": crc32c_of(content)} if checks else {}
            tag = self._store.call(
                "upload_part", Key=self._key, UploadId=upload, PartNumber=1, Body=Body(content), **part
            )["ETag"]
            parts = {"Parts": [{"PartNumber": 1, "ETag": tag, **part}]}
            self._store.call(
                "complete_multipart_upload", Key=self._key, UploadId=upload, MultipartUpload=parts, **headers
            )
        except BaseException:
            with suppress(Fault):
                self._store.call("abort_multipart_upload", Key=self._key, UploadId=upload)
            raise

    def _require_encryption(self, answer: Mapping[str, Any]) -> None:
        """Refuse a store that takes the wish for encryption and forgets it: its answer does not name it."""
        wanted = self._encryption.get("ServerSideEncryption")
        if wanted and answer.get("ServerSideEncryption") != wanted:
            raise fault(FAULTS, "s3.no_encryption")

    @staticmethod
    def _refuses(refusals: set[str], attempt: Callable[[], None]) -> bool:
        """Say whether `attempt` is refused with one of `refusals`; other faults than "not understood" go out."""
        try:
            attempt()
        except Fault as refusal:
            code = code_of(refusal)
            if code in refusals:
                return True
            if code in _NOT_UNDERSTOOD:
                return False
            raise
        return False
