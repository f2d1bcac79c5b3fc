"""An FTP server as a destination."""

from __future__ import annotations

from functools import partial

from agent.backends.base import Exclusive
from agent.backends.ftp.config import FtpConfig
from agent.backends.ftp.faults import FAULTS
from agent.backends.ftp.tree import FtpTree
from agent.backends.remote import RemoteBackend, Tree


class FtpBackend(RemoteBackend):
    def __init__(self, config: FtpConfig, *, owner: str):
        super().__init__(
            kind="ftp",
            faults=FAULTS,
            connect=partial(FtpTree, config),
            minimum_proof=config.minimum_proof,
            owner=owner,
        )

    def _found_out(self, tree: Tree) -> Exclusive:
        """Not tried: a server that refuses to replace looks first and renames then, and the next version may replace."""
        return Exclusive.CHECKED
