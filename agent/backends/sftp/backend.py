"""An SFTP server as a destination."""

from __future__ import annotations

from agent.backends.remote import RemoteBackend, Tree
from agent.backends.sftp.config import SftpConfig
from agent.backends.sftp.faults import FAULTS
from agent.backends.sftp.loop import Loop


class SftpBackend(RemoteBackend):
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
