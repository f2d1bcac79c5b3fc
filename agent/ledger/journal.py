"""The journal of what was deleted from cards: begun before the camera is asked, ended with what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from agent.ledger.store import Row, Store, shielded, utc_now

STANDING = "('started', 'unknown', 'deleted')"


class Proven(msgspec.Struct, frozen=True):
    """A delivery that justified a deletion, as it stood then."""

    destination: str
    proof: str
    checksum: str | None
    location: str | None
    done_at: str


class Open(msgspec.Struct, frozen=True):
    """A deletion of which nobody knows what came, and the file that it is about."""

    id: int
    file_id: int
    started_at: str
    storage: int
    folder: str
    name: str
    size: int
    captured: str


Judge = Callable[[Row], Sequence[Proven]]
"""Given a file with its `deliveries` and `attempts`: what justifies deleting it; nothing if nothing does."""


class Journal:
    def __init__(self, store: Store):
        self._store = store

    async def deletable(self, serial: str, storage: int, folder: str, names: Sequence[str]) -> list[Row]:
        """Files of these names that were taken off the card and may be on it still, with deliveries and attempts."""
        rows = await self._store.all(
            "SELECT f.*, c.is_serial_reported FROM file f JOIN camera c ON c.serial = f.serial WHERE f.serial = ? AND f.storage = ? AND f.folder = ?"
            f" AND f.name IN ({', '.join('?' * len(names))}) AND f.state IN ('fetched', 'evicted')"
            f" AND NOT EXISTS (SELECT 1 FROM deletion x WHERE x.file_id = f.id AND x.state IN {STANDING})",
            *(serial, storage, folder, *names),
        )
        return await self._with_history([dict(row) for row in rows])

    async def page(self, after_id: int, limit: int = 500) -> list[Row]:
        """Files in order of their ids, each with its camera's name, its deliveries and its attempts at deleting it."""
        rows = await self._store.all(
            "SELECT f.*, c.name AS camera, c.is_serial_reported FROM file f JOIN camera c ON c.serial = f.serial"
            " WHERE f.id > ? ORDER BY f.id LIMIT ?",
            *(after_id, limit),
        )
        return await self._with_history([dict(row) for row in rows])

    @shielded
    async def begin(self, file_id: int, by: str, judge: Judge) -> int | None:
        """Note, durably, that the camera will be asked now; None if nothing justifies it (any more).

        `judge` sees the file as it is in the very transaction that notes it.
        """
        async with self._store.transaction(durable=True):
            rows = await self._store.all(
                "SELECT f.*, c.is_serial_reported FROM file f JOIN camera c ON c.serial = f.serial WHERE f.id = ? AND f.state IN ('fetched', 'evicted')"
                f" AND NOT EXISTS (SELECT 1 FROM deletion x WHERE x.file_id = f.id AND x.state IN {STANDING})",
                file_id,
            )
            proofs = judge((await self._with_history([dict(rows[0])]))[0]) if rows else ()
            if not proofs:
                return None
            row = await self._store.one(
                "INSERT INTO deletion (file_id, state, asked_by, proofs, started_at) VALUES (?, 'started', ?, ?, ?) RETURNING id",
                *(file_id, by, msgspec.json.encode(list(proofs)).decode(), utc_now()),
            )
        return int(row["id"])

    @shielded
    async def end(self, deletion_id: int, state: str, code: str | None = None, detail: str = "") -> None:
        """Note what came of it: 'deleted', 'refused' (with the camera's `code`), 'kept' (nothing was deleted), or 'unknown'."""
        ended_at = None if state == "unknown" else utc_now()
        async with self._store.transaction(durable=True):
            await self._store.do(
                "UPDATE deletion SET state = ?, fault_code = ?, detail = ?, ended_at = ? WHERE id = ? AND state IN"
                " ('started', 'unknown')",
                *(state, code, detail, ended_at, deletion_id),
            )

    async def open(self, serial: str) -> list[Open]:
        """Deletions on this camera's cards that were begun and never ended."""
        rows = await self._store.all(
            "SELECT x.id, x.file_id, x.started_at, f.storage, f.folder, f.name, f.size_bytes AS size, f.captured"
            " FROM deletion x JOIN file f ON f.id = x.file_id WHERE x.state IN ('started', 'unknown') AND f.serial = ?"
            " ORDER BY x.id",
            serial,
        )
        return [msgspec.convert(dict(row), Open) for row in rows]

    async def was_known(
        self, serial: str, storage: int, folder: str, name: str, size: int, captured: str, before: str
    ) -> bool:
        """Whether the file was seen before that time (UTC): then the card that it is on was in the camera by then."""
        rows = await self._store.all(
            "SELECT 1 FROM file WHERE serial = ? AND storage = ? AND folder = ? AND name = ? AND size_bytes = ?"
            " AND captured = ? AND discovered_at < ? LIMIT 1",
            *(serial, storage, folder, name, size, captured, before),
        )
        return bool(rows)

    async def is_deleted(self, file_id: int) -> bool:
        """Whether the file was deleted from its card, or may have been."""
        return bool(
            await self._store.all(
                f"SELECT 1 FROM deletion WHERE file_id = ? AND state IN {STANDING}", file_id
            )
        )

    async def entries(self, *, after_id: int = 0, limit: int = 500) -> list[Row]:
        """The journal, oldest first: each entry with its file's facts and its camera; `proofs` as a list."""
        rows = await self._store.all(
            "SELECT x.id, x.file_id, x.state, x.asked_by, x.proofs, x.fault_code, x.detail, x.started_at, x.ended_at, x.seq,"
            " c.name AS camera, f.serial, f.storage, f.folder, f.name, f.size_bytes, f.captured, f.sha256"
            " FROM deletion x JOIN file f ON f.id = x.file_id JOIN camera c ON c.serial = f.serial"
            " WHERE x.id > ? ORDER BY x.id LIMIT ?",
            *(after_id, limit),
        )
        return [{**dict(row), "proofs": msgspec.json.decode(row["proofs"])} for row in rows]

    async def doubtful(self) -> set[int]:
        """Deliveries whose receipts do not count: not found where they were delivered, or delivered to another place."""
        rows = await self._store.all(
            "SELECT d.id FROM delivery d LEFT JOIN subject s ON s.kind = 'destination' AND s.name = d.destination"
            " WHERE d.state = 'done' AND (d.doubted_at IS NOT NULL OR coalesce(d.found_at, d.done_at) < s.placed_at)"
        )
        return {int(row["id"]) for row in rows}

    @shielded
    async def doubt(self, delivery_ids: Sequence[int]) -> None:
        """These are not, or not as they should be, where they were delivered: no file is deleted for them."""
        await self._note(delivery_ids, "doubted_at = ?")

    @shielded
    async def trust(self, delivery_ids: Sequence[int]) -> None:
        """These are proven where they were delivered, whatever was found before."""
        await self._note(delivery_ids, "doubted_at = NULL, found_at = ?")

    async def _note(self, delivery_ids: Sequence[int], what: str) -> None:
        async with self._store.transaction(durable=True, offers=False):
            for delivery_id in delivery_ids:
                await self._store.do(
                    f"UPDATE delivery SET {what} WHERE id = ? AND state = 'done'", utc_now(), delivery_id
                )

    async def summary(self) -> Row:
        """How many `files` were deleted from cards, and `last_at`, when the last of them was."""
        return dict(
            await self._store.one(
                "SELECT count(*) AS files, max(ended_at) AS last_at FROM deletion WHERE state = 'deleted'"
            )
        )

    async def _with_history(self, files: list[Row]) -> list[Row]:
        """Add `deliveries`, `attempts` at deleting them, and `partners`, the other files of the same shot."""
        ids = [row["id"] for row in files]
        marks = ", ".join("?" * len(ids)) or "NULL"
        deliveries = await self._store.all(
            "SELECT d.file_id, d.destination, d.state, d.proof, d.checksum, d.location, d.done_at, (d.doubted_at IS NOT NULL"
            " OR t.doubted_at IS NOT NULL OR t.state <> 'done') AS is_doubted, coalesce(d.found_at, t.found_at, d.done_at)"
            " < s.placed_at AS is_elsewhere FROM delivery d LEFT JOIN delivery t ON t.id = d.shared_with LEFT JOIN subject s"
            f" ON s.kind = 'destination' AND s.name = d.destination WHERE d.file_id IN ({marks}) ORDER BY d.destination",
            *ids,
        )
        attempts = await self._store.all(
            f"SELECT file_id, state, fault_code, ended_at FROM deletion WHERE file_id IN ({marks}) ORDER BY id",
            *ids,
        )
        partners = await self._store.all(
            "SELECT f.id AS file_id, p.* FROM file f JOIN file p ON (p.serial, p.storage, p.folder, p.shot) ="
            " (f.serial, f.storage, f.folder, f.shot) AND p.id <> f.id AND p.size_bytes IS NOT NULL"
            f" WHERE f.id IN ({marks}) AND f.shot NOT IN (0, f.handle)",
            *ids,
        )
        by_id = {row["id"]: row for row in files}
        for row in files:
            row["deliveries"], row["attempts"], row["partners"] = [], [], []
        for kind, found in (("deliveries", deliveries), ("attempts", attempts), ("partners", partners)):
            for each in found:
                by_id[each["file_id"]][kind].append(dict(each))
        return files
