"""The spool's budget, step by step, with the real agent, real folders and a simulated camera.

The rule: room for the whole file is reserved first; what can never fit needs a person, alone. Delivered files go
first, least recently looked at. Then, if everything that is owed waits on destinations that are away, the oldest
file that is verified somewhere and still on its card. If there is none, fetching waits and says why.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agent.cli.hints import hint_of
from tests.backends.disks import small_disk
from tests.simcam.simcam import SimCamera
from tests.system.living import (
    Living,
    Tables,
    configuration,
    held,
    hotshoe,
    impatient,
    living,
    on_card,
    published,
)

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("impatient")]
__all__ = ["impatient"]

MB = 1 << 20
SMALL = 10_000  # a look at a thumbnail or two


def spool_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def states(files: dict[str, dict[str, Any]]) -> Counter[str]:
    return Counter(row["state"] for row in files.values())


# -- larger than the whole budget ------------------------------------------------------------------------


async def test_a_file_larger_than_the_budget_needs_a_person_alone(tmp_path: Path) -> None:
    photos = {"archive": {"kind": "folder", "path": "photos"}}
    with SimCamera("eos-r7", "3:300K:JPG,1:4M:MP4,2:1M:MP4") as camera:
        config = configuration(tmp_path, {"main": camera}, photos, more={"spool": {"budget": "3 MB"}})
        async with living(config) as here:

            async def others_are_there() -> bool:
                held_back = (await here.files()).get("MVI_0004.MP4", {})
                return (
                    held(tmp_path / "photos") == on_card(camera, but=frozenset({"MVI_0004.MP4"}))
                    and held_back.get("fault_code") == "spool.larger_than_budget"
                )

            await here.until(others_are_there, "all others delivered, and the large one named")
            assert camera.stats.reads["DCIM/100CANON/MVI_0004.MP4"] == 0
            assert "spool.larger_than_budget" in here.codes(name="MVI_0004.MP4")
            said = await here.hotshoe("files", "--state", "failed")
            assert said.has("needs you main/100CANON/MVI_0004.MP4") and said.has("[spool.larger_than_budget]")
            assert said.has(hint_of("spool.larger_than_budget")) and not said.has("MVI_0005.MP4")
            assert (await here.hotshoe("status")).has("▲ 1: see hotshoe files --state failed")

            configuration(tmp_path, {"main": camera}, photos, more={"spool": {"budget": "5 MB"}})
            assert (await here.hotshoe("reload")).text == "Taken over."
            await here.delivered()
            assert held(tmp_path / "photos") == on_card(camera)
            assert camera.stats.handshakes == 1
            named = [entry for entry in here.told if entry["event"] == "needs you"]
            assert len(named) == 1, "said once, however often the card was read since"


async def test_once_says_what_is_larger_than_the_budget(tmp_path: Path) -> None:
    photos = {"archive": {"kind": "folder", "path": "photos"}}
    with SimCamera("eos-r7", "1:300K:JPG,1:4M:MP4") as camera:
        config = configuration(tmp_path, {"main": camera}, photos, more={"spool": {"budget": "3 MB"}})
        said = await hotshoe("run", "--once", "--patience", "1", "--config", config)
        assert said.code == 1
        why = said.text.partition("not delivered:")[2]
        assert "100CANON/MVI_0002.MP4: waits for person [spool.larger_than_budget]" in why
        assert hint_of("spool.larger_than_budget") in why and "IMG_0001" not in why
        assert held(tmp_path / "photos") == on_card(camera, but=frozenset({"MVI_0002.MP4"}))


# -- the only destination is away ------------------------------------------------------------------------


async def test_the_budget_fills_while_the_only_destination_is_away(tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    only = {"drive": {"kind": "folder", "path": "drive", "create": False}}
    with SimCamera("eos-r7", "7:1M:JPG") as camera:
        config = configuration(tmp_path, {"main": camera}, only, more={"spool": {"budget": "3500 KB"}})
        async with living(config) as here:

            async def is_full() -> bool:
                files = await here.files()
                waiting = [row["fault_code"] for row in files.values() if row["waiting_for"] == "spool"]
                return waiting == ["spool.no_room"] and states(files) == {"fetched": 3, "discovered": 4}

            await here.until(is_full, "a file waits for the spool")
            assert spool_bytes(tmp_path / "state" / "spool") == 3 * MB
            assert camera.stats.object_bytes < 3 * MB + SMALL and not drive.exists()
            assert "spool.no_room" in here.codes() and "folder.missing" in here.codes(destination="drive")
            assert (await here.hotshoe("files")).has("waits for spool [spool.no_room]")
            said = await here.hotshoe("status")
            assert said.has("drive waiting") and said.has(f"{hint_of('folder.missing')} [folder.missing]")
            assert not any(entry["event"] == "evicted" for entry in here.told)

            drive.mkdir()
            await here.delivered()
            assert held(drive) == on_card(camera)
            assert camera.stats.object_bytes < 7 * MB + SMALL, "nothing was fetched twice"
            assert spool_bytes(tmp_path / "state" / "spool") <= 3_500_000


async def test_small_and_new_goes_on_where_a_movie_waits_for_room(tmp_path: Path) -> None:
    """What waits for room must not hold up what fits."""
    only = {"drive": {"kind": "folder", "path": "drive", "create": False}}
    with SimCamera("eos-r7", "1:1M:CR3,1:3M:MP4") as camera:
        config = configuration(tmp_path, {"main": camera}, only, more={"spool": {"budget": "3500 KB"}})
        async with living(config) as here:

            async def movie_waits() -> bool:
                return (await here.files()).get("MVI_0002.MP4", {}).get("fault_code") == "spool.no_room"

            await here.until(movie_waits, "the movie waits for room")
            camera.shoot("JPG:500K")

            async def photo_is_there() -> bool:
                return (await here.files()).get("IMG_0003.JPG", {}).get("state") == "fetched"

            await here.until(photo_is_there, "the photo is fetched")
            assert await movie_waits()
            (tmp_path / "drive").mkdir()
            await here.delivered()
            assert held(tmp_path / "drive") == on_card(camera)


# -- one of two is away ----------------------------------------------------------------------------------


class Shoot:
    """Files of one megabyte, one after the other, each on its way as far as it gets before the next."""

    def __init__(self, here: Living, camera: SimCamera):
        self._here = here
        self._camera = camera

    async def one(self) -> str:
        [name] = self._camera.shoot("JPG:1M")[0].names

        async def is_near() -> bool:
            row = (await self._here.files()).get(name)
            near = (
                [each["state"] for each in row["deliveries"] if each["destination"] == "near"] if row else []
            )
            far, _ = await self._here.subject("destination", "far")
            return near == ["done"] and (far == "waiting" or await self._here.is_everything_delivered())

        await self._here.until(is_near, f"{name} is near")
        return name


async def test_one_of_two_is_away_who_goes_first(tmp_path: Path) -> None:
    both: Tables = {
        "near": {"kind": "folder", "path": "near"},
        "far": {"kind": "folder", "path": "far", "create": False},
    }
    (tmp_path / "far").mkdir()
    with SimCamera("eos-r7") as camera:
        config = configuration(tmp_path, {"main": camera}, both, more={"spool": {"budget": "4500 KB"}})
        async with living(config) as here:
            shoot = Shoot(here, camera)
            a, b, c = [await shoot.one() for _ in range(3)]
            (tmp_path / "far").rename(tmp_path / "unplugged")
            await look_at(here, b, c, a)

            d, e = [await shoot.one() for _ in range(2)]  # the fifth needs room: what is delivered everywhere
            assert await evicted(here) == [(b, "delivered")]
            f, g = [await shoot.one() for _ in range(2)]
            assert (await evicted(here))[1:] == [(c, "delivered"), (a, "delivered")]

            # From here on everything is owed to the one that is away. The oldest is no longer on its card.
            lost = camera.contents()[f"DCIM/100CANON/{d}"]
            camera.trouble.delete(d)
            h, i = [await shoot.one() for _ in range(2)]
            why = "verified elsewhere, and still on its card"
            assert (await evicted(here))[3:] == [(e, why), (f, why)]
            files = await here.files()
            assert {name for name, row in files.items() if row["state"] == "fetched"} == {d, g, h, i}
            assert [
                (each["state"], each["waiting_for"])
                for each in files[e]["deliveries"]
                if each["destination"] == "far"
            ] == [("queued", "camera")]
            assert (await here.hotshoe("files")).has("far waits for camera")
            before = camera.stats.reads.copy()

            (tmp_path / "unplugged").rename(tmp_path / "far")
            await here.delivered()
            everything = on_card(camera) + Counter([lost])
            assert held(tmp_path / "near") == held(tmp_path / "far") == everything
            assert {Path(path).name for path in camera.stats.reads - before} == {e, f}


async def look_at(here: Living, *names: str) -> None:
    """A reader looks at the spooled file, as a panel does for a preview."""
    files = await here.files()
    for name in names:
        with here.agent.spool.follow(files[name]["id"], files[name]["size_bytes"]) as reader:
            await reader.read_into(0, memoryview(bytearray(1)))


async def evicted(here: Living) -> list[tuple[str, str]]:
    names = {row["id"]: name for name, row in (await here.files()).items()}
    return [(names[entry["file"]], entry["why"]) for entry in here.told if entry["event"] == "evicted"]


async def test_what_was_sacrificed_arrives_when_nothing_else_is_owed(tmp_path: Path) -> None:
    """No file in the spool is left that would find out that the destination is back."""
    both: Tables = {
        "near": {"kind": "folder", "path": "near"},
        "far": {"kind": "folder", "path": "far", "create": False},
    }
    with SimCamera("eos-r7") as camera:
        config = configuration(tmp_path, {"main": camera}, both, more={"spool": {"budget": "1500 KB"}})
        async with living(config) as here:
            shoot = Shoot(here, camera)
            first, second = [await shoot.one() for _ in range(2)]
            assert [name for name, _ in await evicted(here)] == [first]
            said = await here.hotshoe("skip", (await here.files())[second]["id"], "--reason", "blurred")
            assert said.code == 0
            (tmp_path / "far").mkdir()
            await here.delivered()
            assert held(tmp_path / "far") == on_card(camera, but=frozenset({second}))
            assert held(tmp_path / "near") == on_card(camera)


async def test_movies_that_wait_for_the_night_stop_no_photo(tmp_path: Path) -> None:
    """They are given up for what goes now, and fetched again when their hours have come, not before."""
    far: dict[str, object] = {"kind": "folder", "path": "far"}
    near: Tables = {"near": {"kind": "folder", "path": "near"}}
    budget: Tables = {"spool": {"budget": "3500 KB"}}
    with SimCamera("eos-r7", "3:1M:MP4") as camera:
        by_day = {**near, "far": {**far, "limit": ["pause video"]}}
        config = configuration(tmp_path, {"main": camera}, by_day, more=budget)
        async with living(config) as here:

            async def movies_wait() -> bool:
                rows = [row for name, row in (await here.files()).items() if name.startswith("MVI")]
                waiting = [each["waiting_for"] for row in rows for each in row["deliveries"]]
                return len(rows) == 3 and sorted(map(str, waiting)) == ["None"] * 3 + ["schedule"] * 3

            async def photos_are_there() -> bool:
                return len(published(tmp_path / "far")) == 4 and len(published(tmp_path / "near")) == 7

            await here.until(movies_wait, "the movies are near, and wait for the night")
            camera.shoot("JPG:1M", count=4)
            await here.until(photos_are_there, "the photos are everywhere")
            assert await movies_wait()
            assert {name for name, _ in await evicted(here)} & {
                "MVI_0001.MP4",
                "MVI_0002.MP4",
                "MVI_0003.MP4",
            }
            assert camera.stats.object_bytes < 7 * MB + 7 * SMALL, "nothing was fetched twice"
            again = sum(name.startswith("MVI") for name, _ in await evicted(here))

            configuration(tmp_path, {"main": camera}, {**near, "far": far}, more=budget)
            assert (await here.hotshoe("reload")).text == "Taken over."
            await here.delivered()
            assert held(tmp_path / "far") == held(tmp_path / "near") == on_card(camera)
            assert camera.stats.object_bytes < (7 + again) * MB + 7 * SMALL, "and then once"


# -- the disk --------------------------------------------------------------------------------------------

DISK_MEBIBYTES = 80  # the spool leaves 64 MiB of its disk to others


@pytest.mark.parametrize("budget", ["1 GB", "80%"])
async def test_a_disk_that_others_have_filled_is_a_wait(budget: str, tmp_path: Path) -> None:
    photos = {"archive": {"kind": "folder", "path": "photos"}}
    with (
        small_disk(tmp_path / "disk", DISK_MEBIBYTES) as disk,
        SimCamera("eos-r7", "3:2M:JPG,1:10M:MP4") as camera,
    ):
        (disk / "others").write_bytes(bytes((DISK_MEBIBYTES - 1) << 20))
        more = {"spool": {"budget": budget, "path": disk / "spool"}}
        config = configuration(tmp_path, {"main": camera}, photos, more=more)
        async with living(config) as here:

            async def waits() -> bool:
                files = (await here.files()).values()
                return [row["fault_code"] for row in files if row["waiting_for"]] == ["spool.full"]

            await here.until(waits, "a file waits for the disk")
            assert "spool.full" in here.codes() and not held(tmp_path / "photos")
            assert (await here.hotshoe("files")).has("waits for spool [spool.full]")
            (disk / "others").unlink()
            await here.delivered()
            assert held(tmp_path / "photos") == on_card(camera)


async def test_a_disk_that_fills_in_the_middle_of_a_file_is_a_wait(tmp_path: Path) -> None:
    photos = {"archive": {"kind": "folder", "path": "photos"}}
    with (
        small_disk(tmp_path / "disk", DISK_MEBIBYTES) as disk,
        SimCamera("eos-r7", "1:12M:MP4", mbit=100) as camera,
    ):
        more = {"spool": {"budget": "1 GB", "path": disk / "spool"}}
        config = configuration(tmp_path, {"main": camera}, photos, more=more)
        async with living(config) as here:

            async def is_moving() -> bool:
                return camera.stats.object_bytes > 2 * MB

            await here.until(is_moving, "the first bytes")
            fill(disk / "others")

            async def waits() -> bool:
                return [row["fault_code"] for row in (await here.files()).values()] == ["spool.full"]

            await here.until(waits, "the file waits for the disk")
            assert "spool.full" in here.codes() and not held(tmp_path / "photos")
            before = spool_bytes(disk / "spool")
            (disk / "others").unlink()
            await here.delivered()
            assert held(tmp_path / "photos") == on_card(camera)
            assert before > 0 and camera.stats.object_bytes < 15 * MB, "it went on from there"
            assert camera.stats.handshakes == 1


def fill(path: Path) -> None:
    """Take all that the disk has."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError:
            assert os.statvfs(path).f_bavail == 0
