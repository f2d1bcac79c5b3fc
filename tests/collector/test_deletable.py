"""What may be deleted: a model of files, deliveries, proofs and rules that never lets go what lacks a proof."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backends.base import Proof
from agent.collector.deletable import MOST_TRIES, REASONS, judged, named_by_routes
from agent.ledger import as_text
from agent.settings import DeleteSettings, Route

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NAMES = ("archive", "cloud", "nas")
VERIFIED = ("readback", "checksum")


def delivery(
    name: str = "archive", state: str = "done", proof: str | None = "readback", age: float = 90_000
) -> Any:
    return {
        "destination": name,
        "state": state,
        "proof": proof,
        "checksum": "sha256:00",
        "location": "/x",
        "done_at": as_text(NOW - timedelta(seconds=age)),
    }


def file(*deliveries: Any, **other: Any) -> dict[str, Any]:
    facts = {"state": "fetched", "kind": "jpeg", "is_protected": None, "captured": "2026-04-01T10:00:00"}
    return {**facts, "deliveries": list(deliveries), "attempts": [], **other}


def attempt(state: str, code: str | None = None, age: float = 90_000) -> dict[str, Any]:
    return {"state": state, "fault_code": code, "ended_at": as_text(NOW - timedelta(seconds=age))}


def reason(row: dict[str, Any], *named: str, asked: bool = False, **rules: Any) -> str | None:
    return judged(row, DeleteSettings(**rules), named or ("archive",), NOW, asked_by_person=asked).reason


def test_what_is_delivered_and_proven_for_long_enough_may_go() -> None:
    verdict = judged(file(delivery(), delivery("cloud", proof="checksum")), DeleteSettings(), NAMES[:2], NOW)
    assert verdict.reason is None
    assert [(each.destination, each.proof) for each in verdict.proofs] == [
        ("archive", "readback"),
        ("cloud", "checksum"),
    ]


@pytest.mark.parametrize(
    ("row", "rules", "expected"),
    [
        (file(delivery(), state="discovered"), {}, "not fetched"),
        (file(delivery(), state="fetching"), {}, "not fetched"),
        (file(delivery(), state="gone"), {}, "not fetched"),
        (file(delivery()), {"kinds": "raw"}, "another kind"),
        (file(delivery(), is_protected=1), {}, "protected"),
        (file(delivery(), captured=""), {}, "without a time"),
        (file(), {}, "not delivered"),
        (file(delivery(), is_serial_reported=0), {}, "without a serial"),
        (file(delivery() | {"is_doubted": 1}), {}, "lost"),
        (file(delivery() | {"is_elsewhere": 1}), {}, "moved"),
        (file(delivery(proof="size")), {}, "not proven"),
        (file(delivery()), {"proof": "checksum"}, "not proven"),
        (file(delivery(state="queued")), {}, "not delivered"),
        (file(delivery(state="failed")), {}, "not delivered"),
        (file(delivery(state="skipped")), {}, "given up"),
        (file(delivery(), delivery("cloud", "skipped")), {}, "given up"),
        (file(delivery()), {"destinations": "cloud"}, "not delivered"),
        (
            file(delivery(), delivery("cloud", "queued"), state="evicted"),
            {"destinations": "archive"},
            "needed",
        ),
        (file(delivery(), delivery("cloud", "queued")), {"destinations": "archive"}, None),
        (file(delivery(), delivery("cloud", "skipped")), {"destinations": "archive"}, None),
        (file(delivery(age=3600)), {}, "too young"),
        (file(delivery(age=3600)), {"after": "30 min"}, None),
        (file(delivery(), delivery("cloud", age=60)), {"after": "1h"}, "too young"),
        (file(delivery(), attempts=[attempt("deleted")]), {}, "deleted"),
        (file(delivery(), attempts=[attempt("unknown")]), {}, "interrupted"),
        (file(delivery(), attempts=[attempt("refused", "ptp.object_write_protected")]), {}, "refused"),
        (file(delivery(), attempts=[attempt("refused", "ptp.general_error", age=5)]), {}, "later"),
        (file(delivery(), attempts=[attempt("refused", "ptp.general_error")]), {}, None),
        (file(delivery(), attempts=[attempt("refused", "ptp.general_error")] * MOST_TRIES), {}, "refused"),
        (file(delivery(), attempts=[attempt("refused", "ptp.store_read_only", 5)] * 9), {}, None),
        (file(delivery(), attempts=[attempt("kept")] * 9), {}, None),
    ],
)
def test_every_reason_to_keep_a_file(
    row: dict[str, Any], rules: dict[str, Any], expected: str | None
) -> None:
    assert reason(row, **rules) == expected
    assert expected is None or expected in REASONS


def test_what_only_a_person_has_sent_somewhere_stays() -> None:
    for row in (file(), file(delivery())):
        assert judged(row, DeleteSettings(), (), NOW).reason == "required nowhere"
    assert judged(file(delivery()), DeleteSettings(destinations=("archive",)), (), NOW).reason is None


def row_of(name: str, **other: Any) -> dict[str, Any]:
    facts = {"serial": "1", "storage": 1, "folder": "100CANON", "name": name, "size_bytes": 1000, "shot": 16}
    asked = {"clock_ahead_seconds": None, "picture": None}
    return {
        **file(),
        **facts,
        **asked,
        "kind": "raw" if name.endswith("CR3") else "jpeg",
        "partners": [],
        **other,
    }


def names(row: dict[str, Any], *routes: dict[str, Any]) -> set[str]:
    return set(named_by_routes(row, "main", [Route.model_validate(each) for each in routes]))


def test_what_routes_name_by_what_they_learnt() -> None:
    stars = {"destinations": "agency", "match": {"min_rating": 3}}
    assert names(row_of("A.JPG", picture='{"rating":3}'), stars) == {"agency"}
    assert names(row_of("A.JPG", picture='{"rating":2}'), stars) == set()
    assert names(row_of("A.JPG"), stars) == {"agency"}, "who knows: the route is younger than the fetch"
    pair = {"destinations": "agency", "match": {"with_kind": "raw"}}
    assert names(row_of("A.JPG", partners=[row_of("A.CR3")]), pair) == {"agency"}
    assert names(row_of("A.JPG"), pair) == set()
    whole = {"destinations": "nas", "match": {"kind": "jpeg"}, "whole_shot": True}
    assert names(row_of("A.CR3", partners=[row_of("A.JPG")]), whole) == {"nas"}
    by_hand = {"destinations": "agency", "auto": False}
    assert names(row_of("A.JPG"), by_hand, whole) == {"nas"}


def test_what_a_route_names_and_was_never_promised_is_missing() -> None:
    assert reason(file(delivery()), "archive", "cloud") == "not delivered"
    assert reason(file(delivery()), "archive", "cloud", destinations="archive") is None


def test_a_person_may_try_again_what_was_refused_and_nothing_else() -> None:
    refused = file(delivery(), attempts=[attempt("refused", "ptp.access_denied")])
    assert reason(refused) == "refused" and reason(refused, asked=True) is None
    for row in (
        file(delivery(proof="size")),
        file(delivery(), attempts=[attempt("unknown")]),
        file(delivery(age=5)),
    ):
        assert reason(row, asked=True) is not None


deliveries = st.lists(
    st.builds(
        delivery,
        st.sampled_from(NAMES),
        st.sampled_from(["queued", "uploading", "done", "failed", "skipped"]),
        st.sampled_from(["size", "readback", "checksum"]),
        st.floats(0, 200_000),
    ),
    max_size=3,
    unique_by=lambda each: each["destination"],
)
files = st.builds(
    lambda found, state, kind, protected, attempts: file(
        *found, state=state, kind=kind, is_protected=protected, attempts=attempts
    ),
    deliveries,
    st.sampled_from(["discovered", "fetching", "fetched", "evicted", "gone", "skipped"]),
    st.sampled_from(["jpeg", "raw", "video"]),
    st.sampled_from([None, 0, 1]),
    st.lists(
        st.builds(attempt, st.sampled_from(["deleted", "refused", "kept", "unknown"]), st.none()), max_size=1
    ),
)
rules = st.builds(
    DeleteSettings,
    proof=st.sampled_from(["readback", "checksum"]),
    after=st.sampled_from(["0s", "2h", "1d"]),
    kinds=st.lists(st.sampled_from(["jpeg", "raw"]), unique=True).map(tuple),
    destinations=st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
)


@given(files, rules, st.frozensets(st.sampled_from(NAMES)), st.booleans())
def test_nothing_goes_without_every_proof(
    row: dict[str, Any], settings: DeleteSettings, named: frozenset[str], asked: bool
) -> None:
    """Said again in other words than the code's, and over everything that rows and rules can be."""
    verdict = judged(row, settings, named, NOW, asked_by_person=asked)
    assert (verdict.reason is None) == bool(verdict.proofs)
    if verdict.reason is not None:
        assert verdict.reason in REASONS
        return
    by_name = {each["destination"]: each for each in row["deliveries"]}
    assert settings.destinations or named
    required = set(settings.destinations) if settings.destinations else named | set(by_name)
    assert {each.destination for each in verdict.proofs} == required
    for name in required:
        each = by_name[name]
        assert each["state"] == "done"
        assert each["proof"] == "checksum" or (
            each["proof"] == "readback" and settings.proof is Proof.READBACK
        )
        assert datetime.fromisoformat(each["done_at"]) <= NOW - timedelta(seconds=settings.after_seconds)
    assert row["state"] in ("fetched", "evicted") and row["is_protected"] in (None, 0)
    assert not settings.kinds or row["kind"] in settings.kinds
    is_owed = any(each["state"] in ("queued", "uploading", "failed") for each in row["deliveries"])
    assert not (is_owed and row["state"] == "evicted")
    assert not any(each["state"] in ("deleted", "unknown") for each in row["attempts"])


@pytest.mark.parametrize("age", ["2", "2 hours", "-1h", "", "1.5h", 7200, "9999999h"])
def test_an_age_that_is_none_is_refused_in_words(age: object) -> None:
    with pytest.raises(ValueError, match='such as "2h"'):
        DeleteSettings(after=age)  # type: ignore[arg-type]


def test_it_is_off_and_demands_a_proof_and_a_day_by_default() -> None:
    settings = DeleteSettings()
    assert (settings.enabled, settings.proof, settings.after_seconds) == (False, "readback", 86_400)
    with pytest.raises(ValueError, match="readback"):
        DeleteSettings(proof="size")  # type: ignore[arg-type]
