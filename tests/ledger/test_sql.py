"""Where SQL may stand, what it may cost, and how often it is asked for."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.ledger import Ledger, NewDelivery
from tests.ledger.given import RECEIPT, SERIAL, behind_the_back, keys_of, opened, sha256, shot

AGENT = Path(__file__).parent.parent.parent / "agent"
SQL = re.compile(
    r"\.execute\w*\(|\bimport (?:aio)?sqlite|[\"'](?:SELECT|INSERT|UPDATE|DELETE|REPLACE|PRAGMA|BEGIN|COMMIT|WITH) "
)


def test_sql_stands_in_the_ledger_alone() -> None:
    places = [path for path in AGENT.rglob("*") if path.suffix in (".py", ".sql")]
    found = {
        path.relative_to(AGENT).parts[0]
        for path in places
        if any(
            SQL.search(line)
            for line in path.read_text("utf-8").splitlines()
            if not line.lstrip().startswith("#")
        )
    }
    assert len(places) > 50
    assert found - {"ledger", "schema"} == set()
    assert "ledger" in found, "the search finds nothing at all"


# -- plans


FILES = 50_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger after a long life: 50,000 files, most of them evicted, some in every other state."""
    import asyncio

    folder = tmp_path_factory.mktemp("large")
    asyncio.run(_made(folder))
    states = ["discovered", "fetching", "fetched", "fetched", "gone", "skipped"] + ["evicted"] * 20
    deliveries = {"fetching": "queued", "fetched": "queued", "evicted": "done"}
    db = behind_the_back(folder)
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    db.execute("BEGIN")
    chosen = [(n, states[n % len(states)]) for n in range(1, FILES + 1)]
    db.executemany(
        "INSERT INTO file (id, serial, storage, folder, name, captured, size_bytes, identity, kind, rank, shot, handle, seen_by,"
        " state, sha256, fetched_at, skipped_by, skip_reason, discovered_at, seq)"
        f" VALUES (?1, '{SERIAL}', ?1 % 2, ?2, ?3, ?4, 1000, ?5, 'jpeg', ?1 % 4, 1, 1, 'scan', ?6, 'x', ?1, 'x', 'x', 'x', ?1)",
        [
            (
                n,
                f"{100 + n // 1000}CANON",
                f"IMG_{n % 9999:04}.JPG",
                f"2024-01-01T00:00:{n % 60:02}",
                sha256(str(n)),
                state,
            )
            for n, state in chosen
        ],
    )
    db.executemany(
        "INSERT INTO delivery (file_id, destination, wanted_key, key, rank, captured, state, token, queued_at, done_at, proof,"
        " exclusive, seq) VALUES (?1, 'archive', ?1, ?1, ?1 % 4, ?1, ?2, 'x', 'x', 'x', 'readback', 'atomic', ?1)",
        [(n, deliveries[state]) for n, state in chosen if state in deliveries],
    )
    db.execute("COMMIT")
    for _, sql in triggers:
        db.execute(sql)
    db.close()
    return folder


async def _made(folder: Path) -> None:
    await (await opened(folder)).close()


@pytest.fixture
async def aged(large: Path) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(large)
    yield ledger
    await ledger.close()


class Recorder:
    """The plans of all statements that are given while it listens."""

    def __init__(self, ledger: Ledger, folder: Path):
        self.statements: list[tuple[str, tuple[object, ...]]] = []
        self._store = ledger._store
        self._db = behind_the_back(folder)

    def __enter__(self) -> Recorder:
        self._all, self._do = self._store.all, self._store.do

        async def all_rows(sql: str, *parameters: object) -> list[sqlite3.Row]:
            self.statements.append((sql, parameters))
            return await self._all(sql, *parameters)

        async def do(sql: str, *parameters: object) -> None:
            self.statements.append((sql, parameters))
            await self._do(sql, *parameters)

        self._store.all, self._store.do = all_rows, do  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._store.all, self._store.do = self._all, self._do  # type: ignore[method-assign]

    def plans(self) -> Iterator[tuple[str, str]]:
        """Every step of every plan, with its statement."""
        for sql, parameters in self.statements:
            for row in self._db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters):
                yield row[3], sql
        self._db.close()


async def test_what_is_asked_all_the_time_never_reads_a_whole_table(aged: Ledger, large: Path) -> None:
    with Recorder(aged, large) as recorder:
        assert len(await aged.files.known(SERIAL, 1, "120CANON")) == 500
        assert len(await aged.files.known(SERIAL, 1, "120CANON", "IMG_0001.JPG")) <= 1
        await aged.files.known_folders(SERIAL, 1)
        (file_id,) = await aged.files.discover(SERIAL, [shot()])
        await aged.files.settle(file_id, 5, shot().captured, "identity")
        await aged.files.begin_fetch(
            file_id,
            1,
            from_zero=True,
            owed=[NewDelivery(each, keys_of(shot())) for each in ("archive", "cloud")],
        )
        await aged.files.hold_file(file_id, "camera", "x.y", "", None)
        await aged.files.finish_fetch(file_id, "x", None)
        job = await aged.deliveries.claim("archive", [1, 2, 3])
        assert job is not None
        await aged.deliveries.first_rank("archive", [1, 2, 3])
        await aged.deliveries.hold("archive", ["video"], "x")
        await aged.deliveries.release("archive", ["video"])
        await aged.deliveries.release("archive")
        await aged.deliveries.leftovers("archive")
        await aged.views.delivered("archive", limit=50)
        await aged.deliveries.save_token(job.id, "t", 1)
        await aged.deliveries.undone_holder("archive", "IMG_0001.JPG")
        await aged.deliveries.rekey(job.id, "other.jpg")
        await aged.deliveries.share_delivery(job.id)
        await aged.deliveries.postpone(job.id, waiting_for="retry", code="x.y")
        await aged.deliveries.finish_delivery(job.id, RECEIPT)
        await aged.files.freeable()
        await aged.files.sacrificeable(["archive"], SERIAL)
        await aged.files.mark_evicted(job.file_id)
        await aged.files.mark_gone([file_id])
        await aged.files.bring_back([file_id])
        await aged.files.fetch_again([file_id])
        await aged.files.spooled()
        await aged.files.promised()
        await aged.views.files(limit=50)
        await aged.views.files(state="discovered", limit=50)
        await aged.views.undelivered()
        await aged.orders.skip([file_id], "somebody", "no")
        await aged.orders.retry([file_id])
        await aged.orders.retry(None)
    tables = r"(file|delivery|[dfkt]|tf)\b"
    whole = {
        (step, sql) for step, sql in recorder.plans() if re.match(rf"SCAN {tables}(?! USING COVERING)", step)
    }
    assert whole == set()
    assert len(recorder.statements) > 30


async def test_a_claim_takes_the_first_of_an_index_without_sorting(aged: Ledger, large: Path) -> None:
    with Recorder(aged, large) as recorder:
        await aged.deliveries.claim("archive", [])
    steps = [step for step, _ in recorder.plans()]
    assert any("USING INDEX delivery_next (destination=?)" in step for step in steps)
    assert not [step for step in steps if "TEMP B-TREE" in step]


# -- how often


async def test_ten_statements_a_file_and_three_a_delivery(tmp_path: Path) -> None:
    """Whatever the size; measured over a whole life through the real methods, from the listing to eviction."""
    ledger = await opened(tmp_path)
    count = 100
    files = [shot(f"IMG_{n:04}.JPG", size=1000 + n) for n in range(count)]
    before = ledger.statements
    known = await ledger.files.known(SERIAL, 1, "100CANON")
    assert known == []
    ids = await ledger.files.discover(SERIAL, files)
    for file_id, file in zip(ids, files, strict=True):
        await ledger.files.begin_fetch(
            file_id, 1, from_zero=True, owed=[NewDelivery("archive", keys_of(file))]
        )
        await ledger.files.finish_fetch(file_id, "x", None)
    per_file = (ledger.statements - before) / count
    before = ledger.statements
    while (job := await ledger.deliveries.claim("archive", [])) is not None:
        await ledger.deliveries.save_token(job.id, "t", job.generation)  # not every backend needs it
        await ledger.deliveries.finish_delivery(job.id, RECEIPT)
    per_delivery = (ledger.statements - before - 1) / count  # one claim was in vain
    before = ledger.statements
    for file_id in await ledger.files.freeable():
        await ledger.files.mark_evicted(file_id)
    per_file += (ledger.statements - before) / count
    print(f"{per_file:.2f} statements per file, {per_delivery:.2f} per delivery")
    assert per_file <= 10 and per_delivery <= 3
    assert (await ledger.views.counts())["files"] == {"evicted": count}
    await ledger.close()
