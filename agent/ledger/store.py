"""The SQLite file underneath the ledger: opening, owning, migrating, transactions, change numbers.

WAL with synchronous=NORMAL survives kill -9 at any instant. What must also survive a power cut before the next
step is taken is committed with synchronous=FULL, which makes all earlier commits durable too.

A full disk or a foreign lock is a wait: nothing can be done safely without the ledger, so whoever writes to it
stands still and goes on by itself. The log says so.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import aiosqlite
import structlog

log = structlog.get_logger("ledger")

P = ParamSpec("P")
T = TypeVar("T")
Row = dict[str, Any]

RETRY_SECONDS = 1.0

# By SQLite's primary result codes. A statement that ends with one of these was rolled back, and may be repeated.
_PASSING = {
    sqlite3.SQLITE_FULL: "The disk of the state folder is full: free some space on it.",
    sqlite3.SQLITE_READONLY: "The state folder cannot be written: check its disk and its owner.",
    sqlite3.SQLITE_IOERR: "The disk of the state folder reports errors: check it.",
    sqlite3.SQLITE_CANTOPEN: "The state folder cannot be used: check that its disk is connected.",
    sqlite3.SQLITE_BUSY: "Another program holds the ledger: end it.",
    sqlite3.SQLITE_LOCKED: "Another program holds the ledger: end it.",
}


_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DAMAGE = "It is damaged: move it away and start hotshoe again, which finds what is delivered and sends nothing twice."


class LedgerLocked(Exception):
    """Another agent owns this state folder."""


class LedgerUnusable(Exception):
    """The ledger cannot be opened; the text says what to do."""


def utc_now() -> str:
    """The time now as the ledger writes it: ISO 8601, UTC, milliseconds."""
    return as_text(datetime.now(UTC))


def as_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shielded(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a method that is one transaction run to its end, whatever happens meanwhile.

    It is repeated as long as the disk is full or another program holds the file, also when whoever asked for it
    was cancelled: a wait that a cancelled task adds for it must have a deadline.
    """

    async def run_to_end(*args: P.args, **kwargs: P.kwargs) -> T:
        told = ""
        while True:
            try:
                result = await method(*args, **kwargs)
            except sqlite3.OperationalError as error:
                hint = _PASSING.get(error.sqlite_errorcode & 0xFF)
                if hint is None:
                    raise
                if hint != told:
                    told = hint
                    log.error("the ledger waits", hint=hint, detail=str(error), step=method.__name__)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if told:
                    log.info("the ledger goes on", step=method.__name__)
                return result

    @functools.wraps(method)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        writing = asyncio.ensure_future(run_to_end(*args, **kwargs))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            writing.add_done_callback(_tell)
            raise

    return run


def _tell(writing: asyncio.Task[Any]) -> None:
    """Nobody waits for this one any more."""
    if not writing.cancelled() and (error := writing.exception()):
        log.warning("not written", error=repr(error))


class Store:
    def __init__(self, db: aiosqlite.Connection, lock_fd: int | None):
        self._db = db
        self._lock_fd = lock_fd
        self._writing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._is_full: bool | None = None
        self.changes = 0
        self.offers = 0  # as `changes`, without those that cannot make a delivery ready to go
        self.statements = 0

    @classmethod
    async def open(cls, folder: Path) -> Store:
        """Open or make ``ledger.db`` in `folder` (made if missing, 0700), own it and migrate it.

        Raises LedgerLocked if another process owns it, LedgerUnusable if it is damaged, read-only or newer.
        """
        lock_fd = _lock(folder)
        try:
            return await cls._open_owned(folder / "ledger.db", lock_fd)
        except (sqlite3.Error, OSError) as error:
            os.close(lock_fd)
            raise LedgerUnusable(explained(folder, error)) from error
        except BaseException:
            os.close(lock_fd)
            raise

    @classmethod
    async def _open_owned(cls, path: Path, lock_fd: int) -> Store:
        db = await _connect(path, isolation_level=None)
        try:
            os.chmod(path, 0o600)
            db.row_factory = sqlite3.Row
            for pragma in ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=5000"):
                await (await db.execute(f"PRAGMA {pragma}")).close()
            store = cls(db, lock_fd)
            await store._migrate()
            return store
        except BaseException:
            await db.close()
            raise

    @classmethod
    async def open_to_read(cls, folder: Path) -> Store:
        """Open beside a running agent, or after it. Raises LedgerUnusable when there is none."""
        path = folder.absolute() / "ledger.db"
        uri = f"{path.as_uri()}?mode=ro"
        try:
            sqlite3.connect(
                uri, uri=True
            ).close()  # the thread of aiosqlite outlives its loop if this fails there
            db = await _connect(uri, uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise LedgerUnusable(
                f"there is no ledger to read at {path}: has hotshoe run with this configuration? ({error})"
            ) from error
        try:
            db.row_factory = sqlite3.Row
            store = cls(db, None)
            if await store._version() < len(_scripts()):
                raise LedgerUnusable(f"{path} was written by an older hotshoe: start hotshoe run once")
            return store
        except sqlite3.Error as error:
            await db.close()
            raise LedgerUnusable(explained(folder, error)) from error
        except BaseException:
            await db.close()
            raise

    async def _version(self) -> int:
        version = int((await self.one("PRAGMA user_version"))[0])
        if version > len(_scripts()):
            raise LedgerUnusable(
                "the ledger was written by a newer hotshoe: install that version or a newer one"
            )
        return version

    async def _migrate(self) -> None:
        scripts, version = _scripts(), await self._version()
        for number, script in enumerate(scripts[version:], start=version + 1):
            text = script.read_text("utf-8")
            await self._db.executescript(f"BEGIN IMMEDIATE;\n{text}\nPRAGMA user_version={number};\nCOMMIT;")

    @shielded
    async def begin_run(self) -> None:
        """Make what every ledger has, and take back what the last run had in its hands."""
        async with self.transaction():
            for key, value in (("epoch", secrets.token_hex(8)), ("owner", secrets.token_hex(4))):
                await self.do(
                    "INSERT INTO agent (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING", key, value
                )
            await self.do("UPDATE delivery SET state = 'queued' WHERE state = 'uploading'")
            await self.do(
                "UPDATE delivery SET next_try_at = NULL WHERE state = 'queued' AND next_try_at IS NOT NULL"
            )
            await self.do("UPDATE file SET next_try_at = NULL WHERE next_try_at IS NOT NULL")
            await self.do("UPDATE deletion SET state = 'unknown' WHERE state = 'started'")

    async def close(self) -> None:
        async with self._writing:
            lock_fd, self._lock_fd = self._lock_fd, None
            await self._db.close()
        if lock_fd is not None:
            os.close(lock_fd)

    async def agent_value(self, key: str) -> str | None:
        rows = await self.all("SELECT value FROM agent WHERE key = ?", key)
        return str(rows[0]["value"]) if rows else None

    @shielded
    async def set_agent_value(self, key: str, value: str) -> None:
        async with self.transaction(durable=True):
            await self.do("INSERT OR REPLACE INTO agent (key, value) VALUES (?, ?)", key, value)

    async def wait_for_change(self, seen: int) -> int:
        """Return the number of commits once it is above `seen`. The caller bounds the wait."""
        while self.changes <= seen:
            self._changed.clear()
            await self._changed.wait()
        return self.changes

    def wake(self) -> None:
        self.changes += 1
        self._changed.set()

    @asynccontextmanager
    async def transaction(
        self, *, durable: bool = False, wakes: bool = True, offers: bool = True
    ) -> AsyncIterator[None]:
        """All or nothing; wakes whoever waits for a change. `durable`: survives a power cut when it returns. `offers`: a
        delivery may be ready to go by it that was not before."""
        async with self._writing:
            if self._lock_fd is None:
                raise RuntimeError("this ledger was opened to read, or is closed")
            if self._is_full is not durable:
                await (
                    await self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                ).close()
                self._is_full = durable
            await self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                await self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk may have ended it already
                    await self._db.execute("ROLLBACK")
                raise
        self.offers += offers
        if wakes:
            self.wake()

    @asynccontextmanager
    async def settled(self) -> AsyncIterator[None]:
        """Nothing that is read in here may still be rolled back: on our own connection we see what is not committed yet."""
        async with self._writing:
            yield

    def offer(self) -> None:
        self.offers += 1
        self.wake()

    async def do(self, sql: str, *parameters: Any) -> None:
        self.statements += 1
        await (await self._db.execute(sql, parameters)).close()

    async def all(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        self.statements += 1
        try:
            return list(await self._db.execute_fetchall(sql, parameters))
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _DAMAGED:
                raise LedgerUnusable(f"ledger.db cannot be used: {error}. {_DAMAGE}") from error
            raise

    async def one(self, sql: str, *parameters: Any) -> sqlite3.Row:
        return (await self.all(sql, *parameters))[0]


def explained(folder: Path, error: Exception) -> str:
    """What is wrong with the ledger in `folder`, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_IOERR and not os.statvfs(folder).f_bavail:
        code = sqlite3.SQLITE_FULL  # so it is told where only the index of the journal finds no room
    hint = _PASSING.get(code, "")
    if code in _DAMAGED:
        hint = _DAMAGE
    return f"cannot use {folder / 'ledger.db'}: {error}. {hint}".rstrip()


def _scripts() -> list[Traversable]:
    """The migrations in their order; the n-th leads to version n."""
    folder = resources.files("agent").joinpath("schema")
    return sorted(
        (each for each in folder.iterdir() if each.name.endswith(".sql")), key=lambda each: each.name
    )


async def _connect(database: str | Path, **options: Any) -> aiosqlite.Connection:
    """Connect, with a thread that keeps no process alive: one that hangs in a dead disk's call must not either."""
    connecting = aiosqlite.connect(database, **options)
    connecting._thread.daemon = True
    return await connecting


def _lock(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "ledger.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LedgerUnusable(f"cannot use the state folder {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise LedgerLocked(f"another hotshoe is running with the state folder {folder}") from None
    return descriptor
