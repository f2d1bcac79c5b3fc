"""What the schema itself enforces, whoever writes: legal changes of state, CHECKs, unique keys, change numbers."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from itertools import permutations
from pathlib import Path

import pytest

from agent.ledger import Ledger
from tests.ledger.given import delivery_of, discovered, done, fetched, shot

FILE = ("discovered", "fetching", "fetched", "evicted", "gone", "skipped")
DELIVERY = ("queued", "uploading", "done", "failed", "skipped")

LEGAL = {
    # A second reading of the design: what each state may become, and through what.
    "file": {
        "discovered": {"fetching", "gone", "skipped"},
        "fetching": {"fetched", "discovered", "gone", "skipped"},  # discovered: the spool lost the part
        "fetched": {"evicted", "discovered"},  # discovered: the spool lost the file
        "evicted": {"fetching", "gone"},  # owed once more, and found or not
        "gone": {"discovered", "skipped"},  # the card is back, or a person gave up
        "skipped": {"discovered"},
    },
    "delivery": {
        "queued": {"uploading", "done", "failed", "skipped"},
        "uploading": {"queued", "done", "failed", "skipped"},
        "done": {"queued"},  # where it turns out not to lie there any more
        "failed": {"queued", "skipped"},
        "skipped": {"queued"},
    },
}
# Whatever else a state demands of a row is set, so that only the change itself can be refused.
FULL = {
    "file": "sha256 = 'x', fetched_at = 'x', skipped_by = 'x', skip_reason = 'x'",
    "delivery": "done_at = 'x', proof = 'size', exclusive = 'atomic', fault_code = 'x', skipped_by = 'x', skip_reason = 'x'",
}


async def test_the_table_of_legal_changes_is_the_designs(ledger: Ledger) -> None:
    assert set(await ledger.views.transitions()) == {
        (subject, old, new) for subject, table in LEGAL.items() for old in table for new in table[old]
    }


@pytest.mark.parametrize(("subject", "states"), [("file", FILE), ("delivery", DELIVERY)])
async def test_every_other_change_is_refused(
    ledger: Ledger, db: sqlite3.Connection, subject: str, states: tuple[str, ...]
) -> None:
    await fetched(ledger)
    db.execute(f"UPDATE {subject} SET {FULL[subject]}")
    trigger = db.execute(
        "SELECT sql FROM sqlite_master WHERE name = ?", (f"{subject}_state_change",)
    ).fetchone()[0]
    for old, new in permutations(states, 2):
        db.execute(f"DROP TRIGGER {subject}_state_change")  # to get there
        db.execute(f"UPDATE {subject} SET state = ?", (old,))
        db.execute(trigger)
        change = (f"UPDATE {subject} SET state = ?", (new,))
        if new in LEGAL[subject][old]:
            db.execute(*change)
        else:
            with pytest.raises(sqlite3.IntegrityError, match="illegal change"):
                db.execute(*change)
            assert db.execute(f"SELECT state FROM {subject}").fetchone() == (old,)


@pytest.mark.parametrize(
    ("table", "broken"),
    [
        ("file", "state = 'unheard of'"),
        ("file", "size_bytes = -1"),
        ("file", "seen_by = 'rumour'"),
        ("file", "identity = NULL"),  # with a size
        ("file", "identity = NULL, size_bytes = NULL"),  # fetched
        ("file", "sha256 = NULL"),
        ("file", "fetched_at = NULL"),
        ("delivery", "state = 'unheard of'"),
        ("delivery", "state = 'done'"),
        ("delivery", "state = 'done', done_at = 'x', proof = 'size'"),
        ("delivery", "state = 'done', done_at = 'x', exclusive = 'atomic'"),
        ("delivery", "state = 'done', proof = 'size', exclusive = 'atomic'"),
        ("delivery", "state = 'failed'"),
        ("delivery", "state = 'skipped'"),
        ("delivery", "state = 'skipped', skipped_by = 'x'"),
        ("delivery", "proof = 'promise'"),
        ("delivery", "exclusive = 'hoped'"),
        ("delivery", "file_id = 999"),
        ("delivery", "shared_with = 999"),
        ("subject", "state = 'unheard of'"),
        ("subject", "state = 'paused'"),
        ("subject", "kind = 'lens'"),
        ("transition", "subject = 'camera'"),
        ("counter", "id = 2"),
    ],
)
async def test_checks(ledger: Ledger, db: sqlite3.Connection, table: str, broken: str) -> None:
    await fetched(ledger)
    await ledger.cameras.set_subject("destination", "archive", "ready")
    before = db.execute(f"SELECT * FROM {table}").fetchall()
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(f"UPDATE {table} SET {broken}")
    assert db.execute(f"SELECT * FROM {table}").fetchall() == before


async def test_one_row_per_identity_and_one_delivery_per_file_and_destination(
    ledger: Ledger, db: sqlite3.Connection
) -> None:
    await fetched(ledger)
    other = await fetched(ledger, shot("IMG_0002.JPG"))
    with pytest.raises(sqlite3.IntegrityError, match=r"file\.identity"):
        db.execute("UPDATE file SET identity = (SELECT min(identity) FROM file)")
    with pytest.raises(sqlite3.IntegrityError, match=r"delivery\.file_id"):
        db.execute("UPDATE delivery SET file_id = ?", (other,))


async def test_two_deliveries_never_have_one_key_whatever_the_case(
    ledger: Ledger, db: sqlite3.Connection
) -> None:
    for name in ("IMG_0001.JPG", "IMG_0002.JPG"):
        await fetched(ledger, shot(name), ["archive", "cloud"])
    for key in ("IMG_0001.JPG", "img_0001.jpg"):
        with pytest.raises(sqlite3.IntegrityError, match=r"delivery\.destination, delivery\.key"):
            db.execute(
                "UPDATE delivery SET key = ? WHERE key = 'IMG_0002.JPG' AND destination = 'cloud'", (key,)
            )
    db.execute("UPDATE delivery SET shared_with = 1, key = 'IMG_0001.JPG' WHERE id = 3")  # the twin rule


def _number(row: dict[str, object]) -> int:
    assert isinstance(row["seq"], int)
    return row["seq"]


async def test_the_change_number_grows_with_every_change_of_every_row(
    ledger: Ledger, db: sqlite3.Connection
) -> None:
    """And is the counter's value then, so that nothing newer hides behind an older number."""
    highest = 0

    def assert_grown(table: str, where: str) -> None:
        nonlocal highest
        (seq,) = db.execute(f"SELECT seq FROM {table} WHERE {where}").fetchone()
        assert seq > highest
        assert db.execute("SELECT seq FROM counter").fetchone() == (seq,)
        highest = seq

    assert_grown("camera", "serial = '0123456789'")
    await ledger.cameras.meet_camera("0123456789", True, "other", ("Canon", "EOS R7", "1.1"), ("host", 1))
    assert_grown("camera", "name = 'other'")
    await ledger.cameras.set_subject("destination", "archive", "ready")
    assert_grown("subject", "1")
    await ledger.cameras.set_subject("destination", "archive", "off")
    assert_grown("subject", "state = 'off'")
    file_id = await discovered(ledger)
    assert_grown("file", f"id = {file_id}")
    await ledger.files.hold_file(file_id, "camera", "camera.busy", "", None)
    assert_grown("file", f"id = {file_id}")
    done_id = await done(ledger, shot("IMG_0002.JPG"))
    assert_grown("delivery", f"file_id = {done_id}")
    await ledger.files.mark_evicted(done_id)
    assert_grown("file", "state = 'evicted'")
    # every single column, by hand
    for table in ("camera", "subject", "file", "delivery"):
        columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")} - {"seq"}
        for column in sorted(columns):
            db.execute(f"UPDATE {table} SET {column} = {column}")
            found = [seq for (seq,) in db.execute(f"SELECT seq FROM {table}")]
            assert min(found) > highest, f"{table}.{column}"
            highest = max(found)


async def test_a_vain_change_is_none(ledger: Ledger) -> None:
    file_id = await done(ledger)
    seq = _number(await delivery_of(ledger, file_id))
    await ledger.deliveries.postpone(1, waiting_for="worker", code=None)
    await ledger.deliveries.fail_delivery(1, "x.y", "")
    await ledger.files.fetch_again([])
    await ledger.orders.retry(None)
    assert _number(await delivery_of(ledger, file_id)) == seq


async def test_setting_the_same_state_again_writes_nothing(ledger: Ledger, db: sqlite3.Connection) -> None:
    say: Callable[..., Awaitable[bool]] = ledger.cameras.set_subject
    assert await say("camera", "main", "waiting", code="camera.asleep", reason="Wake it.", serial="1")
    (seq,) = db.execute("SELECT seq FROM counter").fetchone()
    assert not await say("camera", "main", "waiting", code="camera.asleep", reason="Wake it.")
    assert db.execute("SELECT seq FROM counter").fetchone() == (seq,)
    assert not await say("camera", "main", "waiting", code="camera.asleep", reason="Wake it.", serial="2")
    found = await ledger.cameras.subject("camera", "main")
    assert found is not None and found.serial == "2", "another body answers under this name"


async def test_since_when_a_state_holds(ledger: Ledger) -> None:
    set_subject, subject = ledger.cameras.set_subject, ledger.cameras.subject
    await set_subject(
        "destination", "nas", "waiting", code="folder.missing", next_try_at="2024-01-01T00:00:00Z"
    )
    first = await subject("destination", "nas")
    await set_subject(
        "destination", "nas", "waiting", code="folder.missing", next_try_at="2024-01-02T00:00:00Z"
    )
    second = await subject("destination", "nas")
    assert first and second and first.since_at == second.since_at
    assert second.next_try_at == "2024-01-02T00:00:00Z"


def test_the_readme_names_the_states_of_the_schema() -> None:
    root = Path(__file__).parent.parent.parent
    schema = (root / "agent" / "schema" / "0001_ledger.sql").read_text("utf-8")
    checks = re.findall(r"state\s+TEXT NOT NULL CHECK \(state IN \(([^)]*)\)\)", schema)
    in_schema = [tuple(re.findall(r"'(\w+)'", check)) for check in checks]
    table = (root / "README.md").read_text("utf-8").partition("### States")[2].partition("\n## ")[0]
    in_readme: list[list[str]] = []
    for of, state in re.findall(r"^\| ([\w, ]*?) ?\| (\w+) \|", table, re.MULTILINE):
        if of == "of":
            continue
        if of:
            in_readme.append([])
        in_readme[-1].append(state)
    assert sorted(map(tuple, in_readme)) == sorted(in_schema)
