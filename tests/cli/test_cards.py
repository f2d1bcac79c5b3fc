"""`ls` and `get`, by a connection of their own and through an agent that holds the camera."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from agent.camera import Body, Handle, Object
from agent.cli.stop import Stop
from agent.cli.target import Target
from agent.commands import cards
from agent.faults import Fault
from tests.cli.conftest import Hotshoe, running, until, write_config
from tests.simcam import SimCamera

ROOT = Path(__file__).parents[2]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
async def cam() -> AsyncIterator[SimCamera]:
    async with SimCamera("generic", card="3:300k,2:2500k:CR3") as camera:
        yield camera


@pytest.fixture
async def eos() -> AsyncIterator[SimCamera]:
    """One with events and bulk listings; slower to connect to."""
    async with SimCamera("eos-r7", cards=["1:300k", "same"]) as camera:
        yield camera


def at(camera: SimCamera) -> str:
    return f"127.0.0.1:{camera.port}"


@pytest.fixture(params=["alone", "through the agent"])
async def held(request: pytest.FixtureRequest, cam: SimCamera, tmp_path: Path) -> AsyncIterator[SimCamera]:
    """The camera, free or in the hands of a running agent that has read its cards."""
    if request.param == "alone":
        write_config(tmp_path)
        yield cam
        return
    async with running(write_config(tmp_path, cam.port)) as agent:

        async def is_scanned() -> bool:
            return bool(agent.collectors) and agent.collectors["main"].has_scanned

        await until(agent, is_scanned)
        handshakes = cam.stats.handshakes
        yield cam
        assert cam.stats.handshakes == handshakes, "nobody may connect to a camera beside the agent"


# -- ls --------------------------------------------------------------------------------------------------


async def test_ls_lists_every_file(held: SimCamera, hotshoe: Hotshoe) -> None:
    said = await hotshoe("ls", at(held), "--json")
    assert said.code == 0, said.err
    listed = {f"DCIM/{file['folder']}/{file['filename']}": file["size_bytes"] for file in said.json}
    assert listed == {item.path: item.source.size for item in held.files() if item.source}
    assert said.json[0]["url"].startswith(f"ptpip://127.0.0.1:{held.port}/")
    assert {file["kind"] for file in said.json} == {"jpeg", "raw"}


async def test_ls_for_people(held: SimCamera, hotshoe: Hotshoe) -> None:
    said = await hotshoe("ls", at(held))
    assert said.code == 0 and " · firmware " in said.out.splitlines()[0]
    assert said.out.endswith("5 files, 6.0 MB\n")
    assert max(map(len, said.out.splitlines())) <= 80


async def test_an_empty_card(tmp_path: Path, hotshoe: Hotshoe) -> None:
    async with SimCamera("generic") as camera:
        said = await hotshoe("ls", at(camera))
        assert said.code == 0 and said.out.endswith("\nNo files on the cards.\n")
        assert (await hotshoe("ls", at(camera), "--json")).out == ""


async def test_names_from_the_card_cannot_command_the_terminal(cam: SimCamera, hotshoe: Hotshoe) -> None:
    cam.trouble.hostile_name("\x1b]0;x\x07.JPG")
    said = await hotshoe("ls", at(cam))
    assert "\\x1b]0;x\\x07.JPG" in said.out and "\x1b" not in said.out


async def test_failures_are_a_sentence_with_a_code(cam: SimCamera, hotshoe: Hotshoe) -> None:
    cam.trouble.refuse_pairing()
    said = await hotshoe("ls", at(cam))
    assert said.code == 1 and said.out == ""
    assert (
        said.err.startswith("hotshoe: The camera does not accept this computer")
        and "[camera.not_paired]" in said.err
    )
    assert (await hotshoe("ls", "127.0.0.1:1")).err.count("[camera.port_closed]") == 1
    assert (await hotshoe("ls", "a/b")).code == 2


async def test_a_camera_at_an_ipv6_address(cam: SimCamera, hotshoe: Hotshoe) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        further_reader, further_writer = await asyncio.open_connection("127.0.0.1", cam.port)
        await asyncio.gather(pump(reader, further_writer), pump(further_reader, writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
        writer.close()

    server = await asyncio.start_server(relay, "::1", 0)
    port = server.sockets[0].getsockname()[1]
    said = await hotshoe("ls", f"[::1]:{port}", "--json")
    server.close()
    assert said.code == 0 and len(said.json) == 5
    assert said.json[0]["url"].startswith(f"ptpip://[::1]:{port}/")


async def test_the_same_guid_is_used_every_time(cam: SimCamera, hotshoe: Hotshoe) -> None:
    """The simulator pairs the first GUID that comes, and no other."""
    for _ in range(2):
        assert (await hotshoe("ls", at(cam))).code == 0
    assert cam.stats.handshakes == 2


# -- get -------------------------------------------------------------------------------------------------


async def test_get_fetches_the_very_bytes(held: SimCamera, hotshoe: Hotshoe, tmp_path: Path) -> None:
    for path, sha256 in held.contents().items():
        name = Path(path).name
        said = await hotshoe("get", at(held), name, "-o", tmp_path / name, "--json")
        assert said.code == 0, said.err
        assert digest(tmp_path / name) == sha256 == said.json[0]["sha256"]


async def test_a_folder_before_the_name_and_small_letters(
    held: SimCamera, hotshoe: Hotshoe, tmp_path: Path
) -> None:
    (tmp_path / "into").mkdir()
    said = await hotshoe("get", at(held), "100canon/img_0001.jpg", "-o", "into")
    assert (
        said.code == 0
        and digest(tmp_path / "into/IMG_0001.JPG") == held.contents()["DCIM/100CANON/IMG_0001.JPG"]
    )


async def test_to_a_pipe(held: SimCamera, hotshoe: Hotshoe) -> None:
    write_config(Path())
    call = [sys.executable, "-m", "agent", "get", at(held), "IMG_0002.JPG", "-o", "-"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = await asyncio.create_subprocess_exec(
        *call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    async with asyncio.timeout(30):
        out, err = await run.communicate()
    assert run.returncode == 0, err
    assert hashlib.sha256(out).hexdigest() == held.contents()["DCIM/100CANON/IMG_0002.JPG"]


async def test_its_thumbnail(held: SimCamera, hotshoe: Hotshoe, tmp_path: Path) -> None:
    said = await hotshoe("get", at(held), "IMG_0001.JPG", "--thumb", "-o", "small.jpg")
    assert said.code == 0, said.err
    small = (tmp_path / "small.jpg").read_bytes()
    assert small.startswith(b"\xff\xd8") and len(small) < 100_000


async def test_a_name_that_is_not_there(held: SimCamera, hotshoe: Hotshoe, tmp_path: Path) -> None:
    said = await hotshoe("get", at(held), "IMG_9999.JPG", "-o", "x")
    assert said.code == 1 and "[card.no_such_file]" in said.err and not (tmp_path / "x").exists()


async def test_a_name_that_several_files_have(held: SimCamera, hotshoe: Hotshoe, tmp_path: Path) -> None:
    twin = held.trouble.same_name_twice("IMG_0001.JPG", size_change=7)
    said = await hotshoe("get", at(held), "IMG_0001.JPG", "-o", "x")
    assert said.code == 1 and "[card.several_files]" in said.err
    assert "100CANON/IMG_0001.JPG" in said.err and twin.removeprefix("DCIM/") in said.err
    named = await hotshoe("get", at(held), twin.removeprefix("DCIM/"), "-o", "x")
    assert named.code == 0 and digest(tmp_path / "x") == held.contents()[twin]


async def test_an_existing_file_is_left_alone(cam: SimCamera, hotshoe: Hotshoe, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    said = await hotshoe("get", at(cam), "IMG_0001.JPG", "-o", "x")
    assert said.code == 1 and "--force" in said.err and cam.stats.connections == 0
    assert (tmp_path / "x").read_bytes() == b"mine"
    assert (await hotshoe("get", at(cam), "IMG_0001.JPG", "-o", "x", "--force")).code == 0
    assert digest(tmp_path / "x") == cam.contents()["DCIM/100CANON/IMG_0001.JPG"]


async def test_a_file_that_comes_into_being_meanwhile_is_left_alone(tmp_path: Path) -> None:
    target = Target("x", force=False, is_thumb=False)
    target.check()
    target.open("IMG_0001.JPG")
    target.write(memoryview(b"ours"))
    (tmp_path / "x").write_bytes(b"theirs")
    with pytest.raises(Stop, match="exists"):
        target.finish()
    target.close()
    assert (tmp_path / "x").read_bytes() == b"theirs" and os.listdir(tmp_path) == ["x"]


async def test_a_link_that_breaks_leaves_nothing(held: SimCamera, hotshoe: Hotshoe, tmp_path: Path) -> None:
    before = set(os.listdir(tmp_path))
    held.trouble.cut_after(1_000_000)
    said = await hotshoe("get", at(held), "IMG_0005.CR3", "-o", "x")
    assert said.code == 1 and "[camera." in said.err and "Traceback" not in said.err
    assert {name for name in os.listdir(tmp_path) if "part" in name or name == "x"} <= before
    held.trouble.heal()


async def test_a_name_of_the_card_cannot_leave_the_folder(
    cam: SimCamera, hotshoe: Hotshoe, tmp_path: Path
) -> None:
    cam.trouble.hostile_name("../../x")
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    said = await hotshoe("get", at(cam), "../../x", "-o", "deep/deeper")
    assert said.code == 0, said.err
    assert len(os.listdir(tmp_path / "deep" / "deeper")) == 1 and not (tmp_path / "x").exists()


async def test_bodies_without_partial_reads(hotshoe: Hotshoe, tmp_path: Path) -> None:
    async with SimCamera("generic", card="2:700k") as camera:
        camera.trouble.without_op(0x101B)
        said = await hotshoe("get", at(camera), "IMG_0001.JPG", "-o", "x")
        assert said.code == 0, said.err
        assert digest(tmp_path / "x") == camera.contents()["DCIM/100CANON/IMG_0001.JPG"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_it_and_leaves_nothing(number: signal.Signals, code: int, tmp_path: Path) -> None:
    async with SimCamera("generic", card="1:50M", mbit=40) as camera:
        call = [sys.executable, "-m", "agent", "get", at(camera), "IMG_0001.JPG", "-o", "x"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        run = await asyncio.create_subprocess_exec(*call, stderr=subprocess.PIPE, env=environment)
        async with asyncio.timeout(30):
            # The simulator's threads tell nobody when bytes begin to flow.
            while not camera.stats.object_bytes:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            run.send_signal(number)
            _, err = await run.communicate()
        assert run.returncode == code and b"Traceback" not in err
        assert [name for name in os.listdir(tmp_path) if name.startswith((".", "x"))] == []


async def test_a_camera_that_the_agent_cannot_reach_is_not_tried_beside_it(
    tmp_path: Path, hotshoe: Hotshoe, cam: SimCamera
) -> None:
    cam.trouble.refuse_pairing()
    async with running(write_config(tmp_path, cam.port)) as agent:

        async def is_paused() -> bool:
            return any(each.state == "paused" for each in await agent.ledger.cameras.subjects())

        await until(agent, is_paused)
        connections = cam.stats.connections
        said = await hotshoe("ls", at(cam))
        assert said.code == 1 and "[order.not_connected]" in said.err and "does not accept" in said.err
        assert cam.stats.connections == connections


async def test_a_paused_camera_is_free_for_others(tmp_path: Path, hotshoe: Hotshoe, cam: SimCamera) -> None:
    async with running(write_config(tmp_path, cam.port)) as agent:

        async def is_scanned() -> bool:
            return bool(agent.collectors) and agent.collectors["main"].has_scanned

        await until(agent, is_scanned)
        assert (await hotshoe("pause", "main")).code == 0
        assert (await hotshoe("ls", at(cam))).code == 0
        assert cam.stats.handshakes == 2
        assert (await hotshoe("resume", "main")).code == 0


async def test_two_cards_of_an_eos_body(eos: SimCamera, hotshoe: Hotshoe, tmp_path: Path) -> None:
    said = await hotshoe("ls", at(eos))
    assert said.out.startswith("Canon EOS R7 · firmware ") and "\n00010001/100CANON\n" in said.out
    several = await hotshoe("get", at(eos), "IMG_0001.JPG", "-o", "x")
    assert several.code == 1 and "00020001/100CANON/IMG_0001.JPG" in several.err
    assert (await hotshoe("get", at(eos), "00020001/100CANON/IMG_0001.JPG", "-o", "x")).code == 0
    assert digest(tmp_path / "x") == eos.contents()["00020001/DCIM/100CANON/IMG_0001.JPG"]


class OtherFile:
    """A body whose card was changed while a file was read: the handle means another one in the end."""

    def can_resume(self, item: Object) -> bool:
        return True

    async def read(self, item: Object, offset: int, buffer: memoryview) -> int:
        return len(buffer)

    async def lookup(self, item: Object) -> Object | None:
        return None


async def test_bytes_of_another_file_are_never_taken_for_this_one() -> None:
    item = Object(Handle(1), 0x10001, "100CANON", "IMG_0001.JPG", 3_000_000, "", 0x3801, 1)

    async def take(view: memoryview) -> None:
        assert len(view) <= 1 << 20

    with pytest.raises(Fault, match=r"card\.file_changed"):
        await cards.read(cast(Body, OtherFile()), item, take)


# -- names -----------------------------------------------------------------------------------------------


def test_how_a_file_is_named_to_a_person() -> None:
    item = Object(Handle(1), 0x10001, "100CANON", "IMG_0001.JPG", 1, "", 0x3801, 1)
    assert cards.path_of(item, with_storage=False) == "100CANON/IMG_0001.JPG"
    assert cards.path_of(item, with_storage=True) == "00010001/100CANON/IMG_0001.JPG"
