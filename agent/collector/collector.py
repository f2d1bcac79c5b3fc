"""A camera's task: connect, serve the visit, and after any failure of the link connect again, with a reason shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from agent import camera
from agent.camera import Body, Timing, Unreadable
from agent.collector import fetch, room
from agent.collector.surroundings import Surroundings
from agent.collector.visit import Visit
from agent.faults import Advice, Fault, Kind, Scope, backoff_seconds, fault
from agent.ledger import as_text
from agent.settings import CameraSettings

log = structlog.get_logger("collector")

FAULTS = {
    **fetch.FAULTS,
    **room.FAULTS,
    "camera.connected_twice": Advice(
        Kind.RETRYABLE,
        "Another entry of the configuration already serves this camera: remove one of the two.",
        Scope.WHOLE,
    ),
    "camera.unclassified": Advice(
        Kind.RETRYABLE,
        "Something unexpected went wrong; the log has the details. We connect again.",
        Scope.WHOLE,
    ),
}
_LONGEST_PAUSE_SECONDS = 30.0
# A body that breaks the link so soon over a description, twice in a row, was not ready (an EOS 2000D resets early
# GetObjectInfo). A bad link breaks anywhere, and mostly inside the content of a file.
_EARLY_SECONDS = 5.0
_REMEMBER_SECONDS = 5.0


class Collector:
    """Run with `run`; everything else may be called meanwhile."""

    def __init__(self, settings: CameraSettings, around: Surroundings):
        self.settings = settings
        self._around = around
        self._visit: Visit | None = None
        self._hurry = asyncio.Event()
        self._failures = 0
        self._early_losses = 0
        self.has_scanned = False

    @property
    def body(self) -> Body | None:
        """The connected body, for whoever wants a transaction of its own."""
        return self._visit.body if self._visit else None

    @property
    def is_idle(self) -> bool:
        """Whether all that is on the cards, and should be, is fetched; false while the camera is away."""
        return self._visit is not None and self._visit.is_idle

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """What cannot be listed of the cards, and is looked for again."""
        return self._visit.unreadable if self._visit else ()

    def hurry(self) -> None:
        """Look again at once, connect at once, try again at once: a person asked or something changed."""
        if self._visit:
            self._visit.hurry()
        else:
            self._hurry.set()

    def delete_now(self, by: str) -> bool:
        """Let one round of deleting begin, as a person asked; False if the camera is away."""
        if self._visit is None:
            return False
        self._visit.deleting.order(by)
        return True

    def drop(self, file_ids: Iterable[int]) -> None:
        """These files are not wanted any more; see `Visit.drop`."""
        if self._visit:
            self._visit.drop(file_ids)

    async def run(self) -> None:
        """Serve the camera until cancelled."""
        while True:
            self._hurry.clear()  # before the attempt: who hurries from here on is heard, also while it fails
            try:
                await self._serve_once()
            except Exception as error:
                caught = _first_fault(error)
                if caught is None:
                    log.exception("unclassified", camera=self.settings.name)
                    caught = fault(FAULTS, "camera.unclassified", type(error).__name__)
                await self._pause(caught)

    async def _serve_once(self) -> None:
        settings, around = self.settings, self._around
        subject = await around.ledger.cameras.subject("camera", settings.name)
        body = await camera.connect(
            settings.host,
            settings.port,
            guid=around.guid,
            name=around.initiator_name,
            pairing=subject is None or subject.serial is None,
            memory=around.model_memory,
            session_id=settings.session_id,
            timing=_timing(settings),
        )
        serial = body.identity.serial
        try:
            if serial in around.serials:
                raise fault(FAULTS, "camera.connected_twice", around.serials[serial])
            around.serials[serial] = settings.name
            try:
                await self._visit_body(body)
            finally:
                del around.serials[serial]
                with suppress(TimeoutError):  # the agent may be stopping while the ledger waits for its disk
                    async with asyncio.timeout(_REMEMBER_SECONDS):
                        await around.ledger.cameras.remember_of_models(around.model_memory)
        finally:
            with suppress(Fault):  # it is over either way, and a cancellation must not be lost to this
                await body.close()

    async def _visit_body(self, body: Body) -> None:
        who = body.identity
        row = await self._around.ledger.cameras.meet_camera(
            who.serial,
            who.is_serial_reported,
            self.settings.name,
            (who.manufacturer, who.model, who.firmware),
            (self.settings.host, self.settings.port),
        )
        await self._around.ledger.cameras.set_subject(
            "camera", self.settings.name, "ready", serial=who.serial
        )
        log.info(
            "camera ready", camera=self.settings.name, model=who.model, serial=who.serial, is_new=row.is_new
        )
        self._visit = Visit(body, self.settings, row, self._around)
        ready_at = time.monotonic()
        try:
            await self._visit.run(self._on_scanned)
        finally:
            self._visit = None
            is_early = time.monotonic() - ready_at < _EARLY_SECONDS and body.broke_over_a_description
            self._early_losses = self._early_losses + 1 if is_early else 0
            if self._early_losses > 1:
                body.settle_longer()

    def _on_scanned(self) -> None:
        self.has_scanned = True
        self._failures = 0
        self._around.ledger.wake()

    async def _pause(self, caught: Fault) -> None:
        """Wait before the next connection. A camera that needs a person is asked again too: the person acts there."""
        self._failures += 1
        needs_user = caught.kind is Kind.NEEDS_USER
        wait = caught.retry_after_seconds or (
            60.0 if needs_user else backoff_seconds(self._failures, cap=_LONGEST_PAUSE_SECONDS)
        )
        next_try = as_text(datetime.now(UTC) + timedelta(seconds=wait))
        changed = await self._around.ledger.cameras.set_subject(
            "camera",
            self.settings.name,
            "paused" if needs_user else "waiting",
            code=caught.code,
            reason=caught.hint,
            next_try_at=next_try,
            by="agent" if needs_user else None,
        )
        level = log.warning if changed else log.debug
        level(
            "camera waiting",
            camera=self.settings.name,
            code=caught.code,
            hint=caught.hint,
            detail=caught.detail,
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._hurry.wait()


def _timing(settings: CameraSettings) -> Timing:
    if settings.poll_seconds is None:
        return Timing()
    return Timing(poll_idle=settings.poll_seconds, poll_listing=settings.poll_seconds)


def _first_fault(error: BaseException) -> Fault | None:
    """The fault among what ended a group of tasks, if there is one."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [_first_fault(each) for each in error.exceptions]
        if all(found):
            return found[0]
    return None
