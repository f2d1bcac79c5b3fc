"""What the simulated camera saw and did, for tests that look behind the agent's back and for benchmarks."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Shot:
    """One press of the shutter. Times both as time.monotonic() (comparable between processes of one machine) and
    as seconds since 1970. `added_*` is when its objects became visible; 0 before."""

    names: list[str]
    handles: list[int]
    size_bytes: int
    pressed_monotonic: float
    pressed_wall: float
    added_monotonic: float = 0.0
    added_wall: float = 0.0

    def is_added(self) -> None:
        self.added_monotonic, self.added_wall = time.monotonic(), time.time()


@dataclass(slots=True)
class Stats:
    """Counters since the start, or since `reset`."""

    operations: Counter[str] = field(default_factory=Counter)  # transactions, by operation code as "0x101b"
    reads: Counter[str] = field(default_factory=Counter)  # bytes of object data handed to the socket, by path
    object_bytes: int = 0
    objects_began: float = 0.0  # when the first of them was handed over, as time.monotonic(); 0: none was
    objects_ended: float = 0.0  # and the last
    sent_bytes: int = 0  # everything on command sockets
    connections: int = 0  # TCP connections accepted
    handshakes: int = 0  # command connections acknowledged
    refused: Counter[int] = field(default_factory=Counter)  # InitFail by reason
    shots: list[Shot] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)  # how often each really struck
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note_object(self, path: str, size: int, began: float) -> None:
        """Count object data that was handed to the socket from `began` until now."""
        self.object_bytes += size
        self.reads[path] += size
        self.objects_began = self.objects_began or began
        self.objects_ended = time.monotonic()

    @property
    def transactions(self) -> int:
        return self.operations.total()

    def reset(self) -> None:
        fresh = Stats()
        for name in self.__slots__:
            if name != "lock":
                setattr(self, name, getattr(fresh, name))

    def as_dict(self) -> dict[str, object]:
        """For the control port: plain JSON types."""
        found = {name: getattr(self, name) for name in self.__slots__ if name not in ("lock", "shots")}
        for name in ("operations", "reads", "troubles"):
            found[name] = dict(found[name])
        found["refused"] = {str(reason): times for reason, times in self.refused.items()}
        found["shots"] = [asdict(shot) for shot in self.shots]
        found["transactions"] = self.transactions
        return found
