"""Bad input of every kind: a clear message each, no crash, nothing lost, and the others go on.

Beside each bad camera works a good one, beside each bad destination a good one. Where the trouble can be mended, it is
mended in the end, and then everything is there.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.cli import main
from agent.cli.hints import hint_of
from tests.backends.disks import lock, small_disk, unlock
from tests.backends.servers.process import free_port
from tests.backends.servers.seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFS
from tests.simcam.simcam import SimCamera
from tests.system.kills import agent
from tests.system.living import (
    Living,
    Said,
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

CARD = "3:200K:JPG,1:300K+1500K:JPG+CR3"
LIST, PARTIAL, DEVICE_INFO = 0x9109, 0x101B, 0x1001
TWO = {"archive": {"kind": "folder", "path": "archive"}, "second": {"kind": "folder", "path": "second"}}


def good_camera() -> SimCamera:
    return SimCamera("eos-r7", CARD, serial="a good one")


# -- cameras ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    name: str
    make: Callable[[SimCamera], object]
    code: str
    state: str = ""  # of the camera while it lasts; "": it mends by itself
    never: frozenset[str] = frozenset()  # names that cannot arrive

    def __str__(self) -> str:
        return self.name


CAMERAS = [
    Bad("says more than it has", lambda c: c.trouble.lying_size("IMG_0001.JPG", 400_000), "ptp.invalid_parameter",
        never=frozenset({"IMG_0001.JPG"})),
    Bad("sends less than it says", lambda c: c.trouble.short_data(times=10**6), "camera.protocol_error", "waiting"),
    Bad("sends more than it says", lambda c: c.trouble.long_data(times=10**6), "camera.protocol_error", "waiting"),
    Bad("sends garbage for files", lambda c: c.trouble.garbage(10**6, PARTIAL), "camera.protocol_error", "waiting"),
    Bad("sends garbage from the first", lambda c: c.trouble.garbage(10**6, DEVICE_INFO), "camera.protocol_error", "waiting"),
    Bad("lists without an end", lambda c: c.trouble.endless_dataset(LIST), "camera.protocol_error"),
    Bad("describes itself without an end", lambda c: c.trouble.endless_dataset(DEVICE_INFO), "camera.protocol_error",
        "waiting"),
    Bad("speaks HTTP", lambda c: c.trouble.not_a_camera(), "camera.wrong_host", "waiting"),
    Bad("refuses our GUID", lambda c: c.trouble.refuse_pairing(), "camera.not_paired", "paused"),
    Bad("hangs up at once", lambda c: c.trouble.reset_on_connect(10**6), "camera.hung_up", "waiting"),
]  # fmt: skip


@pytest.mark.parametrize("bad", CAMERAS, ids=str)
async def test_a_bad_camera_beside_a_good_one(bad: Bad, tmp_path: Path) -> None:
    with good_camera() as good, SimCamera("eos-r7", CARD, serial="a bad one") as camera:
        bad.make(camera)
        config = configuration(tmp_path, {"good": good, "bad": camera}, TWO)
        async with living(config) as here:

            async def is_told() -> bool:
                state, code = await here.subject("camera", "bad")
                is_shown = (state, code) == (bad.state, bad.code) if bad.state else True
                return is_shown and bad.code in here.codes(camera="bad") and await is_all_of(good, here)

            await here.until(is_told, f"{bad.code} is told, and the good one is empty")
            if bad.state:
                await shows(here, bad.code)
            for folder in ("archive", "second"):
                assert held(tmp_path / folder) <= on_card(good, camera), "only what is on a card"
            camera.trouble.heal()
            here.agent.look_again()

            async def is_all_there() -> bool:
                wanted = on_card(good) + on_card(camera, but=bad.never)
                return held(tmp_path / "archive") == held(tmp_path / "second") == wanted

            await here.until(is_all_there, "everything arrives")
            assert good.stats.handshakes == 1


async def is_all_of(good: SimCamera, here: Living) -> bool:
    folder = here.config.parent
    return all(held(folder / name / "good") == on_card(good) for name in TWO)


async def shows(here: Living, code: str) -> None:
    """A person sees the sentence, in the log and by `hotshoe status`."""
    assert code in here.codes()
    said = await here.hotshoe("status")
    assert said.has(f"{hint_of(code)} [{code}]"), said.text


@contextmanager
def silent_host(*, accepts: bool) -> Iterator[tuple[str, int]]:
    """An address where somebody takes connections and says nothing, or does not even take them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100 if accepts else 0)
        address: tuple[str, int] = listener.getsockname()
        waiting = []
        for _ in range(0 if accepts else 3):  # the queue is full: who comes now gets no answer at all
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            with suppress(BlockingIOError):
                waiting[-1].connect(address)
        try:
            yield address
        finally:
            for each in waiting:
                each.close()


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("nobody", "camera.port_closed"),
        ("deaf", "camera.asleep"),
        ("mute", "camera.pairing_timeout"),
        ("camera.invalid", "camera.unknown_host"),
    ],
)
async def test_a_host_that_is_no_camera(host: str, code: str, tmp_path: Path) -> None:
    with good_camera() as good, silent_host(accepts=host == "mute") as silent:
        where = {"nobody": ("127.0.0.1", free_port()), "camera.invalid": ("camera.invalid", 15740)}
        config = configuration(tmp_path, {"good": good, "bad": where.get(host, silent)}, TWO)
        async with living(config) as here:

            async def is_told() -> bool:
                state = await here.subject("camera", "bad")
                return state == ("waiting", code) and await is_all_of(good, here)

            await here.until(is_told, f"{code} is told, and the good one is empty")
            await shows(here, code)
            assert good.stats.handshakes == 1


async def test_another_guid_is_refused_until_it_is_imported(tmp_path: Path) -> None:
    known = bytes(range(1, 17))
    with good_camera() as good, SimCamera("eos-r7", CARD, serial="a bad one", known=[known]) as camera:
        config = configuration(tmp_path, {"good": good, "bad": camera}, TWO)
        async with living(config) as here:

            async def is_told() -> bool:
                state = await here.subject("camera", "bad")
                return state == ("paused", "camera.not_paired") and await is_all_of(good, here)

            await here.until(is_told, "the pairing is refused, and the good one is empty")
            await shows(here, "camera.not_paired")
        assert (await hotshoe("guid", "--import", known.hex(), "--config", config)).code == 0
        good.trouble.forget_pairing()
        async with living(config) as here:
            await here.delivered()
            assert held(tmp_path / "archive") == held(tmp_path / "second") == on_card(good, camera)


async def test_one_body_under_two_names(tmp_path: Path) -> None:
    with good_camera() as good, good_camera() as same:
        config = configuration(tmp_path, {"good": good, "bad": same}, TWO)
        async with living(config) as here:

            async def is_told() -> bool:
                found = [await here.subject("camera", name) for name in ("good", "bad")]
                return sorted(found) == [("ready", None), ("waiting", "camera.connected_twice")]

            await here.until(is_told, "one of the two is told")
            await shows(here, "camera.connected_twice")


HOSTILE = [
    "../../x", "/etc/passwd", "..", ".", "", "a/../../b.JPG", "C:\\x.JPG", "CON.JPG", "nul", "a\x1b[31mb\a\n\r.JPG",
    "n" * 250 + ".JPG", "ü" * 200 + ".JPG", "\u202egnp.JPG", ".hotshoe-0.part", ".hidden", "trailing. ", "-rf", "~", "%s%n",
    "{name}.JPG", "a\tb.JPG", "\U0001f600.JPG", "AUX.tar.gz", "x?*<>|\".JPG", "IMG_0001.JPG",
]  # fmt: skip


async def test_hostile_names_stay_in_the_destination(tmp_path: Path) -> None:
    with good_camera() as good, SimCamera("eos-r7", CARD, serial="a bad one") as camera:
        for number, name in enumerate(HOSTILE):
            camera.trouble.hostile_name(name, 1000 + number)
        (tmp_path / "home").mkdir()
        config = configuration(tmp_path / "home", {"good": good, "bad": camera}, TWO)
        async with living(config) as here:
            await here.delivered()
            camera.trouble.hostile_name("../../../late", 5000)  # by an event
            home = tmp_path / "home"

            async def is_late_there() -> bool:
                return held(home / "archive") == held(home / "second") == on_card(good, camera)

            await here.until(is_late_there, "everything is there")
            assert len(published(home / "archive")) == 2 * 5 + len(HOSTILE) + 1
            assert {path.name for path in tmp_path.iterdir()} == {"home"}
            assert {path.name for path in home.iterdir()} == {"archive", "second", "state", "hotshoe.toml"}
            for folder in ("archive", "second"):
                for path in published(home / folder):
                    assert path.relative_to(home / folder).parts[0] in ("good", "bad")
                    assert str(path).isprintable(), repr(path)
                    assert path.name.split(".")[0].upper() not in ("CON", "NUL", "AUX"), path
            said = await here.hotshoe("files")
            assert said.code == 0 and said.text.isprintable() and "\\x1b[31m" in said.text


# -- destinations ----------------------------------------------------------------------------------------


async def until_told(here: Living, state: str, code: str, camera: SimCamera) -> None:
    """The bad destination is stopped with this code, and the good one has everything."""

    async def is_told() -> bool:
        found = await here.subject("destination", "bad")
        good = here.config.parent / "good"
        return found == (state, code) and good.exists() and held(good) == on_card(camera)

    await here.until(is_told, f"{code} is told, and the good one has everything")
    assert code in here.codes(destination="bad")
    await shows(here, code)


GOOD = {"kind": "folder", "path": "good"}


async def mended(here: Living, folder: Path, camera: SimCamera) -> None:
    assert (await here.hotshoe("resume", "bad")).text == "Destination bad goes on."
    camera.shoot("JPG:100K")
    await all_there(here, camera, folder, here.config.parent / "good")
    assert camera.stats.handshakes == 1


async def all_there(here: Living, camera: SimCamera, *folders: Path) -> None:
    async def is_there() -> bool:
        return all(held(folder) == on_card(camera) for folder in folders)

    await here.until(is_there, "everything is there")


async def test_a_read_only_destination(tmp_path: Path) -> None:
    with good_camera() as camera, small_disk(tmp_path / "disk", 50) as disk:
        lock(disk)
        config = configuration(
            tmp_path, {"main": camera}, {"good": GOOD, "bad": {"kind": "folder", "path": "disk"}}
        )
        async with living(config) as here:
            await until_told(here, "paused", "folder.read_only", camera)
            unlock(disk)
            await mended(here, disk, camera)


async def test_a_destination_that_becomes_read_only(tmp_path: Path) -> None:
    with good_camera() as camera, small_disk(tmp_path / "disk", 50) as disk:
        config = configuration(
            tmp_path, {"main": camera}, {"good": GOOD, "bad": {"kind": "folder", "path": "disk"}}
        )
        async with living(config) as here:
            await here.delivered()
            lock(disk)
            camera.shoot("JPG:100K+CR3:2M")
            await until_told(here, "paused", "folder.read_only", camera)


async def test_a_destination_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("precious")
    with good_camera() as camera:
        config = configuration(
            tmp_path, {"main": camera}, {"good": GOOD, "bad": {"kind": "folder", "path": "bad"}}
        )
        async with living(config) as here:
            await until_told(here, "paused", "folder.not_a_folder", camera)
            assert (tmp_path / "bad").read_text() == "precious"
            (tmp_path / "bad").unlink()
            await mended(here, tmp_path / "bad", camera)


async def test_a_full_destination_is_a_wait(tmp_path: Path) -> None:
    with good_camera() as camera, small_disk(tmp_path / "disk", 4) as disk:
        (disk / "others").write_bytes(bytes(3 << 20))
        config = configuration(
            tmp_path, {"main": camera}, {"good": GOOD, "bad": {"kind": "folder", "path": "disk"}}
        )
        async with living(config) as here:
            await until_told(here, "waiting", "folder.full", camera)
            (disk / "others").unlink()
            await here.delivered()
            assert held(disk) == on_card(camera)
            assert not [path for path in disk.rglob(".hotshoe-*") if path.is_file()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    server = SeaweedFS(tmp_path_factory.mktemp("weed"))
    server.process.start()
    server.make_bucket("photos")
    yield server
    server.process.kill()


WRONG_SECRET = "wrong-secret-that-nobody-may-read"


@pytest.mark.parametrize(
    ("wrong", "state", "code"),
    [
        ({"secret_access_key": WRONG_SECRET}, "paused", "s3.wrong_keys"),
        ({"access_key_id": "nobody", "secret_access_key": WRONG_SECRET}, "paused", "s3.wrong_keys"),
        ({"bucket": "unknown"}, "paused", "s3.no_bucket"),
        ({"endpoint_url": "refused"}, "waiting", "s3.unreachable"),
        ({"endpoint_url": "http://store.invalid"}, "waiting", "s3.unreachable"),
    ],
    ids=["secret", "key", "bucket", "refused", "unknown host"],
)
async def test_a_store_with_wrong_settings(
    wrong: dict[str, str], state: str, code: str, tmp_path: Path, store: SeaweedFS
) -> None:
    right = {
        "kind": "s3",
        "bucket": "photos",
        "endpoint_url": store.url,
        "access_key_id": ACCESS_KEY,
        "secret_access_key": SECRET_KEY,
        "prefix": tmp_path.name,
    }
    if wrong.get("endpoint_url") == "refused":
        wrong = {"endpoint_url": f"http://127.0.0.1:{free_port()}"}
    with good_camera() as camera:
        cameras = {"main": camera}
        config = configuration(tmp_path, cameras, {"good": GOOD, "bad": {**right, **wrong}})
        async with living(config) as here:
            await until_told(here, state, code, camera)
            shown = [
                await here.hotshoe(*words)
                for words in (["status"], ["status", "--json"], ["files", "--json"])
            ]
            configuration(tmp_path, cameras, {"good": GOOD, "bad": right})
            assert (await here.hotshoe("reload")).text == "Taken over."
            await here.delivered()
            there = {
                key.removeprefix(f"{tmp_path.name}/main/100CANON/"): key for key in store.sizes("photos")
            }
            assert {item.name for item in camera.files()} <= there.keys()
            assert camera.stats.handshakes == 1
            doctor = await here.hotshoe("doctor")
            said = str(here.told) + "".join(each.text for each in (*shown, doctor))
            assert SECRET_KEY not in said and WRONG_SECRET not in said


# -- the configuration -----------------------------------------------------------------------------------

BASE = """state_dir = "state"
[[cameras]]
name = "main"
host = "192.168.1.2"
[destinations.archive]
kind = "folder"
path = "photos"
[[routes]]
destinations = ["archive"]
"""
S3 = f"""[destinations.cloud]
kind = "s3"
bucket = "photos"
access_key_id = "AKIA"
secret_access_key = "{WRONG_SECRET}"
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BASE.replace("[[routes]]", "[[routes"), "is not valid TOML"),
        (BASE + S3 + "!", "is not valid TOML"),
        (BASE.replace("host", "hots"), "cameras[1].hots: is unknown; did you mean host?"),
        (BASE + "[upload]\nworkers = 0\n", "upload.workers: must be at least 1"),
        (BASE + '[upload]\nworkers = "many"\n', "upload.workers: must be a whole number"),
        (BASE.replace('"folder"', '"floder"'), "destinations.archive: has an unknown kind; did you mean folder?"),
        (BASE.replace('["archive"]', '["archiv"]'), "routes[1].destinations: names 'archiv', which is no destination"),
        (BASE + '[spool]\nbudget = "lots"\n', "spool.budget: must be a size such as"),
        (BASE + S3 + "part_bytes = 1\n", "destinations.cloud.part_bytes: must be at least"),
        (BASE + S3.replace("secret_access_key", "secret_acces_key"), "secret_acces_key: is unknown; did you mean secret_access_key?"),
        (BASE + S3.replace(f'"{WRONG_SECRET}"', f'["{WRONG_SECRET}"]'), "destinations.cloud.secret_access_key: must be text"),
        (BASE + S3 + f'endpoint_url = "https://AKIA:{WRONG_SECRET}@host"\n', "destinations.cloud.endpoint_url: only scheme"),
        (BASE.replace('path = "photos"', 'path = "photos"\ntemplate = "../{name}"'), "destinations.archive.template:"),
        (None, "does not exist. A file to begin with"),
        ("\udcff", "is not UTF-8 text"),
    ],
    ids=range(15),
)  # fmt: skip
def test_a_malformed_configuration(
    text: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "hotshoe.toml"
    if text is not None:
        config.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main(["run", "--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said and WRONG_SECRET not in said
    assert not (tmp_path / "state").exists()


async def test_a_malformed_configuration_leaves_a_running_agent_alone(tmp_path: Path) -> None:
    with good_camera() as camera:
        config = configuration(tmp_path, {"main": camera}, TWO)
        async with living(config) as here:
            await here.delivered()
            before = config.read_text()
            config.write_text(before + "[upload]\nworkers = 0\n")
            said = await here.hotshoe("reload")
            assert said.code == 1 and said.has("upload.workers: must be at least 1"), said.text
            assert said.has("[order.settings]")
            camera.shoot()
            await all_there(here, camera, tmp_path / "archive")
            assert camera.stats.handshakes == 1


# -- the state folder ------------------------------------------------------------------------------------


async def refused(config: Path, *sentences: str) -> Said:
    """`hotshoe run` says these and ends with 2, without a traceback."""
    said = await hotshoe("run", "--config", config)
    assert said.code == 2 and "Traceback" not in said.text, said.text
    assert all(said.has(sentence) for sentence in sentences), said.text
    return said


async def test_a_second_agent_on_the_same_state_folder(tmp_path: Path) -> None:
    with good_camera() as camera:
        config = configuration(tmp_path, {"main": camera}, TWO)
        async with living(config) as here:
            await refused(config, "another hotshoe is running with the state folder")
            camera.shoot()
            await here.delivered()
            await all_there(here, camera, tmp_path / "archive")
            assert (await here.hotshoe("status")).has("hotshoe is running"), "the socket is still the first's"


@pytest.fixture
async def ended(tmp_path: Path) -> AsyncIterator[tuple[Path, SimCamera]]:
    """An installation that has delivered a card, and rests."""
    with good_camera() as camera:
        config = configuration(tmp_path, {"main": camera}, TWO)
        async with living(config) as here:
            await here.delivered()
        yield config, camera


async def test_a_ledger_of_a_newer_version(ended: tuple[Path, SimCamera], tmp_path: Path) -> None:
    config, _ = ended
    with sqlite3.connect(tmp_path / "state" / "ledger.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = (tmp_path / "state" / "ledger.db").read_bytes()
    await refused(config, "the ledger was written by a newer hotshoe: install that version or a newer one")
    assert (await hotshoe("files", "--config", config)).has("written by a newer hotshoe")
    assert (tmp_path / "state" / "ledger.db").read_bytes() == before


@pytest.mark.parametrize("where", ["head", "middle", "end", "cut"])
async def test_a_damaged_ledger(where: str, ended: tuple[Path, SimCamera], tmp_path: Path) -> None:
    """It is refused with what to do; done so, nothing is lost and nothing is published twice."""
    config, camera = ended
    ledger = tmp_path / "state" / "ledger.db"
    whole = ledger.read_bytes()
    assert not ledger.with_name("ledger.db-wal").exists() and len(whole) > 20_000
    noise = random.Random(1).randbytes(len(whole))
    cut = {"head": 0, "middle": 4096, "end": len(whole) // 2, "cut": len(whole)}[where]
    ledger.write_bytes(whole[: len(whole) // 2] if where == "cut" else whole[:cut] + noise[cut:])
    await refused(config, "ledger.db", "It is damaged: move it away and start hotshoe again")
    assert "Traceback" not in (await hotshoe("files", "--config", config)).text

    ledger.rename(tmp_path / "damaged.db")
    before = {path: path.stat().st_mtime_ns for path in published(tmp_path / "archive")}
    said = await hotshoe("run", "--once", "--config", config)
    assert said.code == 0, said.text
    assert held(tmp_path / "archive") == held(tmp_path / "second") == on_card(camera)
    assert {path: path.stat().st_mtime_ns for path in published(tmp_path / "archive")} == before


async def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "state", 5) as state:
        lock(state)
        config = tmp_path / "hotshoe.toml"
        config.write_text(BASE)
        await refused(config, f"cannot use the state folder {state}: Read-only file system")


async def test_a_state_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("precious")
    config = tmp_path / "hotshoe.toml"
    config.write_text(BASE)
    await refused(config, f"cannot use the state folder {tmp_path / 'state'}")


async def test_a_guid_that_cannot_be_read(ended: tuple[Path, SimCamera], tmp_path: Path) -> None:
    config, _ = ended
    (tmp_path / "state" / "guid").write_text("nonsense")
    await refused(config, "holds no GUID", "hotshoe guid --import")


@pytest.mark.parametrize("is_new", [False, True], ids=["an old ledger", "a new ledger"])
async def test_the_disk_of_the_ledger_is_full_at_the_start(is_new: bool, tmp_path: Path) -> None:
    """Without its memory the agent does not begin, and says so."""
    with good_camera() as camera, small_disk(tmp_path / "state", 3) as state:
        config = configuration(tmp_path, {"main": camera}, TWO, more={"spool": {"path": "spool"}})
        if not is_new:
            assert (await hotshoe("run", "--once", "--config", config)).code == 0
        fill(state / "others")
        camera.shoot()
        said = await hotshoe("run", "--once", "--patience", "1", "--config", config)
        assert said.code in (1, 2) and "Traceback" not in said.text, said.text
        assert "full" in said.text or "No space left" in said.text, said.text
        (state / "others").unlink()
        assert (await hotshoe("run", "--once", "--config", config)).code == 0
        assert held(tmp_path / "archive") == held(tmp_path / "second") == on_card(camera)


async def test_the_disk_of_the_ledger_fills_at_work(tmp_path: Path) -> None:
    with good_camera() as camera, small_disk(tmp_path / "state", 16) as state:
        config = configuration(tmp_path, {"main": camera}, TWO, more={"spool": {"path": "spool"}})
        async with living(config) as here:
            await here.delivered()
            fill(state / "others")
            camera.shoot("JPG:10K", count=12)  # more rows than what the journal has left

            async def waits() -> bool:
                return any(
                    entry["event"] == "the ledger waits" and "is full" in entry["hint"] for entry in here.told
                )

            await here.until(waits, "the ledger waits")
            assert held(tmp_path / "archive") <= on_card(camera)
            (state / "others").unlink()

            await all_there(here, camera, tmp_path / "archive", tmp_path / "second")
            assert any(entry["event"] == "the ledger goes on" for entry in here.told)


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


# -- settings that change at work ------------------------------------------------------------------------


async def test_reload_touches_only_what_changed(tmp_path: Path) -> None:
    with good_camera() as stays, SimCamera("eos-r7", CARD, serial="another") as changes:
        cameras = {"stays": stays, "changes": changes}
        config = configuration(tmp_path, cameras, TWO)
        async with agent_process(config) as log:
            await arrived(lambda: all(held(tmp_path / name) == on_card(stays, changes) for name in TWO), log)
            assert (stays.stats.handshakes, changes.stats.handshakes) == (1, 1)
            moved = {**TWO, "second": {**TWO["second"], "path": "elsewhere"}}
            configuration(tmp_path, cameras, moved, camera_settings={"changes": {"poll_seconds": 0.3}})
            assert (await hotshoe("reload", "--config", config)).text == "Taken over."
            for camera in (stays, changes):
                camera.shoot("JPG:100K")
            await arrived(lambda: held(tmp_path / "archive") == on_card(stays, changes), log)
            await arrived(lambda: held(tmp_path / "elsewhere").total() == 2, log)
            assert (stays.stats.handshakes, changes.stats.handshakes) == (1, 2)
            assert held(tmp_path / "second").total() == 10, "what was delivered is not delivered again"
            said = log.read_text()
            assert said.count("camera ready") == 3 and "camera waiting" not in said


async def test_pause_resume_skip_and_retry_decide_what_is_delivered(tmp_path: Path) -> None:
    with SimCamera("eos-r7", "2:100K:JPG") as camera:
        config = configuration(tmp_path, {"main": camera}, TWO)
        async with agent_process(config) as log:
            second = tmp_path / "second"

            async def order(*words: object) -> str:
                said = await hotshoe(*words, "--config", config)
                assert said.code == 0, said.text
                return said.text

            await arrived(lambda: held(second) == on_card(camera), log)
            old = on_card(camera)
            await order("pause", "second")
            camera.shoot("JPG:100K", count=3)  # 3, 4 and 5
            await arrived(lambda: held(tmp_path / "archive") == on_card(camera), log)
            assert held(second) == old
            await order("skip", "4", "--reason", "blurred")
            await order("resume", "second")
            without = on_card(camera, but=frozenset({"IMG_0004.JPG"}))
            await arrived(lambda: held(second) == without, log)
            read = camera.stats.object_bytes
            assert await order("retry", "4") == "1 delivery queued again; whatever waits is tried now."
            await arrived(lambda: held(second) == on_card(camera), log)
            assert camera.stats.object_bytes == read and camera.stats.handshakes == 1


@asynccontextmanager
async def agent_process(config: Path) -> AsyncIterator[Path]:
    """A running agent in a process of its own; gives its log. It must end well."""
    log = config.with_name("agent.log")
    process = await asyncio.to_thread(agent, ["run", "--config", str(config)], log)
    try:
        yield log
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


async def arrived(holds: Callable[[], bool], log: Path) -> None:
    """A folder has no event to wait for."""
    try:
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(holds):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(log.read_text()[-3000:])
