"""What routes ask for besides the listing: learnt once, in any order, of the right file, and never at the cost of one."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest

from agent.backends.folder import FolderConfig
from agent.camera import Handle, Look, Object
from agent.collector import fetching, learning
from agent.ledger import Outcome
from agent.pictures import HEAD_BYTES
from agent.settings import Route
from tests.collector.scripted import Body, File, content, made
from tests.collector.workbench import Visiting, Workbench
from tests.photographs import exposure_tags, jpeg

SHOT = 0x9190_0010
RECEIPT = Outcome(proof="readback", exclusive="atomic", checksum="sha256:00", location="/x", version=None)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "SHOT_SECONDS", 0.3)
    monkeypatch.setattr(fetching, "backoff_seconds", lambda tries, cap: 0.001)


class Telling(Body):
    """A body that tells of protection only when it is asked for one object, as an EOS does."""

    def __init__(self, *files: File, **more: Any):
        super().__init__(*files, **more)
        self.protected: set[str] = set()

    async def lookup(self, item: Object) -> Object | None:
        found = await super().lookup(item)
        return found and msgspec.structs.replace(found, is_protected=found.name in self.protected)

    def change(self, file: File) -> None:
        self.looks.put_nowait(Look(changed=(file.object,)))


def shot(name: str, size: int = 250, *, group: int = SHOT, **more: Any) -> File:
    """A file with the camera's number for its shot."""
    file = made(name, size, **more)
    file.object = msgspec.structs.replace(file.object, group=group)
    return file


def photo(name: str = "A.JPG", *, rating: int | None = None, lens: str = "RF50mm", **more: Any) -> File:
    data = jpeg(exposure=exposure_tags(lens=lens), rating=rating, tail=name.encode())
    return made(name, data=data, **more)


def routes(bench: Workbench, *tables: dict[str, Any]) -> None:
    """Set the routes; the destinations are called archive and cloud."""
    bench.around.destinations = {
        name: FolderConfig.model_validate({"path": f"/{name}", "template": "{name}"})
        for name in ("archive", "cloud")
    }
    bench.around.routes = tuple(Route.model_validate(table) for table in tables)


async def keys(bench: Workbench) -> dict[str, str]:
    """Every delivery: destination and key by ``name>destination``."""
    return {
        f"{row['name']}>{each['destination']}": each["key"]
        for row in await bench.ledger.views.files()
        for each in row["deliveries"]
    }


async def settled(visit: Visiting) -> set[str]:
    await visit.idle()
    return set(await keys(visit.bench))


# -- what files say of themselves


async def test_a_name_that_the_file_itself_tells(bench: Workbench) -> None:
    routes(bench, {"destinations": "archive", "template": "{lens}/{taken:%Y}/{name}"})
    bench.around.destinations = dict(bench.around.destinations)
    body = Body(photo(lens="EF 100mm"), photo("B.JPG", lens="a/b"), made("C.MP4", 950))
    async with bench.visiting(body) as visit:
        await visit.idle()
    assert await keys(bench) == {
        "A.JPG>archive": "EF 100mm/2024/A.JPG",
        "B.JPG>archive": "a_b/2024/B.JPG",
        "C.MP4>archive": "unknown/2024/C.MP4",
    }
    for file in body.files:
        await bench.assert_fetched(file.object.name, file.data)


async def test_at_most_the_beginning_is_read_for_it(bench: Workbench) -> None:
    routes(bench, {"destinations": "archive", "match": {"min_rating": 1}})
    body = Body(made("A.JPG", 2 * HEAD_BYTES))
    async with bench.visiting(body) as visit:
        await visit.idle()
    assert await bench.states() == {"A.JPG": "discovered"} and body.reads == [("A.JPG", 0)]


async def test_only_files_that_the_rest_of_the_route_fits_are_looked_into(bench: Workbench) -> None:
    routes(bench, {"destinations": "archive", "match": {"kind": "jpeg", "folder": "101*", "min_rating": 1}})
    body = Body(
        photo(rating=5), photo("B.JPG", rating=5, folder="101CANON"), made("C.CR3", folder="101CANON")
    )
    async with bench.visiting(body) as visit:
        await visit.idle()
    assert set(await keys(bench)) == {"B.JPG>archive"} and {name for name, _ in body.reads} == {"B.JPG"}


async def test_what_was_learnt_is_remembered(bench: Workbench) -> None:
    routes(bench, {"destinations": "archive", "match": {"min_rating": 1}})
    async with bench.visiting(Body(photo())) as visit:
        await visit.idle()
    again = Body(photo())
    async with bench.visiting(again) as visit:
        await visit.idle()
        visit.visit.hurry()
        await bench.until(lambda: scanned(again, 2))
        await visit.idle()
    assert again.reads == [] and again.lookups == []


async def scanned(body: Body, times: int) -> bool:
    return body.scans >= times


async def test_a_ledger_that_is_built_anew_gives_the_same_keys(bench: Workbench, tmp_path: Any) -> None:
    found = []
    for folder in ("one", "two"):
        async with Workbench.at(tmp_path / folder) as fresh:
            routes(fresh, {"destinations": "archive", "template": "{lens}/{rating}/{utc:%H%M%S}-{name}"})
            body = Body(photo(rating=2), photo("B.JPG"))
            body.clock_ahead_seconds = 7200.0 + (0.7 if folder == "two" else -0.9)
            async with fresh.visiting(body) as visit:
                await visit.idle()
            found.append(await keys(fresh))
    assert found[0] == found[1]
    assert found[0] == {"A.JPG>archive": "RF50mm/2/080000-A.JPG", "B.JPG>archive": "RF50mm/0/080000-B.JPG"}


async def test_a_card_that_is_swapped_while_it_is_looked_into(bench: Workbench) -> None:
    """The bytes that were read were another file's: nothing may be called after them."""
    routes(bench, {"destinations": "archive", "template": "{lens}/{name}"})
    mine, other = photo(lens="mine"), photo("Z.JPG", lens="another")
    handle = mine.object.handle
    body = Body(mine)

    def swap(item: Object, offset: int) -> None:
        if len(body.reads) == 1:  # our handle means the other file for now
            other.object = msgspec.structs.replace(other.object, handle=handle)
            mine.object = msgspec.structs.replace(mine.object, handle=Handle(77))
            body.files = [other, mine]

    body.on_read = swap
    async with bench.visiting(body) as visit:
        await bench.until_states(A_JPG="fetched", Z_JPG="fetched")
        await visit.idle()
    assert await keys(bench) == {"A.JPG>archive": "mine/A.JPG", "Z.JPG>archive": "another/Z.JPG"}


async def test_a_body_that_gives_whole_files_only(bench: Workbench) -> None:
    routes(
        bench,
        {"destinations": "archive", "template": "{lens}/{name}"},
        {"destinations": "cloud", "match": {"min_rating": 1}},
    )
    body = Body(photo(rating=5), resumes=False)
    async with bench.visiting(body) as visit:
        await visit.idle()
    assert await keys(bench) == {"A.JPG>archive": "unknown/A.JPG"}


async def test_a_link_that_breaks_while_a_file_is_looked_into(bench: Workbench) -> None:
    from tests.collector.scripted import lost

    routes(bench, {"destinations": "archive", "template": "{lens}/{name}"})
    body = Body(photo())

    def cut(item: Object, offset: int) -> None:
        body.link = lost()

    body.on_read = cut
    async with bench.visiting(body) as visit:
        await visit.ended()
    assert await keys(bench) == {}
    async with bench.visiting(Body(photo())) as visit:
        await visit.idle()
    assert await keys(bench) == {"A.JPG>archive": "RF50mm/A.JPG"}


# -- marks


PROTECTED = {"destinations": "cloud", "match": {"protected": True}}


async def test_protection_is_asked_for_and_remembered(bench: Workbench) -> None:
    routes(bench, PROTECTED)
    for is_first in (True, False):
        body = Telling(made("A.JPG"), made("B.JPG"))
        body.protected = {"B.JPG"}
        async with bench.visiting(body) as visit:
            await visit.idle()
        assert await bench.states() == {"A.JPG": "discovered", "B.JPG": "fetched"}
        if not is_first:
            assert body.lookups == []
    assert [row["is_protected"] for row in await bench.ledger.views.files()] == [0, 1]


async def test_a_picture_that_is_protected_later_goes_further(bench: Workbench) -> None:
    routes(bench, {"destinations": "archive"}, PROTECTED)
    body = Telling(made("A.JPG"), made("B.JPG"))
    async with bench.visiting(body) as visit:
        assert await settled(visit) == {"A.JPG>archive", "B.JPG>archive"}
        body.protected, body.reads = {"A.JPG"}, []
        body.change(body.files[0])
        await bench.until(lambda: has(bench, "A.JPG>cloud"))
        body.protected = set()
        body.change(body.files[0])
        assert await settled(visit) == {"A.JPG>archive", "B.JPG>archive", "A.JPG>cloud"}, "and stays owed"
    assert body.reads == [], "from the spool"


async def test_a_picture_that_is_rated_later_is_fetched(bench: Workbench) -> None:
    routes(bench, {"destinations": "cloud", "match": {"min_rating": 3}})
    body = Telling(photo(rating=0))
    async with bench.visiting(body) as visit:
        assert await settled(visit) == set()
        body.files[0].data = photo(rating=4).data
        body.change(body.files[0])
        await bench.until_states(A_JPG="fetched")
    await bench.assert_fetched("A.JPG", photo(rating=4).data)
    assert (await bench.files())["A.JPG"]["picture"].endswith('"rating":4}')


async def test_a_picture_that_is_marked_after_it_left_the_spool_comes_once_more(bench: Workbench) -> None:
    routes(bench, {"destinations": "archive"}, PROTECTED)
    body = Telling(made("A.JPG"))
    await bench.ledger.cameras.set_subject("destination", "archive", "ready")
    await bench.ledger.cameras.set_subject("destination", "cloud", "ready")
    async with bench.visiting(body) as visit:
        await visit.idle()
        job = await bench.ledger.deliveries.claim("archive", [])
        assert job and await bench.ledger.deliveries.finish_delivery(job.id, RECEIPT)
        await bench.ledger.files.mark_evicted(job.file_id)
        await bench.spool.forget(job.file_id)
        body.protected = {"A.JPG"}
        body.change(body.files[0])
        await bench.until_states(A_JPG="fetched")
    assert set(await keys(bench)) == {"A.JPG>archive", "A.JPG>cloud"}


async def has(bench: Workbench, *wanted: str) -> bool:
    return set(wanted) <= set(await keys(bench))


# -- shots


ALONE = {"destinations": "cloud", "match": {"kind": "jpeg", "without_kind": "raw"}}
TOGETHER = {"destinations": "archive", "match": {"kind": "jpeg", "with_kind": "raw"}}
WHOLE = {"destinations": "cloud", "match": {"kind": "jpeg", "protected": True}, "whole_shot": True}
TRIO = ("A.JPG", "A.CR3", "A.MP4")


@pytest.mark.parametrize("order", list(permutations(TRIO)))
@pytest.mark.parametrize("way", ["listed", "announced at once", "announced one by one"])
async def test_the_order_of_a_shot_decides_nothing(
    bench: Workbench, way: str, order: tuple[str, ...]
) -> None:
    routes(bench, ALONE, TOGETHER, WHOLE)
    files = [shot(name) for name in order]
    body = Telling(*(files if way == "listed" else ()))
    body.protected = {"A.JPG"}
    async with bench.visiting(body) as visit:
        if way == "announced at once":
            body.shoot(*files)
        elif way == "announced one by one":
            for file in files:
                body.shoot(file)
                await bench.until(lambda name=file.object.name: is_known(bench, name))  # type: ignore[misc]
        expected = {"A.JPG>archive", *(f"{name}>cloud" for name in TRIO)}
        await bench.until(lambda: has(bench, *expected))
        assert await settled(visit) == expected
    assert set((await bench.states()).values()) == {"fetched"}


async def is_known(bench: Workbench, name: str) -> bool:
    return name in await bench.states()


async def test_a_jpeg_goes_alone_once_no_raw_has_come(bench: Workbench) -> None:
    routes(bench, ALONE)
    body = Body(
        shot("A.JPG", captured="2024-05-01T10:00:00"),
        shot("B.JPG", group=SHOT + 16, captured="2024-05-01T11:00:00"),
    )
    async with bench.visiting(body) as visit:
        await bench.until(lambda: has(bench, "A.JPG>cloud"))
        assert await settled(visit) == {"A.JPG>cloud", "B.JPG>cloud"}


async def test_what_lay_on_the_card_waits_for_nobody(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "SHOT_SECONDS", 3600.0)
    routes(bench, ALONE)
    body = Body(*(shot(f"{n}.JPG", group=SHOT + 16 * n, captured=f"2024-05-01T1{n}:00:00") for n in range(4)))
    async with bench.visiting(body):
        await bench.until(lambda: has(bench, "0.JPG>cloud", "1.JPG>cloud", "2.JPG>cloud"))
        assert (await bench.states())["3.JPG"] == "discovered", (
            "the newest may be of a shot that is being written"
        )


async def test_a_memo_that_comes_minutes_later_takes_its_shot_along(bench: Workbench) -> None:
    routes(bench, {"destinations": "archive"}, {"destinations": "cloud", "match": {"with_kind": "audio"}})
    body = Body(shot("A.JPG"))
    async with bench.visiting(body) as visit:
        assert await settled(visit) == {"A.JPG>archive"}
        body.reads = []
        body.shoot(shot("A.WAV"))
        await bench.until(lambda: has(bench, "A.JPG>cloud"))
        assert await settled(visit) == {"A.JPG>archive", "A.JPG>cloud", "A.WAV>archive"}
    assert {name for name, _ in body.reads} == {"A.WAV"}, "the JPEG goes from the spool"


async def test_a_partner_that_comes_while_the_first_is_being_fetched(bench: Workbench) -> None:
    routes(bench, {"destinations": "archive"}, {"destinations": "cloud", "match": {"with_kind": "audio"}})
    body = Body(
        shot("A.JPG", 950, captured="2024-05-01T10:00:00"),
        shot("Z.JPG", group=1, captured="2024-05-01T11:00:00"),
    )

    async def talk(item: Object, offset: int) -> None:
        if (item.name, offset) == ("A.JPG", 300):
            body.shoot(shot("A.WAV"))
            await bench.until(lambda: is_known(bench, "A.WAV"))

    body.on_read = talk
    async with bench.visiting(body) as visit:
        await bench.until(lambda: has(bench, "A.JPG>cloud"))
        assert await settled(visit) == {"A.JPG>archive", "A.JPG>cloud", "A.WAV>archive", "Z.JPG>archive"}
    assert (await bench.files())["A.JPG"]["generation"] == 1


async def test_old_pictures_that_were_left_alone_stay_so_but_count(bench: Workbench) -> None:
    routes(bench, ALONE, {"destinations": "archive", "match": {"kind": "raw", "with_kind": "jpeg"}})
    body = Body(shot("A.CR3"), shot("B.CR3", group=SHOT + 16))
    async with bench.visiting(body, backlog="none") as visit:
        assert await settled(visit) == set()
        body.shoot(shot("A.JPG"), shot("C.JPG", group=SHOT + 32))
        await bench.until(lambda: has(bench, "C.JPG>cloud"))
        assert await settled(visit) == {"C.JPG>cloud"}
    assert (await bench.states())["A.CR3"] == "skipped" and {name for name, _ in body.reads} == {"C.JPG"}


async def test_numbers_that_come_again_after_a_format_make_no_shot(bench: Workbench) -> None:
    routes(bench, {"destinations": "archive", "match": {"kind": "raw"}}, ALONE)
    async with bench.visiting(Body(shot("A.CR3"))) as visit:
        assert await settled(visit) == {"A.CR3>archive"}
    body = Body(shot("A.JPG", captured="2025-01-01T10:00:00"))
    async with bench.visiting(body) as visit:
        assert await settled(visit) == {"A.CR3>archive", "A.JPG>cloud"}


async def test_a_partner_that_was_deleted_is_none(bench: Workbench) -> None:
    routes(bench, ALONE)
    body = Body(shot("A.CR3"), shot("A.JPG"))
    async with bench.visiting(body) as visit:
        assert await settled(visit) == set()
        body.files = [file for file in body.files if file.object.name != "A.CR3"]
        visit.visit.hurry()
        await bench.until(lambda: has(bench, "A.JPG>cloud"))


async def test_routes_that_begin_to_ask_while_files_wait(bench: Workbench) -> None:
    """Nobody has kept an account of shots by then: the cards are read before anything is decided."""
    routes(bench, {"destinations": "archive"})
    body = Body(shot("A.JPG"), shot("A.CR3"), made("Z.JPG", 950))

    def change(item: Object, offset: int) -> None:
        if (item.name, offset) == ("Z.JPG", 0):
            routes(bench, ALONE, TOGETHER)

    body.on_read = change
    body.files[2].object = msgspec.structs.replace(body.files[2].object, captured="2024-05-02T10:00:00")
    async with bench.visiting(body) as visit:
        await bench.until(lambda: is_known(bench, "Z.JPG"))
        await bench.until_states(Z_JPG="fetched")
        visit.visit.hurry()
        await bench.until(lambda: has(bench, "A.JPG>archive"))
        assert "A.JPG>cloud" not in await settled(visit)


async def test_a_body_that_only_tells_that_something_is_new_about_a_file(bench: Workbench) -> None:
    """A camera without Canon's events: what is described anew comes as if it were new."""
    routes(bench, {"destinations": "archive"}, PROTECTED)
    body = Telling(made("A.JPG"))
    async with bench.visiting(body) as visit:
        await visit.idle()
        body.protected = {"A.JPG"}
        body.looks.put_nowait(Look(added=(body.files[0].object,)))
        await bench.until(lambda: has(bench, "A.JPG>cloud"))


async def test_without_the_cameras_number_each_file_is_alone(bench: Workbench) -> None:
    routes(bench, ALONE)
    async with bench.visiting(Body(made("A.JPG"), made("A.CR3"))) as visit:
        assert await settled(visit) == {"A.JPG>cloud"}


async def test_a_partner_that_never_settles_holds_up_nobody_for_ever(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "UNSETTLED_SECONDS", 0.5)
    routes(bench, {"destinations": "archive", "match": {"kind": "jpeg"}, "whole_shot": True}, WHOLE)
    raw = shot("A.CR3")
    raw.object = msgspec.structs.replace(raw.object, size=None)
    body = Telling(shot("A.JPG"), raw)
    body.protected = {"A.JPG"}
    async with bench.visiting(body):
        await bench.until(lambda: has(bench, "A.JPG>archive", "A.JPG>cloud"))


# -- the price


async def test_statements_of_files_that_were_asked(bench: Workbench) -> None:
    routes(bench, ALONE, TOGETHER, {**WHOLE, "template": "{lens}/{name}"})
    count = 40
    body = Telling(
        *(shot(f"{n}.{kind}", group=16 * n + 16) for n in range(count // 2) for kind in ("JPG", "CR3"))
    )
    body.protected = {f"{n}.JPG" for n in range(count)}
    before = bench.ledger.statements
    async with bench.visiting(body) as visit:
        assert len(await settled(visit)) == count * 3 // 2
    spent = (bench.ledger.statements - before) / count
    print(f"{spent:.2f} statements for a file that was asked")
    assert spent <= 10


async def test_no_route_asks_so_nothing_is_asked(bench: Workbench) -> None:
    files = [shot(f"{n}.JPG", group=16 * n) for n in range(20)]
    body = Telling(*files)
    async with bench.visiting(body) as visit:
        await visit.idle()
    assert len(body.lookups) == 20, "each once, after its last byte"
    assert [offset for name, offset in body.reads if name == "0.JPG"] == [0, 100, 200]
    assert content("0.JPG", 250) == files[0].data
