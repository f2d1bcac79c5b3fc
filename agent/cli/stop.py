"""How a command ends when it cannot go on: one sentence on stderr and an exit code, never a traceback.

Exit codes of every command: 0 done · 1 something is not as it should be, and what it is was said · 2 wrong usage,
configuration or state folder · 130 interrupted, 143 terminated · 141 whoever read our output went away.
"""

from __future__ import annotations

DONE, WRONG, MISUSED, INTERRUPTED, UNREAD, TERMINATED = 0, 1, 2, 130, 141, 143


class Stop(Exception):
    """End the command: the text is the sentence."""

    def __init__(self, sentence: str, code: int = WRONG):
        super().__init__(sentence)
        self.code = code


def told(error: Exception) -> tuple[str, int] | None:
    """Return the sentence and exit code of an expected failure; None for what would be a bug."""
    if isinstance(error, Stop):
        return str(error), error.code
    # Only now, because most commands end well without most of these modules.
    from agent.faults import Fault
    from agent.ledger import LedgerLocked, LedgerUnusable

    if isinstance(error, Fault):
        return sentence(error.code, error.hint, error.detail), WRONG
    if isinstance(error, LedgerLocked | LedgerUnusable):
        return str(error), MISUSED
    from agent.settings import SettingsError

    if isinstance(error, SettingsError):
        return str(error), MISUSED
    return None


def sentence(code: str, hint: str, detail: str = "") -> str:
    """Return a fault as people read it: what to do, its code, and what the other side said."""
    return f"{hint} [{code}]" + (f"\n  {detail}" if detail else "")
