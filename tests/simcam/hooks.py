"""The table of troubles that are on: each waits at one point of a transaction and strikes a number of times.

A hook's `act` returns None when this transaction is none of its business, else what takes the place of the answer; or
it raises Hangup or Reset. Hooks are asked in the order in which they were put in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

from tests.simcam.operations import Answer, Session
from tests.simcam.wire import Wire


@dataclass(frozen=True, slots=True)
class Transaction:
    code: int
    id: int
    params: tuple[int, ...]
    session: Session
    wire: Wire


class Point(Enum):
    BEFORE = "before"  # instead of carrying out the operation
    AFTER = "after"  # the answer is known and may be changed


Act = Callable[[Transaction, Answer], Answer | None]


@dataclass(slots=True, eq=False)
class Hook:
    verb: str
    point: Point
    act: Act
    operations: Collection[int] | None  # None: all
    left: int | None  # None: until healed


class Hooks:
    """`struck` counts, by verb, how often a trouble really happened."""

    def __init__(self, struck: Counter[str]) -> None:
        self._hooks: list[Hook] = []
        self._struck = struck

    def add(
        self,
        verb: str,
        point: Point,
        act: Act,
        *,
        operations: Collection[int] | None = None,
        times: int | None = None,
    ) -> None:
        self._hooks.append(Hook(verb, point, act, operations, times))

    def remove(self, verb: str | None = None) -> None:
        """Take out one verb's hooks, or all."""
        self._hooks = [hook for hook in self._hooks if verb is not None and hook.verb != verb]

    def run(self, point: Point, transaction: Transaction, answer: Answer | None) -> Answer | None:
        """The last changed answer; BEFORE stops at the first hook that has one."""
        for hook in list(self._hooks):
            if hook.point is not point or hook.left == 0:
                continue
            if hook.operations is not None and transaction.code not in hook.operations:
                continue
            changed = self._strike(hook, transaction, answer or Answer())
            if changed is not None:
                answer = changed
                if point is Point.BEFORE:
                    return answer
        return answer

    def _strike(self, hook: Hook, transaction: Transaction, answer: Answer) -> Answer | None:
        left = hook.left
        hook.left = None if left is None else left - 1
        try:
            changed = hook.act(transaction, answer)
        except Exception:
            self._struck[hook.verb] += 1
            raise
        if changed is None:
            hook.left = left
        else:
            self._struck[hook.verb] += 1
        return changed
