"""What goes to stdout: lines for people, JSON lines for programs, and what keeps either from doing harm.

Names come from cameras and details from servers: in text for people every character that a terminal could obey is
written as an escape. Colour only on a terminal, and not with NO_COLOR; never colour alone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

_CODES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36",
}  # fmt: skip


def prepare_streams() -> None:
    """Let no character that a stream cannot encode end a command; in JSON the replacement is JSON's own escape."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def emit(value: Mapping[str, Any]) -> None:
    """Print one JSON line at once: whoever reads it may be waiting for it."""
    print(json.dumps(value, ensure_ascii=False, separators=(",", ":")), flush=True)


def say(line: str = "") -> None:
    print(line)


def hint(line: str) -> None:
    """Say something beside the result: on stderr, so that it is in nobody's pipe."""
    print(line, file=sys.stderr)


def safe(value: object) -> str:
    """Return `value` as text that a terminal only shows."""
    written = str(value)
    if written.isprintable():
        return written
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in written
    )


def safe_lines(value: object) -> str:
    """As `safe`, for what may have several lines."""
    return "\n".join(safe(line) for line in str(value).split("\n"))


def is_coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(written: str, colour: str, stream: TextIO | None = None) -> str:
    """Return `written` in a colour, where `stream` (stdout by default) shows colours."""
    if not colour or not is_coloured(stream or sys.stdout):
        return written
    return f"\x1b[{';'.join(_CODES[word] for word in colour.split())}m{written}\x1b[0m"


def columns() -> int:
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def fold(written: str, indent: int) -> list[str]:
    """Break sentences into lines of the terminal's width, each behind `indent` spaces."""
    width = max(30, min(columns(), 100) - indent)
    return [
        " " * indent + line
        for paragraph in written.split("\n")
        for line in textwrap.wrap(paragraph, width, break_long_words=False, break_on_hyphens=False)
    ]


class Table:
    """Aligned columns for rows that come one by one: a column grows when it must, and never shrinks.

    `widths`: the least width of each column, negative to align on the right.
    """

    def __init__(self, widths: Sequence[int]):
        self._widths = list(widths)

    def line(self, cells: Sequence[tuple[str, str]]) -> str:
        """Return one row of (text, colour) cells."""
        parts = []
        for index, (written, colour) in enumerate(cells):
            width = self._widths[index]
            if len(written) > abs(width):
                self._widths[index] = width = len(written) * (1 if width >= 0 else -1)
            padding = " " * (abs(width) - len(written))
            painted = paint(written, colour)
            parts.append(padding + painted if width < 0 else painted + padding)
        return "  ".join(parts).rstrip()


def is_terminal() -> bool:
    return sys.stdout.isatty()
