"""What can go wrong with a folder, by errno."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from agent.faults import Advice, Kind, Scope, fault

FAULTS: dict[str, Advice] = {
    "folder.missing": Advice(
        Kind.RETRYABLE, "The folder is not there: plug the drive in, or correct its path."
    ),
    "folder.not_mounted": Advice(
        Kind.RETRYABLE, "The drive is not mounted: plug it in, or switch off 'On a drive of its own'."
    ),
    "folder.full": Advice(Kind.RETRYABLE, "The disk is full: free some space."),
    "folder.io": Advice(Kind.RETRYABLE, "The disk reports errors: check its cable, then the disk."),
    "folder.unreachable": Advice(
        Kind.RETRYABLE, "The drive or share does not answer: check that it is connected."
    ),
    "folder.busy": Advice(
        Kind.RETRYABLE, "Another attempt is still writing this file: nothing to do.", Scope.ITEM
    ),
    "folder.damaged": Advice(
        Kind.RETRYABLE, "The copy on the disk differs from the file: it is sent again.", Scope.ITEM
    ),
    "folder.unclassified": Advice(
        Kind.RETRYABLE, "The disk refused for a reason that is not known here: see the details."
    ),
    "folder.read_only": Advice(Kind.NEEDS_USER, "The disk is read-only: unlock it, or mount it writable."),
    "folder.no_permission": Advice(
        Kind.NEEDS_USER, "The agent may not write there: give its user the right to write to the folder."
    ),
    "folder.not_a_folder": Advice(Kind.NEEDS_USER, "The path is not a folder: correct it."),
    "folder.exists": Advice(Kind.PERMANENT, "Another file has this name.", Scope.ITEM),
    "folder.blocked": Advice(
        Kind.PERMANENT,
        "A file or a link stands where a folder is needed: move it away, or change the template.",
        Scope.ITEM,
    ),
    "folder.bad_key": Advice(
        Kind.PERMANENT, "This name cannot be used here: change the template.", Scope.ITEM
    ),
    "folder.too_large": Advice(
        Kind.PERMANENT,
        "The disk's format cannot hold a file of this size: format it as exFAT or ext4.",
        Scope.ITEM,
    ),
}

_CODES = {
    errno.ENOENT: "folder.missing",
    errno.ENOSPC: "folder.full",
    errno.EDQUOT: "folder.full",
    errno.EIO: "folder.io",
    errno.EUCLEAN: "folder.io",
    errno.ENODEV: "folder.unreachable",
    errno.ENXIO: "folder.unreachable",
    errno.ESTALE: "folder.unreachable",
    errno.ENOTCONN: "folder.unreachable",
    errno.ETIMEDOUT: "folder.unreachable",
    errno.EHOSTDOWN: "folder.unreachable",
    errno.EHOSTUNREACH: "folder.unreachable",
    errno.EROFS: "folder.read_only",
    errno.EACCES: "folder.no_permission",
    errno.EPERM: "folder.no_permission",
    errno.EEXIST: "folder.exists",
    errno.ENOTDIR: "folder.blocked",
    errno.EISDIR: "folder.blocked",
    errno.ELOOP: "folder.blocked",
    errno.ENAMETOOLONG: "folder.bad_key",
    errno.EINVAL: "folder.bad_key",  # exFAT and NTFS say so for names with ':' or '?'
    errno.EILSEQ: "folder.bad_key",  # names that are not UTF-8, where the disk wants UTF-8
    errno.EFBIG: "folder.too_large",
}


@contextmanager
def translated() -> Iterator[None]:
    """Let no OSError out."""
    try:
        yield
    except OSError as error:
        code = _CODES.get(error.errno or 0, "folder.unclassified")
        raise fault(
            FAULTS, code, f"{error.strerror}: {error.filename}" if error.filename else str(error)
        ) from error
