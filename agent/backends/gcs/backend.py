"""A bucket as a destination."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence

import msgspec

from agent.backends import probe
from agent.backends.base import Check, Digests, Entry, Exclusive, Found, Presence, Upload, split_key
from agent.backends.gcs.config import GcsConfig
from agent.backends.gcs.crc32c import hex_of
from agent.backends.gcs.faults import FAULTS
from agent.backends.gcs.proof import Prover
from agent.backends.gcs.session import Session
from agent.backends.gcs.store import Store
from agent.backends.gcs.upload import ResumableUpload, SingleUpload, Target
from agent.faults import Fault, fault

_MOST_ENTRIES = 1000
_LONGEST_NAME_BYTES = 1024
_TOKEN = re.compile(r"[A-Za-z0-9]{1,100}(\|https?://\S{1,4000})?")
_NO_DELETE = ("gcs.no_permission", "gcs.retained")


class GcsBackend:
    exclusive: Exclusive | None = None

    def __init__(self, config: GcsConfig, *, owner: str):
        self._config = config
        self._owner = owner
        self._prefix = f"{config.prefix}/" if config.prefix else ""
        self._store = Store(config)
        self._prover = Prover(self._store, config.minimum_proof, config.bucket)

    def start(self, key: str, size: int, token: str) -> Upload:
        return self._start(self._name(key), size, token)

    def find(self, key: str, size: int, digests: Digests | None) -> Found:
        return self._find(self._name(key), size, digests)

    def drop(self, key: str, token: str) -> None:
        self._drop(token)

    def _drop(self, token: str) -> None:
        url = token.partition("|")[2]
        if url and self._store.is_here(url):
            Session(self._store, url).cancel()

    def check(self) -> Check:
        lent = _Lent(self)
        found = probe.run(lent, self._owner)
        if found.fault is not None and not (found.steps[-1].name == "delete" and lent.keeps_all):
            return found
        self.exclusive = found.exclusive
        # An account that may not delete is a good choice: the step says what stays, and nothing is wrong.
        return msgspec.structs.replace(found, fault=None)

    def browse(self, path: str) -> Sequence[Entry]:
        start = f"{self._name(path.strip('/'))}/" if path.strip("/") else self._prefix
        return [
            msgspec.structs.replace(entry, name=name)
            for entry in self._store.list(start, _MOST_ENTRIES)
            if (name := entry.name[len(start) :].rstrip("/")) and not name.startswith(".")
        ]

    def close(self) -> None:
        self._store.close()

    def _start(self, name: str, size: int, token: str) -> Upload:
        if not _TOKEN.fullmatch(token):
            raise ValueError("a token is letters and digits, or what start has made of them")
        target = Target(name=name, size=size, store=self._store, prover=self._prover, owner=self._owner)
        if size > self._config.chunk_bytes:
            return ResumableUpload(target, token, self._config.chunk_bytes)
        self._drop(token)  # begun when chunks were set to be smaller
        if self._store.in_doubt and self._store.head(name) is not None:
            raise target.exists()  # perhaps by us: nothing is sent to learn that
        return SingleUpload(target, token.partition("|")[0])

    def _find(self, name: str, size: int, digests: Digests | None) -> Found:
        head = self._store.head(name)
        if head is None:
            return Found(presence=Presence.ABSENT)
        if head.size != size:
            return Found(presence=Presence.DIFFERENT)
        if digests is None:
            return Found(presence=Presence.UNDECIDED)
        receipt = self._prover.recognise(name, head, digests)
        return Found(presence=Presence.SAME if receipt else Presence.DIFFERENT, receipt=receipt)

    def _name(self, key: str) -> str:
        try:
            split_key(key)
        except ValueError as error:
            raise fault(FAULTS, "gcs.bad_key", str(error)) from error
        name = self._prefix + key
        if len(name.encode()) > _LONGEST_NAME_BYTES:
            raise fault(FAULTS, "gcs.bad_key", f"{len(name.encode())} bytes long")
        if {"\r", "\n"} & set(name) or name.startswith(".well-known/acme-challenge/"):
            raise fault(FAULTS, "gcs.refused_name", repr(name))
        return name


class _Lent:
    """What the check needs: the same calls, with reserved names allowed.

    Where nothing can be deleted, the probe of the last check is still there and cannot be written again: each check
    then takes a name of its own.
    """

    def __init__(self, backend: GcsBackend):
        self._backend = backend
        self._root = backend._prefix
        self._suffix = ""
        self._removals = 0
        self.keeps_all = False

    def begin(self, key: str, size: int, token: str) -> Upload:
        name = self._name(key)
        if self._backend._store.head(name) is not None:
            self._expect_refusal(name)
        return self._backend._start(name, size, token)

    def _expect_refusal(self, name: str) -> None:
        """A probe is one request and shows what becomes of its condition; larger files come in sessions. Google refuses
        one at its start, so this costs one request more; some emulators never do."""
        store = self._backend._store
        try:
            session = Session(store, store.begin_session(name, self._backend._owner))
        except Fault as refusal:
            if refusal.code == "gcs.exists":
                return
            raise
        try:
            published = session.finish(0, memoryview(b"another"), len(b"another"), None)
        except Fault as refusal:
            if refusal.code != "gcs.exists":
                raise
        else:
            if published.head is not None:
                raise fault(probe.FAULTS, "check.unmet", "an upload session replaced an existing file")
        finally:
            session.cancel()

    def look(self, key: str, size: int, digests: Digests | None) -> Found:
        return self._backend._find(self._name(key), size, digests)

    def names(self, start: str) -> Collection[str]:
        listed = self._backend._store.list(self._name(start), _MOST_ENTRIES)
        return [entry.name[len(self._root) :].removesuffix(self._suffix) for entry in listed]

    def remove(self, key: str) -> None:
        self._removals += 1
        try:
            self._backend._store.delete(self._name(key))
        except Fault as refusal:
            self.keeps_all = refusal.code in _NO_DELETE
            if not self.keeps_all or self._removals > 1:
                raise
            self._suffix = f"-{secrets.token_hex(4)}"

    def digests(self, content: bytes) -> Digests:
        return msgspec.structs.replace(probe.digests_of(content), crc32c=hex_of(content))

    def _name(self, key: str) -> str:
        return self._root + key + self._suffix
