"""The three kinds of failure, and what each does next.

A leaf (camera, backends, spool) turns a foreign error into a `Fault` at the border where it enters, by code
and never by message text, from a table of its own: ``FAULTS: dict[code, Advice]``. Leaves raise, activities
(collector, uploader) decide by `Fault.kind` and log; nothing else looks inside foreign exceptions.

Codes are stable dotted strings (``s3.access_denied``); hints are one sentence that says what to do.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """Who acts next."""

    RETRYABLE = "retryable"  # the clock: a wait with a reason and a next try, without a limit of tries
    PERMANENT = "permanent"  # nobody: this file or delivery is failed, the others go on
    NEEDS_USER = "needs_user"  # a person: what `scope` names pauses, and nothing burns tries


class Scope(StrEnum):
    """What the failure is about, and so what waits, fails or pauses."""

    ITEM = "item"  # this file or delivery alone
    WHOLE = "whole"  # the camera or the destination: everything that needs it


class Advice(msgspec.Struct, frozen=True):
    """One row of a fault table."""

    kind: Kind
    hint: str
    scope: Scope = Scope.WHOLE


class Fault(Exception):
    """A failure that somebody or something can act upon.

    `detail` is what the foreign side said, without secrets; it is for the log and the expandable part of a
    page, never for matching.
    """

    def __init__(
        self, code: str, advice: Advice, detail: str = "", *, retry_after_seconds: float | None = None
    ):
        super().__init__(f"{code}: {advice.hint}" + (f" ({detail})" if detail else ""))
        self.code = code
        self.kind = advice.kind
        self.scope = advice.scope
        self.hint = advice.hint
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


def fault(
    table: Mapping[str, Advice], code: str, detail: str = "", *, retry_after_seconds: float | None = None
) -> Fault:
    """Return the fault that `table` lists under `code`. KeyError for an unlisted code is a bug in the leaf."""
    return Fault(code, table[code], detail, retry_after_seconds=retry_after_seconds)


def backoff_seconds(attempt: int, *, first: float = 1.0, cap: float = 300.0) -> float:
    """Return a capped exponential wait with jitter: half to all of ``first * 2**(attempt - 1)``.

    `attempt` counts from 1. This is for waits that the ledger keeps over a restart; loops in memory use
    tenacity.
    """
    ceiling = min(cap, first * 2.0 ** min(attempt - 1, 30))
    return ceiling * random.uniform(0.5, 1.0)
