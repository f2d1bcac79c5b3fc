"""A model of cards, deliveries and proofs under random changes: what is deleted was proven in that moment, each time.

The scripted camera deletes whatever it is told to, by handle alone; the model says at every deletion whether the very
content that vanishes is held, verified, wherever it must be.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.backends.base import Proof
from agent.backends.folder import FolderConfig
from agent.camera import FAULTS, Deletion, Object
from agent.collector import deletable, deletion
from agent.faults import fault
from agent.ledger import Outcome
from agent.settings import DeleteSettings, Route
from tests.collector.scripted import Body, made
from tests.collector.workbench import Workbench

NAMES = [f"IMG_000{n}.{extension}" for n in (1, 2, 3) for extension in ("JPG", "CR3")]
DESTINATIONS = ("archive", "cloud")

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("deliver"),
            st.sampled_from(DESTINATIONS),
            st.sampled_from(["size", "readback", "checksum"]),
        ),
        st.tuples(st.just("fail"), st.sampled_from(DESTINATIONS), st.just("")),
        st.tuples(st.just("skip"), st.sampled_from(NAMES), st.just("")),
        st.tuples(st.just("evict"), st.sampled_from(NAMES), st.just("")),
        st.tuples(st.just("replace"), st.sampled_from(NAMES), st.sampled_from(["time", "size"])),
        st.tuples(st.just("renumber"), st.just(""), st.just("")),
        st.tuples(st.just("protect"), st.sampled_from(NAMES), st.just("")),
        st.tuples(
            st.just("refuse"), st.sampled_from(["ptp.access_denied", "ptp.general_error"]), st.just("")
        ),
        st.tuples(st.just("round"), st.just(""), st.just("")),
    ),
    max_size=14,
)
rules = st.builds(
    DeleteSettings,
    enabled=st.just(True),
    after=st.just("0s"),
    proof=st.sampled_from(["readback", "checksum"]),
    kinds=st.sampled_from([(), ("jpeg",), ("raw",)]),
    destinations=st.sampled_from([(), ("archive",), ("archive", "cloud")]),
)


class Model:
    def __init__(self, bench: Workbench, body: Body, allowed: DeleteSettings):
        self.bench, self.body, self.allowed = bench, body, allowed
        self.held: dict[str, dict[str, str]] = {name: {} for name in DESTINATIONS}  # sha256 → proof
        self.refusal: str | None = None
        self.wrong: list[str] = []
        self.deleted = 0
        body.on_delete = self.on_delete

    def on_delete(self, item: Object) -> Deletion | None:
        """What a camera would do to whatever has this handle now; None lets it happen."""
        file = next((each for each in self.body.files if each.object.handle == item.handle), None)
        if file is None or file.object != item:
            return Deletion(False, fault(FAULTS, "camera.another_file"))
        if self.refusal is not None:
            code, self.refusal = self.refusal, None
            return Deletion(True, fault(FAULTS, code))
        digest = hashlib.sha256(file.data).hexdigest()
        enough = ("checksum",) if self.allowed.proof is Proof.CHECKSUM else ("checksum", "readback")
        for destination in self.allowed.destinations or DESTINATIONS:
            if self.held[destination].get(digest) not in enough:
                self.wrong.append(f"{item.name} is not proven at {destination}: {self.held[destination]}")
        is_raw = item.name.endswith("CR3")
        if self.allowed.kinds and ("raw" if is_raw else "jpeg") not in self.allowed.kinds:
            self.wrong.append(f"{item.name} is of another kind")
        if item.is_protected:
            self.wrong.append(f"{item.name} is protected")
        self.deleted += 1
        return None

    async def step(self, what: str, first: str, second: str) -> None:
        ledger, by_name = self.bench.ledger, await self.bench.files()
        row: dict[str, Any] | None = by_name.get(first)
        if what == "deliver":
            while (job := await ledger.deliveries.claim(first, [])) is not None:
                assert job.sha256 is not None
                outcome = Outcome(second, "atomic", f"sha256:{job.sha256}", "/x")
                self.held[first][job.sha256] = second
                await ledger.deliveries.finish_delivery(job.id, outcome)
        elif what == "fail":
            if (job := await ledger.deliveries.claim(first, [])) is not None:
                await ledger.deliveries.fail_delivery(job.id, "folder.unclassified", "")
        elif what == "skip" and row is not None:
            await ledger.orders.skip([row["id"]], "somebody", "because")
        elif what == "evict" and row is not None and row["state"] == "fetched":
            if not any(each["state"] in ("queued", "failed", "uploading") for each in row["deliveries"]):
                await self.bench.spool.evict(row["id"])
                await ledger.files.mark_evicted(row["id"])
        elif what == "replace":
            self._replace(first, second)
        elif what == "renumber":
            self._renumber()
        elif what == "protect":
            for file in self.body.files:
                if file.object.name == first:
                    file.object = msgspec.structs.replace(file.object, is_protected=True)
        elif what == "refuse":
            self.refusal = first

    def _replace(self, name: str, how: str) -> None:
        """Another card: a file of that name, with the handle that the old one had."""
        for index, file in enumerate(self.body.files):
            if file.object.name == name:
                later = "2024-06-01T10:00:00" if how == "time" else file.object.captured
                size = len(file.data) + (7 if how == "size" else 0)
                data = file.data[:4] + bytes([len(file.data) & 0xFF]) * (size - 4)
                self.body.files[index] = made(name, captured=later, data=data, handle=file.object.handle)

    def _renumber(self) -> None:
        handles = [file.object.handle for file in self.body.files]
        for file, handle in zip(self.body.files, handles[1:] + handles[:1], strict=True):
            file.object = msgspec.structs.replace(file.object, handle=handle)


async def played(story: list[tuple[str, str, str]], allowed: DeleteSettings, folder: Path) -> Model:
    async with Workbench.at(folder) as bench:
        bench.around.routes = (Route(destinations=DESTINATIONS),)
        bench.around.destinations = {
            name: FolderConfig.model_validate({"path": folder / name, "template": "{name}"})
            for name in DESTINATIONS
        }
        bench.around.delete = allowed
        body = Body(*(made(name) for name in NAMES))
        model = Model(bench, body, allowed)
        async with bench.visiting(body) as visiting:
            await visiting.idle()
            for step in [*story, ("round", "", "")]:
                await model.step(*step)
                scans = body.scans
                visiting.visit.deleting.hurry()
                async with asyncio.timeout(10):
                    while body.scans == scans:  # noqa: ASYNC110 - a round has no event of its own
                        await asyncio.sleep(0.001)
            async with asyncio.timeout(10), visiting.visit._cards:
                pass
        entries = await bench.ledger.journal.entries()
        assert sum(entry["state"] == "deleted" for entry in entries) == model.deleted
        assert all(entry["proofs"] for entry in entries)
        return model


@pytest.mark.link
@given(steps, rules)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_nothing_unproven_is_deleted(
    monkeypatch: pytest.MonkeyPatch, story: list[tuple[str, str, str]], allowed: DeleteSettings
) -> None:
    monkeypatch.setattr(deletion, "ROUND_SECONDS", 30.0)
    monkeypatch.setattr(deletable, "RETRY_SECONDS", 0.0)
    with tempfile.TemporaryDirectory() as folder:
        model = asyncio.run(played(story, allowed, Path(folder)))
    assert not model.wrong


async def test_the_model_deletes_when_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above can fail: with everything proven all goes, and a lie about the proofs is noticed."""
    monkeypatch.setattr(deletion, "ROUND_SECONDS", 30.0)
    story = [("deliver", name, "checksum") for name in DESTINATIONS]
    model = await played(story, DeleteSettings(enabled=True, after="0s"), tmp_path / "a")
    assert model.deleted == len(NAMES) and not model.wrong
    monkeypatch.setattr(deletable, "_ENOUGH", dict.fromkeys(Proof, ("readback", "checksum")))
    story = [("deliver", name, "readback") for name in DESTINATIONS]
    allowed = DeleteSettings(enabled=True, after="0s", proof=Proof.CHECKSUM)
    assert (await played(story, allowed, tmp_path / "b")).wrong
