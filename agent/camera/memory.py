"""What did not work on a model of camera, so that the next session need not find out again.

The facts are one flat dict of text, ``"Canon EOS R5m2/1.0.1 0x9109" -> "refused 0x2005"``, that whoever made it keeps
for as long as it likes; it is changed in place. Losing it costs some round trips, never a file.
"""

from __future__ import annotations

FAILURES_TO_AVOID = 3
"""Failures in a row after which an operation counts as not working (protocol.md §9.g)."""

_FAILED, _REFUSED = "failed ", "refused "


class ModelMemory:
    def __init__(self, facts: dict[str, str], model: str, firmware: str) -> None:
        self.facts = facts
        self._prefix = f"{model}/{firmware} "

    def recall(self, topic: str) -> str | None:
        return self.facts.get(self._prefix + topic)

    def note(self, topic: str, fact: str) -> None:
        self.facts[self._prefix + topic] = fact

    def forget(self, topic: str) -> None:
        self.facts.pop(self._prefix + topic, None)

    def avoids(self, operation: int) -> bool:
        """Return whether `operation` was refused for good, or failed too often without ever working in between."""
        fact = self.recall(_topic(operation)) or ""
        return fact.startswith(_REFUSED) or _failures(fact) >= FAILURES_TO_AVOID

    def note_refused(self, operation: int, response: int) -> None:
        self.note(_topic(operation), f"{_REFUSED}0x{response:04x}")

    def note_failed(self, operation: int) -> None:
        """Count a failure that may be the operation's or the air's: a reset, silence, an unspecific error."""
        topic = _topic(operation)
        self.note(topic, f"{_FAILED}{_failures(self.recall(topic) or '') + 1}")

    def note_worked(self, operation: int) -> None:
        self.forget(_topic(operation))


def _topic(operation: int) -> str:
    return f"0x{operation:04x}"


def _failures(fact: str) -> int:
    count = fact.removeprefix(_FAILED)
    return int(count) if fact.startswith(_FAILED) and count.isdecimal() else 0
