"""The agent with a fail-point: `python -m tests.system.killable POINT NTH MARKS run --config …`.

At the NTH time that the run comes to POINT it appends the point's name to the file MARKS and dies by kill -9. The
points stand around every numbered step of the order of writes; nothing of this is in the product.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from agent.backends.folder.upload import FolderUpload
from agent.backends.s3.upload import MultipartUpload, PutUpload
from agent.camera.brands.generic import Generic
from agent.camera.session import Session
from agent.ledger.deliveries import Deliveries
from agent.ledger.files import Files
from agent.ledger.journal import Journal
from agent.spool import Spool, Writer

UPLOADS = (FolderUpload, MultipartUpload, PutUpload)

# point: the methods that it stands before or after. The number is the step of the order of writes.
POINTS: dict[str, tuple[str, list[tuple[type, str]]]] = {
    "1 before fetching is noted": ("before", [(Files, "begin_fetch")]),
    "1 after fetching is noted": ("after", [(Files, "begin_fetch")]),
    "2 before a chunk is written": ("before", [(Writer, "write")]),
    "2 after a chunk is written": ("after", [(Writer, "write")]),
    "3 before the rename": ("before", [(Writer, "finish")]),
    "3 between rename and ledger": ("after", [(Writer, "finish")]),
    "3 after fetched is noted": ("after", [(Files, "finish_fetch")]),
    "4 before a chunk is sent": ("before", [(each, "write") for each in UPLOADS]),
    "4 after a chunk is sent": ("after", [(each, "write") for each in UPLOADS]),
    "5 before the commit": ("before", [(each, "commit") for each in UPLOADS]),
    "5 after the commit": ("after", [(each, "commit") for each in UPLOADS]),
    "6 before done is noted": ("before", [(Deliveries, "finish_delivery")]),
    "6 after done is noted": ("after", [(Deliveries, "finish_delivery")]),
    "7 before the spool is freed": ("before", [(Spool, "evict")]),
    "7 between spool and ledger": ("before", [(Files, "mark_evicted")]),
    "7 after the spool is freed": ("after", [(Files, "mark_evicted")]),
}

# Around every step of deleting from a card. The session's point counts transactions of every kind.
DELETING: dict[str, tuple[str, list[tuple[type, str]]]] = {
    "before a deletion is noted": ("before", [(Journal, "begin")]),
    "between the note and the camera": ("after", [(Journal, "begin")]),
    "between the look and the deletion": ("between", [(Session, "operate")]),
    "right after the camera deleted": ("deleted", [(Session, "operate")]),
    "between the camera and the ledger": ("after", [(Generic, "delete")]),
    "before the end is noted": ("before", [(Journal, "end")]),
    "after the end is noted": ("after", [(Journal, "end")]),
    "before an interrupted one is looked at": ("after", [(Journal, "open")]),
}
DELETE_OPERATIONS = (0x100B, 0x9105)


class FailPoint:
    def __init__(self, name: str, nth: int, marks: str):
        self._name = name
        self._left = nth
        self._marks = marks
        self._lock = threading.Lock()

    def come_by(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left != 0:
                return
            descriptor = os.open(self._marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(descriptor, f"{self._name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        where, methods = (POINTS | DELETING)[self._name]
        for owner, method in methods:
            original = getattr(owner, method)
            setattr(owner, method, self._wrap(original, where))

    def _wrap(self, original: Callable[..., Any], where: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def around(*args: Any, **kwargs: Any) -> Any:
            is_deletion = len(args) > 1 and args[1] in DELETE_OPERATIONS
            if where == "before" or (where == "between" and is_deletion):
                self.come_by()
            result = original(*args, **kwargs)
            if hasattr(result, "__await__"):
                return self._then(result, "after" if where == "deleted" and is_deletion else where)
            if where == "after":
                self.come_by()
            return result

        return around

    async def _then(self, result: Awaitable[Any], where: str) -> Any:
        value = await result
        if where == "after":
            self.come_by()
        return value


def main() -> int:
    point, nth, marks, *command = sys.argv[1:]
    FailPoint(point, int(nth), marks).arm()
    from agent.cli import main as agent

    return agent(command)


if __name__ == "__main__":
    sys.exit(main())
