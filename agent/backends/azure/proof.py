"""What is claimed of a blob, and on what grounds.

`checksum` rests on three things: the service was seen to refuse a wrong Content-MD5, so it checked every block as it
arrived; the blob consists of blocks whose ids say that they are ours; and the CRC32Cs in these ids add up to that of
the file. A blob of one Put Blob has its CRC32C in its metadata instead, beside the MD5 that the service has checked
and stored: content that came later under the same metadata has another. Everything else is downloaded and its
SHA-256 compared, unless the owner of the destination accepts less.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from agent.backends.azure.blocks import Round, Staged, published
from agent.backends.azure.crc32c import combined, crc32c_of
from agent.backends.azure.faults import FAULTS, code_of
from agent.backends.azure.store import Head, Made, Store
from agent.backends.base import RESERVED, Digests, Exclusive, Proof, Receipt
from agent.faults import Fault, fault

_OWNER, _CRC32C, _MD5 = "hotshoe", "hotshoe_crc32c", "hotshoe_md5"
_PROBE = memoryview(b"hotshoe was here")
_WRONG_MD5 = bytes(16)
_SAID_OF_DAMAGE = {"Md5Mismatch", "InvalidOperation"}  # by Azure, and by Azurite 3.35


class Prover:
    """Judges the blobs of one container by the wishes of its owner."""

    def __init__(self, store: Store, minimum: Proof, prefix: str, owner: str):
        self._store = store
        self._minimum = minimum
        self._owner = owner
        self._probe = f"{prefix}{RESERVED}probe-{owner}"
        self._lock = threading.Lock()
        self._checks: bool | None = None
        self._failure: Fault | None = None
        self._failed_at = 0.0

    def require(self) -> None:
        """Refuse before the first byte what could not be proven after the last."""
        if not self._checks_arrivals() and self._minimum is Proof.CHECKSUM:
            raise fault(FAULTS, "azure.no_checksum")

    def mark(self, content: bytes | None = None) -> dict[str, str]:
        """Return the metadata of a blob of ours; with the checksums of `content` if it comes in one Put Blob."""
        if content is None:
            return {_OWNER: self._owner}
        crc32c = f"{crc32c_of(memoryview(content)):08x}"
        return {_OWNER: self._owner, _CRC32C: crc32c, _MD5: _md5(content)}

    def prove_put(self, key: str, content: bytes, made: Made, digests: Digests) -> Receipt:
        """Prove what was just published by one Put Blob; `content` is known to have `digests`."""
        head = self._store.head(key)
        if head is None or (head.size, head.etag) != (len(content), made.etag):
            raise fault(FAULTS, "azure.damaged", "another blob stands in its place")
        return self._prove(key, head.size, made, digests, self._checks_arrivals())

    def prove_blocks(self, key: str, blocks: Sequence[Staged], made: Made, digests: Digests) -> Receipt:
        """Prove what was just published from `blocks`, whose CRC32C is known to be the file's."""
        committed, _ = self._store.blocks(key)
        if published(committed) != list(blocks):
            raise fault(FAULTS, "azure.damaged", "the blob does not consist of the blocks that were sent")
        size = sum(block.size for block in blocks)
        return self._prove(key, size, made, digests, self._checks_arrivals())

    def recognise(self, key: str, head: Head, digests: Digests) -> Receipt | None:
        """Return a receipt for a blob of our size that was found under our key, None if it is another."""
        made = Made(etag=head.etag, version=head.version)
        crc32c = self._crc32c_of_ours(key, head)
        if crc32c is not None and digests.crc32c and self._checks_arrivals():
            if crc32c != digests.crc32c:
                return None
            return self._receipt(key, head.size, made, Proof.CHECKSUM, f"crc32c:{crc32c}")
        if self._read_back(key) != digests.sha256:
            return None
        return self._receipt(key, head.size, made, Proof.READBACK, f"sha256:{digests.sha256}")

    def _prove(self, key: str, size: int, made: Made, digests: Digests, is_checked: bool) -> Receipt:
        if is_checked and digests.crc32c:
            return self._receipt(key, size, made, Proof.CHECKSUM, f"crc32c:{digests.crc32c}")
        if self._minimum is Proof.SIZE:
            return self._receipt(key, size, made, Proof.SIZE, None)
        if self._minimum is Proof.CHECKSUM:
            raise fault(FAULTS, "azure.no_checksum")
        sha256 = self._read_back(key)
        if sha256 != digests.sha256:
            with suppress(Fault):  # without the right to delete, the next try finds it and takes a suffix
                self._store.delete(key, made.etag)
            raise fault(FAULTS, "azure.damaged", f"sha256 {sha256} instead of {digests.sha256}")
        return self._receipt(key, size, made, Proof.READBACK, f"sha256:{sha256}")

    def _crc32c_of_ours(self, key: str, head: Head) -> str | None:
        """Return the CRC32C of a blob that a hotshoe has written, None of any other."""
        if _OWNER not in head.metadata:
            return None
        if _CRC32C in head.metadata:
            return head.metadata[_CRC32C] if _is_bound(head.md5, head.metadata) else None
        committed, _ = self._store.blocks(key)
        blocks = published(committed)
        if not blocks or sum(block.size for block in blocks) != head.size:
            return None
        return crc32c_of_blocks(blocks)

    def _checks_arrivals(self) -> bool:
        """Say whether the service compares a block with its MD5, found out once by sending a wrong one."""
        arrived = time.monotonic()
        with self._lock:
            if self._checks is None:
                # One after the other, each caller would wait for a dead service's timeout once more.
                if self._failure is not None and self._failed_at > arrived:
                    raise self._failure
                try:
                    self._checks = self._refuses_damage()
                except Fault as failure:
                    self._failure, self._failed_at = failure, time.monotonic()
                    raise
            return self._checks

    def _refuses_damage(self) -> bool:
        block = Round(tag=self._owner, number=0).id_of(0, 0)
        try:
            self._store.stage(self._probe, block, _PROBE, _WRONG_MD5)
        except Fault as refusal:
            if code_of(refusal) in _SAID_OF_DAMAGE:
                return True
            raise
        return False

    def _read_back(self, key: str) -> str:
        digest = hashlib.sha256()
        self._store.read(key, digest.update)
        return digest.hexdigest()

    def _receipt(self, key: str, size: int, made: Made, proof: Proof, checksum: str | None) -> Receipt:
        return Receipt(
            size=size,
            proof=proof,
            exclusive=Exclusive.ATOMIC,
            checksum=checksum,
            location=self._store.url(key),
            version=made.version or made.etag,
        )


def crc32c_of_blocks(blocks: Sequence[Staged]) -> str:
    """Return the CRC32C of the file that `blocks` make, as in `Digests`."""
    return f"{combined((block.crc32c, block.size) for block in blocks):08x}"


def _is_bound(md5: str | None, metadata: Mapping[str, str]) -> bool:
    return md5 is not None and md5 == metadata.get(_MD5)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
