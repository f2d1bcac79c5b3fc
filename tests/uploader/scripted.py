"""A destination in memory that does what it is told to at any step, and notices when the engine breaks the contract."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from agent.backends.base import (
    Check,
    Digests,
    Entry,
    Exclusive,
    Found,
    Presence,
    Proof,
    Receipt,
)
from agent.faults import Advice, Fault, Kind, Scope, fault

FAULTS = {
    "scripted.down": Advice(Kind.RETRYABLE, "It does not answer."),
    "scripted.busy": Advice(Kind.RETRYABLE, "This file is busy.", Scope.ITEM),
    "scripted.damaged": Advice(Kind.RETRYABLE, "It arrived otherwise than it was sent.", Scope.ITEM),
    "scripted.exists": Advice(Kind.PERMANENT, "Something is there.", Scope.ITEM),
    "scripted.refused": Advice(Kind.PERMANENT, "It does not take this.", Scope.ITEM),
    "scripted.password": Advice(Kind.NEEDS_USER, "Enter the password."),
    "scripted.look": Advice(Kind.NEEDS_USER, "A person must look at this file.", Scope.ITEM),
}
HOLD_SECONDS = 10.0
CHUNK_BYTES = 100


def scripted(code: str, *, retry_after_seconds: float | None = None) -> Fault:
    return fault(FAULTS, f"scripted.{code}", retry_after_seconds=retry_after_seconds)


Step = Exception | Callable[[], None]


class Hold:
    """Holds a call in its thread until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._go_on = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self._go_on.wait(HOLD_SECONDS), "nobody let go"

    def let_go(self) -> None:
        self._go_on.set()


class Destination:
    """A `Backend`. `script[verb]` is what the next calls of that verb meet, one each; None is nothing."""

    exclusive: Exclusive | None = None

    def __init__(self, proof: Proof = Proof.READBACK):
        self.proof = proof
        self.published: dict[str, bytes] = {}
        self.partials: dict[tuple[str, str], bytearray] = {}
        self.script: dict[str, list[Step | None]] = {}
        self.calls: list[tuple[str, str]] = []
        self.sent = 0
        self.misuse: list[str] = []
        self.open: set[Transfer] = set()
        self.most_at_once = 0
        self.is_closed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition()

    def wait_until(self, predicate: Callable[[], bool]) -> bool:
        """Block until the calls so far make it true."""
        with self._changed:
            return self._changed.wait_for(predicate, HOLD_SECONDS)

    def notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def meet(self, verb: str, what: str = "") -> None:
        if self.is_closed:
            self.misuse.append(f"{verb} after close")
        self.calls.append((verb, what))
        self.notify()
        steps = self.script.get(verb, [])
        step = steps.pop(0) if steps else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            step()

    def count(self, verb: str) -> int:
        return Counter(call for call, _ in self.calls)[verb]

    def receipt(self, key: str) -> Receipt:
        data = self.published[key]
        return Receipt(
            len(data),
            self.proof,
            self.exclusive or Exclusive.CHECKED,
            f"sha256:{hashlib.sha256(data).hexdigest()}",
            f"memory:{key}",
            "v1",
        )

    # -- the contract

    def start(self, key: str, size: int, token: str) -> Transfer:
        self.meet("start", key)
        with self._lock:
            transfer = Transfer(self, key, size, token)
            if any(other.place == transfer.place for other in self.open):
                self.misuse.append(f"two uploads of {key}")
            self.open.add(transfer)
            self.most_at_once = max(self.most_at_once, len(self.open))
        return transfer

    def find(self, key: str, size: int, digests: Digests | None) -> Found:
        self.meet("find", key)
        data = self.published.get(key)
        if data is None:
            return Found(Presence.ABSENT)
        if len(data) != size:
            return Found(Presence.DIFFERENT)
        if digests is None:
            return Found(Presence.UNDECIDED)
        if hashlib.sha256(data).hexdigest() != digests.sha256:
            return Found(Presence.DIFFERENT)
        return Found(Presence.SAME, self.receipt(key))

    def drop(self, key: str, token: str) -> None:
        self.meet("drop", key)
        if any(transfer.place == (key, token) for transfer in self.open):
            self.misuse.append(f"dropped under the hands of an upload: {key}")
        self.partials.pop((key, token), None)

    def check(self) -> Check:
        try:
            self.meet("check")
        except Fault as caught:
            return Check((), Exclusive.CHECKED, fault=caught)
        return Check((), Exclusive.ATOMIC, Proof.READBACK)

    def browse(self, path: str) -> Sequence[Entry]:
        return []

    def close(self) -> None:
        self.meet("close")
        if self.open:
            self.misuse.append("closed under the hands of an upload")
        self.is_closed = True


class Transfer:
    """An `Upload`. Never in two threads at once."""

    chunk_bytes = CHUNK_BYTES

    def __init__(self, at: Destination, key: str, size: int, token: str):
        self._at = at
        self._size = size
        self.place = key, token
        self.key = key
        self.token = token
        self._using = threading.Lock()
        self._partial = at.partials.setdefault(self.place, bytearray())
        self.offset = len(self._partial)

    def _use(self, verb: str, action: Callable[[], None]) -> None:
        if not self._using.acquire(blocking=False):
            self._at.misuse.append(f"{verb} beside another call of one upload")
        try:
            self._at.meet(verb, self.key)
            action()
        finally:
            if self._using.locked():
                self._using.release()

    def write(self, chunk: memoryview) -> None:
        def append() -> None:
            if len(chunk) != min(CHUNK_BYTES, self._size - self.offset):
                self._at.misuse.append(f"a chunk of {len(chunk)} bytes at {self.offset}")
            self._partial.extend(chunk)
            self._at.sent += len(chunk)
            self.offset += len(chunk)
            self._at.notify()

        self._use("write", append)

    def commit(self, digests: Digests) -> Receipt:
        def publish() -> None:
            if self.key in self._at.published:
                raise scripted("exists")
            if hashlib.sha256(self._partial).hexdigest() != digests.sha256:
                self._forget()
                raise scripted("damaged")
            self._at.published[self.key] = bytes(self._partial)
            self._forget()

        self._use("commit", publish)
        return self._at.receipt(self.key)

    def _forget(self) -> None:
        self._at.partials.pop(self.place, None)
        self._partial, self.offset = bytearray(), 0

    def abort(self) -> None:
        self._use("abort", self._forget)

    def close(self) -> None:
        self._use("close upload", lambda: self._at.open.discard(self))
