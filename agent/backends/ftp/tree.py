"""A folder on an FTP server as a tree.

Paths go whole and from the top, so that no name can be taken for an option (-a) or a home (~). What the protocol
cannot say is asked with its oldest commands: a folder is what one can change into; without MLSD a folder is listed as
ls does, or by names of which each is asked for; without SIZE a file is read to its end.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Generator, Sequence
from itertools import islice

from agent.backends.base import RESERVED, Entry
from agent.backends.ftp.channels import opened
from agent.backends.ftp.config import FtpConfig
from agent.backends.ftp.connection import Connection
from agent.backends.ftp.faults import FAULTS, Reply
from agent.backends.ftp.listing import entry_of, facts_of, ls_entries_of, name_of
from agent.backends.ftp.login import home_of, logged_in
from agent.backends.ftp.transfer import FtpWriter, received, received_lines
from agent.backends.remote import NO_FILE, Path
from agent.faults import Fault, fault

_MOST_NAMES = 20_000
_PLAIN = re.compile(r"[A-Za-z0-9._-]([A-Za-z0-9._ -]{0,98}[A-Za-z0-9_-])?")
_UNKNOWN_COMMAND = (500, 502, 504)
_NO_SUCH_FILE = 550
_WITHOUT_RESUME = (
    "ftp.no_resume",
    "ftp.unsupported",
    "ftp.server_error",
)  # ProFTPD says 451 to STOR after REST


class FtpTree:
    """Logs in when made. A connection that the server gave up while nothing was asked is replaced."""

    def __init__(self, config: FtpConfig):
        self._config = config
        self._connection = logged_in(config)
        home = "" if config.path.startswith("/") else home_of(self._connection) + "/"
        self._root = (home + config.path).rstrip("/")
        self._absent: Path | None = None  # what `size` has just not found

    @property
    def is_usable(self) -> bool:
        return self._connection.is_usable

    def size(self, path: Path) -> int | None:
        found = self._size(self._ready(), path)
        self._absent = path if found is None else None
        return found

    def make_folders(self, folders: Path) -> None:
        connection = self._ready()
        if connection.say("CWD", self._at(folders)).code < 400:
            return
        reply = connection.say("CWD", self._at(()))
        if reply.code >= 500:
            raise fault(FAULTS, "ftp.missing", connection.cleaned(reply))
        if reply.code >= 400:
            raise connection.refused("CWD", reply)
        for depth in range(1, len(folders) + 1):
            folder = folders[:depth]
            reply = connection.say("MKD", self._at(folder))
            if reply.code >= 400 and connection.say("CWD", self._at(folder)).code >= 400:
                raise self._not_made(connection, folder, reply)

    def open(self, path: Path, offset: int) -> FtpWriter:
        connection = self._ready()
        name = self._at(path)
        exists = offset > 0
        if offset == 0 and path != self._absent:
            # Never emptied but made anew: vsftpd lets a STOR wait until it gets the file's lock, and empties the file
            # then, even when whoever asked has hung up and the file has been published meanwhile.
            exists = connection.say("DELE", name).code >= 400 and self._size(connection, path) is not None
        self._absent = None
        try:
            return FtpWriter(connection, self._stored(connection, path, offset))
        except Fault as refusal:
            # Refused although it was ours to write once: as servers on Windows do.
            raise self._held_by_another(refusal, "ftp.forbidden") if exists else refusal from None

    def read(self, path: Path) -> Generator[memoryview, None, None]:
        connection = self._ready()
        try:
            data = opened(connection, "RETR", self._at(path))
        except Fault as refusal:
            if refusal.code == "ftp.not_readable" and self._size(connection, path) is None:
                raise fault(FAULTS, "ftp.upload_gone", refusal.detail) from refusal
            raise self._held_by_another(refusal) from None
        yield from received(connection, data, "RETR")

    def rename(self, path: Path, to: Path) -> None:
        connection = self._ready()
        reply = connection.say("RNFR", self._at(path))
        if reply.code == _NO_SUCH_FILE and self._size(connection, path) is None:
            raise fault(FAULTS, "ftp.upload_gone", connection.cleaned(reply))
        if reply.code >= 400:
            raise connection.refused("RNFR", reply)
        reply = connection.say("RNTO", self._at(to))
        if reply.code < 400:
            return
        if reply.code in (501, 550, 553):
            if self._size(connection, to) is not None:
                raise fault(FAULTS, "ftp.exists", connection.cleaned(reply))
            if not _PLAIN.fullmatch(to[-1]):
                raise fault(FAULTS, "ftp.refused_name", connection.cleaned(reply))
        raise connection.refused("RNTO", reply)

    def remove(self, path: Path) -> None:
        connection = self._ready()
        self._absent = None
        reply = connection.say("DELE", self._at(path))
        if reply.code == _NO_SUCH_FILE and self._size(connection, path) is None:
            return
        if reply.code >= 400:
            raise connection.refused("DELE", reply)

    def list(self, folders: Path) -> Generator[Entry, None, None]:
        connection = self._ready()
        reply = connection.say("CWD", self._at(folders))
        if reply.code == _NO_SUCH_FILE:
            return
        if reply.code >= 400:
            raise connection.refused("CWD", reply)
        if connection.features & {"MLST", "MLSD"}:
            yield from filter(None, map(entry_of, received_lines(connection, "MLSD")))
        else:
            yield from self._looked_at(folders)

    def free_bytes(self) -> int | None:
        return None

    def location(self, path: Path) -> str:
        config = self._config
        scheme, usual = {"none": ("ftp", 21), "explicit": ("ftps", 21), "implicit": ("ftps", 990)}[
            config.security
        ]
        host = f"[{config.host}]" if ":" in config.host else config.host
        port = config.effective_port()
        return f"{scheme}://{host}" + (f":{port}" if port != usual else "") + self._at(path)

    def close(self) -> None:
        self._connection.leave()

    def _ready(self) -> Connection:
        """Return the connection for the next question."""
        if self._connection.is_usable and self._connection.is_stale():
            self._connection.leave()
            self._connection = logged_in(self._config)
        return self._connection

    def _at(self, path: Path) -> str:
        if any({"\r", "\n"} & set(segment) for segment in path):
            raise fault(FAULTS, "ftp.refused_name", repr("/".join(path)))
        return "/".join((self._root, *path)) or "/"

    def _size(self, connection: Connection, path: Path) -> int | None:
        name = self._at(path)
        if "MLST" in connection.features:
            reply = connection.say("MLST", name)
            if reply.code == _NO_SUCH_FILE:
                return None
            if reply.code == 250 and "\n" in reply.text:
                kind, size = facts_of(reply.text.split("\n")[1].lstrip(" ").partition(" ")[0])
                if kind in ("dir", "cdir", "pdir"):
                    return NO_FILE
                if kind == "file" and size is not None:
                    return size
        reply = connection.say("SIZE", name)
        digits = reply.text[3:].strip()
        if reply.code == 213 and digits.isascii() and digits.isdigit():
            return int(digits)
        if reply.code == _NO_SUCH_FILE:
            return NO_FILE if connection.say("CWD", name).code < 400 else None
        if reply.code in _UNKNOWN_COMMAND:
            return self._size_by_reading(connection, name)
        raise connection.refused("SIZE", reply)

    def _size_by_reading(self, connection: Connection, name: str) -> int | None:
        if connection.say("CWD", name).code < 400:
            return NO_FILE
        try:
            data = opened(connection, "RETR", name)
            return sum(len(piece) for piece in received(connection, data, "RETR"))
        except Fault as refusal:
            if refusal.code != "ftp.not_readable":
                raise
            return None

    def _stored(self, connection: Connection, path: Path, offset: int) -> socket.socket:
        name = self._at(path)
        try:
            return opened(connection, "STOR", name, offset)
        except Fault as refusal:
            if not offset or not connection.is_usable or refusal.code not in _WITHOUT_RESUME:
                raise
        try:
            return opened(connection, "APPE", name)
        except Fault as refusal:
            if not connection.is_usable or refusal.code not in _WITHOUT_RESUME:
                raise
            self.remove(path)
            raise fault(FAULTS, "ftp.no_resume", refusal.detail) from refusal

    def _held_by_another(self, refusal: Fault, *signs: str) -> Fault:
        """Return ``ftp.busy`` if that is what `refusal` means: one of `signs`, or silence of a server that answers else.

        vsftpd gives no answer while another process holds the lock of a file, and one that serves a connection which
        died without a word holds it for minutes.
        """
        if refusal.code == "ftp.timeout":
            self._connection = logged_in(self._config)
        elif refusal.code not in signs:
            return refusal
        return fault(FAULTS, "ftp.busy", refusal.detail)

    def _not_made(self, connection: Connection, folder: Path, reply: Reply) -> Fault:
        """Return why a folder could not be made: servers say 550 to all reasons."""
        if reply.code != _NO_SUCH_FILE and reply.code not in (501, 553):
            return connection.refused("MKD", reply)
        if self._size(connection, folder) is not None:
            return fault(FAULTS, "ftp.blocked", connection.cleaned(reply))
        if not _PLAIN.fullmatch(folder[-1]):
            other = self._at((*folder[:-1], f"{RESERVED}folder"))
            # One that is there was made by another worker at this moment, or before a kill.
            if connection.say("MKD", other).code < 400 or connection.say("CWD", other).code < 400:
                connection.say("RMD", other)
                return fault(FAULTS, "ftp.refused_name", connection.cleaned(reply))
        return connection.refused("MKD", reply)

    def _looked_at(self, folders: Path) -> Generator[Entry, None, None]:
        """List where there is no MLSD: as ls does, or else by names, of which each is asked for."""
        # -a shows hidden files as well, to servers with a Unix heart. Others may take it for a name.
        if entries := ls_entries_of(self._lines(folders, "LIST", "-a")):
            yield from entries
            return
        lines = self._lines(folders, "NLST", "-a") or self._lines(folders, "NLST", "")
        for name in sorted(filter(None, map(name_of, lines))):
            size = self._size(self._ready(), (*folders, name))
            if size is not None:
                yield Entry(name=name, is_folder=size == NO_FILE, size=None if size == NO_FILE else size)

    def _lines(self, folders: Path, command: str, option: str) -> Sequence[str]:
        connection = self._ready()
        lines: list[str] = []
        try:
            connection.must("CWD", self._at(folders))
            lines.extend(islice(received_lines(connection, command, option), _MOST_NAMES))
        except Fault as refusal:
            # 550 and 450 are what some servers say of an empty folder.
            if (
                refusal.code not in ("ftp.forbidden", "ftp.busy", "ftp.unsupported")
                or not connection.is_usable
            ):
                raise
        if not connection.is_usable:  # broken off by us
            self._connection = logged_in(self._config)
        return lines
