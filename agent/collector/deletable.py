"""Whether a file may be deleted from its card, and if not, why not. Pure: rows and settings in, a verdict out.

A file may go when every required destination has it, done and proven at least as strongly as demanded, and the last of
these proofs is old enough. Given up is not delivered, and "size checked" is no proof. A file that nobody requires
anywhere stays, and so does one that the spool has not got and that is still owed somewhere: it comes from the card.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from agent.backends.base import Proof
from agent.camera import FAULTS as CAMERA_FAULTS
from agent.faults import Kind
from agent.ledger import Proven
from agent.routing import Shot, facts_of, named
from agent.settings import DeleteSettings, Route

MOST_TRIES = 3
RETRY_SECONDS = 600.0
_ENOUGH = {Proof.READBACK: ("readback", "checksum"), Proof.CHECKSUM: ("checksum",)}
_OPEN = ("queued", "uploading", "failed")
_CARD_LOCKED = "ptp.store_read_only"
"""Says something about the card, not about the file."""

REASONS = {
    "not fetched": "it was not taken off the card yet",
    "another kind": "its kind is not among [delete] kinds",
    "protected": "it is protected in the camera",
    "without a serial": "its camera tells no serial number, so it could be another's",
    "without a time": "the camera tells no time for it, so it could not be told from another file",
    "required nowhere": "no destination has to have it by itself",
    "not delivered": "it is not delivered yet",
    "given up": "its delivery was skipped",
    "not proven": "its delivery is not proven strongly enough",
    "lost": "hotshoe verify did not find it where it was delivered",
    "moved": "the destination has moved in the settings since; see hotshoe verify",
    "needed": "it is still owed somewhere, and comes from the card",
    "too young": "its proof is not old enough",
    "deleted": "it is deleted already",
    "switched off": "deleting was switched off",
    "interrupted": "an attempt was interrupted; its card is looked at first",
    "refused": "the camera refuses to delete it",
    "later": "the camera could not delete it just then; it is asked again",
}
"""Every reason why a file is not deleted, in words that fit behind its name."""


class Verdict(msgspec.Struct, frozen=True):
    """`reason` is None when the file may be deleted now; `proofs` then justify it. `due_at`: when only time is missing."""

    reason: str | None
    detail: str = ""
    proofs: tuple[Proven, ...] = ()
    due_at: datetime | None = None


def judged(
    row: Mapping[str, Any],
    rules: DeleteSettings,
    named: Collection[str],
    now: datetime,
    *,
    asked_by_person: bool = False,
) -> Verdict:
    """Judge one file. `row`: a row of the ledger with its `deliveries` and `attempts`; `named`: the destinations that the
    routes name for it. What the camera refused before is tried again only when a person asks for it."""
    if row["state"] not in ("fetched", "evicted"):
        return Verdict("not fetched")
    if rules.kinds and row["kind"] not in rules.kinds:
        return Verdict("another kind")
    if row["is_protected"]:
        return Verdict("protected")
    if not row.get("is_serial_reported", True):
        return Verdict("without a serial")
    if not row["captured"]:
        return Verdict("without a time")
    refusal = _attempted(row["attempts"], now, asked_by_person=asked_by_person)
    if refusal is not None:
        return refusal
    deliveries = {each["destination"]: each for each in row["deliveries"]}
    # What a person alone has sent somewhere is required nowhere: it may be the only one of its kind.
    required = set(rules.destinations) or ({*named, *deliveries} if named else set())
    if not required:
        return Verdict("required nowhere")
    proofs: list[Proven] = []
    for name in sorted(required):
        proven = _proven(deliveries.get(name), name, rules)
        if isinstance(proven, Verdict):
            return proven
        proofs.append(proven)
    if row["state"] == "evicted" and any(each["state"] in _OPEN for each in deliveries.values()):
        return Verdict("needed")
    due_at = max(map(_moment, (each.done_at for each in proofs))) + timedelta(seconds=rules.after_seconds)
    if due_at > now:
        return Verdict("too young", due_at=due_at)
    return Verdict(None, proofs=tuple(proofs))


def last_proof_at(row: Mapping[str, Any]) -> datetime:
    """Return when the newest of a file's receipts was given; long ago if it has none."""
    moments = (_moment(each["done_at"]) for each in row["deliveries"] if each["done_at"])
    return max(moments, default=datetime.min.replace(tzinfo=UTC))


def named_by_routes(row: Mapping[str, Any], camera: str, routes: Sequence[Route]) -> frozenset[str]:
    """Return the destinations that routes name for a file as the ledger knows it, or might name if it knew more.

    It counts as not protected: what is, is not deleted anyway.
    """
    mine, *others = (
        facts_of({**each, "camera": camera, "is_protected": False}, site="", zone=None)
        for each in (row, *row["partners"])
    )
    return named(mine, routes, Shot(tuple(others)))


def _proven(delivery: Mapping[str, Any] | None, name: str, rules: DeleteSettings) -> Proven | Verdict:
    if delivery is None or delivery["state"] in _OPEN:
        return Verdict("not delivered", name)
    if delivery["state"] == "skipped":
        return Verdict("given up", name)
    if delivery["state"] != "done" or delivery["proof"] not in _ENOUGH[rules.proof]:
        return Verdict("not proven", f"{name}: {delivery['proof']}")
    if delivery.get("is_doubted"):
        return Verdict("lost", name)
    if delivery.get("is_elsewhere"):
        return Verdict("moved", name)
    return Proven(name, delivery["proof"], delivery["checksum"], delivery["location"], delivery["done_at"])


def _attempted(
    attempts: Sequence[Mapping[str, Any]], now: datetime, *, asked_by_person: bool
) -> Verdict | None:
    """What earlier attempts have to say against another one; None: nothing."""
    states = [each["state"] for each in attempts]
    if "deleted" in states:
        return Verdict("deleted")
    if "started" in states or "unknown" in states:
        return Verdict("interrupted")
    counted = [each for each in attempts if each["fault_code"] and each["fault_code"] != _CARD_LOCKED]
    if not counted or asked_by_person:
        return None
    last = counted[-1]
    advice = CAMERA_FAULTS.get(last["fault_code"])
    is_final = last["state"] == "refused" and (advice is None or advice.kind is not Kind.RETRYABLE)
    if is_final or len(counted) >= MOST_TRIES:
        return Verdict("refused", last["fault_code"])
    due_at = _moment(last["ended_at"]) + timedelta(seconds=RETRY_SECONDS)
    return Verdict("later", last["fault_code"], due_at=due_at) if due_at > now else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
