"""What an upload leaves that is not finished, and how it goes.

Azure drops staged blocks a week after the last one, or with the next commit of their name; there is no call for it. So
an empty blob is committed under the name, which drops them, and is deleted at once. It is done only where it cannot
do harm: nothing is published under the name (the commit is conditional, the delete names the very blob), no blocks
of anybody else lie there, the container has neither a retention policy nor a legal hold, and we were seen to have the
right to delete. The empty blob bears a mark: if we are killed in between, the next look at the name removes it.

Elsewhere the blocks stay, invisible, until Azure drops them, with a mark that the next `start` respects (`blocks`).
"""

from __future__ import annotations

import threading
from contextlib import suppress

from agent.backends.azure.blocks import is_of, round_of
from agent.backends.azure.store import Head, Store
from agent.backends.base import RESERVED
from agent.faults import Fault

_MARK = "hotshoe_empty"


class Sweeper:
    """Clears what deliveries leave in one container."""

    def __init__(self, store: Store, prefix: str, owner: str):
        self._store = store
        self._nothing = f"{prefix}{RESERVED}nothing-{owner}"
        self._owner = owner
        self._lock = threading.Lock()
        self._is_safe: bool | None = None

    def clear(self, key: str, tag: str) -> None:
        """Drop the staged blocks of `tag`; harmless when there are none."""
        _, uncommitted = self._store.blocks(key)
        ours = [block for block in uncommitted if is_of(tag, block)]
        if not ours:
            return
        if len(ours) == len(uncommitted) and self._may_sweep() and self._store.head(key) is None:
            try:
                made = self._store.commit(key, [], {_MARK: self._owner})
            except Fault as refusal:
                if refusal.code != "azure.exists":
                    raise
            else:
                self._store.delete(key, made.etag)
                return
        mark = memoryview(b"aborted")
        with suppress(Fault):  # a matter of resuming alone: the checksum of the whole is compared in any case
            self._store.stage(key, round_of(tag, uncommitted).abort_id(), mark)

    def is_empty_one(self, key: str, head: Head) -> bool:
        """Say whether `head` is an empty blob that a killed `clear` left; it is then removed."""
        if head.size or _MARK not in head.metadata:
            return False
        self._store.delete(key, head.etag)
        return True

    def _may_sweep(self) -> bool:
        with self._lock:
            if self._is_safe is None:
                self._is_safe = self._store.keeps_what_is_deleted() is False and self._may_delete()
            return self._is_safe

    def _may_delete(self) -> bool:
        try:
            self._store.delete(self._nothing)  # a name that nobody uses
        except Fault as refusal:
            if refusal.code in ("azure.access_denied", "azure.firewall"):
                return False
            raise
        return True
