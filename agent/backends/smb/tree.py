"""A folder of a share as a tree of files; `Tree` and `Writer` of `agent.backends.remote`."""

from __future__ import annotations

import builtins
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from smbprotocol.exceptions import EndOfFile, NoMoreFiles
from smbprotocol.file_info import (
    FileAttributes,
    FileEndOfFileInformation,
    FileFsFullSizeInformation,
    FileInformationClass,
    FileRenameInformation,
)
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    DirectoryAccessMask,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    ShareAccess,
    SMB2QueryInfoRequest,
    SMB2QueryInfoResponse,
    SMB2SetInfoRequest,
)
from smbprotocol.tree import TreeConnect

from agent.backends.base import Entry
from agent.backends.remote import NO_FILE, Path
from agent.backends.smb.address import Address
from agent.backends.smb.faults import FAULTS, LOST, NotGenuine, translated
from agent.backends.smb.names import objection
from agent.backends.smb.wire import Wire
from agent.faults import Fault, fault

_LET_GO_SECONDS = 1.0
"""How long a server may take to close what a connection had open that has just ended; Samba takes milliseconds."""
_ASK_AGAIN_SECONDS = 0.05
_ANYBODY = ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE
_FOLDER = FileAttributes.FILE_ATTRIBUTE_DIRECTORY

T = TypeVar("T")


_FILE = CreateOptions.FILE_NON_DIRECTORY_FILE
_AS_FOLDER = CreateOptions.FILE_DIRECTORY_FILE
_LIST_BYTES = 64 << 10
_PIECE_BYTES = 512 << 10
_PIECES_AHEAD = 2
"""How much is on its way here: smbprotocol holds an answer in about eight copies, and takes 0.3 ms for any of them."""


class SmbTree:
    """One connection. Cut as soon as an answer fails to come, so that what it had open is the server's to close."""

    def __init__(self, wire: Wire, share: TreeConnect, address: Address):
        self.is_usable = True
        self._wire = wire
        self._share = share
        self._address = address

    def size(self, path: Path) -> int | None:
        try:
            with self._opened(path, FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES) as file:
                return NO_FILE if file.file_attributes & _FOLDER else int(file.end_of_file)
        except Fault as refusal:
            if refusal.code == "smb.gone":
                return None
            if refusal.code == "smb.blocked":
                return NO_FILE
            raise

    def make_folders(self, folders: Path) -> None:
        if folders and self._has_made(folders):
            return
        try:
            with self._opened((), DirectoryAccessMask.FILE_READ_ATTRIBUTES, options=_AS_FOLDER):
                pass
        except Fault as refusal:
            if refusal.code in ("smb.gone", "smb.blocked"):
                raise fault(FAULTS, "smb.missing", str(self._address)) from refusal
            raise
        for depth in range(1, len(folders) + 1):
            if not self._has_made(folders[:depth]):
                # Its parent is there: Samba says so of a link that leads nowhere, or out of the share.
                raise fault(FAULTS, "smb.blocked", self.location(folders[:depth]))

    def open(self, path: Path, offset: int) -> SmbWriter:
        return _patiently(lambda: self._open_partial(path, offset))

    def read(self, path: Path) -> Generator[bytes | memoryview, None, None]:
        """Some pieces are asked for ahead of the one that is handed out."""
        with self._opened(path, FilePipePrinterAccessMask.FILE_READ_DATA, options=_FILE) as file:
            size, wanted, got = int(file.end_of_file), 0, 0
            piece_bytes = min(_PIECE_BYTES, self._wire.room() // _PIECES_AHEAD)
            asked: deque[tuple[Any, int]] = deque()
            try:
                while got < size:
                    while wanted < size and len(asked) < _PIECES_AHEAD:
                        length = min(piece_bytes, size - wanted)
                        asked.append(self._ask_piece(path, file, wanted, length))
                        wanted += length
                    piece = self._take_piece(path, asked.popleft())
                    got += len(piece)
                    yield piece
            finally:
                while asked and self.is_usable:
                    with suppress(Fault):
                        self._take_piece(path, asked.popleft())

    def rename(self, path: Path, to: Path) -> None:
        wish = FileRenameInformation()
        wish["replace_if_exists"] = False
        wish["file_name"] = self._name(to)

        def renamed() -> None:
            with (
                self._opened(path, FilePipePrinterAccessMask.DELETE, options=_FILE) as file,
                self._asking(to),
            ):
                self._set(file, wish)

        _patiently(renamed)
        with suppress(Fault):  # it has been renamed; not every server can do this
            self._make_durable(to[:-1])

    def remove(self, path: Path) -> None:
        if any(objection(segment) for segment in path):
            return  # nothing can be there

        def removed() -> None:
            options = _FILE | CreateOptions.FILE_DELETE_ON_CLOSE
            with self._opened(path, FilePipePrinterAccessMask.DELETE, options=options):
                pass

        try:
            _patiently(removed)
        except Fault as refusal:
            if refusal.code != "smb.gone":
                raise

    def list(self, folders: Path) -> Generator[Entry, None, None]:
        try:
            with self._opened(folders, DirectoryAccessMask.FILE_LIST_DIRECTORY, options=_AS_FOLDER) as folder:
                while found := self._next_entries(folders, folder):
                    for each in found:
                        name = each["file_name"].get_value().decode("utf-16-le", errors="replace")
                        if name not in (".", ".."):
                            is_folder = bool(each["file_attributes"].get_value() & _FOLDER)
                            size = None if is_folder else int(each["end_of_file"].get_value())
                            yield Entry(name=name, is_folder=is_folder, size=size)
        except Fault as refusal:
            if refusal.code != "smb.gone":
                raise

    def free_bytes(self) -> int:
        question = SMB2QueryInfoRequest()
        question["info_type"] = FileFsFullSizeInformation.INFO_TYPE
        question["file_info_class"] = FileFsFullSizeInformation.INFO_CLASS
        question["output_buffer_length"] = 32
        access = DirectoryAccessMask.FILE_READ_ATTRIBUTES
        with self._opened((), access, options=_AS_FOLDER) as root, self._asking(()):
            question["file_id"] = root.file_id
            answer = SMB2QueryInfoResponse()
            answer.unpack(self._ask(question)["data"].get_value())
            disk = answer.parse_buffer(FileFsFullSizeInformation)
            unit = disk["sectors_per_unit"].get_value() * disk["bytes_per_sector"].get_value()
            return int(disk["caller_available_units"].get_value() * unit)

    def location(self, path: Path) -> str:
        return "/".join((str(self._address), *path))

    def close(self) -> None:
        self._wire.end(is_abrupt=not self.is_usable)
        self.is_usable = False

    def _open_partial(self, path: Path, offset: int) -> SmbWriter:
        """Let others read it, and nobody write, rename or remove it."""
        access = FilePipePrinterAccessMask.FILE_WRITE_DATA | FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES
        disposition = CreateDisposition.FILE_OPEN if offset else CreateDisposition.FILE_OPEN_IF
        share = ShareAccess.FILE_SHARE_READ
        file = self._create(path, access, disposition=disposition, share=share, options=_FILE)
        with self._closed_on_fault(file), self._asking(path):
            if file.end_of_file < offset:
                raise fault(FAULTS, "smb.gone", f"{file.end_of_file} bytes are left of {offset}")
            if file.end_of_file > offset:
                end = FileEndOfFileInformation()
                end["end_of_file"] = offset
                self._set(file, end)
        return SmbWriter(self, path, file, offset)

    def _has_made(self, folders: Path) -> bool:
        """Make a folder whose parent is there; False when that is not so."""
        access = DirectoryAccessMask.FILE_READ_ATTRIBUTES
        disposition = CreateDisposition.FILE_OPEN_IF
        try:
            with self._opened(folders, access, disposition=disposition, options=_AS_FOLDER):
                return True
        except Fault as refusal:
            if refusal.code == "smb.gone":
                return False
            if refusal.code == "smb.exists":  # Windows, of a file
                raise fault(FAULTS, "smb.blocked", refusal.detail) from refusal
            raise

    def _make_durable(self, folders: Path) -> None:
        """Ask for the names in a folder to be kept for good: Samba syncs the folder."""
        access = DirectoryAccessMask.FILE_ADD_FILE
        with self._opened(folders, access, options=_AS_FOLDER) as folder, self._asking(folders):
            folder.flush()

    def _next_entries(self, folders: Path, folder: Open) -> builtins.list[Any]:
        with self._asking(folders):
            try:
                kind = FileInformationClass.FILE_DIRECTORY_INFORMATION
                found: builtins.list[Any] = folder.query_directory("*", kind, max_output=_LIST_BYTES)
            except NoMoreFiles:
                return []
        return found

    def _ask_piece(self, path: Path, file: Open, position: int, length: int) -> tuple[Any, int]:
        with self._asking(path):
            return self._wire.ask_read(file, position, length), length

    def _take_piece(self, path: Path, asked: tuple[Any, int]) -> memoryview:
        request, length = asked
        with self._asking(path):
            try:
                piece = self._wire.take_read(request)
            except EndOfFile:
                piece = memoryview(b"")
            if len(piece) != length:
                raise fault(FAULTS, "smb.gone", f"{self.location(path)}: cut short while it was read")
        return piece

    def _set(self, file: Open, information: Any) -> None:
        wish = SMB2SetInfoRequest()
        wish["info_type"] = information.INFO_TYPE
        wish["file_info_class"] = information.INFO_CLASS
        wish["file_id"] = file.file_id
        wish["buffer"] = information.pack()
        self._ask(wish)

    def _ask(self, message: Any) -> Any:
        sent = self._wire.send(message, self._share.session.session_id, self._share.tree_connect_id)
        return self._wire.receive(sent)

    def _create(
        self,
        path: Path,
        access: int,
        *,
        disposition: int = CreateDisposition.FILE_OPEN,
        share: int = _ANYBODY,
        options: int = 0,
    ) -> Open:
        file = Open(self._share, self._name(path))
        with self._asking(path):
            file.create(
                ImpersonationLevel.Impersonation,
                access,
                _FOLDER if options & _AS_FOLDER else FileAttributes.FILE_ATTRIBUTE_NORMAL,
                share,
                disposition,
                options,
            )
        return file

    @contextmanager
    def _opened(self, path: Path, access: int, **how: int) -> Iterator[Open]:
        """Open something for the length of the block; by default what is there, and shared with anybody."""
        file = self._create(path, access, **how)
        with self._closed_on_fault(file):
            yield file
        with self._asking(path):
            file.close()

    @contextmanager
    def _closed_on_fault(self, file: Open) -> Iterator[None]:
        try:
            yield
        except BaseException:  # GeneratorExit too
            self._close_quietly(file)
            raise

    def _close_quietly(self, file: Open) -> None:
        if self.is_usable:
            with suppress(Fault), self._asking(()):
                file.close()

    @contextmanager
    def _asking(self, path: Path) -> Iterator[None]:
        """Turn what goes wrong into a Fault, and end the connection where it can be used no more."""
        try:
            if not self.is_usable:
                raise fault(FAULTS, "smb.connection_lost", self.location(path))
            with translated(self.location(path)):
                yield
        except Fault as refusal:
            if refusal.code in LOST and self.is_usable:
                self.is_usable = False
                self._wire.end(is_abrupt=True)
            raise

    def _name(self, path: Path) -> str:
        """Return the path below the share, as it goes over the wire."""
        for segment in path:
            wrong = objection(segment)
            if wrong:
                raise fault(FAULTS, "smb.refused_name", f"{segment}: {wrong}")
        return "\\".join((*self._address.folders, *path))


class SmbWriter:
    """A partial; while it is open, the server lets nobody else write to it."""

    def __init__(self, tree: SmbTree, path: Path, file: Open, offset: int):
        self._tree = tree
        self._path = path
        self._file: Open | None = file
        self._offset = offset

    def write(self, chunk: memoryview) -> None:
        file = self._open
        with self._tree._asking(self._path):
            while chunk:
                room = min(len(chunk), self._tree._wire.room())
                taken = self._tree._wire.write(file, self._offset, chunk[:room])
                if not 0 < taken <= room:
                    raise NotGenuine(f"{taken} of {room} bytes were taken")
                self._offset += taken
                chunk = chunk[taken:]

    def finish(self) -> None:
        file = self._open
        with self._tree._asking(self._path):
            file.flush()
            file.close()
        self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._tree._close_quietly(self._file)
            self._file = None

    @property
    def _open(self) -> Open:
        if self._file is None:
            raise ValueError("the partial is closed")
        return self._file


def _patiently(action: Callable[[], T]) -> T:
    """Repeat what is refused as busy, for a moment: the server may not have noticed yet that a connection ended."""
    deadline = time.monotonic() + _LET_GO_SECONDS
    while True:
        try:
            return action()
        except Fault as refusal:
            if refusal.code != "smb.busy" or time.monotonic() > deadline:
                raise
        time.sleep(_ASK_AGAIN_SECONDS)  # between two questions; nothing else would tell
