"""What people ask of the ledger, and the two orders that change many rows at once."""

from __future__ import annotations

from collections.abc import Sequence

from agent.ledger.store import Row, Store, shielded, utc_now

_OFF_ITS_CARD = (
    "(f.state = 'evicted' AND EXISTS (SELECT 1 FROM deletion x WHERE x.file_id = f.id AND x.state IN"
    " ('started', 'unknown', 'deleted')))"
)
"""Of a file `f`: there is nothing left to send it from."""


class Views:
    def __init__(self, store: Store):
        self._store = store

    async def files(self, *, state: str | None = None, after_id: int = 0, limit: int = 500) -> list[Row]:
        """One page of files in order of their ids, each with its camera's address and its deliveries."""
        where = "f.id > ?" + (" AND f.state = ?" if state else "")
        rows = await self._store.all(
            "SELECT f.*, c.name AS camera, c.host, c.port FROM file f JOIN camera c ON c.serial = f.serial"
            f" WHERE {where} ORDER BY f.id LIMIT ?",
            *([after_id, state, limit] if state else [after_id, limit]),
        )
        page = [dict(row) for row in rows]
        ids = [row["id"] for row in page]
        marks = ", ".join("?" * len(ids)) or "NULL"
        deliveries = await self._store.all(
            f"SELECT * FROM delivery WHERE file_id IN ({marks}) ORDER BY destination", *ids
        )
        for row in page:
            row["deliveries"] = [dict(entry) for entry in deliveries if entry["file_id"] == row["id"]]
        return page

    async def named(self, pattern: str, *, is_glob: bool, limit: int | None = None) -> list[Row]:
        """Files by their name, or by the end of ``camera/folder/name``; upper and lower case are one. `is_glob`: with *, ?
        and [] in it. In order of their ids: id, camera, folder, name, captured, size_bytes."""
        literal = pattern if is_glob else pattern.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
        rows = await self._store.all(
            "SELECT f.id, c.name AS camera, f.folder, f.name, f.captured, f.size_bytes FROM file f JOIN camera c"
            " ON c.serial = f.serial WHERE lower('/' || c.name || '/' || f.folder || '/' || f.name) GLOB lower(?)"
            " ORDER BY f.id LIMIT ?",
            *(f"*/{literal.strip('/')}", -1 if limit is None else limit),
        )
        return [dict(row) for row in rows]

    async def destinations(self) -> dict[str, Row]:
        """By destination: how many deliveries are `queued`, `waiting` among these, `uploading`, `failed`, `done` and
        `verified`, the `owed_bytes`; how many are `scheduled`, outside its hours, and when the first of them `opens_at`; and
        of the newest proof `proven_at` and `proof`."""
        rows = await self._store.all(
            "SELECT d.destination, sum(d.state = 'queued') AS queued, sum(d.state = 'queued' AND d.waiting_for IS NOT NULL)"
            " AS waiting, sum(d.state = 'uploading') AS uploading, sum(d.state = 'failed') AS failed, sum(d.state = 'done')"
            " AS done, sum(d.state = 'done' AND d.proof IN ('checksum', 'readback')) AS verified, coalesce(sum(CASE WHEN"
            " d.state IN ('queued', 'uploading', 'failed') THEN f.size_bytes END), 0) AS owed_bytes, sum(d.state = 'queued' AND"
            " d.waiting_for IS 'schedule') AS scheduled, min(CASE WHEN d.waiting_for = 'schedule' THEN d.next_try_at END) AS opens_at"
            " FROM delivery d JOIN file f ON f.id = d.file_id GROUP BY d.destination"
        )
        newest = await self._store.all(
            "SELECT destination, max(done_at) AS proven_at, proof FROM delivery WHERE state = 'done' GROUP BY destination"
        )
        proofs = {
            row["destination"]: {"proven_at": row["proven_at"], "proof": row["proof"]} for row in newest
        }
        nothing = {"proven_at": None, "proof": None}
        return {row["destination"]: {**dict(row), **proofs.get(row["destination"], nothing)} for row in rows}

    async def delivered(
        self,
        destination: str,
        *,
        since: str = "",
        sample: int | None = None,
        after_id: int = 0,
        limit: int = 200,
    ) -> list[Row]:
        """What is done at a destination since a time, each object once: a page in order of their ids, or `sample` of them
        by chance. Each with what proves it: id, file_id, camera, folder, name, key, size_bytes, sha256, crc32c, done_at."""
        order = "ORDER BY d.id" if sample is None else "ORDER BY random()"
        rows = await self._store.all(
            "SELECT d.id, d.file_id, c.name AS camera, f.folder, f.name, d.destination, d.key, f.size_bytes, f.sha256, f.crc32c,"
            " d.done_at FROM delivery d JOIN file f ON f.id = d.file_id JOIN camera c ON c.serial = f.serial WHERE d.state = 'done'"
            f" AND d.destination = ? AND d.shared_with IS NULL AND d.done_at >= ? AND d.id > ? {order} LIMIT ?",
            *(destination, since, after_id, limit if sample is None else sample),
        )
        return [dict(row) for row in rows]

    async def counts(self) -> dict[str, dict[str, int]]:
        """How many files and deliveries are in each state, and how many of the deliveries are verified."""
        files = await self._store.all("SELECT state, count(*) AS n FROM file GROUP BY state")
        deliveries = await self._store.all("SELECT state, count(*) AS n FROM delivery GROUP BY state")
        verified = await self._store.one(
            "SELECT count(*) AS n FROM delivery WHERE state = 'done' AND proof IN ('checksum', 'readback')"
        )
        return {
            "files": {row["state"]: row["n"] for row in files},
            "deliveries": {row["state"]: row["n"] for row in deliveries} | {"verified": verified["n"]},
        }

    async def backlog(self) -> Row:
        """What is not delivered, in figures: `owed` deliveries with their `owed_bytes`, how many of them are `waiting`
        for something; files `to_fetch` and `to_fetch_bytes`; and what `needs_you`, files and deliveries together."""
        owed = await self._store.one(
            "SELECT count(*) AS owed, coalesce(sum(f.size_bytes), 0) AS owed_bytes, coalesce(sum(d.state = 'queued'"
            " AND (d.waiting_for IS NOT NULL OR s.state <> 'ready')), 0) AS waiting, coalesce(sum(d.state = 'failed'), 0)"
            " AS failed FROM delivery d JOIN file f ON f.id = d.file_id LEFT JOIN subject s ON s.kind = 'destination'"
            " AND s.name = d.destination WHERE d.state IN ('queued', 'uploading', 'failed')"
        )
        files = await self._store.one(
            "SELECT count(*) AS to_fetch, coalesce(sum(size_bytes), 0) AS to_fetch_bytes,"
            " coalesce(sum(waiting_for = 'person'), 0) AS held FROM file WHERE state IN ('discovered', 'fetching')"
        )
        found = {**dict(owed), **dict(files)}
        found["needs_you"] = found.pop("failed") + found.pop("held")
        return found

    async def undelivered(self, limit: int = 1000) -> list[Row]:
        """Deliveries that are not done and not skipped, and wanted files that were never fetched."""
        rows = await self._store.all(
            "SELECT f.id, f.folder, f.name, d.destination, d.state, coalesce(d.waiting_for, f.waiting_for) AS waiting_for,"
            " coalesce(d.fault_code, f.fault_code) AS fault_code, CASE WHEN d.fault_code IS NULL THEN f.fault_detail ELSE"
            " d.fault_detail END AS fault_detail FROM file f JOIN delivery d ON d.file_id = f.id"
            " WHERE d.state IN ('queued', 'uploading', 'failed')"
            " UNION ALL SELECT f.id, f.folder, f.name, NULL, f.state, f.waiting_for, f.fault_code, f.fault_detail FROM file f"
            " WHERE f.state = 'discovered' AND f.fault_code IS NOT NULL AND NOT EXISTS (SELECT 1 FROM delivery d"
            " WHERE d.file_id = f.id) LIMIT ?",
            limit,
        )
        return [dict(row) for row in rows]

    async def transitions(self) -> list[tuple[str, str, str]]:
        """The legal changes of state: (file | delivery, from, to)."""
        rows = await self._store.all("SELECT subject, from_state, to_state FROM transition ORDER BY 1, 2, 3")
        return [(row[0], row[1], row[2]) for row in rows]


class Orders:
    def __init__(self, store: Store):
        self._store = store

    @shielded
    async def retry(
        self, file_ids: Sequence[int] | None, *, destinations: Sequence[str] | None = None
    ) -> int:
        """Queue failed and skipped deliveries of these files again (None: every failed one); return how many.

        `destinations`: to these alone. What waits for the clock waits no longer. A file that is gone from its card stays gone,
        and so does what was given up of one that was deleted from it and has left the spool.
        """
        marks = ", ".join("?" * len(file_ids or ()))
        of_files = "" if file_ids is None else f" AND id IN ({marks})"
        of_deliveries = "" if file_ids is None else f" AND file_id IN ({marks})"
        states = "('failed')" if file_ids is None else "('failed', 'skipped')"
        values = file_ids or ()
        to = (
            ""
            if destinations is None
            else f" AND destination IN ({', '.join('?' * len(destinations)) or 'NULL'})"
        )
        async with self._store.transaction(durable=True):
            if file_ids is not None:
                await self._store.do(
                    "UPDATE file SET state = 'discovered', skipped_by = NULL, skip_reason = NULL, ended_at = NULL"
                    f" WHERE state = 'skipped'{of_files}",
                    *values,
                )
            await self._store.do(
                "UPDATE file SET waiting_for = NULL, next_try_at = NULL, fault_code = NULL, fault_detail = ''"
                f" WHERE state IN ('discovered', 'fetching') AND fault_code IS NOT NULL{of_files}",
                *values,
            )
            await self._store.do(
                f"UPDATE delivery SET next_try_at = NULL WHERE state = 'queued' AND next_try_at > ''{of_deliveries}",
                *values,
            )
            rows = await self._store.all(
                "UPDATE delivery SET state = 'queued', fault_code = NULL, fault_detail = '', skipped_by = NULL, skip_reason = NULL,"
                f" next_try_at = NULL WHERE state IN {states}{of_deliveries}{to} AND NOT EXISTS (SELECT 1 FROM file f"
                f" WHERE f.id = file_id AND (f.state = 'gone' OR {_OFF_ITS_CARD})) RETURNING id",
                *(*values, *(destinations or ())),
            )
        return len(rows)

    @shielded
    async def requeue(self, delivery_ids: Sequence[int]) -> list[int]:
        """These are done and do not lie where they were delivered: queue them again, and return the files of those for
        which there is anything left to send: in the spool, or perhaps on a card."""
        files: list[int] = []
        async with self._store.transaction(durable=True):
            for delivery_id in delivery_ids:
                rows = await self._store.all(
                    "UPDATE delivery SET state = 'queued', done_at = NULL, proof = NULL, exclusive = NULL, checksum = NULL,"
                    " location = NULL, version = NULL, waiting_for = (SELECT CASE f.state WHEN 'fetched' THEN NULL ELSE 'camera'"
                    " END FROM file f WHERE f.id = file_id) WHERE id = ? AND state = 'done' AND EXISTS (SELECT 1 FROM file f"
                    " WHERE f.id = file_id AND f.state NOT IN ('gone', 'skipped')"
                    f" AND NOT {_OFF_ITS_CARD}) RETURNING file_id",
                    delivery_id,
                )
                files += [int(row["file_id"]) for row in rows]
        return files

    @shielded
    async def skip(self, file_ids: Sequence[int], by: str, reason: str) -> int:
        """Give up what these files still owe; return how many files that concerned."""
        count, now = 0, utc_now()
        async with self._store.transaction(durable=True):
            for file_id in file_ids:
                deliveries = await self._store.all(
                    "UPDATE delivery SET state = 'skipped', skipped_by = ?, skip_reason = ?, waiting_for = NULL"
                    " WHERE file_id = ? AND state IN ('queued', 'uploading', 'failed') RETURNING id",
                    *(by, reason, file_id),
                )
                files = await self._store.all(
                    "UPDATE file SET state = 'skipped', skipped_by = ?, skip_reason = ?, ended_at = ?, waiting_for = NULL"
                    " WHERE id = ? AND state IN ('discovered', 'fetching', 'gone') RETURNING id",
                    *(by, reason, now, file_id),
                )
                count += bool(deliveries or files)
        return count
