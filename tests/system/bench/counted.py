"""The agent with its ledger counted: `python -m tests.system.bench.counted FILE run --config …`.

When the ledger closes, FILE gets one JSON object: `statements` (by the method that gave them; BEGIN, COMMIT and PRAGMA do
not count), `transactions`, and how many of these were `durable`, which is a flush of the disk.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from agent.ledger import Ledger
from agent.ledger.store import Store

statements: Counter[str] = Counter()
commits: Counter[str] = Counter()


def count() -> None:
    """Put counters around the ledger's store."""
    do, all_rows, transaction = Store.do, Store.all, Store.transaction

    async def counted_do(store: Store, sql: str, *parameters: Any) -> None:
        statements[_asker(sys._getframe(1))] += 1
        await do(store, sql, *parameters)

    async def counted_all(store: Store, sql: str, *parameters: Any) -> Any:
        statements[_asker(sys._getframe(1))] += 1
        return await all_rows(store, sql, *parameters)

    def counted_transaction(store: Store, **options: Any) -> contextlib.AbstractAsyncContextManager[None]:
        commits["durable" if options.get("durable") else "other"] += 1
        return transaction(store, **options)

    for name, counted in (("do", counted_do), ("all", counted_all), ("transaction", counted_transaction)):
        setattr(Store, name, counted)


def _asker(frame: FrameType | None) -> str:
    """The method outside of the store that wanted the statement."""
    while frame is not None and frame.f_code.co_qualname.startswith("Store."):
        frame = frame.f_back
    return frame.f_code.co_qualname if frame else "?"


def keep(path: Path) -> None:
    """Write the figures down when the ledger is closed."""
    close = Ledger.close

    async def closing(ledger: Ledger) -> None:
        found = {
            "statements": dict(statements),
            "total": ledger.statements,
            "transactions": commits.total(),
            "durable": commits["durable"],
        }
        path.write_text(json.dumps(found))
        await close(ledger)

    setattr(Ledger, "close", closing)  # noqa: B010 - a plain assignment is no method to the type checker


def main() -> int:
    path, *command = sys.argv[1:]
    count()
    keep(Path(path))
    from agent.cli import main as agent

    return agent(command)


if __name__ == "__main__":
    sys.exit(main())
