"""`status` and `files` over a ledger that no agent runs with."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.cli import show, words
from agent.ledger import Ledger, NewDelivery, NewFile, Outcome, Proven, Row
from tests.cli.conftest import Hotshoe, running

PROVEN = Outcome(proof="readback", exclusive="atomic", checksum="sha256:00", location="/photos/x.JPG")


def new_file(
    number: int, *, name: str | None = None, size: int = 5_000_000, skipped_by: str | None = None
) -> NewFile:
    return NewFile(
        storage=0x10001,
        folder="100CANON",
        name=name or f"IMG_{number:04d}.JPG",
        captured="2024-05-01T18:00:00",
        size=size,
        identity=f"{number:064x}",
        kind="jpeg",
        rank=0,
        shot=number,
        handle=number,
        is_protected=None,
        seen_by="scan",
        skipped_by=skipped_by,
        skip_reason="was on the card" if skipped_by else None,
    )


async def discovered(ledger: Ledger, files: Sequence[NewFile]) -> list[int]:
    await ledger.cameras.meet_camera(
        "S1", True, "main", ("Canon Inc.", "Canon EOS R7", "1.0"), ("192.168.1.2", 15740)
    )
    return await ledger.files.discover("S1", files)


async def fetched(ledger: Ledger, file_id: int, *destinations: str) -> None:
    owed = [NewDelivery(each, (f"{file_id}", f"{file_id}-a", f"{file_id}-b")) for each in destinations]
    await ledger.files.begin_fetch(file_id, 1, from_zero=True, owed=owed)
    await ledger.files.finish_fetch(file_id, "cd" * 32, None)


async def claimed(ledger: Ledger, destination: str) -> int:
    job = await ledger.deliveries.claim(destination, [])
    assert job
    return job.id


@pytest.fixture
async def filled(config: Path) -> Path:
    """A ledger with a file in most of the states: 1 new, 2 skipped, 3 verified, 4 waiting, 5 failed, 6 only sent."""
    ledger = await Ledger.open(config.parent / "state")
    await discovered(
        ledger, [new_file(1), new_file(2, skipped_by="backlog"), *(new_file(n) for n in (3, 4, 5, 6))]
    )
    for file_id, destination in ((3, "archive"), (4, "cloud"), (5, "drawer"), (6, "attic")):
        await fetched(ledger, file_id, destination)
    await ledger.deliveries.finish_delivery(await claimed(ledger, "archive"), PROVEN)
    await ledger.deliveries.postpone(
        await claimed(ledger, "cloud"), waiting_for="destination", code="s3.unreachable", detail="no route"
    )
    await ledger.deliveries.fail_delivery(
        await claimed(ledger, "drawer"), "delivery.no_free_key", "IMG_0005.JPG"
    )
    sent = Outcome(proof="size", exclusive="checked", checksum=None, location="/attic/6")
    await ledger.deliveries.finish_delivery(await claimed(ledger, "attic"), sent)
    await ledger.cameras.set_subject("camera", "main", "ready", serial="S1")
    await ledger.cameras.set_subject(
        "destination", "cloud", "waiting", code="s3.unreachable", reason="The store does not answer."
    )
    await ledger.cameras.set_subject("destination", "archive", "paused", reason="paused by anna", by="anna")
    await ledger.close()
    return config


async def test_every_file_with_its_mark_and_why(hotshoe: Hotshoe, filled: Path) -> None:
    said = await hotshoe("files")
    assert said.code == 0 and said.err == ""
    rows = [line for line in said.out.splitlines() if "100CANON/" in line]
    assert [" ".join(row.split()[1:3]) for row in rows] == [
        "○ new", "⊘ skipped", "✓✓ verified", "◷ waiting", "▲ needs", "✓ sent",
    ]  # fmt: skip
    assert "by backlog: was on the card" in said.out
    assert "cloud waits for destination [s3.unreachable]" in said.out
    assert "change the template and retry" in " ".join(said.out.split())
    assert "only the size was checked" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


async def test_one_json_object_a_file(hotshoe: Hotshoe, filled: Path) -> None:
    files = (await hotshoe("files", "--json")).json
    assert [file["id"] for file in files] == [1, 2, 3, 4, 5, 6]
    assert [file["status"] for file in files] == [
        "discovered",
        "discovered",
        "done",
        "queued",
        "failed",
        "done",
    ]
    assert files[0]["url"] == "ptpip://192.168.1.2:15740/1"
    [delivery] = files[2]["deliveries"]
    assert (delivery["state"], delivery["proof"], delivery["verified"]) == ("done", "readback", True)
    assert delivery["location"] == "/photos/x.JPG" and files[2]["sha256"] == "cd" * 32
    assert files[5]["deliveries"][0]["verified"] is False


@pytest.mark.parametrize(
    ("state", "ids"),
    [
        ("discovered", [1]),
        ("skipped", [2]),
        ("fetched", [3, 4, 5, 6]),
        ("done", [3, 6]),
        ("queued", [4]),
        ("failed", [5]),
        ("gone", []),
    ],
)
async def test_a_selection(state: str, ids: list[int], hotshoe: Hotshoe, filled: Path) -> None:
    said = await hotshoe("files", "--state", state, "--json")
    assert said.code == 0 and [file["id"] for file in said.json] == ids
    text = await hotshoe("files", "--state", state)
    assert (f"No file is {state}." in text.err) is not bool(ids)


async def test_all_words_of_help_can_be_asked_for(hotshoe: Hotshoe, filled: Path) -> None:
    for state in {*words.FILE_STATES, *words.STATUSES}:
        assert (await hotshoe("files", "--state", state)).code == 0
    assert (await hotshoe("files", "--state", "lost")).code == 2


async def test_listings_go_page_by_page(
    hotshoe: Hotshoe, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "PAGE_FILES", 7)
    ledger = await Ledger.open(config.parent / "state")
    await discovered(ledger, [new_file(n) for n in range(1, 31)])
    await ledger.close()
    assert [file["id"] for file in (await hotshoe("files", "--json")).json] == list(range(1, 31))


async def test_names_from_a_camera_cannot_command_the_terminal(hotshoe: Hotshoe, config: Path) -> None:
    ledger = await Ledger.open(config.parent / "state")
    await discovered(ledger, [new_file(1, name="\x1b[2J\x9b31m\nIMG\u202e.JPG")])
    await ledger.close()
    said = await hotshoe("files")
    assert "\\x1b[2J\\x9b31m\\nIMG\\u202e.JPG" in said.out
    assert all(char.isprintable() or char == "\n" for char in said.out)
    assert (await hotshoe("files", "--json")).json[0]["filename"] == "\x1b[2J\x9b31m\nIMG\u202e.JPG"


async def test_status_after_a_run(hotshoe: Hotshoe, filled: Path) -> None:
    said = await hotshoe("status")
    assert said.code == 0
    assert said.out.startswith("hotshoe is not running\n")
    assert "The store does not answer. [s3.unreachable]" in said.out
    assert "‖   archive" in said.out and "paused by anna" in said.out
    assert "1 verified" in said.out and "1 sent, only their size checked" in said.out
    assert "5.0 MB on the cards, 10.0 MB to destinations" in said.out
    assert "▲ 1: see hotshoe files --state failed" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


async def test_status_says_what_was_deleted_from_cards(hotshoe: Hotshoe, filled: Path) -> None:
    assert "Deleting" not in (await hotshoe("status")).out
    ledger = await Ledger.open(filled.parent / "state")
    rows = await ledger.views.files()
    done = next(row for row in rows if row["state"] == "fetched" and _is_done(row))
    proven = Proven("archive", "readback", None, None, "2026-05-01T00:00:00.000Z")
    entry = await ledger.journal.begin(done["id"], "agent", lambda row: [proven])
    assert entry is not None
    await ledger.journal.end(entry, "deleted")
    await ledger.close()
    assert "Deleting      1 file so far, last " in (await hotshoe("status")).out
    (told,) = (await hotshoe("status", "--json")).json
    assert told["deleted_from_cards"]["files"] == 1
    async with running(filled):
        assert "Deleting      off, 1 file so far" in (await hotshoe("status")).out
    with filled.open("a") as file:
        file.write("[delete]\nenabled = true\n")
    async with running(filled):
        assert "Deleting      on, 1 file so far" in (await hotshoe("status")).out


def _is_done(row: Row) -> bool:
    return {each["state"] for each in row["deliveries"]} == {"done"}


async def test_status_as_json(hotshoe: Hotshoe, filled: Path) -> None:
    [told] = (await hotshoe("status", "--json")).json
    assert told["running"] is False
    assert told["files"] == {"discovered": 1, "skipped": 1, "fetched": 4}
    assert told["deliveries"] == {"done": 2, "queued": 1, "failed": 1, "verified": 1}
    assert told["backlog"] == {
        "owed": 2, "owed_bytes": 10_000_000, "waiting": 1, "to_fetch": 1, "to_fetch_bytes": 5_000_000, "needs_you": 1,
    }  # fmt: skip
    assert [camera["name"] for camera in told["cameras"]] == ["main"]
    assert {each["name"]: each["state"] for each in told["destinations"]} == {
        "archive": "paused",
        "cloud": "waiting",
    }


async def test_before_the_first_run(hotshoe: Hotshoe, config: Path) -> None:
    status = await hotshoe("status")
    assert status.code == 1 and "Nothing has run with the state folder" in status.out
    assert (await hotshoe("status", "--json")).json == [
        {"running": False, "state_dir": str(config.parent / "state"), "cameras": [], "destinations": []}
    ]
    files = await hotshoe("files")
    assert files.code == 2 and "no ledger" in files.err and "Traceback" not in files.err


async def test_a_state_folder_of_somebody_else(
    hotshoe: Hotshoe, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whoever tests as root may read everything
    said = await hotshoe("status")
    assert said.code == 1 and "another user" in said.err


async def test_whoever_stops_reading_ends_the_listing_quietly(config: Path) -> None:
    ledger = await Ledger.open(config.parent / "state")
    await discovered(ledger, [new_file(n) for n in range(1, 3001)])
    await ledger.close()
    call = f"{sys.executable} -m agent files --config {config} | head -1; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(Path(show.__file__).parents[2])}
    piped = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", call], env=environment, capture_output=True, timeout=20, check=False
    )
    assert piped.returncode == 141
    assert piped.stdout.count(b"\n") == 1 and piped.stderr == b""
