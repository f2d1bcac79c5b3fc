"""One file as people and programs are told of it: a mark and a word, the five states of old, a JSON object. Pure.

Rows are those of `Ledger.views.files`: a file with its camera's address and its deliveries. The states themselves are
the ledger's; here they are only put together to one word for the file as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from agent.cli.hints import hint_of

Row = Mapping[str, Any]

FILE_STATES = ("discovered", "fetching", "fetched", "evicted", "gone", "skipped")
STATUSES = ("discovered", "queued", "uploading", "done", "failed")
VERIFYING = ("checksum", "readback")


class Word(msgspec.Struct, frozen=True):
    """How a state is shown. The mark says it without the colour."""

    mark: str
    word: str
    colour: str


NEW = Word("○", "new", "dim")
FETCHING = Word("▸", "fetching", "blue")
ON_AGENT = Word("◐", "on agent", "blue")
SENDING = Word("▸", "sending", "blue")
SENT = Word("✓", "sent", "cyan")
VERIFIED = Word("✓✓", "verified", "green")
WAITING = Word("◷", "waiting", "dim")
NEEDS_YOU = Word("▲", "needs you", "red")
SKIPPED = Word("⊘", "skipped", "dim")
GONE = Word("⊘", "gone", "yellow")

READY = Word("✓", "ready", "green")
AWAY = Word("◷", "waiting", "yellow")
PAUSED = Word("▲", "paused", "red")
PAUSED_BY_HAND = Word("‖", "paused", "yellow")
OFF = Word("⊘", "off", "dim")


def is_verified(delivery: Row) -> bool:
    return delivery["state"] == "done" and delivery["proof"] in VERIFYING


def with_destinations(row: Row, stopped: Mapping[str, str | None]) -> Row:
    """Return the row as it is when these destinations (name → fault code) take nothing: what is queued waits for them."""
    deliveries = [
        {
            **each,
            "waiting_for": "destination",
            "fault_code": each["fault_code"] or stopped[each["destination"]],
        }
        if each["state"] == "queued" and not each["waiting_for"] and each["destination"] in stopped
        else each
        for each in row["deliveries"]
    ]
    return {**row, "deliveries": deliveries}


def word_of(row: Row) -> Word:
    """Return the mark and word for a file as a whole: what a person must do first, then what moves, then the rest."""
    deliveries: Sequence[Row] = row["deliveries"]
    states = {delivery["state"] for delivery in deliveries}
    kept = [delivery for delivery in deliveries if delivery["state"] != "skipped"]
    if "failed" in states or (row["waiting_for"] == "person" and row["state"] != "skipped"):
        return NEEDS_YOU
    if row["state"] == "gone":
        return GONE
    if row["state"] == "skipped" or (deliveries and not kept):
        return SKIPPED
    if "uploading" in states:
        return SENDING
    if row["state"] == "fetching" and not row["fault_code"]:
        return FETCHING
    if kept and all(delivery["state"] == "done" for delivery in kept):
        return VERIFIED if all(map(is_verified, kept)) else SENT
    if row["waiting_for"] or row["fault_code"] or any(delivery["waiting_for"] for delivery in kept):
        return WAITING
    return ON_AGENT if row["state"] in ("fetched", "evicted") else NEW


def status_of(row: Row) -> str:
    """Return one of the predecessor's five states for a file as a whole.

    ``failed`` is what will not happen by itself: a failed delivery, a file that needs a person, or one that left its card
    before it was fetched. Skipped without any delivery is ``discovered``: seen, and left alone.
    """
    kept = [delivery["state"] for delivery in row["deliveries"] if delivery["state"] != "skipped"]
    if row["state"] == "gone" or "failed" in kept:
        return "failed"
    if row["state"] != "skipped" and row["waiting_for"] == "person":
        return "failed"
    if "uploading" in kept or row["state"] == "fetching":
        return "uploading"
    if "queued" in kept:
        return "queued"
    if kept:
        return "done"
    return "queued" if row["state"] == "discovered" and row["waiting_for"] else "discovered"


def of_subject(state: str, paused_by: str | None) -> Word:
    """Return the mark and word for a camera or destination."""
    if state == "paused":
        return PAUSED if paused_by == "agent" else PAUSED_BY_HAND
    return {"ready": READY, "waiting": AWAY}.get(state, OFF)


def trouble_of(row: Row) -> str | None:
    """Return in words why the file, or else the first of its deliveries, is not further; None if nothing is wrong."""
    for part in (row, *row["deliveries"]):
        if part["fault_code"] and part["state"] not in ("done", "skipped"):
            return f"{hint_of(part['fault_code'])} [{part['fault_code']}]" + (
                f" {part['fault_detail']}" if part["fault_detail"] else ""
            )
    return None


def as_json(row: Row) -> dict[str, Any]:
    """Return a file with everything that is known of it, the predecessor's fields included.

    `captured_at` is the camera's own wall clock and has no zone; all other times are UTC.
    """
    parts: Sequence[Row] = (row, *row["deliveries"])
    host = f"[{row['host']}]" if ":" in row["host"] else row["host"]
    return {
        "id": row["id"],
        "filename": row["name"],
        "url": f"ptpip://{host}:{row['port']}/{row['handle']}",
        "status": status_of(row),
        "state": row["state"],
        "retry_count": sum(max(0, part["tries"] - 1) for part in parts),
        "last_error": trouble_of(row),
        "next_retry_at": min((part["next_try_at"] for part in parts if part["next_try_at"]), default=None),
        "captured_at": row["captured"] or None,
        "is_video": row["kind"] == "video",
        "kind": row["kind"],
        "identity": row["identity"],
        "camera": row["camera"],
        "serial": row["serial"],
        "storage": row["storage"],
        "folder": row["folder"],
        "size_bytes": row["size_bytes"],
        "sha256": row["sha256"],
        "crc32c": row["crc32c"],
        "is_protected": None if row["is_protected"] is None else bool(row["is_protected"]),
        **{field: row[field] for field in _KEPT},
        "hint": _hint(row),
        "deliveries": [_delivery(delivery) for delivery in row["deliveries"]],
    }


_KEPT = (
    "tries", "waiting_for", "fault_code", "fault_detail", "skipped_by", "skip_reason",
    "discovered_at", "fetching_at", "fetched_at", "ended_at",
)  # fmt: skip
_KEPT_OF_DELIVERY = (
    "destination", "state", "key", "proof", "exclusive", "checksum", "location", "version", "tries", "waiting_for",
    "fault_code", "fault_detail", "skipped_by", "skip_reason",
)  # fmt: skip
_TIMES_OF_DELIVERY = ("next_try_at", "queued_at", "started_at", "done_at")


def _delivery(row: Row) -> dict[str, Any]:
    kept = {field: row[field] for field in _KEPT_OF_DELIVERY}
    times = {field: row[field] for field in _TIMES_OF_DELIVERY}
    return {**kept, "verified": is_verified(row), "hint": _hint(row), **times}


def _hint(row: Row) -> str | None:
    return hint_of(row["fault_code"]) if row["fault_code"] else None


def selector(state: str | None) -> tuple[str | None, Callable[[Row], bool]]:
    """Return how to select files by a word: the ledger's state to ask for, if it is one, and what to keep of that."""
    if state is None or state in FILE_STATES:
        return state, lambda row: True
    return None, lambda row: status_of(row) == state
