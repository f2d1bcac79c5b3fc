"""Files: what was seen on cards, and where each is between card and spool."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from agent.ledger.store import Row, Store, shielded, utc_now


class Known(msgspec.Struct, frozen=True):
    """What the ledger knows of one place on a card: enough to decide what is new."""

    id: int
    storage: int
    folder: str
    name: str
    size: int | None
    captured: str
    state: str
    skipped_by: str | None = None
    is_owed_again: bool = False
    is_protected: bool | None = None
    picture: str | None = None  # JSON
    clock_ahead_seconds: int | None = None


class NewFile(msgspec.Struct, frozen=True):
    storage: int
    folder: str
    name: str
    captured: str
    size: int | None
    identity: str | None
    kind: str
    rank: int
    shot: int
    handle: int
    is_protected: bool | None
    seen_by: str
    skipped_by: str | None = None
    skip_reason: str | None = None
    clock_ahead_seconds: int | None = None


class NewDelivery(msgspec.Struct, frozen=True):
    """A file is owed to `destination` under the first of `keys` that no other delivery there has."""

    destination: str
    keys: tuple[str, str, str]


class Files:
    def __init__(self, store: Store):
        self._store = store

    async def known(self, serial: str, storage: int, folder: str, name: str | None = None) -> list[Known]:
        """Every file that was ever seen at this place: in a folder, or under one name in it.

        `is_owed_again`: it was evicted, and a destination that works, and may have it now, has not got it yet.
        """
        rows = await self._store.all(
            "SELECT id, storage, folder, name, size_bytes AS size, captured, state, skipped_by, is_protected, picture,"
            " clock_ahead_seconds,"
            " state = 'evicted' AND EXISTS (SELECT 1 FROM delivery d JOIN subject s ON s.kind = 'destination'"
            " AND s.name = d.destination AND s.state = 'ready' WHERE d.file_id = file.id AND d.state = 'queued'"
            " AND d.waiting_for IS NOT 'schedule')"
            " AS is_owed_again FROM file WHERE serial = ? AND storage = ? AND folder = ?"
            + (" AND name = ?" if name else ""),
            *([serial, storage, folder, name] if name else [serial, storage, folder]),
        )
        return [msgspec.convert(dict(row), Known, strict=False) for row in rows]

    async def known_folders(self, serial: str, storage: int) -> set[str]:
        rows = await self._store.all(
            "SELECT DISTINCT folder FROM file WHERE serial = ? AND storage = ?", serial, storage
        )
        return {row["folder"] for row in rows}

    @shielded
    async def discover(self, serial: str, files: Sequence[NewFile]) -> list[int]:
        """Insert what was seen for the first time, in one transaction; return the ids in the same order."""
        now = utc_now()
        ids: list[int] = []
        async with self._store.transaction(offers=False):
            for file in files:
                state = "skipped" if file.skipped_by else "discovered"
                row = await self._store.one(
                    "INSERT INTO file (serial, storage, folder, name, captured, size_bytes, identity, kind, rank, shot,"
                    " handle, is_protected, seen_by, state, skipped_by, skip_reason, discovered_at, ended_at, clock_ahead_seconds)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (identity) DO UPDATE SET handle = excluded.handle RETURNING id",
                    *(
                        serial,
                        file.storage,
                        file.folder,
                        file.name,
                        file.captured,
                        file.size,
                        file.identity,
                        file.kind,
                    ),
                    *(file.rank, file.shot, file.handle, file.is_protected, file.seen_by, state),
                    *(file.skipped_by, file.skip_reason, now, now if file.skipped_by else None),
                    file.clock_ahead_seconds,
                )
                ids.append(int(row["id"]))
        return ids

    @shielded
    async def note_learnt(self, file_id: int, is_protected: bool | None, picture: str | None) -> None:
        """Keep what was asked for besides the listing (`picture`: JSON); None leaves what is there."""
        async with self._store.transaction(wakes=False):
            await self._store.do(
                "UPDATE file SET is_protected = coalesce(?, is_protected), picture = coalesce(?, picture) WHERE id = ?",
                *(is_protected, picture, file_id),
            )

    @shielded
    async def settle(self, file_id: int, size: int, captured: str, identity: str) -> bool:
        """The size is final: give the file its identity. False: another row is that file; this one is dropped."""
        async with self._store.transaction():
            if await self._store.all("SELECT 1 FROM file WHERE identity = ? AND id <> ?", identity, file_id):
                await self._store.do("DELETE FROM file WHERE id = ? AND identity IS NULL", file_id)
                return False
            await self._store.do(
                "UPDATE file SET size_bytes = ?, captured = ?, identity = ?, waiting_for = NULL WHERE id = ?",
                *(size, captured, identity, file_id),
            )
        return True

    @shielded
    async def bring_back(self, file_ids: Sequence[int]) -> None:
        """These were gone and are on the card again, or were left alone as backlog and are not."""
        async with self._store.transaction():
            for file_id in file_ids:
                if await self._store.all(
                    "UPDATE file SET state = 'discovered', ended_at = NULL, skipped_by = NULL, skip_reason = NULL"
                    " WHERE id = ? AND (state = 'gone' OR (state = 'skipped' AND skipped_by = 'backlog')) RETURNING id",
                    file_id,
                ):
                    await self._store.do(
                        "UPDATE delivery SET state = 'queued', skipped_by = NULL, skip_reason = NULL, waiting_for = 'camera'"
                        " WHERE file_id = ? AND state = 'skipped' AND skipped_by = 'card'",
                        file_id,
                    )

    @shielded
    async def mark_gone(self, file_ids: Sequence[int]) -> list[int]:
        """These are no longer on their card. Returns those that nothing can be sent from any more, now 'gone': never fetched,
        or fetched, not in the spool any more, and owed all the same."""
        now = utc_now()
        gone: list[int] = []
        if not file_ids:
            return gone
        async with self._store.transaction():
            for file_id in file_ids:
                rows = await self._store.all(
                    "UPDATE file SET state = 'gone', ended_at = ?, waiting_for = NULL WHERE id = ? AND (state IN"
                    " ('discovered', 'fetching') OR (state = 'evicted' AND EXISTS (SELECT 1 FROM delivery d"
                    " WHERE d.file_id = file.id AND d.state = 'queued'))) RETURNING id",
                    *(now, file_id),
                )
                if not rows:
                    continue
                gone.append(file_id)
                await self._store.do(
                    "UPDATE delivery SET state = 'skipped', skipped_by = 'card', waiting_for = NULL, skip_reason = (SELECT CASE WHEN"
                    " f.fetched_at IS NULL THEN 'no longer on the card, and never fetched' ELSE 'no longer on the card, nor in the"
                    " spool' END FROM file f WHERE f.id = file_id) WHERE file_id = ? AND state IN ('queued', 'uploading')",
                    file_id,
                )
        return gone

    @shielded
    async def begin_fetch(
        self, file_id: int, handle: int, *, from_zero: bool, owed: Sequence[NewDelivery]
    ) -> int | None:
        """Step 1: the file is 'fetching', its deliveries stand with their final keys. Returns the generation, or
        None, with nothing changed, for a file that is not wanted any more (skipped, gone) or fetched already.

        A delivery that exists already keeps its key. One whose shot also lies on the other card (same folder,
        name, size and time) is marked as sharing; the uploader compares the two when both are fetched.
        """
        now = utc_now()
        async with self._store.transaction():
            rows = await self._store.all(
                "UPDATE file SET state = 'fetching', handle = ?, generation = generation + ?, fetching_at = coalesce(fetching_at, ?),"
                " tries = tries + 1, waiting_for = NULL, fault_code = NULL, fault_detail = '', next_try_at = NULL"
                " WHERE id = ? AND state IN ('discovered', 'fetching', 'evicted') RETURNING generation",
                *(handle, int(from_zero), now, file_id),
            )
            if rows and owed:
                await self._owe(file_id, owed, now)
        return int(rows[0]["generation"]) if rows else None

    @shielded
    async def owe(self, file_id: int, owed: Sequence[NewDelivery]) -> None:
        """A person wants the file at these destinations; durable when this returns. What it already owes stays."""
        async with self._store.transaction(durable=True):
            await self._owe(file_id, owed, utc_now())

    async def _owe(self, file_id: int, owed: Sequence[NewDelivery], now: str) -> None:
        """Insert deliveries inside a transaction. One that exists already stays as it is, with its key."""
        parameters: list[Any] = []
        for delivery in owed:
            parameters += [delivery.destination, *delivery.keys, secrets.token_hex(8)]
        rows = ", ".join("(?, ?, ?, ?, ?)" for _ in owed)
        await self._store.do(
            f"WITH owed (destination, first, second, third, token) AS (VALUES {rows})"
            " INSERT INTO delivery (file_id, destination, wanted_key, key, shared_with, rank, captured, state, token,"
            " generation, queued_at)"
            " SELECT f.id, o.destination, o.first, CASE"
            "  WHEN NOT EXISTS (SELECT 1 FROM delivery k WHERE k.destination = o.destination"
            "   AND k.key = o.first COLLATE NOCASE AND k.shared_with IS NULL) THEN o.first"
            "  WHEN NOT EXISTS (SELECT 1 FROM delivery k WHERE k.destination = o.destination"
            "   AND k.key = o.second COLLATE NOCASE AND k.shared_with IS NULL) THEN o.second ELSE o.third END,"
            " (SELECT min(d.id) FROM file t JOIN delivery d ON d.file_id = t.id AND d.destination = o.destination"
            "  WHERE t.serial = f.serial AND t.folder = f.folder AND t.name = f.name AND t.captured = f.captured"
            "  AND t.size_bytes = f.size_bytes AND t.storage <> f.storage AND d.shared_with IS NULL),"
            " f.rank, f.captured, 'queued', o.token, f.generation, ?"
            " FROM owed o, file f WHERE f.id = ?"
            " ON CONFLICT (file_id, destination) DO NOTHING",
            *(*parameters, now, file_id),
        )

    @shielded
    async def finish_fetch(self, file_id: int, sha256: str, crc32c: str | None) -> bool:
        """Step 3: the whole file is in the spool, durable, with these digests. Once this is true, it stays true; false:
        nobody wants the file any more."""
        async with self._store.transaction(durable=True, offers=False):
            rows = await self._store.all(
                "UPDATE file SET state = 'fetched', sha256 = ?, crc32c = ?, fetched_at = ?, waiting_for = NULL,"
                " fault_code = NULL, fault_detail = '' WHERE id = ? AND state = 'fetching' RETURNING EXISTS (SELECT 1 FROM"
                " delivery d WHERE d.file_id = file.id AND d.state = 'queued')",
                *(sha256, crc32c, utc_now(), file_id),
            ) or await self._store.all("SELECT 1 FROM file WHERE id = ? AND state = 'fetched'", file_id)
        if rows and rows[0][0]:
            self._store.offer()
        return bool(rows)

    @shielded
    async def hold_file(
        self, file_id: int, waiting_for: str, code: str, detail: str, next_try_at: str | None
    ) -> bool:
        """The file waits, and why. Returns whether that is news; writes nothing if it is not."""
        why = (waiting_for, code, detail, next_try_at)
        async with self._store.transaction():
            rows = await self._store.all(
                "UPDATE file SET waiting_for = ?, fault_code = ?, fault_detail = ?, next_try_at = ? WHERE id = ?"
                " AND (waiting_for, fault_code, fault_detail, next_try_at) IS NOT (?, ?, ?, ?) RETURNING id",
                *(*why, file_id, *why),
            )
        return bool(rows)

    @shielded
    async def fetch_again(self, file_ids: Sequence[int]) -> None:
        """The spool has lost these: back to 'discovered', to be fetched again."""
        if not file_ids:
            return
        async with self._store.transaction():
            for file_id in file_ids:
                await self._store.do(
                    "UPDATE file SET state = 'discovered', waiting_for = 'camera' WHERE id = ? AND state IN ('fetched', 'fetching')",
                    file_id,
                )

    @shielded
    async def mark_evicted(self, file_id: int) -> None:
        """Step 7: the spool no longer holds the file. What is still owed waits for the camera, or first for its hours."""
        async with self._store.transaction(durable=True):
            await self._store.do(
                "UPDATE file SET state = 'evicted', ended_at = ? WHERE id = ? AND state = 'fetched'",
                utc_now(),
                file_id,
            )
            await self._store.do(
                "UPDATE delivery SET waiting_for = 'camera' WHERE file_id = ? AND state IN ('queued', 'failed')"
                " AND waiting_for IS NOT 'schedule'",
                file_id,
            )

    async def spooled(self) -> list[Row]:
        """Files that the spool should hold, whole or in part: id, state, size_bytes, sha256, open deliveries."""
        rows = await self._store.all(
            "SELECT id, serial, state, size_bytes, sha256, (SELECT count(*) FROM delivery d WHERE d.file_id = file.id"
            " AND d.state IN ('queued', 'uploading', 'failed')) AS owed FROM file WHERE state IN ('fetching', 'fetched')"
        )
        return [dict(row) for row in rows]

    async def promised(self) -> list[int]:
        """Files that the spool has not got and whose deliveries stand: to be fetched whatever the routes say by now."""
        rows = await self._store.all(
            "SELECT DISTINCT f.id FROM delivery d JOIN file f ON f.id = d.file_id"
            " WHERE d.state = 'queued' AND f.state IN ('discovered', 'fetching', 'evicted')"
        )
        return [int(row["id"]) for row in rows]

    async def freeable(self, limit: int = 200) -> list[int]:
        """Fetched files that are delivered wherever they are owed, and durably known to be, oldest first."""
        async with self._store.settled():
            rows = await self._store.all(
                "SELECT id FROM file WHERE state = 'fetched' AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.file_id = file.id"
                " AND d.state IN ('queued', 'uploading', 'failed')) ORDER BY fetched_at, id LIMIT ?",
                limit,
            )
        return [int(row["id"]) for row in rows]

    async def sacrificeable(self, unreachable: Sequence[str], serial: str, limit: int = 20) -> list[Row]:
        """This camera's fetched files that are verified somewhere and were not deleted from their card, oldest first;
        none if any file's missing proof waits neither on one of the `unreachable` destinations nor for the hours of one."""
        marks = ", ".join("?" * len(unreachable))  # NOT IN () is true, NOT IN (NULL) is not
        async with self._store.settled():
            blocked = await self._store.all(
                "SELECT 1 FROM file f JOIN delivery d ON d.file_id = f.id WHERE f.state = 'fetched'"
                f" AND d.state IN ('queued', 'uploading', 'failed') AND d.waiting_for IS NOT 'schedule' AND d.destination NOT IN ({marks})"
                " LIMIT 1",
                *unreachable,
            )
            if blocked:
                return []
            rows = await self._store.all(
                "SELECT f.* FROM file f WHERE f.state = 'fetched' AND f.serial = ? AND EXISTS (SELECT 1 FROM delivery d WHERE"
                " d.file_id = f.id AND d.state = 'done' AND d.proof IN ('checksum', 'readback')) AND NOT EXISTS (SELECT 1 FROM"
                " delivery d WHERE d.file_id = f.id AND d.state = 'uploading') AND NOT EXISTS (SELECT 1 FROM deletion x WHERE"
                " x.file_id = f.id AND x.state IN ('started', 'unknown', 'deleted')) ORDER BY f.fetched_at, f.id LIMIT ?",
                *(serial, limit),
            )
        return [dict(row) for row in rows]

    async def generation(self, file_id: int) -> int:
        """How often the fetch of this file has begun at byte 0."""
        return int((await self._store.one("SELECT generation FROM file WHERE id = ?", file_id))["generation"])

    async def file(self, file_id: int) -> Row | None:
        rows = await self._store.all("SELECT * FROM file WHERE id = ?", file_id)
        return dict(rows[0]) if rows else None
