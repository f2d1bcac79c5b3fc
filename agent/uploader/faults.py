"""What can go wrong with a delivery that is neither the destination's nor the spool's doing."""

from __future__ import annotations

from agent.faults import Advice, Fault, Kind, Scope

FAULTS = {
    "delivery.unproven": Advice(
        Kind.PERMANENT,
        "The destination took the file but cannot prove it as strongly as its minimum_proof asks; lower it, or choose another destination.",
        Scope.ITEM,
    ),
    "delivery.no_free_key": Advice(
        Kind.PERMANENT,
        "Every name for this file is taken at the destination; change the template and retry.",
        Scope.ITEM,
    ),
    "delivery.key_in_use": Advice(
        Kind.RETRYABLE,
        "Another file is being sent under the name that this one may have had before: it is tried again.",
        Scope.ITEM,
    ),
    "delivery.unclassified": Advice(
        Kind.RETRYABLE,
        "Something unexpected went wrong; the log has the details. It is tried again by itself.",
        Scope.ITEM,
    ),
}
_LONGEST_ASKED_SECONDS = 900.0


def asked_seconds(caught: Fault) -> float:
    """The wait that the destination asked for, if it is a sane one."""
    return min(caught.retry_after_seconds or 0.0, _LONGEST_ASKED_SECONDS)
