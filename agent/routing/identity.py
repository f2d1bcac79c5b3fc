"""What a file is, and which file it is: from the camera's listing alone."""

from __future__ import annotations

import hashlib

from agent import keys
from agent.keys import Media

_BY_EXTENSION: dict[str, Media] = {
    **dict.fromkeys(("jpg", "jpeg", "jpe"), Media.JPEG),
    **dict.fromkeys(("cr2", "cr3", "crw", "nef", "nrw", "arw", "sr2", "raf", "rw2", "rwl", "orf"), Media.RAW),
    **dict.fromkeys(("pef", "dng", "srw", "3fr", "fff", "iiq", "x3f", "gpr"), Media.RAW),
    **dict.fromkeys(("hif", "heif", "heic"), Media.HEIF),
    **dict.fromkeys(("mov", "mp4", "m4v", "avi", "mpg", "mts", "m2ts", "mxf", "crm", "rmf"), Media.VIDEO),
    **dict.fromkeys(("wav", "mp3", "aac"), Media.AUDIO),
    **dict.fromkeys(
        ("thm", "mrk", "ctg", "xmp"), Media.OTHER
    ),  # a thumbnail file is no photo, whatever its code
}
# The codes that real listings show, by the standard and by Canon. Where Sony and Fuji use the same numbers for
# something else, they mean RAW there too.
_BY_CODE: dict[int, Media] = {
    **dict.fromkeys((0x3801, 0x3808), Media.JPEG),
    **dict.fromkeys((0xB101, 0xB103, 0xB108), Media.RAW),
    0xB10B: Media.HEIF,
    **dict.fromkeys((0x300A, 0x300B, 0x300D, 0xB104, 0xB105, 0xB982), Media.VIDEO),
    0x3008: Media.AUDIO,
}


def kind_of(name: str, object_format: int) -> Media:
    """Say what a file is: by its extension first, by the camera's format code second.

    Makers reuse each other's codes and report movies as "undefined"; extensions they keep.
    """
    extension = keys.split(name)[1].removeprefix(".").lower()
    return _BY_EXTENSION.get(extension) or _BY_CODE.get(object_format, Media.OTHER)


def identity_of(serial: str, storage: int, folder: str, name: str, size: int, captured: str) -> str:
    """Return who a file is: SHA-256 in hex over the six facts, as the camera wrote them.

    Each fact goes in with its length before it, so that no two lists of facts give the same bytes. The digest
    outlives ledgers (suffixes are made of it): the encoding must never change.
    """
    digest = hashlib.sha256(b"hotshoe file 1")
    for fact in (serial, str(storage), folder, name, str(size), captured):
        data = fact.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
