"""The two ways of a file into a container: one Put Blob, or staged blocks."""

from __future__ import annotations

import hashlib
import mimetypes

import msgspec

from agent.backends.azure.blocks import Staged, is_of, round_of, stored
from agent.backends.azure.crc32c import crc32c_of
from agent.backends.azure.faults import FAULTS
from agent.backends.azure.leftovers import Sweeper
from agent.backends.azure.proof import Prover, crc32c_of_blocks
from agent.backends.azure.store import Store
from agent.backends.base import Digests, Receipt
from agent.faults import fault


class Target(msgspec.Struct, frozen=True):
    """Where a file goes and how to treat it there."""

    key: str
    size: int
    store: Store
    prover: Prover
    sweeper: Sweeper
    tier: str | None

    def attributes(self) -> dict[str, str | None]:
        kind = mimetypes.guess_type(self.key)[0] or "application/octet-stream"
        return {"content_type": kind, "tier": self.tier}


class PutUpload:
    """A file of at most one block: held in memory, sent and published by one request at commit."""

    def __init__(self, target: Target, token: str):
        self.token = token
        self.offset = 0
        self.chunk_bytes = max(target.size, 1)
        self._target = target
        self._content = b""
        self._receipt: Receipt | None = None

    def write(self, chunk: memoryview) -> None:
        if len(chunk) != self._target.size:
            raise ValueError("a file of one block comes in one chunk")
        self._content = bytes(chunk)
        self.offset = len(chunk)

    def commit(self, digests: Digests) -> Receipt:
        if self._receipt is None:
            target, content = self._target, self._content
            if self.offset != target.size:
                raise fault(FAULTS, "azure.damaged", f"{self.offset} bytes instead of {target.size}")
            sha256 = hashlib.sha256(content).hexdigest()
            if sha256 != digests.sha256:
                raise fault(FAULTS, "azure.damaged", f"sha256 {sha256} instead of {digests.sha256}")
            made = target.store.put(target.key, content, target.prover.mark(content), **target.attributes())
            self._receipt = target.prover.prove_put(target.key, content, made, digests)
            self._content = b""
        return self._receipt

    def abort(self) -> None:
        self._content = b""

    def close(self) -> None:
        self._content = b""


class BlockUpload:
    """A larger file. The token stays as it is; what is there is asked of the service (Get Block List)."""

    def __init__(self, target: Target, token: str, block_bytes: int):
        self.token = token
        self.chunk_bytes = block_bytes
        self._target = target
        self._receipt: Receipt | None = None
        committed, uncommitted = target.store.blocks(target.key)
        if any(is_of(token, block) for block in committed):
            # A commit whose answer was lost; `find` will know the blob, and nothing is sent twice.
            raise fault(FAULTS, "azure.exists", target.key)
        self._round = round_of(token, uncommitted)
        self._blocks: list[Staged] = stored(self._round, uncommitted, target.size, block_bytes)
        self.offset = min(len(self._blocks) * block_bytes, target.size)

    def write(self, chunk: memoryview) -> None:
        if len(chunk) != min(self.chunk_bytes, self._target.size - self.offset) or not chunk:
            raise ValueError("a chunk is a whole block; only the last may be shorter")
        crc32c = crc32c_of(chunk)
        block = Staged(id=self._round.id_of(len(self._blocks), crc32c), size=len(chunk), crc32c=crc32c)
        self._target.store.stage(self._target.key, block.id, chunk)
        self._blocks.append(block)
        self.offset += len(chunk)

    def commit(self, digests: Digests) -> Receipt:
        if self._receipt is None:
            target = self._target
            if self.offset != target.size:
                self._damaged(f"{self.offset} bytes instead of {target.size}")
            crc32c = crc32c_of_blocks(self._blocks)
            if digests.crc32c and crc32c != digests.crc32c:
                self._damaged(f"crc32c {crc32c} instead of {digests.crc32c}")
            ids = [block.id for block in self._blocks]
            made = target.store.commit(target.key, ids, target.prover.mark(), **target.attributes())
            self._receipt = target.prover.prove_blocks(target.key, self._blocks, made, digests)
        return self._receipt

    def abort(self) -> None:
        if self._receipt is None:
            self._target.sweeper.clear(self._target.key, self.token)

    def close(self) -> None:
        pass

    def _damaged(self, detail: str) -> None:
        self.abort()
        raise fault(FAULTS, "azure.damaged", detail)
