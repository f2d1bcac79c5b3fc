"""A container as a destination."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence

import msgspec

from agent.backends import probe
from agent.backends.azure.blocks import block_bytes_for
from agent.backends.azure.config import AzureConfig
from agent.backends.azure.crc32c import crc32c_of
from agent.backends.azure.faults import FAULTS
from agent.backends.azure.leftovers import Sweeper
from agent.backends.azure.proof import Prover
from agent.backends.azure.store import Store
from agent.backends.azure.upload import BlockUpload, PutUpload, Target
from agent.backends.base import Check, Digests, Entry, Exclusive, Found, Presence, Upload, split_key
from agent.faults import Fault, fault

_MOST_ENTRIES = 1000
_LONGEST_NAME = 1024  # characters, as the service counts them: in UTF-16
_MOST_SEGMENTS = 254
_TOKEN = re.compile(r"[A-Za-z0-9]{1,100}")


class AzureBackend:
    exclusive: Exclusive | None = Exclusive.ATOMIC

    def __init__(self, config: AzureConfig, *, owner: str):
        self._config = config
        self._owner = owner
        self._prefix = f"{config.prefix}/" if config.prefix else ""
        self._store = Store(config)
        self._sweeper = Sweeper(self._store, self._prefix, owner)
        self._prover = Prover(self._store, config.minimum_proof, self._prefix, owner)

    def start(self, key: str, size: int, token: str) -> Upload:
        return self._start(self._key(key), size, token)

    def find(self, key: str, size: int, digests: Digests | None) -> Found:
        return self._find(self._key(key), size, digests)

    def drop(self, key: str, token: str) -> None:
        self._sweeper.clear(self._key(key), token)

    def check(self) -> Check:
        return probe.run(_Lent(self), self._owner)

    def browse(self, path: str) -> Sequence[Entry]:
        start = f"{self._key(path.strip('/'))}/" if path.strip("/") else self._prefix
        entries = [
            entry
            for entry in self._store.entries(start, _MOST_ENTRIES)
            if entry.name and (entry.is_folder or not entry.name.startswith("."))
        ]
        return sorted(entries, key=lambda entry: not entry.is_folder)

    def close(self) -> None:
        self._store.close()

    def _start(self, key: str, size: int, token: str) -> Upload:
        if not _TOKEN.fullmatch(token):
            raise ValueError("a token is letters and digits")
        self._prover.require()
        target = Target(
            key=key,
            size=size,
            store=self._store,
            prover=self._prover,
            sweeper=self._sweeper,
            tier=self._config.access_tier,
        )
        if size > self._config.block_bytes:
            return BlockUpload(target, token, block_bytes_for(size, self._config.block_bytes))
        return PutUpload(target, token)  # which drops blocks of a time when they were smaller

    def _find(self, key: str, size: int, digests: Digests | None) -> Found:
        head = self._store.head(key)
        if head is None or self._sweeper.is_empty_one(key, head):
            return Found(presence=Presence.ABSENT)
        if head.size != size:
            return Found(presence=Presence.DIFFERENT)
        if digests is None:
            return Found(presence=Presence.UNDECIDED)
        receipt = self._prover.recognise(key, head, digests)
        if receipt is None:
            return Found(presence=Presence.DIFFERENT)
        return Found(presence=Presence.SAME, receipt=receipt)

    def _key(self, key: str) -> str:
        try:
            split_key(key)
        except ValueError as error:
            raise fault(FAULTS, "azure.bad_key", str(error)) from error
        whole = self._prefix + key
        length, segments = len(whole.encode("utf-16-le")) // 2, whole.count("/") + 1
        if length > _LONGEST_NAME or segments > _MOST_SEGMENTS:
            raise fault(FAULTS, "azure.bad_key", f"{length} characters in {segments} segments")
        return whole


class _Lent:
    """What the check needs: the same calls, with reserved names allowed.

    A retention policy or a legal hold keeps the probes. Then each check leaves one, under a name of its own, and is
    no worse for it: nothing but deleting is forbidden there.
    """

    def __init__(self, backend: AzureBackend):
        self._backend = backend
        self._suffix = ""

    def begin(self, key: str, size: int, token: str) -> Upload:
        return self._backend._start(self._whole(key), size, token)

    def look(self, key: str, size: int, digests: Digests | None) -> Found:
        return self._backend._find(self._whole(key), size, digests)

    def names(self, start: str) -> Collection[str]:
        whole = self._whole(start)
        found = self._backend._store.names(whole, _MOST_ENTRIES)
        return [start + name.removeprefix(whole) for name in found]

    def remove(self, key: str) -> None:
        try:
            self._backend._store.delete(self._whole(key))
        except Fault as refusal:
            if refusal.code != "azure.immutable":
                raise
            self._suffix = f"-{secrets.token_hex(4)}"

    def digests(self, content: bytes) -> Digests:
        return msgspec.structs.replace(
            probe.digests_of(content), crc32c=f"{crc32c_of(memoryview(content)):08x}"
        )

    def _whole(self, key: str) -> str:
        return f"{self._backend._prefix}{key}{self._suffix}"
