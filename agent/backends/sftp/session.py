"""One SFTP session: questions go in from one thread at a time, and come back answered or as a `Fault`.

Imports asyncssh, so it is imported with the first connection.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from agent.backends.sftp.config import SftpConfig
from agent.backends.sftp.faults import FAULTS, LOSES_CONNECTION, translated
from agent.backends.sftp.login import log_in
from agent.backends.sftp.loop import Loop
from agent.faults import Fault, fault

T = TypeVar("T")

_FULL_BELOW_BYTES = 1 << 20  # a write may fail a block before the last free byte
_ST_RDONLY = 1  # OpenSSH PROTOCOL §4.4, SSH2_FXE_STATVFS_ST_RDONLY
_CLOSE_SECONDS = 2.0


class Session:
    def __init__(self, config: SftpConfig, loop: Loop):
        self.root = config.path.encode() or b"."
        """Counts from the folder that the login starts in, unless it is absolute."""
        self._config = config
        self._loop = loop
        self._has_failed = False
        seconds = config.connect_timeout_seconds + config.read_timeout_seconds
        with translated(config.secrets(), f"{config.host}:{config.port}"):
            self._connection, self.client = loop.run(self._begin(), seconds)

    @property
    def is_usable(self) -> bool:
        """Also tells of a connection that broke while nobody used it."""
        return not self._has_failed and not self._connection.is_closed()

    @property
    def server_version(self) -> str:
        return str(self._connection.get_extra_info("server_version", ""))

    def ask(self, work: Coroutine[Any, Any, T], calls: int = 1) -> T:
        """Wait for an answer, or for several of which each has its own time."""
        if not self.is_usable:
            work.close()
            raise fault(FAULTS, "sftp.lost", "the connection was closed")
        try:
            with translated(self._config.secrets()):
                return self._loop.run(work, self._config.read_timeout_seconds * calls)
        except Fault as refusal:
            if refusal.code in LOSES_CONNECTION:
                self.close()
            elif refusal.code == "sftp.refused_name" and not self._is_sane():
                self.close()
                raise fault(FAULTS, "sftp.lost", refusal.detail) from refusal
            raise
        except BaseException:
            self.close()
            raise

    def quietly(self, work: Coroutine[Any, Any, object]) -> None:
        """Do what closes something. Never raises; where it fails the session is of no more use."""
        try:
            self._loop.run(work, _CLOSE_SECONDS)
        except Exception:  # whatever it is: there is nothing left to do with what was to be closed
            if self.is_usable:
                self.close()

    def explained(self, refusal: Fault, *, writing: bool = False) -> Fault:
        """Find out what stands behind a bare "failure": protocol 3 has no words for a full or read-only disk."""
        if refusal.code != "sftp.failure" or not self.is_usable:
            return refusal
        try:
            disk = self.ask(self.client.statvfs(self.root))
        except Fault:
            return refusal
        code = "sftp.quota" if writing else refusal.code
        if disk.flags & _ST_RDONLY:
            code = "sftp.read_only"
        elif disk.bavail * disk.frsize < _FULL_BELOW_BYTES or (disk.files and not disk.favail):
            code = "sftp.full"
        return fault(FAULTS, code, refusal.detail)

    def close(self) -> None:
        self._has_failed = True
        self.quietly(self._end())

    def _is_sane(self) -> bool:
        """asyncssh uses one exception for a name that the server cannot take and for a broken protocol."""
        try:
            self._loop.run(self.client.realpath(b"."), self._config.read_timeout_seconds)
        except Exception:  # whatever it is: this is asked of every server, and never refused
            return False
        return True

    async def _begin(self) -> tuple[Any, Any]:
        connection, client = await log_in(self._config)
        self._loop.connections.add(connection)
        return connection, client

    async def _end(self) -> None:
        self._loop.connections.discard(self._connection)
        self._connection.abort()
        await self._connection.wait_closed()
