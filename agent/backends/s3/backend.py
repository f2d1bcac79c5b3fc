"""A bucket as a destination."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from agent.backends import probe
from agent.backends.base import Check, Digests, Entry, Exclusive, Found, Presence, Upload, split_key
from agent.backends.s3.config import S3Config
from agent.backends.s3.crc32c import crc32c_of, to_hex
from agent.backends.s3.faults import FAULTS
from agent.backends.s3.proof import Prover
from agent.backends.s3.store import Store, drop_leftovers
from agent.backends.s3.traits import Prober, Traits
from agent.backends.s3.upload import (
    MultipartUpload,
    PutUpload,
    Target,
    abort_upload,
    part_bytes_for,
)
from agent.faults import Fault, fault

_MOST_ENTRIES = 1000
_LONGEST_KEY_BYTES = 1024
_TOKEN = re.compile(r"[A-Za-z0-9]{1,100}(\|\S{1,1000})?")


class S3Backend:
    exclusive: Exclusive | None = None

    def __init__(self, config: S3Config, *, owner: str):
        self._config = config
        self._owner = owner
        self._prefix = f"{config.prefix}/" if config.prefix else ""
        self._store = Store(config)
        self._encryption = config.encryption_headers()
        self._prober = Prober(self._store, self._prefix, owner, self._encryption)
        self._prover = Prover(self._store, config.minimum_proof, config.bucket)

    def start(self, key: str, size: int, token: str) -> Upload:
        return self._start(self._key(key), size, token)

    def find(self, key: str, size: int, digests: Digests | None) -> Found:
        return self._find(self._key(key), size, digests)

    def drop(self, key: str, token: str) -> None:
        upload_id = token.partition("|")[2]
        if upload_id:
            abort_upload(self._store, self._key(key), upload_id)

    def check(self) -> Check:
        found = probe.run(_Lent(self), self._owner)
        if found.fault is not None:
            return found
        try:
            refuses = self._prober.put().refuses_existing and self._prober.multipart().refuses_existing
        except Fault as refusal:
            return msgspec.structs.replace(found, exclusive=Exclusive.CHECKED, fault=refusal)
        self.exclusive = Exclusive.ATOMIC if refuses else Exclusive.CHECKED
        return msgspec.structs.replace(found, exclusive=self.exclusive)

    def browse(self, path: str) -> Sequence[Entry]:
        start = f"{self._key(path.strip('/'))}/" if path.strip("/") else self._prefix
        page = self._store.call("list_objects_v2", Prefix=start, Delimiter="/", MaxKeys=_MOST_ENTRIES)
        folders = [entry["Prefix"][len(start) : -1] for entry in page.get("CommonPrefixes", ())]
        files = [(entry["Key"][len(start) :], entry["Size"]) for entry in page.get("Contents", ())]
        return [Entry(name=name, is_folder=True) for name in folders] + [
            Entry(name=name, is_folder=False, size=size)
            for name, size in files
            if name and not name.startswith(".")
        ]

    def close(self) -> None:
        self._store.close()

    def _start(self, key: str, size: int, token: str) -> Upload:
        if not _TOKEN.fullmatch(token):
            raise ValueError("a token is letters and digits, or what start has made of them")
        traits = self._traits(size)
        self._prover.require(traits)
        target = Target(
            key=key,
            size=size,
            store=self._store,
            prover=self._prover,
            traits=traits,
            owner=self._owner,
            storage_class=self._config.storage_class,
            encryption=self._encryption,
        )
        if self._is_large(size):
            return MultipartUpload(target, token, part_bytes_for(size, self._config.part_bytes))
        tag, _, upload_id = token.partition("|")
        if upload_id:  # begun when parts were set to be smaller
            abort_upload(self._store, key, upload_id)
        return PutUpload(target, tag)

    def _find(self, key: str, size: int, digests: Digests | None) -> Found:
        head = self._store.head(key)
        if head is None:
            return Found(presence=Presence.ABSENT)
        if head.size != size:
            return Found(presence=Presence.DIFFERENT)
        if digests is None:
            return Found(presence=Presence.UNDECIDED)
        receipt = self._prover.recognise(key, head, digests, lambda: self._traits(size), self.exclusive)
        if receipt is None:
            return Found(presence=Presence.DIFFERENT)
        if self._is_large(size):
            drop_leftovers(self._store, key)
        return Found(presence=Presence.SAME, receipt=receipt)

    def _traits(self, size: int) -> Traits:
        return self._prober.multipart() if self._is_large(size) else self._prober.put()

    def _is_large(self, size: int) -> bool:
        return size > self._config.part_bytes

    def _key(self, key: str) -> str:
        try:
            split_key(key)
        except ValueError as error:
            raise fault(FAULTS, "s3.bad_key", str(error)) from error
        whole = self._prefix + key
        if len(whole.encode()) > _LONGEST_KEY_BYTES:
            raise fault(FAULTS, "s3.bad_key", f"{len(whole.encode())} bytes long")
        return whole


class _Lent:
    """What the check needs: the same calls, with reserved names allowed."""

    def __init__(self, backend: S3Backend):
        self._backend = backend

    def begin(self, key: str, size: int, token: str) -> Upload:
        return self._backend._start(self._backend._prefix + key, size, token)

    def look(self, key: str, size: int, digests: Digests | None) -> Found:
        return self._backend._find(self._backend._prefix + key, size, digests)

    def names(self, start: str) -> Collection[str]:
        prefix = self._backend._prefix
        page = self._backend._store.call("list_objects_v2", Prefix=prefix + start, MaxKeys=_MOST_ENTRIES)
        return [entry["Key"][len(prefix) :] for entry in page.get("Contents", ())]

    def remove(self, key: str) -> None:
        self._backend._store.call("delete_object", Key=self._backend._prefix + key)

    def digests(self, content: bytes) -> Digests:
        return msgspec.structs.replace(
            probe.digests_of(content), crc32c=to_hex(crc32c_of(memoryview(content)))
        )
