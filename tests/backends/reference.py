"""The tables in agent/backends/README.md: what each server can promise, what the suite saw there, and every fault.

`python -m tests.backends.reference` writes the first and the last anew; with a FILE, written by a run of the suite with
``HOTSHOE_MATRIX=FILE``, the second as well. A test holds all three against the code.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from agent.backends import BACKENDS
from agent.backends.base import Exclusive, Proof
from agent.faults import Advice, Kind, Scope
from tests.backends import test_conformance
from tests.backends.conformance import Conformance
from tests.backends.matrix import as_markdown, cases
from tests.backends.places import Area

README = Path(__file__).parents[2] / "agent/backends/README.md"
_PROOF = {
    Proof.CHECKSUM: "checksum: computed by the store",
    Proof.READBACK: "readback: read again and hashed by us",
    Proof.SIZE: "size only",
}
_EXCLUSIVE = {
    Exclusive.ATOMIC: "atomic: the store refuses",
    Exclusive.CHECKED: "checked: we look right before",
}
_WHO = {
    Kind.RETRYABLE: "tried again by itself",
    Kind.PERMANENT: "failed; the others go on",
    Kind.NEEDS_USER: "paused until you act",
}


def suites() -> list[type[Conformance]]:
    """Every class of the suite, in the order in which they stand."""
    return [
        each
        for name, each in vars(test_conformance).items()
        if name.startswith("Test") and isinstance(each, type) and issubclass(each, Conformance)
    ]


def claims() -> str:
    """What a delivery at each server is proven by, and whether the server itself refuses to replace."""
    rows = [["at", "kind", "proof", "an existing name", "names that it cannot store"]]
    for suite in suites():
        area: type[Area] = suite.place
        refused = ", ".join(f"`{_short(name)}`" for name in sorted(area.refused_names)) or "none of ours"
        rows.append([suite.__name__[4:], suite.kind, _PROOF[area.proof], _EXCLUSIVE[area.exclusive], refused])
    return as_markdown(rows)


def faults() -> str:
    """Every code of every backend, with who acts next and what a person is told."""
    rows = [["code", "what happens", "what is told"]]
    for kind in BACKENDS:
        table: dict[str, Advice] = import_module(f"agent.backends.{kind}.faults").FAULTS
        for code, advice in sorted(table.items()):
            about = "this file" if advice.scope is Scope.ITEM else "the destination"
            rows.append([f"`{code}`", f"{about} is {_WHO[advice.kind]}", advice.hint.replace("|", "\\|")])
    return as_markdown(rows)


def in_order(table: str) -> str:
    """A run on several processes finishes its classes in any order: bring rows and columns into that of the code."""
    head, *rows = parsed(table)
    column = {name: number for number, name in enumerate(head)}
    by_case = {row[0]: row for row in rows}
    columns = [0, *(column[suite.__name__[4:]] for suite in suites())]
    wanted = [case for case in cases(vars(Conformance)) if case in by_case]
    return as_markdown([[row[at] for at in columns] for row in (head, *(by_case[case] for case in wanted))])


def parsed(table: str) -> list[list[str]]:
    lines = [line for line in table.strip().splitlines() if not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def documented(name: str) -> str:
    """The table that stands in the README under `name`."""
    text = README.read_text()
    begin, end = _marks(name)
    return text[text.index(begin) + len(begin) : text.index(end)].strip()


def write(name: str, table: str) -> None:
    text = README.read_text()
    begin, end = _marks(name)
    README.write_text(
        text[: text.index(begin) + len(begin)] + f"\n{table.strip()}\n" + text[text.index(end) :]
    )


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def _short(name: str) -> str:
    return name if len(name) < 30 else f"{name[:25]}…"


if __name__ == "__main__":
    write("claims", claims())
    write("faults", faults())
    if len(sys.argv) > 1:
        write("conformance", in_order(Path(sys.argv[1]).read_text()))
