"""One file on its way into a folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
from contextlib import suppress

from agent.backends.base import RESERVED, Digests, Exclusive, Proof, Receipt
from agent.backends.folder.faults import FAULTS, translated
from agent.backends.folder.rename import publish
from agent.backends.folder.tree import refused_name
from agent.faults import fault

CHUNK_BYTES = 1 << 20
_TOKEN = re.compile(r"[A-Za-z0-9]{1,100}")


def partial_name(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ValueError("a token is letters and digits")
    return f"{RESERVED}{token}.part"


def sha256_of_disk(file: int) -> str:
    """Return the SHA-256 of what the disk holds of the open file: synced first, then read past the page cache."""
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)  # clean after the sync, so the pages do go
    with open(file, "rb", buffering=0, closefd=False) as reader:
        reader.seek(0)
        digest = hashlib.file_digest(reader, "sha256")
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)  # nobody reads it again soon
    return digest.hexdigest()


class FolderUpload:
    """Holds a lock on the partial, so two attempts never write it at once; the loser gets ``folder.busy``."""

    chunk_bytes = CHUNK_BYTES

    def __init__(self, folder: int, name: str, size: int, token: str, location: str, minimum_proof: Proof):
        """Take over `folder`, the open directory that is to hold `name`."""
        self.token = token
        self.offset = 0
        self._folder = folder
        self._name = name
        self._size = size
        self._location = location
        self._minimum_proof = minimum_proof
        self._temporary = partial_name(token)
        self._exclusive: Exclusive | None = None  # set when published
        self._receipt: Receipt | None = None
        self._file = -1
        try:
            with translated():
                self._open()
        except BaseException:
            self.close()
            raise

    def write(self, chunk: memoryview) -> None:
        if self.offset + len(chunk) > self._size:
            raise ValueError("the chunk goes beyond the announced size")
        written = 0
        with translated():
            while written < len(chunk):
                written += os.pwrite(self._file, chunk[written:], self.offset + written)
        self.offset += written

    def commit(self, digests: Digests) -> Receipt:
        if self._receipt is None:
            with translated():
                if self._exclusive is None:
                    self._prove(digests)
                    self._exclusive = self._publish()
                os.fsync(self._folder)
            proven = self._minimum_proof is Proof.READBACK
            self._receipt = Receipt(
                size=self._size,
                proof=Proof.READBACK if proven else Proof.SIZE,
                exclusive=self._exclusive,
                checksum=f"sha256:{digests.sha256}" if proven else None,
                location=self._location,
            )
        return self._receipt

    def abort(self) -> None:
        if self._folder >= 0 and self._exclusive is None:
            with translated(), suppress(FileNotFoundError):
                os.unlink(self._temporary, dir_fd=self._folder)
        self.close()

    def close(self) -> None:
        for descriptor in (self._file, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._folder = -1

    def _open(self) -> None:
        self._file = self._locked()
        status = os.fstat(self._file)
        if status.st_nlink > 1:
            # A publish by link was cut before its unlink: this is the published file itself, never to be written.
            os.unlink(self._temporary, dir_fd=self._folder)
            os.close(self._file)
            self._file = self._locked()
            status = os.fstat(self._file)
        if status.st_size > self._size:  # not of this file
            os.ftruncate(self._file, 0)
            status = os.fstat(self._file)
        self.offset = status.st_size
        disk = os.fstatvfs(self._file)
        free = disk.f_bavail * disk.f_frsize
        if free < self._size - self.offset:
            raise fault(FAULTS, "folder.full", f"{self._size - self.offset} bytes wanted, {free} free")

    def _locked(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(self._temporary, flags, 0o666, dir_fd=self._folder)
        try:
            _lock(file)
            named = os.stat(self._temporary, dir_fd=self._folder, follow_symlinks=False)
            # The holder may have published or dropped it between our open and our lock.
            is_ours = os.path.samestat(named, os.fstat(file)) and stat.S_ISREG(named.st_mode)
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        except BaseException:
            os.close(file)
            raise
        if not is_ours:
            os.close(file)
            raise fault(FAULTS, "folder.busy", self._temporary)
        return file

    def _publish(self) -> Exclusive:
        try:
            return publish(self._folder, self._temporary, self._name)
        except FileNotFoundError:
            os.stat(self._temporary, dir_fd=self._folder, follow_symlinks=False)  # or it is truly gone
            raise refused_name(self._name) from None

    def _prove(self, digests: Digests) -> None:
        held = os.fstat(self._file).st_size
        if held != self._size:
            self._damaged(f"{held} bytes instead of {self._size}")
        if self._minimum_proof is Proof.SIZE:
            os.fsync(self._file)
            # Nobody reads it again soon; a cache that only grows cost a quarter of the processor time (ext4, a small VM).
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        elif (found := sha256_of_disk(self._file)) != digests.sha256:
            self._damaged(f"sha256 {found} instead of {digests.sha256}")

    def _damaged(self, detail: str) -> None:
        self.abort()
        raise fault(FAULTS, "folder.damaged", detail)


def _lock(file: int) -> None:
    """Lock or raise BlockingIOError. Some FUSE and NFS mounts have no locks; there the engine alone keeps order."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
