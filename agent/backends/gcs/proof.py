"""What is claimed of an object, and on what grounds.

Google computes a CRC32C over every object and shows it with the object; equal to ours it is `checksum`. A server that
shows none (some emulators) is read back and its SHA-256 compared, unless the owner of the destination accepts less.

For an object that is found, 32 bits and the size prove a copy that a hotshoe has written (it carries a mark in its
metadata): its name is one file's alone, and the checksum is there to find damage. An object without the mark could be
anybody's content, so it is downloaded and compared.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress

from agent.backends.base import Digests, Exclusive, Proof, Receipt
from agent.backends.gcs.faults import FAULTS
from agent.backends.gcs.store import Head, Store
from agent.faults import Fault, fault


class Prover:
    """Judges objects of one bucket by the wishes of its owner."""

    def __init__(self, store: Store, minimum: Proof, bucket: str):
        self._store = store
        self._minimum = minimum
        self._bucket = bucket

    def prove(self, name: str, size: int, digests: Digests, head: Head) -> Receipt:
        """Prove the object that we have just made; a damaged one is deleted, if it is still that very one."""
        if head.size != size:
            self._damaged(name, head, f"{head.size} bytes instead of {size}")
        if head.crc32c and digests.crc32c:
            if head.crc32c != digests.crc32c:
                self._damaged(name, head, f"crc32c {head.crc32c} instead of {digests.crc32c}")
            return self._receipt(name, head, Proof.CHECKSUM, f"crc32c:{digests.crc32c}")
        if self._minimum is Proof.SIZE:
            return self._receipt(name, head, Proof.SIZE, None)
        if self._minimum is Proof.CHECKSUM:
            raise fault(FAULTS, "gcs.no_checksum")
        sha256 = self._read_back(name, head)
        if sha256 != digests.sha256:
            self._damaged(name, head, f"sha256 {sha256} instead of {digests.sha256}")
        return self._receipt(name, head, Proof.READBACK, f"sha256:{sha256}")

    def recognise(self, name: str, head: Head, digests: Digests) -> Receipt | None:
        """Return a receipt for an object of our size that was found under our name, None if it is another."""
        if head.crc32c and digests.crc32c:
            if head.crc32c != digests.crc32c:
                return None
            if head.is_ours:
                return self._receipt(name, head, Proof.CHECKSUM, f"crc32c:{digests.crc32c}")
        if self._read_back(name, head) != digests.sha256:
            return None
        return self._receipt(name, head, Proof.READBACK, f"sha256:{digests.sha256}")

    def _read_back(self, name: str, head: Head) -> str:
        digest = hashlib.sha256()
        for piece in self._store.read(name, head.generation):
            digest.update(piece)
        return digest.hexdigest()

    def _damaged(self, name: str, head: Head, detail: str) -> None:
        with suppress(
            Fault
        ):  # without the right to delete, the next try finds other content and takes a suffix
            self._store.delete(name, head.generation)
        raise fault(FAULTS, "gcs.damaged", detail)

    def _receipt(self, name: str, head: Head, proof: Proof, checksum: str | None) -> Receipt:
        return Receipt(
            size=head.size,
            proof=proof,
            exclusive=Exclusive.ATOMIC,
            checksum=checksum,
            location=f"gs://{self._bucket}/{name}",
            version=head.generation,
        )
