"""The check that `doctor` and the panel run against a destination, the same for every backend.

It goes through the very calls that deliveries use, with a small file whose name carries the owner, so that a
check that was killed is cleaned up by the next one. It never raises: what went wrong stands in the last step.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Protocol

from agent.backends.base import RESERVED, Check, Digests, Exclusive, Found, Presence, Receipt, Step, Upload
from agent.faults import Advice, Fault, Kind, fault

_PROBE_BYTES = 4096


class Place(Protocol):
    """What a backend lends to its check: as in `Backend`, but reserved names are allowed."""

    def begin(self, key: str, size: int, token: str) -> Upload: ...

    def look(self, key: str, size: int, digests: Digests | None) -> Found: ...

    def names(self, start: str) -> Collection[str]:
        """Names right below the root that begin with `start`."""

    def remove(self, key: str) -> None:
        """Delete; harmless when there is nothing."""

    def digests(self, content: bytes) -> Digests:
        """What `commit` wants to know of `content`."""


FAULTS = {
    "check.unmet": Advice(
        Kind.NEEDS_USER, "The destination answers, but does not keep files as it should: see the details."
    ),
    "check.unclassified": Advice(
        Kind.RETRYABLE, "The check failed for a reason that is not known here: see the details."
    ),
}


class _Run:
    def __init__(self, place: Place, owner: str):
        self.place = place
        self.name = f"{RESERVED}check-{owner}"
        self.token = f"check{owner}"
        self.content = os.urandom(_PROBE_BYTES)
        self.digests = place.digests(self.content)
        self.receipt: Receipt | None = None

    def write(self) -> None:
        self.place.remove(self.name)
        self.receipt = self._put(self.content)

    def read_back(self) -> None:
        self._expect(Presence.SAME)

    def list(self) -> None:
        if self.name not in self.place.names(self.name):
            raise fault(FAULTS, "check.unmet", "the probe is not in the listing")

    def refuse_overwrite(self) -> None:
        try:
            self._put(os.urandom(_PROBE_BYTES))
        except Fault as refusal:
            if not refusal.code.endswith(".exists"):
                raise
        else:
            raise fault(FAULTS, "check.unmet", "an existing file was replaced")
        self._expect(Presence.SAME)

    def delete(self) -> None:
        self.place.remove(self.name)
        self._expect(Presence.ABSENT)

    def _put(self, content: bytes) -> Receipt:
        upload = self.place.begin(self.name, len(content), self.token)
        if upload.offset:  # of a check that was killed
            upload.abort()
            upload = self.place.begin(self.name, len(content), self.token)
        try:
            upload.write(memoryview(content))
            return upload.commit(self.place.digests(content))
        except BaseException:
            with suppress(Fault):
                upload.abort()
            raise
        finally:
            upload.close()

    def _expect(self, presence: Presence) -> None:
        found = self.place.look(self.name, _PROBE_BYTES, self.digests).presence
        if found is not presence:
            raise fault(FAULTS, "check.unmet", f"the probe should be {presence}, it is {found}")


def run(place: Place, owner: str) -> Check:
    """Take the steps in order up to the first that fails, and clean up in any case."""
    probe = _Run(place, owner)
    steps: list[Step] = []
    stopped_by: Fault | None = None
    for name, action in (
        ("write", probe.write),
        ("read back", probe.read_back),
        ("list", probe.list),
        ("refuse overwrite", probe.refuse_overwrite),
        ("delete", probe.delete),
    ):
        step, stopped_by = _timed(name, action)
        steps.append(step)
        if not step.ok:
            with suppress(Exception):
                place.remove(probe.name)
            break
    receipt = probe.receipt
    return Check(
        steps=tuple(steps),
        exclusive=receipt.exclusive if receipt else Exclusive.CHECKED,
        proof=receipt.proof if receipt else None,
        fault=stopped_by,
    )


def _timed(name: str, action: Callable[[], None]) -> tuple[Step, Fault | None]:
    begun = time.perf_counter()
    stopped_by: Fault | None = None
    try:
        action()
    except Fault as refusal:
        stopped_by = refusal
    except Exception as bug:  # a check says what happened, it never stops its caller
        stopped_by = fault(FAULTS, "check.unclassified", f"{type(bug).__name__}: {bug}")
    seconds = time.perf_counter() - begun
    return Step(name=name, seconds=seconds, ok=not stopped_by, detail=str(stopped_by or "")), stopped_by


def digests_of(content: bytes) -> Digests:
    return Digests(sha256=hashlib.sha256(content).hexdigest())
