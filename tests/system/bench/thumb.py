"""thumb: how long a person waits for a thumbnail while a movie is being read, at 50 Mbit/s.

The agent's own camera link, in this process: one task reads a movie of 4 GB chunk after chunk, as a fetch does, and at
seeded random moments a thumbnail is asked for. It should wait for the chunk under way and for nothing else.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from agent import camera as link
from tests.system.bench.figures import aim, begin, percentile, percentiles, say, table
from tests.system.bench.options import Options
from tests.system.bench.processes import Camera

MBIT = 50.0
CHUNK_BYTES = 1 << 20
GUID = bytes(range(16))


class Waits(NamedTuple):
    alone: list[float]  # a thumbnail while nothing else is asked for, seconds
    chunks: list[float]  # one chunk, as the reader saw it while nobody interrupted
    thumbs: list[float]


def run(options: Options) -> None:
    count = 15 if options.quick else 60
    begin("thumb", f"{count} thumbnails at random moments of the reading of a movie, {MBIT:g} Mbit/s")
    rows = []
    found: dict[str, Waits] = {}
    for body in ("eos-r7", "generic"):
        with Camera(options.folder, body, "1:4000M:MP4,20:3M:JPG", mbit=MBIT) as camera:
            found[body] = waits = asyncio.run(_measure(camera, options, body, count))
        for what, values in (
            ("a thumbnail, nothing else going on", waits.alone),
            ("one chunk of 1 MiB", waits.chunks),
            ("a thumbnail while chunks are read", waits.thumbs),
        ):
            rows.append([f"{body}: {what}", str(len(values)), *percentiles(values, 3)])
    say("seconds:")
    table(["wait", "n", "p50", "p95", "max"], rows)
    for body, waits in found.items():
        bound = max(waits.chunks) + max(waits.alone)
        waited = percentile(waits.thumbs, 95)
        aim(
            f"{body}: p95 of the wait is one chunk and the thumbnail itself at most",
            f"{waited:.3f} s of {bound:.3f} s",
            waited <= bound,
        )


async def _measure(camera: Camera, options: Options, body: str, count: int) -> Waits:
    dice = options.random(f"thumb {body}")
    linked = await link.connect(camera.host, camera.port, guid=GUID, name="bench", pairing=True, memory={})
    try:
        found = {item.name: item async for folder in linked.scan() for item in folder.objects}
        [movie] = [item for item in found.values() if item.name.endswith(".MP4")]
        pictures = [item for item in found.values() if item.name.endswith(".JPG")]
        waits = Waits([], [], [])
        for picture in pictures[:10]:
            waits.alone.append(await _thumbnail(linked, picture))
        turns = 0  # a thumbnail was asked for, or came

        async def read() -> None:
            buffer = memoryview(bytearray(CHUNK_BYTES))
            offset = 0
            while True:
                before, began = turns, time.monotonic()
                offset += await linked.read(movie, offset, buffer)
                if turns == before:
                    waits.chunks.append(time.monotonic() - began)

        reading = asyncio.create_task(read())
        for _ in range(count):
            await asyncio.sleep(dice.uniform(0.05, 0.6))  # the moment somebody looks, not a wait for anything
            turns += 1
            waits.thumbs.append(await _thumbnail(linked, dice.choice(pictures)))
            turns += 1
            if reading.done():
                reading.result()
        reading.cancel()
        await asyncio.wait([reading])
        return waits
    finally:
        await linked.close()


async def _thumbnail(linked: link.Body, picture: link.Object) -> float:
    began = time.monotonic()
    content = await linked.thumbnail(picture)
    assert content is not None and content.startswith(b"\xff\xd8")
    return time.monotonic() - began
