"""Deleting from the card, end to end: a simulated camera, real destinations, cards that change, and kills.

What lies on the cards is looked at behind the agent's back, and compared with what the destination holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.collector import deletable, deletion
from tests.simcam.simcam import SimCamera
from tests.system.killable import DELETING
from tests.system.kills import agent as started
from tests.system.kills import new_seed
from tests.system.living import Living, configuration, held, hotshoe, impatient, living, on_card  # noqa: F401

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("impatient")]

CARD = "6:30K+90K:JPG+CR3,1:200K:MP4"
SERIALS = {"generic": "4711"}  # it tells none by itself, and then nothing is deleted
NOW = {"delete": {"enabled": True, "after": "0s"}}
NEW = {"kind": "folder"}


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "ROUND_SECONDS", 0.2)
    monkeypatch.setattr(deletable, "RETRY_SECONDS", 0.3)


def names(cam: SimCamera) -> list[str]:
    return sorted(item.name for item in cam.files())


async def journal(run: Living) -> list[dict[str, Any]]:
    return await run.agent.ledger.journal.entries()


async def until_left(run: Living, cam: SimCamera, holds: Callable[[], bool], what: str) -> None:
    async def reached() -> bool:
        ended = {entry["state"] for entry in await journal(run)} <= {"deleted", "refused", "kept"}
        return holds() and ended

    await run.until(reached, f"{what}; left are {names(cam)}")


async def some_rounds(run: Living, seconds: float = 1.0) -> None:
    """Give it the time of several rounds in which nothing may happen."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        run.agent.ledger.wake()
        run.agent.look_again()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("body", ["eos-60d", "eos-r7", "generic"])
async def test_the_card_empties_of_exactly_the_verified_kinds(tmp_path: Path, body: str) -> None:
    with SimCamera(body, CARD, serial=SERIALS.get(body)) as cam:
        everything, videos_and_raw = on_card(cam), [n for n in names(cam) if not n.endswith("JPG")]
        config = configuration(
            tmp_path,
            {"main": cam},
            {"archive": {**NEW, "path": "photos"}},
            more={"delete": {"enabled": True, "after": "0s", "kinds": ["jpeg"]}},
        )
        async with living(config) as run:
            await until_left(run, cam, lambda: names(cam) == videos_and_raw, "JPEGs deleted")
            entries = await journal(run)
            assert Counter(entry["state"] for entry in entries) == {"deleted": 6}
            assert all(entry["proofs"][0]["proof"] == "readback" for entry in entries)
            cam.shoot("JPG:40K+CR3:80K")
            fresh = on_card(cam)
            await until_left(
                run, cam, lambda: sum(n.endswith("JPG") for n in names(cam)) == 0, "the new JPEG too"
            )
            await run.delivered()
        assert held(tmp_path / "photos") == everything | fresh
        said = await hotshoe("journal", "--json", "--config", config)
        assert said.code == 0 and said.text.count('"state":"deleted"') == 7


async def test_a_body_without_a_serial_number_keeps_its_card(tmp_path: Path) -> None:
    with SimCamera("generic", "3:30K:JPG") as cam:
        before = names(cam)
        config = configuration(tmp_path, {"main": cam}, {"archive": {**NEW, "path": "photos"}}, more=NOW)
        async with living(config) as run:
            await run.delivered()
            await some_rounds(run)
            assert names(cam) == before and await journal(run) == []
            said = await run.hotshoe("delete", "--dry-run")
            assert said.has("3 files: its camera tells no serial number")


async def test_a_size_is_no_proof_for_a_card(tmp_path: Path) -> None:
    with SimCamera("eos-r7", CARD) as cam:
        before = names(cam)
        destinations = {"archive": {**NEW, "path": "photos", "minimum_proof": "size"}}
        async with living(configuration(tmp_path, {"main": cam}, destinations, more=NOW)) as run:
            await run.delivered()
            await some_rounds(run)
            assert names(cam) == before and await journal(run) == []
            said = await run.hotshoe("delete", "--dry-run")
            assert said.has("0 files") and said.has("its delivery is not proven strongly enough")


async def test_every_required_destination_must_have_proven_it(tmp_path: Path) -> None:
    """One destination is a file, and so no folder: nothing is delivered there, and nothing deleted."""
    (tmp_path / "blocked").write_text("")
    with SimCamera("eos-r7", CARD) as cam:
        before = names(cam)
        destinations = {"archive": {**NEW, "path": "photos"}, "drawer": {**NEW, "path": "blocked"}}
        config = configuration(tmp_path, {"main": cam}, destinations, more=NOW)
        async with living(config) as run:
            await run.until(lambda: _has(tmp_path / "photos", len(before)), "all in the archive")
            await some_rounds(run)
            assert names(cam) == before and await journal(run) == []
            (tmp_path / "blocked").unlink()
            (tmp_path / "blocked").mkdir()
            await run.hotshoe("retry", "--all")
            await until_left(run, cam, lambda: names(cam) == [], "all deleted")
        assert held(tmp_path / "photos") == held(tmp_path / "blocked")


async def _has(folder: Path, count: int) -> bool:
    return folder.is_dir() and held(folder).total() == count


CardChange = Callable[[SimCamera], None]
CHANGES: dict[str, CardChange] = {
    "swapped, other times": lambda cam: cam.trouble.swap_card(),
    "swapped, other sizes": lambda cam: cam.trouble.swap_card(size_change=1, seconds_later=0),
    "formatted, handles used again": lambda cam: cam.trouble.format_and_reuse_handles(),
    "handles given anew": lambda cam: cam.trouble.renumber_handles(reconnect=False),
    "link lost, handles given anew": lambda cam: cam.trouble.renumber_handles(),
}


@pytest.mark.parametrize("body", ["eos-r7", "generic"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_card_that_changes_loses_nothing_that_is_not_delivered(
    tmp_path: Path, body: str, change: str
) -> None:
    """Whatever a handle means by then: all that was ever on a card is at the destination when it is gone from it."""
    with SimCamera(body, CARD, serial=SERIALS.get(body)) as cam:
        first = on_card(cam)
        config = configuration(tmp_path, {"main": cam}, {"archive": {**NEW, "path": "photos"}})
        async with living(config) as run:
            await run.delivered()
        with config.open("a") as file:
            file.write('[delete]\nenabled = true\nafter = "0s"\n')
        seen: list[Counter[str]] = []
        lost: list[str] = []
        was_forgotten = cam.camera.forget

        def forget(card: Any, item: Any) -> None:
            """What is deleted must be at the destination in that very moment; after the first the card changes."""
            if item.source.sha256() not in held(tmp_path / "photos"):
                lost.append(item.path)
            was_forgotten(card, item)
            if not seen:
                seen.append(Counter())
                CHANGES[change](cam)
                seen[0] = on_card(cam)

        cam.camera.forget = forget  # type: ignore[method-assign]
        async with living(config) as run:
            await run.until(lambda: _is_empty(cam), f"the card emptied after it was {change}")
            await run.delivered()
        assert seen and not lost
        assert held(tmp_path / "photos") == first | seen[0]


async def _is_empty(cam: SimCamera) -> bool:
    return not cam.files()


@pytest.mark.parametrize(
    ("arrange", "left", "code"),
    [
        (lambda cam: cam.trouble.read_only_card(), 13, None),
        (lambda cam: cam.trouble.protect("IMG_0001.JPG"), 1, "ptp.object_write_protected"),
        (lambda cam: cam.trouble.fail_op(0x100B, 0x200F), 13, "ptp.access_denied"),
        (lambda cam: cam.trouble.fail_op(0x100B, 0x2019, times=3), 0, "camera.delete_later"),
        (lambda cam: cam.trouble.fail_op(0x100B, 0x2012, times=2), 0, "ptp.partial_deletion"),
    ],
)
async def test_what_the_camera_refuses_is_told_and_left_alone(
    tmp_path: Path, arrange: CardChange, left: int, code: str | None
) -> None:
    with SimCamera("eos-r7", CARD) as cam:
        arrange(cam)
        destinations = {"archive": {**NEW, "path": "photos"}}
        async with living(configuration(tmp_path, {"main": cam}, destinations, more=NOW)) as run:
            await run.delivered()
            await until_left(run, cam, lambda: len(names(cam)) == left, f"{left} files left")
            await some_rounds(run)
            assert len(names(cam)) == left
            asked = cam.stats.operations["0x100b"]
            await some_rounds(run)
            assert cam.stats.operations["0x100b"] == asked, "nothing is asked for again and again"
            codes = {entry["fault_code"] for entry in await journal(run) if entry["state"] != "deleted"}
            assert codes == ({code} if code else set())
            if code is None:
                assert "ptp.store_read_only" in run.codes(camera="main")
            assert run.agent.collectors["main"].body is not None, "the camera is served on"


async def test_the_order_and_what_it_says(tmp_path: Path) -> None:
    with SimCamera("eos-r7", CARD) as cam:
        before = names(cam)
        config = configuration(
            tmp_path,
            {"main": cam},
            {"archive": {**NEW, "path": "photos"}},
            more={"delete": {"after": "0s", "kinds": ["jpeg", "raw"]}},
        )
        with config.open("a") as file:
            file.write('[destinations.drawer]\nkind = "folder"\npath = "drawer"\n')
        async with living(config) as run:
            await run.delivered()
            said = await run.hotshoe("delete")
            assert said.code == 1 and said.has("[order.delete_off]")
            said = await run.hotshoe("delete", "--dry-run", "--verbose")
            assert said.has("12 files") and said.has("would delete") and said.has("its kind is not among")
            said = await run.hotshoe("delete", "--dry-run", "--json")
            rows = [json.loads(line) for line in said.text.replace("} {", "}\n{").splitlines()]
            assert Counter(row["reason"] for row in rows) == {None: 12, "another kind": 1}
            assert names(cam) == before, "a dry run deletes nothing"
            assert (await run.hotshoe("journal")).has("Nothing was deleted")
            said = await run.hotshoe("delete", "--yes", "--json")
            assert json.loads(said.text) == {"cameras": ["main"], "away": []}
            await until_left(run, cam, lambda: len(names(cam)) == 1, "the movie is left")
            assert all("at the command line" in entry["asked_by"] for entry in await journal(run))
            assert (await run.hotshoe("delete", "--dry-run")).has("12 files: it is deleted already")
            assert (await run.hotshoe("journal")).has("archive readback, by")
            file_id = (await journal(run))[0]["file_id"]
            assert (await run.hotshoe("send", file_id, "--to", "drawer")).code == 0, "the spool has it"
            await run.until(lambda: _has(tmp_path / "drawer", 1), "sent from the spool")
            await run.delivered()
            last = (await journal(run))[-1]["file_id"]
            assert await run.agent.spool.evict(last)
            await run.agent.ledger.files.mark_evicted(last)
            said = await run.hotshoe("send", last, "--to", "drawer")
            assert said.code == 1 and said.has("was deleted from its card once it was delivered")
            assert (await run.hotshoe("send", last, "--to", "archive")).has("delivered already")


# -- kills -----------------------------------------------------------------------------------------------


def test_kill_9_at_every_step_deletes_nothing_that_is_not_delivered(tmp_path: Path) -> None:
    """Each life dies at one point of the path; whatever left the card must be at the destination in that moment."""
    seed = new_seed()
    print(f"seed {seed}")
    chance = random.Random(seed)
    photos, marks, log = tmp_path / "photos", tmp_path / "marks", tmp_path / "log"
    photos.mkdir()
    lost: list[str] = []
    with SimCamera("eos-r7", "24:30K:JPG") as cam:
        was_forgotten = cam.camera.forget

        def forget(card: Any, item: Any) -> None:
            there = {hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.rglob("*.JPG")}
            if item.source.sha256() not in there:
                lost.append(item.path)
            was_forgotten(card, item)

        cam.camera.forget = forget  # type: ignore[method-assign]
        everything = on_card(cam)
        config = configuration(tmp_path, {"main": cam}, {"archive": {**NEW, "path": "photos"}}, more=NOW)
        assert _life(["run", "--config", str(config), "--once", "--patience", "20"], log) == 0
        interrupted = [point for point in DELETING if point.startswith("before an interrupted")]
        for point in [*(p for p in DELETING if p not in interrupted), *interrupted]:
            marks.unlink(missing_ok=True)
            if point in interrupted:
                _die_at("between the note and the camera", 1, config, marks, log)
            nth = 1 if point in interrupted else chance.randint(1, 2)
            _die_at(point, nth, config, marks, log)
        process = started(["run", "--config", str(config)], log)
        try:
            _wait_until(lambda: not cam.files(), process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        assert not lost
        assert held(photos) == everything
        said = subprocess.run(
            [sys.executable, "-m", "agent", "journal", "--json", "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        entries = [json.loads(line) for line in said.stdout.splitlines()]
        by_file = Counter(entry["file_id"] for entry in entries if entry["state"] == "deleted")
        assert len(by_file) == 24 and set(by_file.values()) == {1}, "each is deleted once"
        assert {entry["state"] for entry in entries} <= {"deleted", "kept"}
        assert any("interrupted" in entry["detail"] for entry in entries)


def _life(words: list[str], log: Path) -> int:
    process = started(words, log)
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def _die_at(point: str, nth: int, config: Path, marks: Path, log: Path) -> None:
    words = [point, str(nth), str(marks), "run", "--config", str(config)]
    process = started(words, log, module=["tests.system.killable"])
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        pytest.fail(f"never came to: {point}\n{log.read_text()[-3000:]}")
    assert process.returncode == -signal.SIGKILL, log.read_text()[-3000:]
    assert marks.read_text().split("\n")[0], point


def _wait_until(holds: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end or process.poll() is not None:
            pytest.fail(log.read_text()[-3000:])
        time.sleep(0.05)
