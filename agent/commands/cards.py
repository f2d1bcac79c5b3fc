"""Look at a connected camera's cards and read one file: for whoever holds the body, an agent or a command.

Nothing is kept: no ledger, no spool. A file is read from its beginning; at its end it must still be the same file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from agent.camera import Body, Identity, Object, Storage
from agent.faults import Advice, Kind, Scope, fault

FAULTS = {
    "card.no_such_file": Advice(
        Kind.PERMANENT,
        "There is no file of that name on the camera's cards: hotshoe ls lists them.",
        Scope.ITEM,
    ),
    "card.several_files": Advice(
        Kind.PERMANENT, "Several files have that name: say which one, with what stands before it.", Scope.ITEM
    ),
    "card.no_thumbnail": Advice(Kind.PERMANENT, "The camera has no thumbnail of this file.", Scope.ITEM),
    "card.file_changed": Advice(
        Kind.RETRYABLE, "The file changed on the card while it was read: try again.", Scope.ITEM
    ),
}
CHUNK_BYTES = 1 << 20
MOST_CANDIDATES = 20

Sink = Callable[[memoryview], Awaitable[None]]


class Cards(msgspec.Struct, frozen=True):
    """A camera and what is in its slots."""

    identity: Identity
    storages: tuple[Storage, ...]
    battery_percent: int | None


async def describe(body: Body) -> Cards:
    storages = await body.storages()
    return Cards(body.identity, tuple(storages), body.status.battery_percent)


def path_of(item: Object, *, with_storage: bool) -> str:
    """Return how a person names the file: "100CANON/IMG_0001.JPG", with the card before it where that is needed."""
    path = f"{item.folder}/{item.name}" if item.folder else item.name
    return f"{item.storage:08x}/{path}" if with_storage else path


async def find(body: Body, wanted: str) -> Object:
    """Return the one file that `wanted` names: a name, or with its folder, or with its card before that too.

    Upper and lower case count only if they must. Raises Fault ``card.no_such_file``, ``card.several_files`` (the detail
    lists them).
    """
    parts = wanted.strip("/").split("/")
    found: list[Object] = []
    async for folder in body.scan():
        for item in folder.objects:
            path = path_of(item, with_storage=True).split("/")
            if [each.casefold() for each in path[-len(parts) :]] == [each.casefold() for each in parts]:
                found.append(item)
    found = list({(item.storage, item.handle): item for item in found}.values())
    exact = [item for item in found if path_of(item, with_storage=True).split("/")[-len(parts) :] == parts]
    match exact or found:
        case []:
            raise fault(FAULTS, "card.no_such_file", wanted)
        case [item]:
            return item
        case several:
            raise fault(FAULTS, "card.several_files", _listed(several))


def _listed(candidates: list[Object]) -> str:
    with_storage = len({item.storage for item in candidates}) > 1
    lines = [
        f"{path_of(item, with_storage=with_storage)} ({item.size} bytes, {item.captured})"
        for item in candidates[:MOST_CANDIDATES]
    ]
    if len(candidates) > MOST_CANDIDATES:
        lines.append(f"and {len(candidates) - MOST_CANDIDATES} more")
    return "; ".join(lines)


async def read(body: Body, item: Object, sink: Sink) -> int:
    """Give the whole content to `sink`, which must be done with each piece when it returns; return how many bytes.

    Raises Fault; what `sink` got is then to be thrown away.
    """
    if item.size is None or not body.can_resume(item):
        return await body.stream_whole(item, sink)
    buffer = memoryview(bytearray(min(CHUNK_BYTES, max(1, item.size))))
    offset = 0
    while offset < item.size:
        received = await body.read(item, offset, buffer[: min(len(buffer), item.size - offset)])
        await sink(buffer[:received])
        offset += received
    fresh = await body.lookup(item)
    if fresh is None or fresh.size != item.size:
        raise fault(FAULTS, "card.file_changed", path_of(item, with_storage=False))
    return offset


async def thumbnail(body: Body, item: Object) -> bytes:
    """Return a small JPEG of the file. Raises Fault ``card.no_thumbnail``."""
    found = await body.thumbnail(item)
    if found is None:
        raise fault(FAULTS, "card.no_thumbnail", path_of(item, with_storage=False))
    return found
