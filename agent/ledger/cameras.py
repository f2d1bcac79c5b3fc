"""Cameras that were met, what did not work on a model, and the state of cameras and destinations."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agent.ledger.store import Store, shielded, utc_now


class CameraRow(msgspec.Struct, frozen=True):
    serial: str
    name: str
    model: str
    host: str
    port: int
    backlog_since: str | None
    first_scan_at: str | None
    is_new: bool = False


class Subject(msgspec.Struct, frozen=True):
    kind: str
    name: str
    state: str
    fault_code: str | None
    reason: str
    next_try_at: str | None
    paused_by: str | None
    since_at: str
    serial: str | None
    fingerprint: str | None
    exclusive: str | None

    @property
    def is_paused_by_hand(self) -> bool:
        return self.state == "paused" and self.paused_by != "agent"


class Cameras:
    def __init__(self, store: Store):
        self._store = store

    @shielded
    async def meet_camera(
        self,
        serial: str,
        is_serial_reported: bool,
        name: str,
        product: tuple[str, str, str],
        address: tuple[str, int],
    ) -> CameraRow:
        """Record that a body (`product`: manufacturer, model, firmware) answered at `address`."""
        now = utc_now()
        async with self._store.transaction():
            is_new = not await self._store.all("SELECT 1 FROM camera WHERE serial = ?", serial)
            await self._store.do(
                "INSERT INTO camera (serial, is_serial_reported, name, manufacturer, model, firmware, host, port,"
                " first_met_at, last_seen_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (serial) DO UPDATE SET name = excluded.name, firmware = excluded.firmware,"
                " host = excluded.host, port = excluded.port, last_seen_at = excluded.last_seen_at",
                *(serial, is_serial_reported, name, *product, *address, now, now),
            )
            row = await self._store.one(
                "SELECT serial, name, model, host, port, backlog_since, first_scan_at FROM camera WHERE serial = ?",
                serial,
            )
        return msgspec.convert({**dict(row), "is_new": is_new}, CameraRow)

    @shielded
    async def set_backlog(self, serial: str, since: str | None) -> None:
        async with self._store.transaction(durable=True):
            await self._store.do("UPDATE camera SET backlog_since = ? WHERE serial = ?", since, serial)

    @shielded
    async def note_first_scan(self, serial: str) -> None:
        async with self._store.transaction():
            await self._store.do(
                "UPDATE camera SET first_scan_at = ? WHERE serial = ? AND first_scan_at IS NULL",
                utc_now(),
                serial,
            )

    async def model_memory(self) -> dict[str, str]:
        """What is remembered of all models."""
        return {
            row["key"]: row["value"] for row in await self._store.all("SELECT key, value FROM model_memory")
        }

    @shielded
    async def remember_of_models(self, memory: Mapping[str, str]) -> None:
        """Keep exactly `memory`."""
        if dict(memory) == await self.model_memory():
            return
        async with self._store.transaction():
            await self._store.do("DELETE FROM model_memory")
            for key, value in memory.items():
                await self._store.do("INSERT INTO model_memory VALUES (?, ?)", key, value)

    @shielded
    async def set_subject(
        self,
        kind: str,
        name: str,
        state: str,
        *,
        code: str | None = None,
        reason: str = "",
        next_try_at: str | None = None,
        by: str | None = None,
        serial: str | None = None,
    ) -> bool:
        """Set the state of a camera or destination; return whether it changed. Writes nothing if it did not."""
        old = await self.subject(kind, name)
        if old:
            serial = serial or old.serial
            was = (old.state, old.fault_code, old.reason, old.next_try_at, old.paused_by, old.serial)
            if was == (state, code, reason, next_try_at, by, serial):
                return False
        since = old.since_at if old and (old.state, old.fault_code) == (state, code) else utc_now()
        async with self._store.transaction(durable=by not in (None, "agent"), offers=False):
            await self._store.do(
                "INSERT INTO subject (kind, name, state, fault_code, reason, next_try_at, paused_by, since_at, serial)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET state = excluded.state,"
                " fault_code = excluded.fault_code, reason = excluded.reason, next_try_at = excluded.next_try_at,"
                " paused_by = excluded.paused_by, since_at = excluded.since_at, serial = excluded.serial",
                *(kind, name, state, code, reason, next_try_at, by, since, serial),
            )
        return old is None or (old.state, old.fault_code) != (state, code)

    async def subject(self, kind: str, name: str) -> Subject | None:
        rows = await self._store.all(
            f"SELECT {_SUBJECT} FROM subject WHERE kind = ? AND name = ?", kind, name
        )
        return msgspec.convert(dict(rows[0]), Subject) if rows else None

    async def subjects(self) -> list[Subject]:
        rows = await self._store.all(f"SELECT {_SUBJECT} FROM subject ORDER BY kind, name")
        return [msgspec.convert(dict(row), Subject) for row in rows]

    @shielded
    async def note_place(self, destination: str, place: str) -> None:
        """Keep where a destination is by its settings; from now on what was proven at another place does not count."""
        async with self._store.transaction(durable=True, offers=False):
            await self._store.do(
                "INSERT INTO subject (kind, name, state, since_at, place) VALUES ('destination', ?, 'off', ?, ?) ON CONFLICT"
                " (kind, name) DO UPDATE SET place = excluded.place, placed_at = CASE WHEN place IS NULL THEN placed_at ELSE ? END"
                " WHERE place IS NOT excluded.place",
                *(destination, now := utc_now(), place, now),
            )

    @shielded
    async def note_check(self, destination: str, fingerprint: str, exclusive: str) -> None:
        """Keep what a check found out about a destination with these settings."""
        async with self._store.transaction(offers=False):
            await self._store.do(
                "UPDATE subject SET fingerprint = ?, exclusive = ? WHERE kind = 'destination' AND name = ?",
                *(fingerprint, exclusive, destination),
            )


_SUBJECT = (
    "kind, name, state, fault_code, reason, next_try_at, paused_by, since_at, serial, fingerprint, exclusive"
)
