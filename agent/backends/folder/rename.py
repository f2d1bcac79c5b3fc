"""Give a finished file its name without ever replacing one.

In order of preference:

- ``renameat2(RENAME_NOREPLACE)``: one atomic step. ext4, XFS, btrfs, tmpfs, vfat, exFAT, ntfs3 and SMB mounts of
  current Linux kernels have it.
- ``link`` and ``unlink``: also atomic, for NFS (its rename takes no flags) and ntfs-3g (2022.10.3: EINVAL).
- look, then rename: where both are refused, as by exfat-fuse (1.3.0: EINVAL, then EPERM). A writer that is not us
  could slip in between, so the receipt says `checked`.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable

from agent.backends.base import Exclusive

_RENAME_NOREPLACE = 1  # linux/fs.h

# What kernels and FUSE answer for "this file system cannot"; a real refusal (EPERM) comes again from the last way.
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EMLINK}


def publish(folder: int, temporary: str, name: str) -> Exclusive:
    """Rename `temporary` to `name` within the open directory `folder`.

    FileExistsError if `name` exists; `temporary` is then untouched.
    """
    for way in (_rename_noreplace, _link_unlink):
        try:
            way(folder, temporary, name)
            return Exclusive.ATOMIC
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
    _look_and_rename(folder, temporary, name)
    return Exclusive.CHECKED


@functools.cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc 2.28, musl 1.2.6
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]


def _rename_noreplace(folder: int, temporary: str, name: str) -> None:
    renameat2 = _renameat2()
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if renameat2(folder, os.fsencode(temporary), folder, os.fsencode(name), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _link_unlink(folder: int, temporary: str, name: str) -> None:
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        # Over NFS a repeated request whose first answer was lost says "exists" of our own link.
        if not os.path.samestat(_lstat(folder, temporary), _lstat(folder, name)):
            raise
    os.unlink(temporary, dir_fd=folder)


def _look_and_rename(folder: int, temporary: str, name: str) -> None:
    try:
        _lstat(folder, name)
    except FileNotFoundError:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def _lstat(folder: int, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)
