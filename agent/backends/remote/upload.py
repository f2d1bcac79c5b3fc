"""One file on its way into a tree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from agent.backends.base import Digests, Exclusive, Proof, Receipt
from agent.backends.remote.partials import MOST_NAMES, beside, others, parsed, token_of
from agent.backends.remote.pool import Pool
from agent.backends.remote.tree import Path, Tree, Writer
from agent.faults import Advice, Fault, fault

CHUNK_BYTES = 1 << 20
_ASK_FOR_ROOM_BYTES = 64 << 20  # a smaller file is not worth the question: the server refuses the write


class Context(msgspec.Struct, frozen=True):
    """What the uploads of one backend share."""

    kind: str
    faults: Mapping[str, Advice]
    pool: Pool
    minimum_proof: Proof
    doubtful: set[str]
    """Tags whose rename was sent and not answered."""

    def fault(self, what: str, detail: str = "") -> Fault:
        return fault(self.faults, f"{self.kind}.{what}", detail)

    def may_stay_unread(self, refusal: Fault) -> bool:
        """Say whether it is a login that may not download, and need not, since its length proves a file."""
        return self.minimum_proof is Proof.SIZE and refusal.code == f"{self.kind}.not_readable"


class RemoteUpload:
    """Has a connection of its own until it is closed."""

    chunk_bytes = CHUNK_BYTES

    def __init__(
        self,
        context: Context,
        path: Path,
        size: int,
        token: str,
        exclusive: Callable[[], Exclusive | None],
        make_folders: Callable[[Tree, Path, bool], None],
    ):
        self.offset = 0
        self._context = context
        self._path = path
        self._size = size
        self._exclusive = exclusive
        self._make_folders = make_folders
        self.token = token
        self._tag, self._number = parsed(token)
        self._is_first_attempt = self._number == 1
        self._is_resumed = False
        self._writer: Writer | None = None
        self._receipt: Receipt | None = None
        self._tree: Tree | None = context.pool.take()
        try:
            make_folders(self._tree, path[:-1], False)
            self._open()
        except BaseException:
            self.close()
            raise

    def write(self, chunk: memoryview) -> None:
        if self.offset + len(chunk) > self._size:
            raise ValueError("the chunk goes beyond the announced size")
        if self._writer is None:
            self._writer = self._reopened()
        try:
            self._writer.write(chunk)
        except BaseException:
            self._close_writer()
            raise
        self.offset += len(chunk)

    def commit(self, digests: Digests) -> Receipt:
        if self._receipt is None:
            if self.offset != self._size:
                self._damaged(f"{self.offset} bytes instead of {self._size}")
            if self._writer is not None:
                self._writer.finish()
                self._writer = None
            proven = self._prove(digests)
            exclusive = self._publish()
            self._receipt = Receipt(
                size=self._size,
                proof=Proof.READBACK if proven else Proof.SIZE,
                exclusive=exclusive,
                checksum=f"sha256:{digests.sha256}" if proven else None,
                location=self._connection.location(self._path),
                has_leftovers=not self._clear_others(),
            )
        return self._receipt

    def abort(self) -> None:
        if self._tree is not None and self._receipt is None:
            self._close_writer()
            self._replace_dead_connection().remove(self._partial)
            self.offset = 0
        self.close()

    def close(self) -> None:
        self._close_writer()
        if self._tree is not None:
            self._context.pool.give_back(self._tree)
            self._tree = None

    @property
    def _connection(self) -> Tree:
        if self._tree is None:
            raise ValueError("the upload is closed")
        return self._tree

    def _replace_dead_connection(self) -> Tree:
        if not self._connection.is_usable:
            self.close()
            self._tree = self._context.pool.take()
        return self._connection

    @property
    def _partial(self) -> Path:
        return beside(self._path, self._tag, self._number)

    def _open(self) -> None:
        """Find the partial that can be written to, and where it ends."""
        tree = self._connection
        while True:
            held = tree.size(self._partial)
            self._is_first_attempt &= held is None
            if held is None and self._tag in self._context.doubtful:
                self._refuse_what_is_published(tree)
            try:
                self._go_on(tree, held or 0)
                break
            except Fault as refusal:
                if refusal.code != f"{self._context.kind}.busy" or self._number == MOST_NAMES:
                    raise
                self._number += 1
                self.token = token_of(self._tag, self._number)
        self._is_resumed = self.offset > 0
        wanted = self._size - self.offset
        if wanted >= _ASK_FOR_ROOM_BYTES:
            free = tree.free_bytes()
            if free is not None and free < wanted:
                raise self._context.fault("full", f"{wanted} bytes wanted, {free} free")

    def _go_on(self, tree: Tree, held: int) -> None:
        if not 0 <= held <= self._size:  # not of this file
            held = 0
        self.offset = held
        if held == self._size and held:
            return
        try:
            self._writer = tree.open(self._partial, held)
        except Fault as refusal:
            if refusal.code == f"{self._context.kind}.busy" or not tree.is_usable:
                raise
            # Somebody may have removed the folder since it was made, and the partial with it.
            self._make_folders(tree, self._path[:-1], True)
            self.offset = tree.size(self._partial) or 0
            self._writer = tree.open(self._partial, self.offset)

    def _reopened(self) -> Writer:
        """Go on after a write that failed: what it left behind `offset` is written over."""
        tree = self._replace_dead_connection()
        held = tree.size(self._partial) or 0
        if held < self.offset:
            self._damaged(f"{held} bytes are left of {self.offset}")
        return tree.open(self._partial, self.offset)

    def _refuse_what_is_published(self, tree: Tree) -> None:
        """A commit whose answer was lost; `find` will know the file, and nothing is sent twice."""
        if tree.size(self._path) is not None:
            raise self._context.fault("exists", "/".join(self._path))
        self._context.doubtful.discard(self._tag)

    def _prove(self, digests: Digests) -> bool:
        """Return whether the content was compared, and not its length alone.

        The length says nothing of what was gone on with: after a power cut at the server it can end in zeros.
        """
        tree = self._connection
        held = tree.size(self._partial)
        if held != self._size:
            self._damaged(f"{held} bytes instead of {self._size}")
        if self._context.minimum_proof is Proof.SIZE and not self._is_resumed:
            return False
        try:
            found = sha256_of(tree, self._partial)
        except Fault as refusal:
            if not self._context.may_stay_unread(refusal):
                raise
            return False
        if found != digests.sha256:
            self._damaged(f"sha256 {found} instead of {digests.sha256}")
        return True

    def _publish(self) -> Exclusive:
        tree = self._connection
        exclusive = self._exclusive() or Exclusive.CHECKED
        if exclusive is Exclusive.CHECKED and tree.size(self._path) is not None:
            raise self._context.fault("exists", "/".join(self._path))
        self._context.doubtful.add(self._tag)
        try:
            tree.rename(self._partial, self._path)
        except Fault as refusal:
            if tree.is_usable:  # so this was the answer
                self._context.doubtful.discard(self._tag)
                if refusal.code == f"{self._context.kind}.refused_name":  # and will be the same next time
                    forgiving(tree, self._partial)
            raise
        self._context.doubtful.discard(self._tag)
        return exclusive

    def _clear_others(self) -> bool:
        if self._is_first_attempt:
            return True
        try:
            for path in others(self._path, self._tag, self._number):
                self._connection.remove(path)
        except Fault:
            return False
        return True

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _damaged(self, detail: str) -> None:
        self.abort()
        raise self._context.fault("damaged", detail)


def sha256_of(tree: Tree, path: Path) -> str:
    digest = hashlib.sha256()
    for piece in tree.read(path):
        digest.update(piece)
    return digest.hexdigest()


def removed(tree: Tree, path: Path, tag: str) -> None:
    """Remove every partial of `tag`. Raises the last refusal, when all were tried."""
    refusal: Fault | None = None
    for partial in others(path, tag, 0):
        try:
            tree.remove(partial)
        except Fault as caught:
            if not tree.is_usable:
                raise
            refusal = caught
    if refusal is not None:
        raise refusal


def forgiving(tree: Tree, path: Path) -> None:
    """Remove `path` if that goes."""
    with suppress(Fault):
        tree.remove(path)
