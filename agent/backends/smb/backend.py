"""A shared folder as a destination."""

from __future__ import annotations

from functools import partial

from agent.backends.remote import RemoteBackend, Tree
from agent.backends.smb.config import SmbConfig
from agent.backends.smb.faults import FAULTS


class SmbBackend(RemoteBackend):
    def __init__(self, config: SmbConfig, *, owner: str):
        super().__init__(
            kind="smb",
            faults=FAULTS,
            connect=partial(connect, config),
            minimum_proof=config.minimum_proof,
            owner=owner,
        )


def connect(config: SmbConfig) -> Tree:
    """Return a connection to the destination's root. Loads smbprotocol with the first one."""
    from agent.backends.smb.login import logged_in
    from agent.backends.smb.tree import SmbTree

    wire, share = logged_in(config)
    return SmbTree(wire, share, config.place())
