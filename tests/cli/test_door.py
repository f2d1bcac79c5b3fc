"""Orders to a running agent, as they are given and over the bare socket."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.cli import door, lines, orders
from agent.cli.agent import Agent
from agent.cli.stop import Stop
from agent.ledger import Ledger
from agent.settings import load
from tests.cli.conftest import Hotshoe, running, until, write_config
from tests.cli.test_show import PROVEN, claimed, discovered, fetched, new_file


@pytest.fixture
async def filled(config: Path) -> Path:
    """Files 1 new, 2 delivered, 3 failed at a destination that is not configured."""
    ledger = await Ledger.open(config.parent / "state")
    await discovered(ledger, [new_file(n) for n in (1, 2, 3)])
    await fetched(ledger, 2, "archive")
    await ledger.deliveries.finish_delivery(await claimed(ledger, "archive"), PROVEN)
    await fetched(ledger, 3, "attic")
    await ledger.deliveries.fail_delivery(await claimed(ledger, "attic"), "delivery.unproven", "")
    for file_id in (2, 3):
        await ledger.files.mark_evicted(file_id)
    await ledger.close()
    return config


async def converse(state_dir: Path, line: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(state_dir / lines.SOCKET)
    writer.write(line)
    writer.write_eof()
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    found: dict[str, Any] = msgspec.json.decode(answer)
    return found


# -- the socket ------------------------------------------------------------------------------------------


async def test_only_the_owner_may_open_it_and_it_goes_with_the_agent(config: Path) -> None:
    path = config.parent / "state" / "hotshoe.sock"
    async with running(config):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_a_socket_that_was_left_behind_is_replaced(config: Path, hotshoe: Hotshoe) -> None:
    path = config.parent / "state" / "hotshoe.sock"
    path.parent.mkdir()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    refused = await hotshoe("scan")
    assert refused.code == 1 and "is not running" in refused.err
    async with running(config):
        assert (await hotshoe("scan")).code == 0
    assert [name for name in os.listdir(path.parent) if "sock" in name] == []


async def test_a_long_path_is_no_obstacle(tmp_path: Path, hotshoe: Hotshoe) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    config = write_config(deep)
    async with running(config):
        assert (deep / "state" / "hotshoe.sock").is_socket()
        [told] = (await hotshoe("status", "--config", config, "--json")).json
        assert told["running"] is True and told["pid"] == os.getpid()


async def test_an_agent_without_a_socket_works_all_the_same(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")  # as vfat does

    monkeypatch.setattr(door, "_listen", refuse)
    async with running(config) as agent:
        assert agent.ledger.epoch


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"not json\n",
        b'{"order":"dance"}\n',
        b'{"order":"skip","ids":["x"],"reason":"r","by":"b"}\n',
        b'{"order":"scan","more":1}\n',
        b"",
        b"x" * (2 * lines.LINE_BYTES),
    ],
)
async def test_what_is_no_order_is_answered_as_such(line: bytes, config: Path, hotshoe: Hotshoe) -> None:
    async with running(config):
        answer = await converse(config.parent / "state", line)
        assert answer["fault"]["code"] == "order.misunderstood"
        assert (await hotshoe("scan")).code == 0


async def test_whoever_says_too_much_gets_his_answer_all_the_same(config: Path) -> None:
    async with running(config):
        assert await converse(config.parent / "state", b'{"order":"scan"}\n' + b"x" * 4_000_000) == {
            "result": []
        }


async def test_whoever_says_nothing_is_not_waited_for(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "REQUEST_SECONDS", 0.2)
    async with running(config):
        reader, writer = await asyncio.open_unix_connection(config.parent / "state" / "hotshoe.sock")
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_too_many_at_once_are_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST_ORDERS", 2)
    async with running(config):
        path = config.parent / "state" / "hotshoe.sock"
        held = [await asyncio.open_unix_connection(path) for _ in range(2)]
        answer = await converse(config.parent / "state", b'{"order":"scan"}\n')
        assert answer["fault"]["code"] == "order.too_many"
        for _, writer in held:
            writer.close()


async def test_orders_under_way_do_not_hold_up_the_end(config: Path) -> None:
    async with asyncio.timeout(20):
        async with running(config):
            _, writer = await asyncio.open_unix_connection(config.parent / "state" / "hotshoe.sock")
        writer.close()


async def test_an_agent_that_dies_in_the_middle_is_told_of(config: Path) -> None:
    state = config.parent / "state"
    state.mkdir()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"item":{}}\n{"bytes":100}\nabc')
        writer.close()

    server = await asyncio.start_unix_server(hang_up, state / "hotshoe.sock")
    with pytest.raises(Stop, match="broke off"):
        await orders.give(state, lines.Scan())
    server.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            await server.wait_closed()


async def test_one_host_by_name_and_by_number() -> None:
    assert await door.is_same_host("LOCALHOST", "localhost")
    assert await door.is_same_host("localhost", "127.0.0.1")
    assert not await door.is_same_host("127.0.0.2", "127.0.0.1")
    assert not await door.is_same_host("no-such-host.invalid", "127.0.0.1")


# -- the orders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("retry", "--all"), ("skip", "1", "--reason", "r"), ("send", "1"), ("pause", "archive"),
        ("resume", "archive"), ("scan",), ("reload",),
    ],
)  # fmt: skip
async def test_without_a_running_agent(words: tuple[str, ...], hotshoe: Hotshoe, config: Path) -> None:
    said = await hotshoe(*words)
    assert said.code == 1 and "is not running" in said.err and said.out == ""


async def test_skip_and_retry(filled: Path, hotshoe: Hotshoe) -> None:
    async with running(filled) as agent:
        said = await hotshoe("skip", 1, 3, 99, "--reason", "test shots")
        assert said.code == 1 and said.out == "2 files given up.\n" and "number 99" in said.err
        files = {file["id"]: file for file in await agent.ledger.views.files()}
        assert files[1]["state"] == "skipped" and files[1]["skip_reason"] == "test shots"
        assert files[1]["skipped_by"].endswith("at the command line")
        assert files[3]["deliveries"][0]["state"] == "skipped"
        assert (
            await hotshoe("skip", 1, 3, "--reason", "again")
        ).out == "There was nothing to give up: nothing is owed.\n"

        said = await hotshoe("retry", 1, 3)
        assert said.code == 0 and said.out.startswith("1 delivery queued again")
        files = {file["id"]: file for file in await agent.ledger.views.files()}
        assert files[1]["state"] == "discovered" and files[3]["deliveries"][0]["state"] == "queued"
        assert files[2]["deliveries"][0]["state"] == "done"


async def test_retry_all_is_for_what_failed_not_for_what_was_skipped(filled: Path, hotshoe: Hotshoe) -> None:
    async with running(filled) as agent:
        await hotshoe("skip", 1, "--reason", "no")
        assert (await hotshoe("retry", "--all", "--json")).json == [{"deliveries": 1, "unknown": []}]
        files = {file["id"]: file for file in await agent.ledger.views.files()}
        assert files[1]["state"] == "skipped" and files[3]["deliveries"][0]["state"] == "queued"


async def test_retry_tries_a_stopped_destination_again_but_not_a_paused_one(
    config: Path, hotshoe: Hotshoe
) -> None:
    async with running(config) as agent:
        await until(agent, lambda: _has_targets(agent, 2))
        await agent.ledger.cameras.set_subject("destination", "archive", "paused", code="x.y", by="agent")
        agent.uploader.targets["archive"].paused = True
        await hotshoe("pause", "drawer")
        assert (await hotshoe("retry", "--all")).code == 0
        assert agent.uploader.targets["archive"].paused is False
        assert agent.uploader.targets["drawer"].paused is True


async def test_send_owes_a_file_wherever_it_is_wanted(filled: Path, hotshoe: Hotshoe) -> None:
    async with running(filled) as agent:
        said = await hotshoe("send", 1, 2, 3, 99, "--to", "drawer", "--json")
        assert said.code == 1
        assert [(row["id"], row["outcome"]) for row in said.json] == [
            (1, "queued"), (2, "queued"), (3, "queued"), (99, "unknown"),
        ]  # fmt: skip
        files = {file["id"]: file for file in await agent.ledger.views.files()}
        owed = {d["destination"]: (d["state"], d["key"]) for d in files[2]["deliveries"]}
        assert owed["drawer"] == ("queued", "2024-05-01/IMG_0002.JPG") and owed["archive"][0] == "done"
        assert [d["destination"] for d in files[1]["deliveries"]] == ["drawer"]
        assert agent.around.promised >= {1, 2, 3}

        again = await hotshoe("send", 2)
        assert again.code == 0 and again.out == "2 IMG_0002.JPG to archive: delivered already\n"
        assert (await hotshoe("send", 2, "--to", "drawer")).out.endswith("under way\n")
        assert (await hotshoe("send", 2, "--to", "attic")).code == 1


async def test_what_was_promised_is_remembered_by_the_next_run(filled: Path, hotshoe: Hotshoe) -> None:
    async with running(filled):
        await hotshoe("send", 1, "--to", "drawer")
    agent = await Agent.open(load(filled))
    assert agent.around.promised == {1}
    await agent.close()


async def test_a_destination_is_paused_over_a_restart_until_it_is_resumed(
    config: Path, hotshoe: Hotshoe
) -> None:
    async with running(config) as agent:
        await until(agent, lambda: _has_targets(agent, 2))
        said = await hotshoe("pause", "archive")
        assert said.code == 0 and said.out == "Destination archive is paused until hotshoe resume.\n"
    async with running(config) as agent:
        await until(agent, lambda: _has_targets(agent, 2))
        [subject] = [each for each in await agent.ledger.cameras.subjects() if each.name == "archive"]
        assert subject.state == "paused" and "at the command line" in subject.reason
        assert agent.uploader.targets["archive"].paused
        assert (await hotshoe("resume", "archive")).code == 0
        assert not agent.uploader.targets["archive"].paused


async def test_names_that_mean_nothing_or_two_things(tmp_path: Path, hotshoe: Hotshoe) -> None:
    config = write_config(tmp_path, 1)
    config.write_text(config.read_text().replace('"main"', '"archive"'))
    async with running(config) as agent:
        await until(agent, lambda: _has_targets(agent, 2))
        nothing = await hotshoe("pause", "nothing")
        assert nothing.code == 1 and "order.unknown_name" in nothing.err
        two = await hotshoe("pause", "archive")
        assert two.code == 1 and "camera:NAME" in two.err
        assert (await hotshoe("pause", "destination:archive")).code == 0
        assert (await hotshoe("pause", "camera:archive")).out.startswith("Camera archive is paused")
        assert agent.collectors == {}
        assert (await hotshoe("resume", "camera:archive")).code == 0
        assert list(agent.collectors) == ["archive"]


async def test_a_camera_that_is_switched_off_cannot_be_resumed(tmp_path: Path, hotshoe: Hotshoe) -> None:
    config = write_config(tmp_path, 1)
    config.write_text(config.read_text().replace("port = 1", "port = 1\nenabled = false"))
    async with running(config):
        said = await hotshoe("resume", "main")
        assert said.code == 1 and "enabled = true" in said.err


async def test_reload_takes_over_what_changed_or_nothing_at_all(config: Path, hotshoe: Hotshoe) -> None:
    async with running(config) as agent:
        await until(agent, lambda: _has_targets(agent, 2))
        config.write_text(config.read_text() + '[destinations.third]\nkind = "folder"\npath = "third"\n')
        assert (await hotshoe("reload")).out == "Taken over.\n"
        assert "third" in agent.uploader.targets
        config.write_text(config.read_text() + "[upload]\nworkers = 99\n")
        said = await hotshoe("reload")
        assert said.code == 1 and "upload.workers: must be at most 64" in said.err
        assert agent.settings.upload.workers == 4
        config.write_text(
            config.read_text().replace("workers = 99", "workers = 9").replace('"state"', '"elsewhere"')
        )
        assert "state_dir" in (await hotshoe("reload", "--config", _copy_of(config))).out
        assert agent.settings.upload.workers == 9


def _copy_of(config: Path) -> Path:
    """The command line must find the socket where it is, while the agent reads the file that it was started with."""
    copy = config.with_name("copy.toml")
    copy.write_text('state_dir = "state"\n')
    return copy


async def test_status_of_a_running_agent(config: Path, hotshoe: Hotshoe) -> None:
    async with running(config) as agent:
        await until(agent, lambda: _has_targets(agent, 2))
        await agent.ledger.cameras.set_subject("destination", "of-old", "ready")
        with agent.progress.transfer(1, "IMG_0001.CR3", "camera", 1000, 250) as transfer:
            transfer.advance_to(620)
            [told] = (await hotshoe("status", "--json")).json
            text = (await hotshoe("status")).out
    assert told["running"] and told["transfers"][0]["done_bytes"] == 620
    assert [each["name"] for each in told["destinations"]] == ["archive", "drawer"]
    assert text.startswith("hotshoe is running for ") and "of-old" not in text
    assert " ".join(text.splitlines()[-1].split()).startswith("IMG_0001.CR3 from camera 62 % 620 B 1.0 kB")


async def _has_targets(agent: Agent, count: int) -> bool:
    return len(agent.uploader.targets) == count


async def test_a_route_that_names_the_destination_says_what_files_are_called_there(
    filled: Path, hotshoe: Hotshoe
) -> None:
    filled.write_text(
        filled.read_text()
        + '[[routes]]\ndestinations = ["drawer"]\nauto = false\ntemplate = "by-hand/{name}"\n'
    )
    async with running(filled) as agent:
        assert (await hotshoe("send", 1, "--to", "drawer")).code == 0
        [row] = await agent.ledger.views.files(after_id=0, limit=1)
        assert [each["key"] for each in row["deliveries"]] == ["by-hand/IMG_0001.JPG"]
