"""A simulated camera and a body connected to it, for tests of brands."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from agent.camera import Body, Folder, Object, Timing, connect
from tests.camera.responder import QUICK
from tests.simcam import fill
from tests.simcam.card import Card, Item
from tests.simcam.simcam import SimCamera

GUID = bytes.fromhex("00112233445566778899aabbccddeeff")

STEADY: Timing = msgspec.structs.replace(
    QUICK, connect=5.0, pairing=5.0, greeting=5.0, event_channel=5.0, silence=5.0
)
"""Quick where a camera is asked again, patient where only the machine may be slow."""


async def connected(
    cam: SimCamera, *, memory: dict[str, str] | None = None, timing: Timing = STEADY, pairing: bool = False
) -> Body:
    return await connect(
        cam.host,
        cam.port,
        guid=GUID,
        name="hotshoe",
        pairing=pairing,
        memory={} if memory is None else memory,
        timing=timing,
    )


@contextlib.asynccontextmanager
async def linked(
    cam: SimCamera, *, memory: dict[str, str] | None = None, timing: Timing = STEADY
) -> AsyncIterator[Body]:
    body = await connected(cam, memory=memory, timing=timing)
    try:
        yield body
    finally:
        await body.close()


async def scan(body: Body) -> list[Folder]:
    return [folder async for folder in body.scan()]


async def objects(body: Body) -> list[Object]:
    """Every object of a full scan, by (storage, folder, name); parts that come again as a whole count once."""
    found = {
        (item.storage, item.folder, item.name): item for folder in await scan(body) for item in folder.objects
    }
    return [found[key] for key in sorted(found)]


async def the_object(body: Body, name: str) -> Object:
    return next(item for item in await objects(body) if item.name == name)


def facts(item: Object) -> tuple[int, str, str, int | None, str, int]:
    return item.storage, item.folder, item.name, item.size, item.captured, item.format


def truth(item: Item) -> tuple[int, str, str, int | None, str, int]:
    """What `facts` must be of a file on the simulated card."""
    folder, name = item.path.split("/")[1:]
    return item.storage, folder, name, item.listed_size, item.captured_at.isoformat(), item.format


def asked(cam: SimCamera, operation: int) -> int:
    """How often the camera was asked for an operation."""
    return cam.stats.operations[f"{operation:#06x}"]


def cards(folders: int, per_folder: int) -> Callable[[Card], None]:
    """A card with so many folders of so many shots, each a JPEG and a CR2."""

    def put(card: Card) -> None:
        batch = fill.Batch(folders * per_folder, (("JPG", 300_000), ("CR2", 900_000)))
        fill.by_formula(card, [batch], per_folder=per_folder)

    return put
