"""The tables in the README of the backends are those of the code."""

from __future__ import annotations

from tests.backends import reference
from tests.backends.conformance import Conformance
from tests.backends.matrix import FAILED, cases


def test_what_each_server_can_promise() -> None:
    assert reference.documented("claims") == reference.claims(), "python -m tests.backends.reference"


def test_every_fault() -> None:
    assert reference.documented("faults") == reference.faults(), "python -m tests.backends.reference"


def test_the_matrix_has_every_case_at_every_server_and_all_passed() -> None:
    head, *rows = reference.parsed(reference.documented("conformance"))
    assert head[1:] == [suite.__name__[4:] for suite in reference.suites()]
    suite = [case for case in cases(vars(Conformance)) if case != "on a slow link"]  # has a run of its own
    assert [row[0] for row in rows] == suite
    assert not any(FAILED in cell for row in rows for cell in row)
