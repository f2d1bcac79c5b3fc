"""Things that happen by themselves after a while: one thread, one heap of due times."""

from __future__ import annotations

import heapq
import threading
import time
import traceback
from collections.abc import Callable
from itertools import count


class Later:
    """Runs functions at their time, in order, on a thread of its own. `close` drops what is not due yet."""

    def __init__(self, name: str) -> None:
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._wake = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"{name}-later", daemon=True)
        self._thread.start()

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        with self._wake:
            heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._order), action))
            self._wake.notify()

    def every(self, seconds: float, action: Callable[[], object]) -> None:
        """Repeat at a fixed pace, first after one period."""

        def again() -> None:
            self.after(seconds, again)
            action()

        self.after(seconds, again)

    def close(self) -> None:
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._is_closed and not (self._heap and self._heap[0][0] <= time.monotonic()):
                    due = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._wake.wait(due)
                if self._is_closed:
                    return
                action = heapq.heappop(self._heap)[2]
            try:
                action()
            except Exception:
                traceback.print_exc()  # such as shooting without a card; what is due later goes on
