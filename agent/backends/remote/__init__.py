"""Destinations that are a file tree on another machine: what SMB, FTP and SFTP have in common.

A file is written beside its place under a name of its own delivery, goes on from its length after a cut, is read
back and hashed, and then renamed. What differs is a `Tree`: one connection, with a dozen calls. Whether the
server refuses to rename over an existing file is found out by the check; where it does not, or while that is not
known, the place is looked at right before.

Where the settings are content with the length, what was gone on with after a cut is read back all the same.
"""

from agent.backends.remote.backend import RemoteBackend
from agent.backends.remote.tree import NO_FILE, PIECE_BYTES, Path, Tree, Writer

__all__ = ["NO_FILE", "PIECE_BYTES", "Path", "RemoteBackend", "Tree", "Writer"]
