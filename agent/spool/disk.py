"""Blocking work on the spool's disk, the threads it runs in, and the faults that come of it.

How much of a part can be trusted: the writer begins an fdatasync whenever it reaches a multiple of `STRIDE_BYTES`
and goes on meanwhile, but never passes the next multiple before that one is done. A part longer than ``m``
strides was therefore once durable up to ``m - 1`` strides, whatever else a power loss did to it (a zeroed or stale
tail included), and at most two strides, 32 MiB, are fetched again. The overlap is worth it: on a 2-core VM with
ext4, 1 MiB chunks with SHA-256 went at 780 MB/s, against 540 MB/s waiting for an fdatasync every 32 MiB.

After a mere kill -9 the page cache keeps every byte that was written, in order, so the whole length is right.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from agent.faults import Advice, Fault, Kind, Scope, fault

P = ParamSpec("P")
T = TypeVar("T")

STRIDE_BYTES = 16 << 20

FAULTS = {
    "spool.full": Advice(Kind.RETRYABLE, "The disk of the spool is full: free some space on it."),
    "spool.file_too_large": Advice(
        Kind.NEEDS_USER,
        "The disk of the spool cannot hold a file of this size: use another filesystem (not FAT) or raise the limit.",
        Scope.ITEM,
    ),
    "spool.wrong_size": Advice(
        Kind.RETRYABLE, "The camera sent more or fewer bytes than it had announced.", Scope.ITEM
    ),
    "spool.read_only": Advice(
        Kind.NEEDS_USER, "The disk of the spool is read-only: check it and mount it for writing."
    ),
    "spool.permission": Advice(
        Kind.NEEDS_USER, "The spool folder may not be written: give it to the user that hotshoe runs as."
    ),
    "spool.missing": Advice(
        Kind.RETRYABLE, "The spool folder is not there: check its path and that its disk is connected."
    ),
    "spool.io": Advice(Kind.RETRYABLE, "The disk of the spool reports errors: check it and replace it."),
    "spool.exhausted": Advice(Kind.RETRYABLE, "The computer has run out of memory or open files."),
    "spool.unclassified": Advice(Kind.RETRYABLE, "The spool met an error that it does not know."),
}

_CODES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "spool.full"),
    errno.EFBIG: "spool.file_too_large",
    errno.EROFS: "spool.read_only",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "spool.permission"),
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENODEV, errno.ENXIO), "spool.missing"
    ),
    **dict.fromkeys((errno.EIO, errno.EUCLEAN, errno.EBADMSG), "spool.io"),
    **dict.fromkeys((errno.ENOMEM, errno.EMFILE, errno.ENFILE), "spool.exhausted"),
}


def fault_of(error: OSError) -> Fault:
    return fault(FAULTS, _CODES.get(error.errno or 0, "spool.unclassified"), str(error))


@contextmanager
def translated() -> Iterator[None]:
    """Turn an OSError of the body into a Fault of `FAULTS`."""
    try:
        yield
    except OSError as error:
        raise fault_of(error) from error


class Threads:
    """The spool's own worker threads, so that uploads which fill the loop's default ones never hold a fetch."""

    def __init__(self, workers: int = 8) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="spool")

    def begin(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread: one hop. Raises Fault for an OSError."""
        return await self.settle(self.begin(work, *args, **kwargs))

    async def settle(self, future: asyncio.Future[T]) -> T:
        """Wait until the thread is out of it, even when cancelled: it may still use a buffer or a descriptor.

        A cancellation is raised after that; a disk operation cannot be interrupted, only waited for.
        """
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            future.exception()
            raise cancelled
        with translated():
            return future.result()

    def close(self) -> None:
        self._pool.shutdown()


def trusted_bytes(length: int) -> int:
    """Return how much of a part of `length` bytes was surely durable before a power loss (module docstring)."""
    return max(0, (length - 1) // STRIDE_BYTES - 1) * STRIDE_BYTES


def boot_id(folder: Path) -> str:
    """Name the time since which written bytes can only have been lost by a power loss: this boot, this mount.

    A USB disk that was pulled and plugged in again lost its unsynced bytes without a reboot, hence the mount.
    """
    with translated():
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            info = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
            device = os.fstat(descriptor).st_dev
        finally:
            os.close(descriptor)
    mount = next((line.split()[1] for line in info.splitlines() if line.startswith("mnt_id:")), "")
    return f"{boot}/{device}/{mount}"


def prepare(folder: Path) -> None:
    """Make the folder of a spool, or close it to everybody else. Raises Fault."""
    with translated():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(folder.stat().st_mode) != 0o700:
            folder.chmod(0o700)


def open_part(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def open_first(*paths: Path) -> int:
    """Open the first of `paths` that exists for reading. FileNotFoundError when none does."""
    for path in paths[:-1]:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
    return os.open(paths[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


def write_all(descriptor: int, view: memoryview, offset: int) -> None:
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def read_full(descriptor: int, view: memoryview, offset: int) -> None:
    """Fill `view` from `offset`; the caller knows that the file is long enough. OSError EIO when it is not."""
    while view:
        got = os.preadv(descriptor, [view], offset)
        if not got:
            raise OSError(errno.EIO, f"the file ends at {offset}, {len(view)} bytes early")
        view, offset = view[got:], offset + got


def cut(descriptor: int, length: int) -> None:
    """Shorten the file to `length`, durably; a file that is not longer stays as it is."""
    if os.fstat(descriptor).st_size > length:
        os.ftruncate(descriptor, length)
        os.fsync(descriptor)


def publish(descriptor: int, part: Path, whole: Path) -> None:
    """Make the bytes durable, then the name: fsync, rename, fsync of the folder. On an error it is a part."""
    os.fsync(descriptor)
    os.rename(part, whole)
    try:
        sync_folder(whole.parent)
    except OSError:
        os.rename(whole, part)
        raise


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some filesystems refuse to sync a folder; restic (backend/local) passes over the same two.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
