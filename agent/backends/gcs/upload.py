"""The two ways of a file into a bucket: one request, or a resumable session."""

from __future__ import annotations

import msgspec

from agent.backends.base import Digests, Receipt
from agent.backends.gcs.config import GRANULE_BYTES
from agent.backends.gcs.crc32c import to_base64
from agent.backends.gcs.faults import FAULTS
from agent.backends.gcs.proof import Prover
from agent.backends.gcs.session import Session, Standing
from agent.backends.gcs.store import Store
from agent.faults import Fault, fault

_NOTHING = memoryview(b"")


class Target(msgspec.Struct, frozen=True):
    """Where a file goes."""

    name: str
    size: int
    store: Store
    prover: Prover
    owner: str

    def exists(self) -> Fault:
        return fault(FAULTS, "gcs.exists", self.name)


class SingleUpload:
    """A file of at most one chunk: held in memory, sent and published by one request at commit."""

    def __init__(self, target: Target, token: str):
        self.token = token
        self.offset = 0
        self.chunk_bytes = max(target.size, 1)
        self._target = target
        self._content = b""
        self._receipt: Receipt | None = None

    def write(self, chunk: memoryview) -> None:
        if len(chunk) != self._target.size:
            raise ValueError("a file of one chunk comes in one chunk")
        self._content = bytes(chunk)
        self.offset = len(chunk)

    def commit(self, digests: Digests) -> Receipt:
        if self._receipt is None:
            target = self._target
            if self.offset != target.size:
                raise fault(FAULTS, "gcs.damaged", f"{self.offset} bytes instead of {target.size}")
            crc32c = to_base64(digests.crc32c) if digests.crc32c else None
            answer = target.store.upload(target.name, target.owner, memoryview(self._content), crc32c)
            if answer.status not in (200, 201):
                raise answer.refusal_of_content() if crc32c else answer.refusal()
            self._receipt = target.prover.prove(target.name, target.size, digests, answer.head())
            self._content = b""
        return self._receipt

    def abort(self) -> None:
        self._content = b""

    def close(self) -> None:
        self._content = b""


class ResumableUpload:
    """A larger file. The token is ``<tag>|<address of the session>``; what is there is asked of the service.

    Whole chunks are stored as they come, without saying that the last is the last. An end that is no multiple of
    256 KiB can only be sent together with the size, which publishes: it waits in memory for the commit.
    """

    def __init__(self, target: Target, token: str, chunk_bytes: int):
        self.chunk_bytes = chunk_bytes
        self._target = target
        self._rest = b""  # the end of the file that waits for the commit
        self._is_unsure = False  # whether the service has more of the last request than we know
        self._receipt: Receipt | None = None
        tag, _, url = token.partition("|")
        standing = self._resumed(url) if url else Standing(is_gone=True)
        if standing.is_gone:
            url = target.store.begin_session(target.name, target.owner)
        self._session = Session(target.store, url)
        self.token = f"{tag}|{url}"
        self.offset = standing.held

    def write(self, chunk: memoryview) -> None:
        left = self._target.size - self.offset
        if len(chunk) != min(self.chunk_bytes, left) or not chunk:
            raise ValueError("a chunk is whole; only the last may be shorter")
        if len(chunk) == left and left % GRANULE_BYTES:
            self._rest = bytes(chunk)
        else:
            sent = self._already_there(len(chunk))
            while sent < len(chunk):
                self._is_unsure = True
                standing = self._session.send(self.offset + sent, chunk[sent:])
                self._is_unsure = False
                sent = self._advanced(standing, sent, len(chunk))
        self.offset += len(chunk)

    def commit(self, digests: Digests) -> Receipt:
        if self._receipt is None:
            target = self._target
            if self.offset != target.size:
                self.abort()
                raise fault(FAULTS, "gcs.damaged", f"{self.offset} bytes instead of {target.size}")
            try:
                standing = self._finished(to_base64(digests.crc32c) if digests.crc32c else None)
            except Fault as refusal:
                if refusal.code == "gcs.damaged":
                    self.abort()
                raise
            if standing.head is None:
                # Gone in between. Published by an answer that we never saw? `find` will know it then.
                raise target.exists() if target.store.head(target.name) else fault(FAULTS, "gcs.upload_gone")
            self._receipt = target.prover.prove(target.name, target.size, digests, standing.head)
            self._rest = b""
        return self._receipt

    def abort(self) -> None:
        self._session.cancel()
        self._rest = b""

    def close(self) -> None:
        self._rest = b""

    def _resumed(self, url: str) -> Standing:
        """Say where the session of an earlier attempt stands; gone is also one that is of no more use."""
        target = self._target
        if not target.store.is_here(url):  # the endpoint was changed in the settings
            return Standing(is_gone=True)
        session = Session(target.store, url)
        standing = session.ask()
        if standing.head is not None:
            if target.store.head(target.name) is None:  # published, and deleted since
                return Standing(is_gone=True)
            # A commit whose answer was lost; `find` will know the object, and nothing is sent twice.
            raise target.exists()
        if standing.held > target.size:
            session.cancel()
            return Standing(is_gone=True)
        return standing

    def _already_there(self, length: int) -> int:
        """Return how much of the chunk at `offset` came through before the last request broke."""
        if not self._is_unsure:
            return 0
        standing = self._session.ask()
        self._is_unsure = False
        there = standing.held - self.offset
        if standing.is_gone or standing.head is not None or not 0 <= there <= length:
            raise fault(FAULTS, "gcs.upload_gone", f"{standing.held} bytes instead of {self.offset}")
        return there

    def _advanced(self, standing: Standing, sent: int, length: int) -> int:
        """Return how much of the chunk is stored now; each request must bring something."""
        if standing.is_gone:
            raise fault(FAULTS, "gcs.upload_gone")
        if standing.head is not None:
            raise fault(FAULTS, "gcs.unclassified", "published before its end")
        there = standing.held - self.offset
        if not sent < there <= length:
            raise fault(FAULTS, "gcs.server_error", f"{standing.held} bytes are kept, not more")
        return there

    def _finished(self, crc32c: str | None) -> Standing:
        """Send the rest and publish, as often as the service takes a part of it."""
        size = self._target.size
        held = size - len(self._rest)
        if self._is_unsure:
            standing = self._session.ask()
            if standing.is_gone or standing.head is not None:
                return standing
            held = self._checked(standing.held, held)
        while True:
            rest = memoryview(self._rest)[held - (size - len(self._rest)) :]
            self._is_unsure = True
            standing = self._session.finish(held, rest, size, crc32c)
            self._is_unsure = False
            if standing.is_gone or standing.head is not None:
                return standing
            held = self._checked(standing.held, held + 1)

    def _checked(self, held: int, least: int) -> int:
        if not least <= held <= self._target.size:
            raise fault(FAULTS, "gcs.upload_gone", f"{held} bytes instead of {least}")
        return held
