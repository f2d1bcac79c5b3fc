"""`send`, `retry` and `skip` by name, `destinations`, and `verify`: what people mean, and what lies where it should."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.backends.base import Found, Presence
from agent.backends.folder.backend import FolderBackend
from agent.cli import naming, verify
from agent.cli.agent import Agent
from agent.ledger import Ledger, NewDelivery, Outcome
from agent.settings import load
from tests.cli.conftest import Hotshoe, running, until
from tests.cli.test_show import claimed, discovered, new_file

NAMES = ("IMG_0001.JPG", "IMG_0001.CR3", "IMG_0002.JPG", "MVI_0003.MP4", "IMG_[4].JPG", "IMG_0001.JPG")


def content(number: int) -> bytes:
    return f"content of {number}|".encode() * 50


@pytest.fixture
async def delivered(config: Path) -> AsyncIterator[Path]:
    """Six files, all delivered into the folder `photos`; the last has the name of the first, in another folder."""
    ledger = await Ledger.open(config.parent / "state")
    files = [
        msgspec.structs.replace(
            new_file(number, name=name, size=len(content(number))),
            folder="101CANON" if number == 6 else "100CANON",
        )
        for number, name in enumerate(NAMES, start=1)
    ]
    await discovered(ledger, files)
    photos = config.parent / "photos"
    photos.mkdir()
    for number in range(1, 7):
        key = f"{number}.bin"
        owed = [NewDelivery("archive", (key, f"{number}-a.bin", f"{number}-b.bin"))]
        await ledger.files.begin_fetch(number, 1, from_zero=True, owed=owed)
        digest = hashlib.sha256(content(number)).hexdigest()
        await ledger.files.finish_fetch(number, digest, None)
        outcome = Outcome(proof="readback", exclusive="atomic", checksum=f"sha256:{digest}", location=key)
        await ledger.deliveries.finish_delivery(await claimed(ledger, "archive"), outcome)
        await ledger.files.mark_evicted(number)
        (photos / key).write_bytes(content(number))
    await ledger.cameras.set_subject("destination", "archive", "ready")
    await ledger.close()
    yield config


# -- which files


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["3", "1", "3"], [3, 1]),
        (["IMG_0002.JPG"], [3]),
        (["img_0002.jpg"], [3]),
        (["101CANON/IMG_0001.JPG"], [6]),
        (["/main/100canon/IMG_0001.JPG"], [1]),
        (["*.CR3"], [2]),
        (["100CANON/IMG_*.JPG"], [1, 3, 5]),
        (["IMG_000[12].JPG"], [1, 3, 6]),
        (["IMG_[4].JPG"], [5]),
        (["IMG_000?.JPG", "2", "*.MP4"], [1, 3, 6, 2, 4]),
        (["main/*"], [1, 2, 3, 4, 5, 6]),
    ],
)
async def test_a_file_is_meant_by_number_name_or_pattern(
    delivered: Path, words: list[str], numbers: list[int]
) -> None:
    assert await naming.numbers_of(delivered.parent / "state", words) == numbers


async def test_a_name_of_several_files_is_told_with_what_tells_them_apart(
    delivered: Path, hotshoe: Hotshoe
) -> None:
    said = await hotshoe("send", "IMG_0001.JPG", "--to", "drawer")
    assert said.code == 1 and said.out == ""
    assert "several files are called IMG_0001.JPG" in said.err
    assert "1  main/100CANON/IMG_0001.JPG" in said.err and "6  main/101CANON/IMG_0001.JPG" in said.err
    for command in (["retry"], ["skip", "--reason", "r"], ["send"]):
        said = await hotshoe(*command, "NO_SUCH.JPG")
        assert said.code == 1 and "no file that hotshoe knows is called NO_SUCH.JPG" in said.err


async def test_send_by_pattern_under_another_name(delivered: Path, hotshoe: Hotshoe) -> None:
    async with running(delivered) as agent:
        said = await hotshoe(
            "send", "100CANON/IMG_*.JPG", "--to", "drawer", "--as", "final/{stem}_x.{ext}", "--json"
        )
        assert said.code == 0, said.err
        assert [(row["id"], row["outcome"], row["key"]) for row in said.json] == [
            (1, "queued", "final/IMG_0001_x.JPG"),
            (3, "queued", "final/IMG_0002_x.JPG"),
            (5, "queued", "final/IMG_[4]_x.JPG"),
        ]
        rows = {row["id"]: row for row in await agent.ledger.views.files()}
        owed = {each["destination"]: each["key"] for each in rows[1]["deliveries"]}
        assert owed == {"archive": "1.bin", "drawer": "final/IMG_0001_x.JPG"}
        again = await hotshoe("send", 1, "--to", "archive", "--as", "other/")
        assert again.out == "1 IMG_0001.JPG to archive: delivered already, as 1.bin\n"
        one = await hotshoe("send", "IMG_0001.CR3", "--to", "drawer", "--as", "cover.cr3")
        assert one.out == "2 IMG_0001.CR3 to drawer: queued, as cover.cr3\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--as", "x"], "--as needs --to"),
        (["--to", "drawer", "--as", "{nme}"], "nme"),
        (["--to", "drawer", "--as", "../{name}"], "--as"),
    ],
)
async def test_a_bad_template_is_told_before_anything_is_sent(
    delivered: Path, hotshoe: Hotshoe, words: list[str], what: str
) -> None:
    said = await hotshoe("send", 1, *words)
    assert said.code == 2 and what in said.err


# -- destinations


async def test_destinations_with_what_is_to_go_and_the_newest_proof(
    delivered: Path, hotshoe: Hotshoe
) -> None:
    ledger = await Ledger.open(delivered.parent / "state")
    await ledger.files.owe(1, [NewDelivery("attic", ("a", "b", "c"))])
    await ledger.close()
    said = await hotshoe("destinations")
    assert said.code == 0 and max(map(len, said.out.splitlines())) <= 80
    first, *rest = said.out.splitlines()
    assert first.split()[:4] == ["✓", "archive", "folder", "ready"] and "nothing to go" in first
    assert "6 delivered, 6 verified" in rest[0] and "readback" in rest[0]
    assert "is not in the configuration any more" in said.out
    rows = {row["name"]: row for row in (await hotshoe("destinations", "--json")).json}
    assert list(rows) == ["archive", "drawer", "attic"]
    assert (
        rows["archive"]["done"] == 6
        and rows["archive"]["proof"] == "readback"
        and rows["archive"]["proven_at"]
    )
    assert rows["drawer"]["done"] == 0 and rows["drawer"]["state"] is None
    assert rows["attic"]["queued"] == 1 and rows["attic"]["owed_bytes"] == len(content(1))
    assert rows["attic"]["is_configured"] is False


async def test_destinations_before_the_first_run(config: Path, hotshoe: Hotshoe) -> None:
    said = await hotshoe("destinations", "--json")
    assert said.code == 0 and [row["name"] for row in said.json] == ["archive", "drawer"]
    assert not (config.parent / "state").exists()


async def test_a_destination_that_left_the_settings_while_nobody_ran_is_off(
    delivered: Path, hotshoe: Hotshoe
) -> None:
    text = delivered.read_text().replace("[destinations.archive]", "[destinations.new]")
    delivered.write_text(text.replace('["archive"]', '["new"]'))
    async with running(delivered) as agent:

        async def is_off() -> bool:
            found = await agent.ledger.cameras.subject("destination", "archive")
            return found is not None and (found.state, found.reason) == ("off", "not in the settings")

        await until(agent, is_off)


async def test_check_tells_every_step_with_its_time(config: Path, hotshoe: Hotshoe, tmp_path: Path) -> None:
    said = await hotshoe("destinations", "check")
    assert said.code == 0 and "Destination archive" in said.out and "Destination drawer" in said.out
    assert "✓ write" in said.out and "All is well" in said.out and " s" in said.out
    (tmp_path / "photos").rmdir()
    (tmp_path / "photos").write_text("a file in its place")
    said = await hotshoe("destinations", "check", "archive", "--json")
    assert said.code == 1 and {row["destination"] for row in said.json} == {"archive"}
    bad = [row for row in said.json if row["ok"] is False]
    assert bad and bad[0]["code"].startswith("folder.") and bad[0]["hint"]
    assert (await hotshoe("destinations", "check", "drawer")).code == 0


async def test_names_with_and_without_check(config: Path, hotshoe: Hotshoe) -> None:
    for words in (("check", "archiv"), ("archiv",), ("list", "archiv")):
        said = await hotshoe("destinations", *words)
        assert said.code == 2 and "did you mean archive?" in said.err
    for words in (("drawer",), ("list", "drawer")):
        said = await hotshoe("destinations", *words, "--json")
        assert said.code == 0 and [row["name"] for row in said.json] == ["drawer"]


async def test_what_waits_for_its_hours_says_until_when(delivered: Path, hotshoe: Hotshoe) -> None:
    ledger = await Ledger.open(delivered.parent / "state")
    await ledger.files.owe(1, [NewDelivery("drawer", ("a", "b", "c"))])
    await ledger.deliveries.hold("drawer", ["jpeg", "raw", "video"], "2999-01-01T08:00:00.000Z")
    await ledger.close()
    said = await hotshoe("destinations", "drawer")
    assert "1 outside the hours of its limit, next try at 2999-01-01" in " ".join(said.out.split())
    assert max(map(len, said.out.splitlines())) <= 80
    [row] = (await hotshoe("destinations", "drawer", "--json")).json
    assert (row["scheduled"], row["opens_at"]) == (1, "2999-01-01T08:00:00.000Z")


# -- verify


async def test_all_is_as_it_was_delivered(delivered: Path, hotshoe: Hotshoe) -> None:
    before = snapshot(delivered.parent / "photos")
    said = await hotshoe("verify", "--all")
    assert (said.code, said.out) == (0, "archive: 6 same\n")
    said = await hotshoe("verify", "--sample", 2, "--json")
    assert said.code == 0 and len(said.json) == 3
    assert all(row["result"] == "same" and row["proof"] == "readback" for row in said.json[:-1])
    assert said.json[-1]["summary"]["same"] == 2
    assert snapshot(delivered.parent / "photos") == before, "nothing is left there"


async def test_what_is_missing_or_different_is_told_and_left_alone(delivered: Path, hotshoe: Hotshoe) -> None:
    photos = delivered.parent / "photos"
    (photos / "2.bin").unlink()
    flipped = bytearray(content(3))
    flipped[5] ^= 1
    (photos / "3.bin").write_bytes(flipped)
    (photos / "4.bin").write_bytes(b"short")
    before = snapshot(photos)
    said = await hotshoe("verify", "--all")
    assert said.code == 1
    assert "▲ missing  2 main/100CANON/IMG_0001.CR3 → archive: 2.bin" in said.out
    assert "▲ different  3 " in said.out and "▲ different  4 " in said.out
    assert "archive: 3 same, 1 missing, 2 different" in said.out and "--requeue" in said.out
    results = {row["id"]: row["result"] for row in (await hotshoe("verify", "--all", "--json")).json[:-1]}
    assert results == {1: "same", 2: "missing", 3: "different", 4: "different", 5: "same", 6: "same"}
    assert snapshot(photos) == before
    assert await states(delivered) == dict.fromkeys(range(1, 7), "done")


async def doubtful(config: Path) -> set[int]:
    ledger = await Ledger.open(config.parent / "state")
    try:
        return await ledger.journal.doubtful()
    finally:
        await ledger.close()


async def test_what_is_missing_is_deleted_from_no_card_until_it_is_found(
    delivered: Path, hotshoe: Hotshoe
) -> None:
    photos = delivered.parent / "photos"
    (photos / "2.bin").rename(photos / "elsewhere")
    await hotshoe("verify", "--all")
    assert await doubtful(delivered) == {2}
    async with running(delivered) as agent:
        (photos / "3.bin").unlink()
        await hotshoe("verify", "--all")
        assert await agent.ledger.journal.doubtful() == {2, 3}
        (photos / "elsewhere").rename(photos / "2.bin")
        await hotshoe("verify", "--all")
        assert await agent.ledger.journal.doubtful() == {3}


async def is_ready(agent: Agent) -> bool:
    return "drawer" in agent.uploader.targets and "archive" in agent.uploader.targets


async def test_a_destination_that_moves_in_the_settings_has_proven_nothing_there(
    delivered: Path, hotshoe: Hotshoe
) -> None:
    """At once while hotshoe runs, and when it was changed while it did not."""
    text = delivered.read_text()
    async with running(delivered) as agent:
        await until(agent, lambda: is_ready(agent))
        delivered.write_text(text.replace('path = "photos"', 'path = "photos"\nworkers = 2'))
        await agent.apply(load(delivered))
        assert await agent.ledger.journal.doubtful() == set(), "it is where it was"
        delivered.write_text(text.replace('path = "photos"', 'path = "elsewhere"'))
        await agent.apply(load(delivered))
        assert await agent.ledger.journal.doubtful() == set(range(1, 7))
    delivered.write_text(text)
    async with running(delivered) as agent:
        await until(agent, lambda: is_ready(agent))
        assert await agent.ledger.journal.doubtful() == set(range(1, 7))
        await hotshoe("verify", "--all")
        assert await agent.ledger.journal.doubtful() == set(), "they were asked for, and are there"


async def test_a_destination_that_moved_while_hotshoe_was_off(delivered: Path) -> None:
    async with running(delivered) as agent:
        await until(agent, lambda: is_ready(agent))
    text = delivered.read_text()
    delivered.write_text(text.replace('path = "photos"', 'path = "elsewhere"'))
    async with running(delivered) as agent:
        await until(agent, lambda: is_ready(agent))
        assert await agent.ledger.journal.doubtful() == set(range(1, 7))


async def test_requeue_without_a_running_agent_and_beside_one(delivered: Path, hotshoe: Hotshoe) -> None:
    photos = delivered.parent / "photos"
    (photos / "2.bin").unlink()
    said = await hotshoe("verify", "--all", "--requeue")
    assert said.code == 1 and "1 delivery queued again." in said.out
    assert (await states(delivered))[2] == "queued"
    (photos / "3.bin").unlink()
    async with running(delivered) as agent:
        said = await hotshoe("verify", "--all", "--requeue", "--json")
        assert said.json[-1]["summary"]["requeued"] == 1
        assert agent.around.promised >= {2, 3}
        rows = {row["id"]: row["deliveries"][0] for row in await agent.ledger.views.files()}
        assert (rows[3]["state"], rows[3]["waiting_for"], rows[3]["proof"]) == ("queued", "camera", None)


async def test_what_is_nowhere_any_more_is_not_queued_again(delivered: Path, hotshoe: Hotshoe) -> None:
    ledger = await Ledger.open(delivered.parent / "state")
    await ledger.files.owe(2, [NewDelivery("attic", ("a", "b", "c"))])
    await ledger.files.mark_gone([2])
    await ledger.close()
    (delivered.parent / "photos" / "2.bin").unlink()
    said = await hotshoe("verify", "--all", "--requeue")
    assert "0 deliveries queued again" in said.out and "1 cannot be" in said.out
    assert "\n  2 main/100CANON/IMG_0001.CR3\n" in said.out and max(map(len, said.out.splitlines())) <= 80
    summary = (await hotshoe("verify", "--all", "--requeue", "--json")).json[-1]["summary"]
    assert (summary["requeued"], summary["refused"]) == (0, [2])
    assert (await states(delivered))[2] == "done"


async def test_a_destination_that_does_not_answer_is_asked_no_further(
    delivered: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.rename(delivered.parent / "photos", delivered.parent / "away")
    (delivered.parent / "photos").write_text("no folder")
    asked: list[str] = []
    find = FolderBackend.find

    def counted(self: FolderBackend, *what: Any) -> Found:
        asked.append(what[0])
        return find(self, *what)

    monkeypatch.setattr(FolderBackend, "find", counted)
    monkeypatch.setattr(verify, "AT_ONCE", 1)
    said = await hotshoe("verify", "--all", "--requeue")
    assert said.code == 1 and "archive: 6 could not ask" in said.out and "[folder." in said.out
    assert len(asked) == 1 and said.out.count("[folder.") == 1
    assert set((await states(delivered)).values()) == {"done"}, "a doubt is no loss"


async def test_what_cannot_be_compared_is_no_proof(
    delivered: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FolderBackend, "find", lambda self, *what: Found(Presence.UNDECIDED))
    said = await hotshoe("verify", "--sample", 1)
    assert said.code == 1 and "1 could not ask" in said.out


async def test_what_is_not_in_the_settings_any_more_cannot_be_asked(
    delivered: Path, hotshoe: Hotshoe
) -> None:
    delivered.write_text(
        delivered.read_text()
        .replace("[destinations.archive]", "[destinations.new]")
        .replace('["archive"]', '["new"]')
    )
    said = await hotshoe("verify", "--all")
    assert said.code == 1 and "archive: 6 could not ask" in said.out
    assert "not in the configuration any more" in " ".join(said.out.split())
    only = await hotshoe("verify", "--all", "--destination", "new")
    assert only.code == 0 and "Nothing has been delivered" in only.err


@pytest.mark.parametrize(
    ("since", "count"), [("1h", 6), ("2999-01-01", 0), ("2020-01-01T00:00", 6), ("7d", 6)]
)
async def test_since(delivered: Path, hotshoe: Hotshoe, since: str, count: int) -> None:
    said = await hotshoe("verify", "--all", "--since", since, "--json")
    assert said.json[-1]["summary"]["same"] == count


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--all", "--sample", "2"],
        ["--sample", "0"],
        ["--sample", "x"],
        ["--all", "--since", "soon"],
        ["--all", "-d", "x"],
    ],
)
async def test_wrong_words(delivered: Path, hotshoe: Hotshoe, words: list[str]) -> None:
    assert (await hotshoe("verify", *words)).code == 2


async def test_many_pages_are_asked_for_one_by_one(
    delivered: Path, hotshoe: Hotshoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PAGE", 2)
    said = await hotshoe("verify", "--all", "--json")
    assert sorted(row["id"] for row in said.json[:-1]) == [1, 2, 3, 4, 5, 6]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def states(config: Path) -> dict[int, str]:
    ledger = await Ledger.open_to_read(config.parent / "state")
    try:
        return {
            row["id"]: next(d["state"] for d in row["deliveries"] if d["destination"] == "archive")
            for row in await ledger.views.files()
        }
    finally:
        await ledger.close()
