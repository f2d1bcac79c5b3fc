"""A tree on another machine as a destination."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from itertools import islice
from threading import Lock

import msgspec

from agent.backends import probe
from agent.backends.base import (
    RESERVED,
    Check,
    Digests,
    Entry,
    Exclusive,
    Found,
    Presence,
    Proof,
    Receipt,
    Upload,
    split_key,
)
from agent.backends.remote.partials import parsed
from agent.backends.remote.pool import Pool
from agent.backends.remote.tree import Path, Tree
from agent.backends.remote.upload import Context, RemoteUpload, forgiving, removed, sha256_of
from agent.faults import Advice, Fault

_MOST_ENTRIES = 1000
_MOST_REMEMBERED = 1000


class RemoteBackend:
    """Subclassed by each protocol with nothing but its way to connect."""

    exclusive: Exclusive | None = None

    def __init__(
        self,
        *,
        kind: str,
        faults: Mapping[str, Advice],
        connect: Callable[[], Tree],
        minimum_proof: Proof,
        owner: str,
    ):
        self._owner = owner
        self._pool = Pool(connect)
        self._context = Context(
            kind=kind, faults=faults, pool=self._pool, minimum_proof=minimum_proof, doubtful=set()
        )
        self._lock = Lock()
        self._made: set[Path] = set()

    def start(self, key: str, size: int, token: str) -> Upload:
        return self._start(self._path(key), size, token)

    def find(self, key: str, size: int, digests: Digests | None) -> Found:
        try:
            return self._find(self._path(key), size, digests)
        except Fault as refusal:
            if not self._context.may_stay_unread(refusal):
                raise
            return Found(presence=Presence.DIFFERENT)  # whose it is cannot be told

    def drop(self, key: str, token: str) -> None:
        path = self._path(key)
        tag, _ = parsed(token)
        self._context.doubtful.discard(tag)
        with self._pool.borrowed() as tree:
            removed(tree, path, tag)

    def check(self) -> Check:
        self.exclusive = None  # the server may have changed; until it is known, every commit looks
        found = probe.run(_Lent(self), self._owner)
        if found.fault is not None:
            return found
        try:
            with self._pool.borrowed() as tree:
                self.exclusive = self._found_out(tree)
                free_bytes = tree.free_bytes()
        except Fault as refusal:
            return msgspec.structs.replace(found, exclusive=Exclusive.CHECKED, fault=refusal)
        return msgspec.structs.replace(found, exclusive=self.exclusive, free_bytes=free_bytes)

    def browse(self, path: str) -> Sequence[Entry]:
        folders = self._path(path.strip("/")) if path.strip("/") else ()
        with self._pool.borrowed() as tree, closing(tree.list(folders)) as listing:
            entries = list(islice((each for each in listing if not each.name.startswith(".")), _MOST_ENTRIES))
        return sorted(entries, key=lambda entry: (not entry.is_folder, entry.name))

    def close(self) -> None:
        self._pool.close()

    def _start(self, path: Path, size: int, token: str) -> RemoteUpload:
        return RemoteUpload(self._context, path, size, token, lambda: self.exclusive, self._make_folders)

    def _find(self, path: Path, size: int, digests: Digests | None) -> Found:
        with self._pool.borrowed() as tree:
            held = tree.size(path)
            if held is None:
                self._make_folders(tree, ())
                return Found(presence=Presence.ABSENT)
            if held != size:
                return Found(presence=Presence.DIFFERENT)
            if digests is None:
                return Found(presence=Presence.UNDECIDED)
            if sha256_of(tree, path) != digests.sha256:
                return Found(presence=Presence.DIFFERENT)
            location = tree.location(path)
        receipt = Receipt(
            size=size,
            proof=Proof.READBACK,
            exclusive=self.exclusive or Exclusive.CHECKED,
            checksum=f"sha256:{digests.sha256}",
            location=location,
        )
        return Found(presence=Presence.SAME, receipt=receipt)

    def _make_folders(self, tree: Tree, folders: Path, anew: bool = False) -> None:
        """Make what was not made before; `anew` when it may have been removed by somebody."""
        with self._lock:
            if folders in self._made and not anew:
                return
        tree.make_folders(folders)
        with self._lock:
            if len(self._made) >= _MOST_REMEMBERED:
                self._made.clear()
            self._made.add(folders)

    def _found_out(self, tree: Tree) -> Exclusive:
        """Try to rename over a file that is there."""
        ours, theirs = ((f"{RESERVED}rename-{self._owner}-{name}",) for name in ("a", "b"))
        try:
            for path in (ours, theirs):
                writer = tree.open(path, 0)
                writer.write(memoryview(os.urandom(8)))
                writer.finish()
            tree.rename(ours, theirs)
        except Fault as refusal:
            if refusal.code != f"{self._context.kind}.exists":
                raise
            return Exclusive.ATOMIC
        finally:
            if tree.is_usable:
                forgiving(tree, ours)
                forgiving(tree, theirs)
        return Exclusive.CHECKED

    def _path(self, key: str) -> Path:
        try:
            return split_key(key)
        except ValueError as error:
            raise self._context.fault("bad_key", str(error)) from error


class _Lent:
    """What the check needs: the same calls, with reserved names allowed."""

    def __init__(self, backend: RemoteBackend):
        self._backend = backend

    def begin(self, key: str, size: int, token: str) -> RemoteUpload:
        return self._backend._start((key,), size, token)

    def look(self, key: str, size: int, digests: Digests | None) -> Found:
        try:
            return self._backend._find((key,), size, digests)
        except Fault as refusal:
            if not self._backend._context.may_stay_unread(refusal):
                raise
            return Found(presence=Presence.SAME)  # of this length, and nobody else has this name

    def names(self, start: str) -> Collection[str]:
        with self._backend._pool.borrowed() as tree:
            return [entry.name for entry in tree.list(()) if entry.name.startswith(start)]

    def remove(self, key: str) -> None:
        with self._backend._pool.borrowed() as tree:
            self._backend._make_folders(tree, ())
            tree.remove((key,))

    def digests(self, content: bytes) -> Digests:
        return probe.digests_of(content)
