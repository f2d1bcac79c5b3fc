"""What is claimed of an object, and on what grounds.

`checksum` is claimed when the store reports a CRC32C over the whole object that equals ours, and was seen to
compute it (`traits`). Otherwise the object is downloaded and its SHA-256 compared, unless the owner of the
destination accepts less.

For an object that is found, 32 bits and the size prove a copy that a hotshoe has written (it carries a mark in
its metadata): its key is one file's alone, and the checksum is there to find damage. An object without the mark
could be anybody's content, so it is downloaded and compared. A SHA-256 in the metadata would not help: a
multipart upload begins before the digest is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from agent.backends.base import Digests, Exclusive, Proof, Receipt
from agent.backends.s3.faults import FAULTS
from agent.backends.s3.store import Head, Store
from agent.backends.s3.traits import Traits
from agent.faults import Fault, fault


class Prover:
    """Judges objects of one bucket by the wishes of its owner."""

    def __init__(self, store: Store, minimum: Proof, bucket: str):
        self._store = store
        self._minimum = minimum
        self._bucket = bucket

    def require(self, traits: Traits) -> None:
        """Refuse before the first byte what could not be proven after the last."""
        if self._minimum is Proof.CHECKSUM and not traits.computes_crc32c:
            raise fault(FAULTS, "s3.no_checksum")

    def prove(
        self,
        key: str,
        size: int,
        digests: Digests,
        traits: Traits,
        answer: Mapping[str, Any],
        exclusive: Exclusive,
    ) -> Receipt:
        """Prove the object that a publish has just made; `answer` is what the store said to it.

        A damaged object is deleted, if it is still that very object.
        """
        head = self._store.head(key)
        if head is None:
            raise fault(FAULTS, "s3.damaged", "the object has vanished")
        if head.size != size:
            self._damaged(key, head, answer, f"{head.size} bytes instead of {size}")
        if traits.computes_crc32c and digests.crc32c and head.crc32c:
            if head.crc32c != digests.crc32c:
                self._damaged(key, head, answer, f"crc32c {head.crc32c} instead of {digests.crc32c}")
            return self._receipt(key, head, Proof.CHECKSUM, exclusive, f"crc32c:{digests.crc32c}")
        if self._minimum is Proof.SIZE:
            return self._receipt(key, head, Proof.SIZE, exclusive, None)
        if self._minimum is Proof.CHECKSUM:
            raise fault(FAULTS, "s3.no_checksum")
        sha256 = self._read_back(key)
        if sha256 != digests.sha256:
            self._damaged(key, head, answer, f"sha256 {sha256} instead of {digests.sha256}")
        return self._receipt(key, head, Proof.READBACK, exclusive, f"sha256:{sha256}")

    def recognise(
        self,
        key: str,
        head: Head,
        digests: Digests,
        traits: Callable[[], Traits],
        exclusive: Exclusive | None,
    ) -> Receipt | None:
        """Return a receipt for an object of our size that was found under our key, None if it is another."""
        exclusive = exclusive or Exclusive.CHECKED
        if digests.crc32c and head.crc32c and traits().computes_crc32c:
            if head.crc32c != digests.crc32c:
                return None
            if head.is_ours:
                return self._receipt(key, head, Proof.CHECKSUM, exclusive, f"crc32c:{digests.crc32c}")
        if self._read_back(key) != digests.sha256:
            return None
        return self._receipt(key, head, Proof.READBACK, exclusive, f"sha256:{digests.sha256}")

    def _read_back(self, key: str) -> str:
        digest = hashlib.sha256()
        self._store.read(key, digest.update)
        return digest.hexdigest()

    def _damaged(self, key: str, head: Head, answer: Mapping[str, Any], detail: str) -> None:
        if head.etag and head.etag == answer.get("ETag"):
            version = {"VersionId": head.version} if head.version else {}
            with suppress(
                Fault
            ):  # without the right to delete, the next try finds other content and takes a suffix
                self._store.call("delete_object", Key=key, **version)
        raise fault(FAULTS, "s3.damaged", detail)

    def _receipt(
        self, key: str, head: Head, proof: Proof, exclusive: Exclusive, checksum: str | None
    ) -> Receipt:
        return Receipt(
            size=head.size,
            proof=proof,
            exclusive=exclusive,
            checksum=checksum,
            location=f"s3://{self._bucket}/{key}",
            version=head.version or head.etag or None,
        )
