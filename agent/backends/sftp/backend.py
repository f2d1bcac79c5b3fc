"""An SFTP server as a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from agent.backends.base import Exclusive
from agent.backends.remote import RemoteBackend, Tree
from agent.backends.sftp.config import SftpConfig
from agent.backends.sftp.faults import FAULTS
from agent.backends.sftp.loop import Loop

if TYPE_CHECKING:
    from agent.backends.sftp.tree import SftpTree


class SftpBackend(RemoteBackend):
    """asyncssh runs in one thread, which starts with the first call and ends with `close`."""

    def __init__(self, config: SftpConfig, *, owner: str):
        loop = Loop(f"sftp-{config.host}")

        def connect() -> Tree:
            from agent.backends.sftp.tree import SftpTree

            return SftpTree(config, loop)

        super().__init__(
            kind="sftp", faults=FAULTS, connect=connect, minimum_proof=config.minimum_proof, owner=owner
        )
        self._loop = loop

    def close(self) -> None:
        super().close()
        self._loop.close()

    def _found_out(self, tree: Tree) -> Exclusive:
        """That a server refuses to replace is not enough: most look first, and rename then."""
        found = super()._found_out(tree)
        if found is Exclusive.ATOMIC and not cast("SftpTree", tree).renames_by_link(self._owner):
            return Exclusive.CHECKED
        return found
