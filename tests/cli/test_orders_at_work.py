"""Orders to an agent that is in the middle of its work with a camera: what becomes of bytes, not of rows alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.cli.agent import Agent
from tests.cli.conftest import Hotshoe, running, until, write_config
from tests.simcam import SimCamera


@pytest.fixture
async def slow() -> AsyncIterator[SimCamera]:
    """Two movies of 400 MB at 80 Mbit/s, so that orders meet the first on its way; and a photo."""
    async with SimCamera("generic", card="2:400M:MP4,1:300k", mbit=80) as camera:
        yield camera


def by_hand(folder: Path, port: int) -> Path:
    config = write_config(folder, port)
    config.write_text(config.read_text() + "auto = false\n")
    return config


async def rows(agent: Agent) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in await agent.ledger.views.files()}


def photos(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_send_fetches_and_delivers_what_no_route_sends_by_itself(
    tmp_path: Path, hotshoe: Hotshoe
) -> None:
    async with (
        SimCamera("generic", card="3:300k") as camera,
        running(by_hand(tmp_path, camera.port)) as agent,
    ):

        async def is_known() -> bool:
            return len(await rows(agent)) == 3 and agent.is_at_rest

        await until(agent, is_known)
        assert camera.stats.object_bytes == 0
        ids = {name: row["id"] for name, row in (await rows(agent)).items()}
        assert (await hotshoe("send", ids["IMG_0001.JPG"])).code == 0
        assert (await hotshoe("send", ids["IMG_0002.JPG"], "--to", "drawer")).code == 0

        async def is_delivered() -> bool:
            found = await rows(agent)
            return all(
                [each["state"] for each in found[name]["deliveries"]] == ["done"]
                for name in ("IMG_0001.JPG", "IMG_0002.JPG")
            )

        await until(agent, is_delivered)
        contents = {Path(path).name: sha256 for path, sha256 in camera.contents().items()}
        assert photos(tmp_path / "photos") == {"IMG_0001.JPG": contents["IMG_0001.JPG"]}
        assert photos(tmp_path / "drawer") == {"IMG_0002.JPG": contents["IMG_0002.JPG"]}

        # What is in the spool already goes on from there; the camera is not asked again.
        read = camera.stats.object_bytes
        assert (await hotshoe("send", ids["IMG_0001.JPG"], "--to", "drawer")).code == 0

        async def is_in_drawer() -> bool:
            return all(each["state"] == "done" for each in (await rows(agent))["IMG_0001.JPG"]["deliveries"])

        await until(agent, is_in_drawer)
        assert photos(tmp_path / "drawer")["IMG_0001.JPG"] == contents["IMG_0001.JPG"]
        assert camera.stats.object_bytes == read


async def test_what_was_promised_before_a_restart_is_kept_after_it(tmp_path: Path, hotshoe: Hotshoe) -> None:
    async with SimCamera("generic", card="2:300k") as camera:
        config = by_hand(tmp_path, camera.port)
        async with running(config) as agent:

            async def is_known() -> bool:
                return len(await rows(agent)) == 2 and agent.is_at_rest

            await until(agent, is_known)
            await hotshoe("pause", "main")
            assert (await hotshoe("send", 1, "--to", "drawer")).code == 0
        async with running(config) as agent:
            await hotshoe("resume", "main")

            async def is_delivered() -> bool:
                return len(photos(tmp_path / "drawer")) == 1 and agent.is_at_rest

            await until(agent, is_delivered)
        assert photos(tmp_path / "photos") == {}


async def test_skip_ends_a_fetch_and_gives_its_space_back(
    tmp_path: Path, hotshoe: Hotshoe, slow: SimCamera
) -> None:
    async with running(write_config(tmp_path, slow.port)) as agent:

        async def is_moving() -> bool:
            return any(each.name.endswith("MP4") and each.done_bytes for each in agent.progress.transfers)

        await until(agent, is_moving)
        movies = {name: row["id"] for name, row in (await rows(agent)).items() if name.endswith("MP4")}
        said = await hotshoe("skip", *movies.values(), "--reason", "too long")
        assert said.code == 0 and said.out == "2 files given up.\n"

        async def is_quiet() -> bool:
            is_swept = list(photos(tmp_path / "photos")) == ["IMG_0003.JPG"]
            return agent.is_at_rest and is_swept and agent.spool.used_bytes < 1_000_000

        await until(agent, is_quiet, seconds=15)  # reading on to the end would take longer
        found = await rows(agent)
        assert {found[name]["state"] for name in movies} == {"skipped"}
        assert [name for name in os.listdir(tmp_path / "state" / "spool") if "part" in name] == []
        assert agent.collectors["main"].body is not None, "the camera stays connected"

        # And it can be taken back.
        assert (await hotshoe("retry", *movies.values())).code == 0
        await until(agent, is_moving)


async def test_a_photo_that_overtakes_a_movie_is_not_lost_when_the_movie_is_skipped(
    tmp_path: Path, hotshoe: Hotshoe
) -> None:
    async with (
        SimCamera("generic", card="1:400M:MP4", mbit=80) as camera,
        running(write_config(tmp_path, camera.port)) as agent,
    ):

        async def is_overtaken() -> bool:
            names = {each.name for each in agent.progress.transfers if each.stage == "camera"}
            return len(names) == 2

        async def is_moving() -> bool:
            return bool(agent.progress.transfers)

        await until(agent, is_moving)
        [shot] = camera.shoot("JPG:8M")
        agent.look_again()
        await until(agent, is_overtaken)
        movie = next(row["id"] for name, row in (await rows(agent)).items() if name.endswith("MP4"))
        assert (await hotshoe("skip", movie, "--reason", "no")).code == 0

        async def is_delivered() -> bool:
            return agent.is_at_rest and len(photos(tmp_path / "photos")) == 1

        await until(agent, is_delivered)
        contents = {Path(path).name: sha256 for path, sha256 in camera.contents().items()}
        assert photos(tmp_path / "photos") == {shot.names[0]: contents[shot.names[0]]}


async def test_a_paused_destination_gets_nothing_until_it_is_resumed(
    tmp_path: Path, hotshoe: Hotshoe
) -> None:
    async with SimCamera("generic", card="2:300k") as camera:
        config = write_config(tmp_path)  # without the camera at first
        async with running(config) as agent:

            async def has_targets() -> bool:
                return len(agent.uploader.targets) == 2

            await until(agent, has_targets)
            await hotshoe("pause", "archive")
            write_config(tmp_path, camera.port)
            assert (await hotshoe("reload")).out == "Taken over.\n"

            async def is_fetched() -> bool:
                found = await rows(agent)
                return len(found) == 2 and all(row["state"] == "fetched" for row in found.values())

            await until(agent, is_fetched)
            assert photos(tmp_path / "photos") == {}
            [told] = (await hotshoe("status", "--json")).json
            assert told["backlog"]["owed"] == told["backlog"]["waiting"] == 2
            await hotshoe("resume", "archive")

            async def is_delivered() -> bool:
                return len(photos(tmp_path / "photos")) == 2

            await until(agent, is_delivered)


async def test_another_speed_limit_disturbs_no_upload(tmp_path: Path, hotshoe: Hotshoe) -> None:
    def limited(line: str) -> str:
        return config.read_text().replace('path = "photos"\n', f'path = "photos"\nlimit = "{line}"\n')

    async with SimCamera("generic", card="1:3M") as camera:
        config = write_config(tmp_path, camera.port)
        plain = config.read_text()
        config.write_text(limited("10k"))
        async with running(config) as agent:

            async def is_under_way() -> bool:
                return any(each.stage == "archive" for each in agent.progress.transfers)

            await until(agent, is_under_way)
            target, backend = agent.uploader.targets["archive"], agent.uploader.targets["archive"].backend
            [task] = target.tasks
            config.write_text(plain)
            assert (await hotshoe("reload")).out == "Taken over.\n"
            assert agent.uploader.targets["archive"] is target and target.backend is backend
            await until(agent, lambda: _is_done(agent))
            assert not task.cancelled() and len(photos(tmp_path / "photos")) == 1
            assert [each["tries"] for each in (await rows(agent))["IMG_0001.JPG"]["deliveries"]] == [1]


async def _is_done(agent: Agent) -> bool:
    return all(each["state"] == "done" for row in (await rows(agent)).values() for each in row["deliveries"])
