"""Who may come in: pairing by GUID, and the one place at the table.

A GUID is the pairing key (protocol.md §7.3). `Door` decides about one InitCommandRequest at a time and may take
as long as a person at the camera would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

REJECTED, BUSY, UNSPECIFIED = 1, 2, 3
"""Reasons of InitFail."""


class Pairing(StrEnum):
    FIRST = "first"  # the first GUID is paired, later others are rejected
    ANY = "any"
    KNOWN = "known"  # only what is in `known`
    DIALOG = "dialog"  # unknown GUIDs wait `dialog_seconds` for a person who accepts or refuses


@dataclass(slots=True)
class Door:
    pairing: Pairing = Pairing.FIRST
    known: set[bytes] = field(default_factory=set)
    dialog_seconds: float = 0.0
    dialog_accepts: bool = True
    refusals: int | None = 0  # so many initiators are refused, whoever they are; None: all
    reason: int = UNSPECIFIED

    def admit(self, guid: bytes, wait: Callable[[float], None]) -> int:
        """0 to let in, or the reason of the InitFail. `wait(seconds)` may raise when the initiator gives up."""
        if self.refusals != 0:
            self.refusals = None if self.refusals is None else self.refusals - 1
            return self.reason
        if self.pairing is Pairing.ANY or guid in self.known:
            return 0
        if self.pairing is Pairing.KNOWN or (self.pairing is Pairing.FIRST and self.known):
            return REJECTED
        if self.dialog_seconds:
            wait(self.dialog_seconds)
        if self.pairing is Pairing.DIALOG and not self.dialog_accepts:
            return REJECTED
        self.known.add(guid)
        return 0

    def refuse(self, reason: int, times: int | None) -> None:
        self.reason, self.refusals = reason, times

    def forget(self) -> None:
        """The connection set was deleted on the camera: everybody pairs anew."""
        self.known.clear()
