"""The two ways of a file into a bucket: one PutObject, or a multipart upload."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from agent.backends.base import Digests, Exclusive, Receipt
from agent.backends.s3.client import Body
from agent.backends.s3.crc32c import crc32c_of, to_base64
from agent.backends.s3.faults import FAULTS
from agent.backends.s3.proof import Prover
from agent.backends.s3.store import Store, code_of, drop_leftovers
from agent.backends.s3.traits import Traits
from agent.faults import Fault, fault

_MOST_PARTS = 10_000
_MEBIBYTE = 1 << 20


class Target(msgspec.Struct, frozen=True):
    """Where a file goes and how to treat it there."""

    key: str
    size: int
    store: Store
    prover: Prover
    traits: Traits
    owner: str
    storage_class: str | None
    encryption: dict[str, str]

    def attributes(self) -> dict[str, Any]:
        """Return what PutObject and CreateMultipartUpload set on the object."""
        attributes: dict[str, Any] = {
            "ContentType": mimetypes.guess_type(self.key)[0] or "application/octet-stream",
            "Metadata": {"hotshoe": self.owner},
            **self.encryption,
        }
        if self.storage_class:
            attributes["StorageClass"] = self.storage_class
        return attributes

    def condition(self) -> dict[str, str]:
        """Return the header that makes a store refuse to replace; look ourselves where it would be ignored."""
        if self.traits.refuses_existing:
            return {"IfNoneMatch": "*"}
        if self.store.head(self.key) is not None:
            raise fault(FAULTS, "s3.exists", self.key)
        return {}

    def checksum(self, digests: Digests) -> dict[str, str]:
        if digests.crc32c is None or not self.traits.computes_crc32c:
            return {}
        return {"ChecksumCRC32C": to_base64(digests.crc32c)}

    def prove(self, digests: Digests, answer: Mapping[str, Any]) -> Receipt:
        exclusive = Exclusive.ATOMIC if self.traits.refuses_existing else Exclusive.CHECKED
        return self.prover.prove(self.key, self.size, digests, self.traits, answer, exclusive)


def part_bytes_for(size: int, wanted: int) -> int:
    """Return the part size for a file: as wanted, or the whole MiB that let 10,000 parts suffice."""
    least = -(-size // _MOST_PARTS)
    return max(wanted, -(-least // _MEBIBYTE) * _MEBIBYTE)


class PutUpload:
    """A file of at most one part: held in memory, sent and published by one request at commit."""

    def __init__(self, target: Target, token: str):
        self.token = token
        self.offset = 0
        self.chunk_bytes = max(target.size, 1)
        self._target = target
        self._content = b""
        self._receipt: Receipt | None = None

    def write(self, chunk: memoryview) -> None:
        if len(chunk) != self._target.size:
            raise ValueError("a file of one part comes in one chunk")
        self._content = bytes(chunk)
        self.offset = len(chunk)

    def commit(self, digests: Digests) -> Receipt:
        if self._receipt is None:
            target = self._target
            if self.offset != target.size:
                raise fault(FAULTS, "s3.damaged", f"{self.offset} bytes instead of {target.size}")
            answer = target.store.call(
                "put_object",
                Key=target.key,
                Body=Body(memoryview(self._content)),
                **target.attributes(),
                **target.condition(),
                **target.checksum(digests),
            )
            self._receipt = target.prove(digests, answer)
            self._content = b""
        return self._receipt

    def abort(self) -> None:
        self._content = b""

    def close(self) -> None:
        self._content = b""


class MultipartUpload:
    """A larger file. The token is ``<tag>|<upload id>``; what is there is asked of the store (ListParts)."""

    def __init__(self, target: Target, token: str, part_bytes: int):
        self.chunk_bytes = part_bytes
        self._target = target
        self._parts: list[dict[str, Any]] = []
        self._receipt: Receipt | None = None
        tag, _, upload_id = token.partition("|")
        if upload_id:
            try:
                self._parts = list(self._stored(upload_id))
            except Fault as refusal:
                if code_of(refusal) != "NoSuchUpload":
                    raise
                if target.store.head(target.key) is not None:
                    # A commit whose answer was lost; `find` will know the object, and nothing is sent twice.
                    raise fault(FAULTS, "s3.exists", target.key) from None
                upload_id = ""
        self._id = upload_id or self._create()
        self.token = f"{tag}|{self._id}"
        self.offset = min(len(self._parts) * part_bytes, target.size)

    def write(self, chunk: memoryview) -> None:
        if len(chunk) != min(self.chunk_bytes, self._target.size - self.offset) or not chunk:
            raise ValueError("a chunk is a whole part; only the last may be shorter")
        number = len(self._parts) + 1
        checksum = {"ChecksumCRC32C": crc32c_of(chunk)} if self._target.traits.computes_crc32c else {}
        answer = self._call("upload_part", PartNumber=number, Body=Body(chunk), **checksum)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"], **checksum})
        self.offset += len(chunk)

    def commit(self, digests: Digests) -> Receipt:
        if self._receipt is None:
            target = self._target
            if self.offset != target.size:
                self._damaged(f"{self.offset} bytes instead of {target.size}")
            try:
                answer = self._complete(digests)
            except Fault as refusal:
                if refusal.code == "s3.damaged":
                    self.abort()
                raise
            self._receipt = target.prove(digests, answer)
            drop_leftovers(target.store, target.key)
        return self._receipt

    def abort(self) -> None:
        abort_upload(self._target.store, self._target.key, self._id)

    def close(self) -> None:
        pass

    def _create(self) -> str:
        kind = {"ChecksumAlgorithm": "CRC32C", "ChecksumType": "FULL_OBJECT"}
        answer = self._target.store.call(
            "create_multipart_upload",
            Key=self._target.key,
            **self._target.attributes(),
            **(kind if self._target.traits.computes_crc32c else {}),
        )
        return str(answer["UploadId"])

    def _stored(self, upload_id: str) -> Iterator[dict[str, Any]]:
        """Yield the parts that the store holds, up to the first that is missing or of another size."""
        expected = 1
        for page in self._target.store.pages(
            "list_parts",
            {"PartNumberMarker": "NextPartNumberMarker"},
            Key=self._target.key,
            UploadId=upload_id,
        ):
            for part in page.get("Parts", ()):
                length = min(self.chunk_bytes, self._target.size - (expected - 1) * self.chunk_bytes)
                if part["PartNumber"] != expected or part["Size"] != length:
                    return
                yield {k: part[k] for k in ("PartNumber", "ETag", "ChecksumCRC32C") if part.get(k)}
                expected += 1

    def _complete(self, digests: Digests) -> dict[str, Any]:
        checksum = self._target.checksum(digests)
        if checksum:
            checksum["ChecksumType"] = "FULL_OBJECT"
        return self._call(
            "complete_multipart_upload",
            MultipartUpload={"Parts": self._parts},
            **self._target.condition(),
            **checksum,
        )

    def _damaged(self, detail: str) -> None:
        self.abort()
        raise fault(FAULTS, "s3.damaged", detail)

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._target.store.call(operation, Key=self._target.key, UploadId=self._id, **arguments)


def abort_upload(store: Store, key: str, upload_id: str) -> None:
    """Drop the parts of an upload; harmless when it is gone."""
    try:
        store.call("abort_multipart_upload", Key=key, UploadId=upload_id)
    except Fault as refusal:
        if code_of(refusal) != "NoSuchUpload":
            raise
