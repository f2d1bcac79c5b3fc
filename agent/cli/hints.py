"""What to do about a fault, by its code: one sentence from the table of the leaf that raises it.

Tables are loaded when a code of theirs is asked for, since most listings show no fault at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from agent.faults import Advice

_TABLES: dict[str, tuple[str, ...]] = {
    "camera": ("agent.camera.faults", "agent.collector"),
    "ptp": ("agent.camera.faults",),
    "spool": ("agent.spool", "agent.collector"),
    "delivery": ("agent.uploader",),
    "check": ("agent.backends.probe",),
}
"""By the first part of a code. All others are backends, which keep their table in a module `faults`."""


@cache
def hint_of(code: str) -> str:
    """Return the sentence for `code`; one that says so for a code of another version."""
    area = code.partition(".")[0]
    for module in _TABLES.get(area, (f"agent.backends.{area}.faults",)):
        try:
            table: Mapping[str, Advice] = import_module(module).FAULTS
        except ModuleNotFoundError:
            continue
        if code in table:
            return table[code].hint
    return "This version of hotshoe has no words for it"
