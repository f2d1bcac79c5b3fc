"""The names of what is on its way.

A token is the engine's tag, or ``tag|2`` when the server did not let go of the first partial: a connection that
died without a word leaves its handle open there, for minutes. The next attempt then goes on under the second
name, and the first is removed when that is possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.backends.base import RESERVED
from agent.backends.remote.tree import Path

MOST_NAMES = 4
_TOKEN = re.compile(rf"([A-Za-z0-9]{{1,100}})(?:\|([2-{MOST_NAMES}]))?")


def parsed(token: str) -> tuple[str, int]:
    """Return the tag and the number of the name. ValueError for what is no token."""
    match = _TOKEN.fullmatch(token)
    if not match:
        raise ValueError("a token is letters and digits, or what start has made of them")
    return match[1], int(match[2] or 1)


def token_of(tag: str, number: int) -> str:
    return tag if number == 1 else f"{tag}|{number}"


def beside(path: Path, tag: str, number: int) -> Path:
    """Return where the partial of `path` lies."""
    infix = "" if number == 1 else f".{number}"
    return (*path[:-1], f"{RESERVED}{tag}{infix}.part")


def others(path: Path, tag: str, number: int) -> Iterator[Path]:
    """Yield every partial of `tag` but the one with `number`.

    A later one as well: an agent that was killed before it could note a changed token has made one.
    """
    for each in range(1, MOST_NAMES + 1):
        if each != number:
            yield beside(path, tag, each)
