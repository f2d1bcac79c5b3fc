"""The ids of blocks, and what they tell of a file that is half there.

An id is ``hs-<delivery>-<round>-<number>-<crc32c>``: 16 hex digits of a hash of the delivery's tag, so that a retry
meets only its own leftovers; how often the delivery was aborted; the block's place; and the CRC32C of its content,
which the service was given together with an MD5 that it checked. All ids of a blob must be of one length.

A block with the place ``fffff`` is a mark of a byte or so: the round that it names is aborted. It is for leftovers
that cannot be removed, and keeps the next `start` from going on with them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

import msgspec

from agent.backends.azure.store import Block

_ID = re.compile(r"hs-([0-9a-f]{16})-([0-9a-f]{2})-([0-9a-f]{5})-([0-9a-f]{8})")
_ABORTED = 0xFFFFF
_LAST_ROUND = 0xFF
_MOST_BLOCKS = 50_000
_MEBIBYTE = 1 << 20


class Staged(msgspec.Struct, frozen=True):
    """A block of ours, at its place."""

    id: str
    size: int
    crc32c: int


class Round(msgspec.Struct, frozen=True):
    """The blocks of one delivery since it was last aborted."""

    tag: str
    number: int

    def id_of(self, place: int, crc32c: int) -> str:
        return f"hs-{mark_of(self.tag)}-{self.number:02x}-{place:05x}-{crc32c:08x}"

    def abort_id(self) -> str:
        return self.id_of(_ABORTED, 0)


def mark_of(tag: str) -> str:
    return hashlib.sha256(tag.encode()).hexdigest()[:16]


def block_bytes_for(size: int, wanted: int) -> int:
    """Return the block size for a file: as wanted, or the whole MiB that let 50,000 blocks suffice."""
    least = -(-size // _MOST_BLOCKS)
    return max(wanted, -(-least // _MEBIBYTE) * _MEBIBYTE)


def is_of(tag: str, block: Block) -> bool:
    found = _ID.fullmatch(block.id)
    return found is not None and found[1] == mark_of(tag)


def round_of(tag: str, uncommitted: Iterable[Block]) -> Round:
    """Return the round that `tag` is in. After the last possible one it stays there, and no resume is lost by it."""
    aborted = [
        int(found[2], 16)
        for block in uncommitted
        if (found := _ID.fullmatch(block.id)) and found[1] == mark_of(tag) and int(found[3], 16) == _ABORTED
    ]
    return Round(tag=tag, number=min(max(aborted, default=-1) + 1, _LAST_ROUND))


def stored(round: Round, uncommitted: Iterable[Block], size: int, block_bytes: int) -> list[Staged]:
    """Return the blocks that are there without a gap, each of the size that its place demands.

    Where one place has two blocks (of a file that was read differently the second time) none is trusted.
    """
    by_place: dict[int, list[Staged]] = {}
    for block in uncommitted:
        found = _ID.fullmatch(block.id)
        if found and (found[1], int(found[2], 16)) == (mark_of(round.tag), round.number):
            by_place.setdefault(int(found[3], 16), []).append(_staged(block, found[4]))
    run: list[Staged] = []
    while len(there := by_place.get(len(run), [])) == 1:
        if there[0].size != min(block_bytes, size - len(run) * block_bytes):
            break
        run += there
    return run


def published(committed: Sequence[Block]) -> list[Staged] | None:
    """Return the blocks of a blob that a hotshoe has written, None if it was not."""
    found = [_ID.fullmatch(block.id) for block in committed]
    if not all(found) or any(each and int(each[3], 16) != place for place, each in enumerate(found)):
        return None
    return [_staged(block, each[4]) for block, each in zip(committed, found, strict=True) if each]


def _staged(block: Block, crc32c: str) -> Staged:
    return Staged(id=block.id, size=block.size, crc32c=int(crc32c, 16))
