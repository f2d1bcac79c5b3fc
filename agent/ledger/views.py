"""What people ask of the ledger, and the two orders that change many rows at once."""

from __future__ import annotations

from collections.abc import Sequence

from agent.ledger.store import Row, Store, shielded, utc_now


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

        `destinations`: to these alone. What waits for the clock waits no longer. A file that is gone from its card stays gone.
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
                f" next_try_at = NULL WHERE state IN {states}{of_deliveries}{to}"
                " AND NOT EXISTS (SELECT 1 FROM file f WHERE f.id = file_id AND f.state = 'gone') RETURNING id",
                *(*values, *(destinations or ())),
            )
        return len(rows)

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
