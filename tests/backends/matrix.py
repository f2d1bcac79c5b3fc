"""What came of the conformance suite, as a table: a row per case, a column per server.

pytest prints it after a run of the suite (conftest.py), and with ``HOTSHOE_MATRIX=FILE`` writes it down for `reference`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pytest

PASSED, FAILED, NOTHING = "✓", "✗", "–"
_PROPERTY = "nothing to test"


class Note:
    """For a case: what its matrix is to say."""

    def __init__(self, item: pytest.Item):
        self._item = item

    def nothing_to_test(self) -> None:
        """There is no such thing at this server."""
        self._item.user_properties.append((_PROPERTY, True))


class Matrix:
    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], set[str]] = {}

    def add(self, report: pytest.TestReport) -> None:
        place = _place(report.nodeid)
        if place is None or (report.when != "call" and report.passed):
            return
        outcome = FAILED if not report.passed else PASSED
        if outcome is PASSED and (_PROPERTY, True) in report.user_properties:
            outcome = NOTHING
        self._cells.setdefault(place, set()).add(outcome)

    def rows(self) -> list[list[str]]:
        """The table: a head, then a row per case."""
        columns = list(dict.fromkeys(column for _, column in self._cells))
        cases = list(dict.fromkeys(case for case, _ in self._cells))
        return [
            ["case", *columns],
            *([case, *(self._cell(case, column) for column in columns)] for case in cases),
        ]

    def _cell(self, case: str, column: str) -> str:
        outcomes = self._cells.get((case, column), set())
        for outcome in (
            FAILED,
            PASSED,
            NOTHING,
        ):  # one parameter in which there is something to test is enough
            if outcome in outcomes:
                return outcome
        return " "


def _place(nodeid: str) -> tuple[str, str] | None:
    match = re.search(r"test_conformance\.py::Test(\w+)::test_(\w+)", nodeid)
    return (match[2].replace("_", " "), match[1]) if match else None


def as_markdown(rows: Iterable[Iterable[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    ruler = re.sub(r"[^|]+", "---", head)
    return "\n".join([head, ruler, *body])


def as_text(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def cases(suite: Mapping[str, object]) -> list[str]:
    """The names of the cases of a class, as they stand in the table."""
    return [name.removeprefix("test_").replace("_", " ") for name in suite if name.startswith("test_")]
