"""One SFTP session as a tree of files.

Imports asyncssh, so it is imported with the first connection.

What "busy" can mean: protocol 3 has no locks, and a POSIX server lets everybody write everywhere. So a new partial
is made with FXF_EXCL, after an earlier one was unlinked: an attempt that still holds the old one writes to a file
without a name. A partial that is gone on with must still be as long as it was when its length was asked for. Where
either does not hold, somebody else is at it: ``sftp.busy``. A writer of the same delivery that slips through writes
the same bytes to the same places. Servers that do lock (Windows, protocol 6) say so by a status of their own.
"""

from __future__ import annotations

import stat
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from typing import Any

import asyncssh

from agent.backends.base import RESERVED, Entry
from agent.backends.remote import NO_FILE, Path
from agent.backends.sftp.config import SftpConfig
from agent.backends.sftp.faults import FAULTS
from agent.backends.sftp.loop import Loop
from agent.backends.sftp.session import Session
from agent.backends.sftp.transfer import Receiver, block_bytes, keeps_order, send
from agent.faults import Fault, fault

_CREATE = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL
_MAKE_ATTEMPTS = 3
_FAT_LIMIT_BYTES = (1 << 32) - 1
_LIST_AT_ONCE = 100


class SftpTree:
    def __init__(self, config: SftpConfig, loop: Loop):
        self._config = config
        self._session = Session(config, loop)
        self._client = self._session.client
        self._keeps_order = keeps_order(self._session.server_version)
        self._shown_root: str | None = None

    @property
    def is_usable(self) -> bool:
        return self._session.is_usable

    def size(self, path: Path) -> int | None:
        try:
            attributes = self._session.ask(self._client.lstat(self._at(path)))
        except Fault as refusal:
            if refusal.code == "sftp.missing":
                return None
            raise
        return int(attributes.size or 0) if _is_file(attributes) else NO_FILE

    def make_folders(self, folders: Path) -> None:
        if folders and self._is_folder(folders):
            return
        if not self._is_folder(()):
            raise fault(FAULTS, "sftp.missing", self.location(()))
        for depth in range(1, len(folders) + 1):
            self._make_folder(folders[:depth])

    def open(self, path: Path, offset: int) -> SftpWriter:
        file = self._opened(path) if offset else self._made(path)
        writer = SftpWriter(self, file, offset)
        if offset:
            try:
                length = int(self._session.ask(file.stat()).size or 0)
                if length < offset:
                    raise fault(FAULTS, "sftp.busy", f"{length} bytes long, and not {offset} any more")
            except Fault:
                writer.close()
                raise
        return writer

    def read(self, path: Path) -> Generator[bytes, None, None]:
        try:
            file = self._session.ask(self._open_file(path, asyncssh.FXF_READ))
        except Fault as refusal:
            raise self._explained(refusal) from refusal
        receiver = Receiver(
            file, block_bytes(self._client.limits.max_read_len), self._config.read_timeout_seconds
        )
        try:
            while pieces := self._session.ask(receiver.next(), calls=64):
                yield from pieces
        finally:
            self._session.quietly(_stopped(receiver, file))

    def rename(self, path: Path, to: Path) -> None:
        """By SSH_FXP_RENAME, which must not replace (draft-02 §6.5); posix-rename would."""
        try:
            self._session.ask(self._client.rename(self._at(path), self._at(to)))
        except Fault as refusal:
            if refusal.code == "sftp.failure" and self.size(to) is not None:
                raise fault(FAULTS, "sftp.exists", refusal.detail) from refusal
            raise self._explained(refusal) from refusal

    def remove(self, path: Path) -> None:
        try:
            self._session.ask(self._client.remove(self._at(path)))
        except Fault as refusal:
            if refusal.code != "sftp.missing":
                raise self._session.explained(refusal) from refusal

    def list(self, folders: Path) -> Generator[Entry, None, None]:
        names = self._client.scandir(self._at(folders))
        try:
            while batch := self._session.ask(_some(names)):
                yield from batch
        except Fault as refusal:
            if refusal.code != "sftp.missing" or not self._is_folder(()):
                raise
        finally:
            self._session.quietly(_ended(names))

    def free_bytes(self) -> int | None:
        try:
            disk = self._session.ask(self._client.statvfs(self._session.root))
        except Fault:
            return None
        return int(disk.bavail * disk.frsize)

    def location(self, path: Path) -> str:
        """As a URL; the folder that a login starts in is asked for once, and left out if that cannot be told."""
        if self._shown_root is None:
            try:
                root = self._session.ask(self._client.realpath(self._session.root))
            except Fault:
                root = self._session.root
            self._shown_root = root.decode(errors="replace").strip("/")
        port = "" if self._config.port == 22 else f":{self._config.port}"
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        return "/".join(each for each in (f"sftp://{host}{port}", self._shown_root, *path) if each)

    def close(self) -> None:
        self._session.close()

    def renames_by_link(self, owner: str) -> bool:
        """Say whether a rename is one step that fails where something is.

        OpenSSH makes a hard link and then removes the old name; on a disk without hard links, such as FAT, it looks
        and renames then (sftp-server.c, process_rename), as other servers always do.
        """
        if "OpenSSH" not in self._session.server_version:
            return False
        file, link = ((f"{RESERVED}{name}-{owner}",) for name in ("linked", "link"))
        try:
            self.open(file, 0).finish()
            self.remove(link)
            self._session.ask(self._client.link(self._at(file), self._at(link)))
        except Fault:
            if not self.is_usable:
                raise
            return False
        finally:
            if self.is_usable:
                for path in (file, link):
                    self.remove(path)
        return True

    # For the writer.

    def send(self, file: Any, offset: int, chunk: memoryview) -> None:
        block = block_bytes(self._client.limits.max_write_len)
        stall_seconds = self._config.read_timeout_seconds
        blocks = len(chunk) // block + 1
        try:
            self._session.ask(
                send(file, offset, chunk, block, stall_seconds, self._keeps_order), calls=blocks + 2
            )
        except Fault as refusal:
            explained = self._session.explained(refusal, writing=True)
            if explained.code == "sftp.quota" and offset + len(chunk) > _FAT_LIMIT_BYTES:
                explained = fault(FAULTS, "sftp.too_large", refusal.detail)
            raise explained from refusal

    def keep(self, file: Any) -> None:
        """Have the server write the file to its disk, where it can (fsync@openssh.com), and close it."""
        try:
            self._session.ask(file.fsync())
        except Fault as refusal:
            if not isinstance(refusal.__cause__, asyncssh.SFTPOpUnsupported):
                raise self._session.explained(refusal, writing=True) from refusal
        self._session.ask(file.close())

    def let_go(self, file: Any) -> None:
        """Close `file`. Never raises."""
        self._session.quietly(file.close())

    # Below.

    async def _open_file(self, path: Path, flags: int) -> Any:
        """Return a handle of which each call is one request."""
        return await self._client.open(self._at(path), flags, encoding=None, block_size=None)

    def _at(self, path: Path) -> bytes:
        return b"/".join((self._session.root.rstrip(b"/"), *(each.encode() for each in path))) or b"/"

    def _is_folder(self, folders: Path) -> bool:
        try:
            attributes = self._session.ask(self._client.stat(self._at(folders)))
        except Fault as refusal:
            if refusal.code == "sftp.missing":
                return False
            raise
        return attributes.permissions is None or stat.S_ISDIR(attributes.permissions)

    def _make_folder(self, folders: Path) -> None:
        try:
            self._session.ask(self._client.mkdir(self._at(folders)))
        except Fault as refusal:
            if not self.is_usable:
                raise
            if self._is_folder(folders):
                return
            if self.size(folders) is not None:
                raise fault(FAULTS, "sftp.blocked", self.location(folders)) from refusal
            raise self._session.explained(refusal) from refusal

    def _made(self, path: Path) -> Any:
        refusal: Fault | None = None
        for _ in range(_MAKE_ATTEMPTS):
            try:
                return self._session.ask(self._open_file(path, _CREATE))
            except Fault as caught:
                refusal = caught
            # Protocol 3 says no more than "failure" about a name that is taken.
            if refusal.code not in ("sftp.failure", "sftp.exists") or self.size(path) is None:
                raise self._explained(refusal) from refusal
            self.remove(path)
        raise fault(FAULTS, "sftp.busy", "somebody else makes it again and again") from refusal

    def _opened(self, path: Path) -> Any:
        try:
            return self._session.ask(self._open_file(path, asyncssh.FXF_WRITE))
        except Fault as refusal:
            raise self._explained(refusal) from refusal

    def _explained(self, refusal: Fault) -> Fault:
        """As the session's; and what is missing below a root that is there is no matter of the settings."""
        if refusal.code == "sftp.missing" and self._is_folder(()):
            return fault(FAULTS, "sftp.gone", refusal.detail)
        return self._session.explained(refusal)


class SftpWriter:
    """A partial, open at its end. What `write` has returned for is answered by the server."""

    def __init__(self, tree: SftpTree, file: Any, offset: int):
        self._tree = tree
        self._file = file
        self._offset = offset
        self._is_open = True

    def write(self, chunk: memoryview) -> None:
        self._tree.send(self._file, self._offset, chunk)
        self._offset += len(chunk)

    def finish(self) -> None:
        self._is_open = False
        self._tree.keep(self._file)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._tree.let_go(self._file)


async def _stopped(receiver: Receiver, file: Any) -> None:
    receiver.give_up()
    await file.close()


async def _ended(names: AsyncGenerator[Any, None]) -> None:
    await names.aclose()


async def _some(names: AsyncIterator[Any]) -> list[Entry]:
    entries: list[Entry] = []
    async for each in names:
        if each.filename not in (b".", b".."):
            entries.append(_entry(each))
        if len(entries) == _LIST_AT_ONCE:
            break
    return entries


def _entry(each: Any) -> Entry:
    permissions = each.attrs.permissions
    is_folder = permissions is not None and stat.S_ISDIR(permissions)
    return Entry(
        name=each.filename.decode(errors="replace"),
        is_folder=is_folder,
        size=None if is_folder else each.attrs.size,
    )


def _is_file(attributes: Any) -> bool:
    return attributes.permissions is None or stat.S_ISREG(attributes.permissions)
