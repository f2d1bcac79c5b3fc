from __future__ import annotations

from typing import Any

import pytest

from agent.cli import hints, words
from agent.cli.words import Word

SAMPLE: dict[str, Any] = {
    "id": 7, "serial": "S1", "storage": 0x10001, "folder": "100CANON", "name": "IMG_0001.CR3",
    "captured": "2024-05-01T18:00:00", "size_bytes": 25_000_000, "identity": "ab" * 32, "kind": "raw", "rank": 1,
    "shot": 7, "handle": 99, "is_protected": 0, "seen_by": "scan", "state": "fetched", "generation": 1,
    "sha256": "cd" * 32, "crc32c": None, "tries": 1, "waiting_for": None, "fault_code": None, "fault_detail": "",
    "next_try_at": None, "skipped_by": None, "skip_reason": None, "discovered_at": "d", "fetching_at": None,
    "fetched_at": None, "ended_at": None, "seq": 1, "camera": "main", "host": "192.168.1.2", "port": 15740,
    "deliveries": [],
}  # fmt: skip
DELIVERY: dict[str, Any] = {
    "id": 1, "file_id": 7, "destination": "archive", "wanted_key": "a", "key": "a", "state": "queued",
    "waiting_for": None, "tries": 0, "next_try_at": None, "fault_code": None, "fault_detail": "", "proof": None,
    "exclusive": None, "checksum": None, "location": None, "version": None, "skipped_by": None, "skip_reason": None,
    "queued_at": "q", "started_at": None, "done_at": None,
}  # fmt: skip


def delivery(state: str, **fields: Any) -> dict[str, Any]:
    if state == "done":
        fields = {"proof": "readback", "exclusive": "atomic", "done_at": "t", **fields}
    return {**DELIVERY, "state": state, **fields}


def file(state: str, *deliveries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**SAMPLE, "state": state, "deliveries": list(deliveries), **fields}


@pytest.mark.parametrize(
    ("row", "word", "status"),
    [
        (file("discovered"), words.NEW, "discovered"),
        (file("discovered", waiting_for="camera", fault_code="camera.asleep"), words.WAITING, "queued"),
        (
            file("discovered", waiting_for="person", fault_code="spool.larger_than_budget"),
            words.NEEDS_YOU,
            "failed",
        ),
        (file("fetching", delivery("queued")), words.FETCHING, "uploading"),
        (file("fetching", delivery("uploading")), words.SENDING, "uploading"),
        (file("fetched", delivery("queued")), words.ON_AGENT, "queued"),
        (file("fetched", delivery("queued", waiting_for="destination")), words.WAITING, "queued"),
        (file("fetched", delivery("done"), delivery("queued")), words.ON_AGENT, "queued"),
        (file("fetched", delivery("done"), delivery("uploading")), words.SENDING, "uploading"),
        (file("fetched", delivery("done"), delivery("done")), words.VERIFIED, "done"),
        (file("fetched", delivery("done"), delivery("done", proof="size")), words.SENT, "done"),
        (file("fetched", delivery("done"), delivery("skipped")), words.VERIFIED, "done"),
        (file("fetched", delivery("done"), delivery("failed", fault_code="s3.x")), words.NEEDS_YOU, "failed"),
        (file("fetched", delivery("skipped")), words.SKIPPED, "discovered"),
        (file("evicted", delivery("done")), words.VERIFIED, "done"),
        (
            file("evicted", delivery("done"), delivery("queued", waiting_for="camera")),
            words.WAITING,
            "queued",
        ),
        (file("gone"), words.GONE, "failed"),
        (file("gone", delivery("skipped", skipped_by="card")), words.GONE, "failed"),
        (file("skipped"), words.SKIPPED, "discovered"),
        (file("skipped", waiting_for="person"), words.SKIPPED, "discovered"),
    ],
)
def test_a_file_as_a_whole(row: dict[str, Any], word: Word, status: str) -> None:
    assert words.word_of(row) == word
    assert words.status_of(row) == status


def test_what_is_queued_for_a_stopped_destination_waits_for_it() -> None:
    row = file("fetched", delivery("done"), delivery("queued", destination="usb"))
    assert words.word_of(row) == words.ON_AGENT
    stopped = words.with_destinations(row, {"usb": "folder.missing"})
    assert words.word_of(stopped) == words.WAITING
    assert "plug the drive in" in (words.trouble_of(stopped) or "")
    assert words.word_of(words.with_destinations(row, {"archive": "x.y"})) == words.ON_AGENT


def test_every_state_of_the_ledger_has_a_word() -> None:
    for state in words.FILE_STATES:
        assert words.word_of(file(state))
        assert words.status_of(file(state)) in words.STATUSES


def test_the_fields_of_old() -> None:
    row = file(
        "fetched",
        delivery(
            "queued",
            tries=3,
            fault_code="camera.asleep",
            fault_detail="Errno 113",
            next_try_at="2024-05-01T18:05:00.000Z",
        ),
        delivery("done"),
        host="fe80::1",
        kind="video",
    )
    told = words.as_json(row)
    expected = {
        "filename": "IMG_0001.CR3",
        "url": "ptpip://[fe80::1]:15740/99",
        "status": "queued",
        "retry_count": 2,
        "next_retry_at": "2024-05-01T18:05:00.000Z",
        "captured_at": "2024-05-01T18:00:00",
        "is_video": True,
    }
    assert {key: told[key] for key in expected} == expected
    assert "does not answer" in told["last_error"] and "camera.asleep" in told["last_error"]
    assert "Errno 113" in told["last_error"]
    assert [each["verified"] for each in told["deliveries"]] == [False, True]
    assert "token" not in told["deliveries"][0]


def test_a_trouble_that_is_over_is_no_error() -> None:
    row = file("fetched", delivery("done", fault_code="camera.asleep"), captured="")
    told = words.as_json(row)
    assert told["last_error"] is None and told["captured_at"] is None


def test_every_code_has_its_sentence() -> None:
    """Codes of all tables there are, so that a new table is not forgotten."""
    import importlib
    import pkgutil

    import agent

    codes: set[str] = set()
    for module in pkgutil.walk_packages(agent.__path__, "agent."):
        if not module.name.endswith("__main__"):
            codes |= set(getattr(importlib.import_module(module.name), "FAULTS", {}))
    assert {
        "s3.access_denied",
        "folder.full",
        "spool.no_room",
        "delivery.unproven",
        "order.not_ours",
    } <= codes
    kept_in_ledger = {code for code in codes if not code.startswith(("order.", "card."))}
    assert [code for code in kept_in_ledger if "no words" in hints.hint_of(code)] == []
    assert "no words" in hints.hint_of("of.the.future")
