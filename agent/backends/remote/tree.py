"""What a protocol must be able to do to be a destination.

Every call is bounded in time by the implementation, and raises nothing but `Fault`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from agent.backends.base import Entry

Path = tuple[str, ...]
"""Segments below the destination's root; () is the root itself."""

NO_FILE = -1
"""The size of something that is no file: a folder, a device."""

PIECE_BYTES = 1 << 20
"""The most that `Tree.read` gives at once."""


class Writer(Protocol):
    """A partial, open at its end. One thread at a time."""

    def write(self, chunk: memoryview) -> None:
        """Append all of `chunk`."""

    def finish(self) -> None:
        """Close; what was written is kept for good, as far as the protocol can ask for that."""

    def close(self) -> None:
        """Close without that promise, keeping what is there. Never raises; harmless when repeated."""


class Tree(Protocol):
    """One connection to the root. One thread at a time, and nothing else while a `Writer` of it is open."""

    @property
    def is_usable(self) -> bool:
        """False once an answer failed to come: nothing more can be asked."""

    def size(self, path: Path) -> int | None:
        """Return the length in bytes, None where there is nothing, `NO_FILE` for what is no file."""

    def make_folders(self, folders: Path) -> None:
        """Make a folder and those that it lies in; harmless when they exist. The root is never made.

        Raises ``<kind>.missing`` (NeedsUser) when the root is not there.
        """

    def open(self, path: Path, offset: int) -> Writer:
        """Go on at `offset`, which is at most the length that was just asked for; 0 makes the file, or empties it.

        What lies behind `offset` is written over. Raises ``<kind>.busy`` when the server says that somebody else
        has the file open.
        """

    def read(self, path: Path) -> Generator[bytes | memoryview, None, None]:
        """Yield the content. May be closed early, before anything else is asked.

        Raises ``<kind>.not_readable`` where it can be told that the login may write and not read.
        """

    def rename(self, path: Path, to: Path) -> None:
        """Raises ``<kind>.exists`` where the server refuses to replace `to`."""

    def remove(self, path: Path) -> None:
        """Remove a file; harmless when there is none. Raises ``<kind>.busy`` as `open` does."""

    def list(self, folders: Path) -> Generator[Entry, None, None]:
        """Yield what lies in a folder, in any order, as it comes; nothing for a folder that is not there.

        May be closed early, before anything else is asked.
        """

    def free_bytes(self) -> int | None:
        """Return the room that is left for us, None where the protocol cannot say."""

    def location(self, path: Path) -> str:
        """Return what a person would look at, such as ``smb://host/share/a/b.jpg``. Without a secret."""

    def close(self) -> None:
        """Never raises, and never waits long."""
