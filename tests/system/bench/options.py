"""What a bench is told."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Options(NamedTuple):
    """`quick`: less of everything, and the tables say so. `folder`: new, and on the disk to measure."""

    quick: bool
    seed: int
    folder: Path

    def random(self, name: str) -> random.Random:
        """The same for the same seed and name."""
        return random.Random(f"{self.seed}/{name}")


def in_turns(contenders: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Yield (number of the round, contender); each round begins with another one."""
    for number in range(rounds):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            yield number, contender
