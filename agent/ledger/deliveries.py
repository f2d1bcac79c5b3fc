"""Deliveries: the row is the job, there is no queue besides."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from agent.ledger.jobs import Holder, Job, Outcome
from agent.ledger.store import Store, as_text, shielded, utc_now

LONGEST_WAIT = timedelta(minutes=20)
"""For a next try, but for what waits for its hours: a destination may ask for 15."""


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values)) or "NULL"


def _claimable(fetching: Sequence[int]) -> str:
    """The next delivery `d` of a destination. Parameters: destination, *fetching, *_moments()."""
    return (
        "FROM delivery d JOIN file f ON f.id = d.file_id WHERE d.state = 'queued' AND d.waiting_for IS NOT 'schedule'"
        f" AND d.destination = ? AND (f.state = 'fetched' OR (f.state = 'fetching' AND f.id IN ({_marks(fetching)})))"
        " AND (d.next_try_at IS NULL OR d.next_try_at NOT BETWEEN ? AND ?) AND (d.shared_with IS NULL OR (f.state = 'fetched' AND EXISTS"
        " (SELECT 1 FROM delivery t JOIN file tf ON tf.id = t.file_id WHERE t.id = d.shared_with AND (t.state IN"
        " ('done', 'failed', 'skipped') OR (t.state = 'queued' AND tf.state <> 'fetched' AND tf.fault_code IS NOT NULL)))))"
        " ORDER BY d.rank, d.captured DESC, d.id DESC LIMIT 1"
    )


def _moments() -> tuple[str, str]:
    """Between these a delivery may have to wait for its next try: what says a later one was told so by a clock that has
    been set back since."""
    now = datetime.now(UTC)
    return as_text(now + timedelta(milliseconds=1)), as_text(now + LONGEST_WAIT)


class Deliveries:
    def __init__(self, store: Store):
        self._store = store

    @shielded
    async def claim(self, destination: str, fetching: Sequence[int]) -> Job | None:
        """Take the next delivery for this destination: small kinds and new shots first.

        `fetching`: files that grow in the spool right now, besides those that are fetched. What may be shared with the
        other card's copy waits for that one, unless the camera cannot give it.
        """
        async with self._store.transaction(wakes=False, offers=False):  # a vain look must not wake the looker
            rows = await self._store.all(
                "UPDATE delivery SET state = 'uploading', has_partial = 1, started_at = coalesce(started_at, ?), tries = tries + 1,"
                f" waiting_for = NULL, next_try_at = NULL WHERE id = (SELECT d.id {_claimable(fetching)})"
                " RETURNING id, file_id, destination, wanted_key, key, token, tries, shared_with, rank, generation AS made_from,"
                " (SELECT json_array(f.identity, f.name, f.kind, f.size_bytes, f.generation, f.sha256, f.crc32c) FROM file f"
                " WHERE f.id = file_id) AS facts",
                *(utc_now(), destination, *fetching, *_moments()),
            )
        if not rows:
            return None
        self._store.wake()
        row = dict(rows[0])
        identity, name, kind, size, generation, sha256, crc32c = msgspec.json.decode(row.pop("facts"))
        return Job(
            **{key: value for key, value in row.items() if key != "made_from"},
            is_partial_stale=row["made_from"] != generation,
            identity=identity,
            name=name,
            kind=kind,
            size=size,
            generation=generation,
            sha256=sha256,
            crc32c=crc32c,
        )

    async def first_rank(self, destination: str, fetching: Sequence[int]) -> int | None:
        """The rank of what `claim` would take; None if that is nothing."""
        rows = await self._store.all(
            f"SELECT d.rank {_claimable(fetching)}", *(destination, *fetching, *_moments())
        )
        return int(rows[0]["rank"]) if rows else None

    @shielded
    async def hold(self, destination: str, kinds: Sequence[str], next_try_at: str) -> None:
        """What is queued of these kinds waits for the destination's hours, until it is released."""
        async with self._store.transaction(offers=False):
            await self._store.do(
                "UPDATE delivery SET waiting_for = 'schedule', next_try_at = ?, fault_code = NULL, fault_detail = ''"
                " WHERE destination = ? AND state = 'queued' AND (waiting_for, next_try_at) IS NOT ('schedule', ?)"
                f" AND (SELECT f.kind FROM file f WHERE f.id = file_id) IN ({_marks(kinds)})",
                *(next_try_at, destination, next_try_at, *kinds),
            )

    @shielded
    async def release(self, destination: str, kinds: Sequence[str] | None = None) -> bool:
        """What waited for the destination's hours need not (None: of every kind). Says whether the spool lacks any of it."""
        of_kinds = (
            ""
            if kinds is None
            else f" AND (SELECT f.kind FROM file f WHERE f.id = file_id) IN ({_marks(kinds)})"
        )
        async with self._store.transaction():
            rows = await self._store.all(
                "UPDATE delivery SET next_try_at = NULL, waiting_for = (SELECT CASE f.state WHEN 'evicted' THEN 'camera' END"
                " FROM file f WHERE f.id = file_id) WHERE destination = ? AND state = 'queued' AND waiting_for = 'schedule'"
                f"{of_kinds} RETURNING waiting_for",
                *(destination, *(kinds or ())),
            )
        return any(row["waiting_for"] for row in rows)

    async def leftovers(
        self, destination: str, after_id: int = 0, limit: int = 20
    ) -> list[tuple[int, str, str]]:
        """Settled deliveries of which something may still lie at the destination, besides what is published: (id, key,
        token), in order of their ids."""
        rows = await self._store.all(
            "SELECT id, key, token FROM delivery WHERE destination = ? AND state IN ('skipped', 'done') AND has_partial = 1"
            " AND id > ? ORDER BY id LIMIT ?",
            *(destination, after_id, limit),
        )
        return [(row["id"], row["key"], row["token"]) for row in rows]

    @shielded
    async def note_swept(self, delivery_id: int) -> None:
        """Unless it was taken up again meanwhile."""
        async with self._store.transaction(wakes=False):
            await self._store.do(
                "UPDATE delivery SET has_partial = 0 WHERE id = ? AND state IN ('skipped', 'done')",
                delivery_id,
            )

    @shielded
    async def save_token(self, delivery_id: int, token: str, generation: int) -> None:
        """Must be durable before the first byte is written under this token, or a crash would leave a partial
        that nobody finds."""
        async with self._store.transaction(offers=False):
            await self._store.do(
                "UPDATE delivery SET token = ?, generation = ? WHERE id = ?", token, generation, delivery_id
            )

    @shielded
    async def rekey(self, delivery_id: int, key: str) -> str | None:
        """Move an undone delivery to another key, with a fresh token. None if another delivery has that key."""
        token = secrets.token_hex(8)
        try:
            async with self._store.transaction():
                await self._store.do(
                    "UPDATE delivery SET key = ?, token = ?, shared_with = NULL WHERE id = ?",
                    key,
                    token,
                    delivery_id,
                )
        except sqlite3.IntegrityError:
            return None
        return token

    async def undone_holder(self, destination: str, key: str) -> Holder | None:
        """Which undone delivery has this key."""
        rows = await self._store.all(
            "SELECT d.id, d.token, d.state = 'uploading' AS is_uploading, f.identity FROM delivery d JOIN file f"
            " ON f.id = d.file_id WHERE d.destination = ? AND d.key = ? COLLATE NOCASE AND d.shared_with IS NULL"
            " AND d.state IN ('queued', 'uploading', 'failed')",
            *(destination, key),
        )
        return msgspec.convert(dict(rows[0]), Holder, strict=False) if rows else None

    @shielded
    async def finish_delivery(self, delivery_id: int, outcome: Outcome) -> bool:
        """Step 6: proven at the destination; durable when this returns. False: it was skipped meanwhile."""
        async with self._store.transaction(durable=True, offers=False):
            rows = await self._store.all(
                "UPDATE delivery SET state = 'done', has_partial = ?, done_at = ?, proof = ?, exclusive = ?, checksum = ?, location = ?, version = ?,"
                " waiting_for = NULL, next_try_at = NULL, fault_code = NULL, fault_detail = '' WHERE id = ? AND state IN"
                " ('queued', 'uploading') RETURNING EXISTS (SELECT 1 FROM delivery d WHERE d.shared_with = delivery.id)",
                *(
                    outcome.has_leftovers,
                    utc_now(),
                    outcome.proof,
                    outcome.exclusive,
                    outcome.checksum,
                    outcome.location,
                    outcome.version,
                ),
                delivery_id,
            )
        if rows and rows[0][0]:  # the other card's copy waits for it
            self._store.offer()
        return bool(rows)

    @shielded
    async def share_delivery(self, delivery_id: int) -> bool:
        """The other card's copy of this shot has the same SHA-256 and is done: this delivery is done by it too.

        False, and on its own from here on, if the two differ or the other will not be done. If the other is only not
        fetched yet, it becomes the one that shares.
        """
        async with self._store.transaction(durable=True):
            rows = await self._store.all(
                "UPDATE delivery SET state = 'done', has_partial = 0, done_at = ?, key = t.key, proof = t.proof, exclusive = t.exclusive,"
                " checksum = t.checksum, location = t.location, version = t.version, waiting_for = NULL, next_try_at = NULL,"
                " fault_code = NULL, fault_detail = ''"
                " FROM delivery t, file tf, file f WHERE delivery.id = ? AND t.id = delivery.shared_with AND tf.id = t.file_id"
                " AND f.id = delivery.file_id AND t.state = 'done' AND tf.sha256 = f.sha256 RETURNING delivery.id",
                *(utc_now(), delivery_id),
            )
            if not rows:
                other = (await self._store.one("SELECT shared_with FROM delivery WHERE id = ?", delivery_id))[
                    0
                ]
                # Ignored if somebody has got the key meanwhile: then `find` sees them, and the key is moved on.
                is_own = await self._store.all(
                    "UPDATE OR IGNORE delivery SET shared_with = NULL WHERE id = ? RETURNING id", delivery_id
                )
                if is_own:  # else each would wait for the other
                    await self._store.do(
                        "UPDATE delivery SET shared_with = ? WHERE id = ? AND state = 'queued'",
                        *(delivery_id, other),
                    )
        return bool(rows)

    @shielded
    async def postpone(
        self,
        delivery_id: int,
        *,
        waiting_for: str,
        code: str | None,
        detail: str = "",
        next_try_at: str | None = None,
    ) -> None:
        """Back to 'queued', with what it waits for. The caller looks again at `next_try_at`."""
        async with self._store.transaction(offers=next_try_at is None):
            await self._store.do(
                "UPDATE delivery SET state = 'queued', waiting_for = ?, fault_code = ?, fault_detail = ?, next_try_at = ?"
                " WHERE id = ? AND state = 'uploading'",
                *(waiting_for, code, detail, next_try_at, delivery_id),
            )

    @shielded
    async def fail_delivery(self, delivery_id: int, code: str, detail: str) -> None:
        async with self._store.transaction(durable=True):
            await self._store.do(
                "UPDATE delivery SET state = 'failed', fault_code = ?, fault_detail = ?, waiting_for = NULL, next_try_at = NULL"
                " WHERE id = ? AND state IN ('queued', 'uploading')",
                *(code, detail, delivery_id),
            )
