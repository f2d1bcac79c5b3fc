"""The workers: who gets the next delivery, and what comes of it.

What waits for the clock is in the ledger for people to see, and in memory for us: a restart tries everything at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import tzinfo
from functools import partial

import structlog

from agent.backends.base import Exclusive, Proof
from agent.faults import Fault, Kind, Scope, backoff_seconds, fault
from agent.keys import Media
from agent.ledger import Job, Ledger, Outcome
from agent.progress import Progress
from agent.schedule import Schedule
from agent.spool import Gone, Restarted, Spool, Suspended
from agent.uploader.alarms import Alarms
from agent.uploader.attempt import Attempt, Overtaken
from agent.uploader.faults import FAULTS, asked_seconds
from agent.uploader.hours import Hours
from agent.uploader.pace import Closed
from agent.uploader.sweeping import Sweeper
from agent.uploader.target import Target

log = structlog.get_logger("uploader")

_STRENGTH = (Proof.CHECKSUM, Proof.READBACK, Proof.SIZE)
_RETRY_CAP_SECONDS = 300.0
_PROBE_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 60.0
_LONG_BYTES = (
    64 << 20
)  # larger files give their place to what goes first; others are through soon but for limits
_NOT_SET = "not in the settings"
_STOP_SECONDS = 5.0  # for the ledger, when the agent stops: what is not settled then, a restart settles


class Uploader:
    def __init__(self, ledger: Ledger, spool: Spool, progress: Progress, *, workers: int):
        self._ledger = ledger
        self._spool = spool
        self._progress = progress
        self.workers = workers
        self._alarms = Alarms()
        self.hours = Hours(ledger, self._alarms.at_clock)
        self._sweeper = Sweeper(ledger, self._ask, self._stop_target, self._alarms.at)
        self.targets: dict[str, Target] = {}
        self._jobs: dict[asyncio.Task[None], Job] = {}
        self._looks = (
            0  # of the clock: how often something that waited for it, or nothing at all, made us look
        )
        self.on_back: Callable[[], None] = lambda: None  # a destination works again

    # -- targets -----------------------------------------------------------------------------------------

    async def add(self, target: Target) -> None:
        """Begin to deliver to `target`. A pause by a person outlives a restart; one by a fault is tried again."""
        subject = await self._ledger.cameras.subject("destination", target.name)
        if subject and subject.is_paused_by_hand:
            target.paused = True
        elif subject is None or subject.state != "ready":
            await self._ledger.cameras.set_subject("destination", target.name, "ready")
        if subject and subject.fingerprint == target.fingerprint and subject.exclusive:
            target.exclusive = Exclusive(subject.exclusive)
        target.pace.zone = self.hours.every.zone
        self.targets[target.name] = target
        if await self.hours.begin(target):
            self.on_back()
        self._ledger.wake()

    async def retire(self) -> None:
        """Say of the destinations that the ledger knows and the settings do not that nothing goes there any more."""
        for subject in await self._ledger.cameras.subjects():
            is_ours = subject.kind == "destination" and subject.name not in self.targets
            if is_ours and subject.state != "off" and not subject.is_paused_by_hand:
                await self._ledger.cameras.set_subject("destination", subject.name, "off", reason=_NOT_SET)

    def set_zone(self, zone: tzinfo | None) -> None:
        """By whose clock the hours count; None: this computer's."""
        for pace in (self.hours.every, *(target.pace for target in self.targets.values())):
            pace.zone = zone
        self._ledger.wake()

    async def limit(self, limit: Schedule, name: str | None = None) -> None:
        """Take over another limit, of the destination `name` or of all together, without disturbing any upload."""
        (self.targets[name].pace if name else self.hours.every).schedule = limit
        for target in self.targets.values() if name is None else (self.targets[name],):
            if await self.hours.begin(target):
                self.on_back()

    async def remove(self, name: str) -> None:
        """Stop delivering to `name`; what is under way keeps its partial and is queued again."""
        target = self.targets.pop(name)
        await _end(target.sweeping)
        await self._stop(target.tasks, "destination")
        if not target.paused:
            await self._ledger.cameras.set_subject("destination", name, "off", reason=_NOT_SET)
        await target.call(target.backend.close)
        target.call.close()

    async def pause(self, name: str, by: str) -> None:
        target = self.targets[name]
        target.paused = True
        await self._ledger.cameras.set_subject("destination", name, "paused", reason=f"paused by {by}", by=by)
        await _end(target.sweeping)
        await self._stop(target.tasks, "destination")

    async def resume(self, name: str) -> None:
        target = self.targets[name]
        target.paused, target.failures, target.retry_at = False, 0, 0.0
        await self._ledger.cameras.set_subject("destination", name, "ready")
        self.on_back()
        self._ledger.wake()

    async def drop(self, file_ids: Iterable[int]) -> None:
        """End the uploads of these files that are under way: a person gave them up."""
        dropped = set(file_ids)
        await self._stop([task for task, job in self._jobs.items() if job.file_id in dropped], "worker")

    @property
    def is_idle(self) -> bool:
        return not self._jobs

    # -- the loop ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                seen = self._ledger.changes
                self._looks += self._alarms.ring()
                if await self.hours.open_up(self.targets.values()):
                    self.on_back()
                if not await self._start_what_fits():
                    self._sweeper.begin(self.targets.values())
                    await self._wait(seen)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._stop(self._jobs, "worker")
            for target in self.targets.values():
                await _end(target.sweeping)

    async def _start_what_fits(self) -> bool:
        """Give every target that may one more delivery, whoever has the fewest or waited longest first."""
        started = False
        for target in sorted(self.targets.values(), key=lambda each: (len(each.tasks), each.started_at)):
            if target.room <= 0 or not self._has_slot(target):
                target.is_awaited = target.sweeping is not None
                await self._make_way(target)
                continue
            sight, growing = (self._ledger.offers, self._looks), self._spool.growing
            if target.dry_at == sight and target.dry_growing.issuperset(growing):
                continue  # a second look would be in vain
            job = await self._ledger.deliveries.claim(target.name, growing)
            target.dry_at, target.dry_growing = sight if job is None else None, frozenset(growing)
            if job is None:
                continue
            if target.paused or self.targets.get(target.name) is not target:  # since we asked
                await self._ledger.deliveries.postpone(job.id, waiting_for="destination", code=None)
                continue
            target.started_at = time.monotonic()
            task = asyncio.create_task(self._work(target, job), name=f"delivery {job.id}")
            target.tasks.add(task)
            self._jobs[task] = job
            task.add_done_callback(partial(self._ended, target))
            started = True
        return started

    def _has_slot(self, target: Target) -> bool:
        """A destination may always have one upload, whatever the others do: one that is slow, or hangs, must not delay
        them. The rest is shared, and up to half of it is kept for those that have nothing to do now."""
        if not target.tasks:
            return True
        others = sum(not (each.tasks or each.paused) for each in self.targets.values())
        return len(self._jobs) + min(others, self.workers // 2) < self.workers

    async def _make_way(self, target: Target) -> None:
        """Let one file that holds its place for long give it up, at its next chunk, if something waits here that goes first."""
        if not target.tasks or target.overtaken or target.failures or target.paused:
            return
        long = [job for task in target.tasks if (job := self._jobs[task]).rank and self._is_long(target, job)]
        if not long or target.seen_changes == self._ledger.changes:
            return
        rank = await self._ledger.deliveries.first_rank(target.name, self._spool.growing)
        target.seen_changes = self._ledger.changes
        last = max(long, key=lambda job: (job.rank, job.id))
        if rank is not None and rank < last.rank:
            target.overtaken.add(last.id)

    def _is_long(self, target: Target, job: Job) -> bool:
        return job.size > _LONG_BYTES or any(
            pace.is_slow(Media(job.kind)) for pace in (target.pace, self.hours.every)
        )

    def _ended(self, target: Target, task: asyncio.Task[None]) -> None:
        target.tasks.discard(task)
        target.overtaken.discard(self._jobs.pop(task).id)
        if not task.cancelled() and (error := task.exception()):
            log.error("delivery not settled", task=task.get_name(), exc_info=error)
        self._progress.moved()
        self._ledger.wake()  # a slot is free

    async def _wait(self, seen: int) -> None:
        """Wait for a change of the ledger, a free slot, or the first thing that waits for the clock."""
        try:
            async with asyncio.timeout(self._alarms.seconds_left(_LONGEST_WAIT_SECONDS)):
                await self._ledger.wait_for_change(seen)
        except TimeoutError:
            self._looks += 1

    async def _stop(self, tasks: Iterable[asyncio.Task[None]], waiting_for: str) -> None:
        """Cancel, wait until nothing runs for them any more, and queue again what was not settled."""
        stopping = {task: self._jobs[task] for task in tasks}
        for task in stopping:
            task.cancel()
        if stopping:
            await asyncio.wait(stopping)
        for job in stopping.values():
            await self._ledger.deliveries.postpone(job.id, waiting_for=waiting_for, code=None)

    async def _work(self, target: Target, job: Job) -> None:
        events = log.bind(file=job.file_id, name=job.name, destination=target.name)
        try:
            events.info("uploading", key=job.key, attempt=job.tries)
            await self._deliver(target, job, events)
        except (Suspended, Restarted, Gone) as pause:
            if job.sha256 and not self._spool.is_finished(job.file_id):  # somebody took it out of the spool
                await self._ledger.files.fetch_again([job.file_id])
                self.on_back()
            await self._ledger.deliveries.postpone(job.id, waiting_for="camera", code=None)
            events.info("waiting", waiting_for="camera", reason=type(pause).__name__.lower())
        except Overtaken:
            await self._ledger.deliveries.postpone(job.id, waiting_for="worker", code=None)
            events.info("waiting", waiting_for="worker", reason="something goes first")
        except Closed as closed:
            next_try = self._alarms.at_clock(closed.until)
            await self._ledger.deliveries.postpone(
                job.id, waiting_for="schedule", code=None, next_try_at=next_try
            )
            await self.hours.hold(target)
            events.info("waiting", waiting_for="schedule", next_try_at=next_try)
        except Fault as caught:
            await self._settle_fault(target, job, caught, events)
        except Exception as error:  # a bug must cost one delivery its turn, not the agent its life
            events.exception("unclassified", error=repr(error))
            await self._settle_fault(
                target, job, fault(FAULTS, "delivery.unclassified", type(error).__name__), events
            )

    async def _recover(self, target: Target) -> None:
        if target.failures and not target.paused:
            target.failures, target.retry_at = 0, 0.0
            await self._ledger.cameras.set_subject("destination", target.name, "ready")
            log.info("destination is back", destination=target.name)
            self.on_back()

    async def _settle_fault(
        self, target: Target, job: Job, caught: Fault, events: structlog.BoundLogger
    ) -> None:
        """Who acts next: the clock, nobody, or a person (agent/faults.py). The spool's troubles are not the target's."""
        is_spool = caught.code.startswith("spool.")
        if caught.scope is Scope.WHOLE and caught.kind is not Kind.PERMANENT and not is_spool:
            await self._stop_target(target, caught)
            await self._ledger.deliveries.postpone(
                job.id, waiting_for="destination", code=caught.code, detail=caught.detail
            )
            events.warning("waiting", waiting_for="destination", code=caught.code)
            return
        if caught.kind is not Kind.RETRYABLE and not is_spool:
            await self._ledger.deliveries.fail_delivery(job.id, caught.code, caught.detail)
            events.error("failed", code=caught.code, hint=caught.hint, detail=caught.detail)
            return
        next_try = self._alarms.after(
            asked_seconds(caught) or backoff_seconds(job.tries, first=2.0, cap=_RETRY_CAP_SECONDS)
        )
        await self._ledger.deliveries.postpone(
            job.id,
            waiting_for="spool" if is_spool else "retry",
            code=caught.code,
            detail=caught.detail,
            next_try_at=next_try,
        )
        events.warning(
            "waiting", code=caught.code, hint=caught.hint, next_try_at=next_try, detail=caught.detail
        )

    async def _stop_target(self, target: Target, caught: Fault) -> None:
        if target.paused:
            return  # whoever paused it acts next
        events = log.bind(destination=target.name, code=caught.code, hint=caught.hint, detail=caught.detail)
        if caught.kind is Kind.NEEDS_USER:
            target.paused = True
            await self._ledger.cameras.set_subject(
                "destination", target.name, "paused", code=caught.code, reason=caught.hint, by="agent"
            )
            events.error("destination paused")
            return
        if time.monotonic() < target.retry_at:
            return  # another upload has met the same outage
        target.failures += 1
        wait = max(asked_seconds(caught), _probe_seconds(target.failures))
        target.retry_at = time.monotonic() + wait
        next_try = self._alarms.after(wait)
        await self._ledger.cameras.set_subject(
            "destination", target.name, "waiting", code=caught.code, reason=caught.hint, next_try_at=next_try
        )
        events.warning("destination waiting", next_try_at=next_try)

    # -- one delivery ------------------------------------------------------------------------------------

    async def _deliver(self, target: Target, job: Job, events: structlog.BoundLogger) -> None:
        if (until := self.hours.closed_until(target, Media(job.kind))) is not None:
            raise Closed(until)
        if job.shared_with is not None:
            if job.tries > 1:  # it may have begun on its own
                await target.call(target.backend.drop, job.key, job.token)
            if await self._ledger.deliveries.share_delivery(job.id):
                events.info("done", shared_with=job.shared_with)
                return
        await self._prepare(target)
        attempt = Attempt(
            target,
            job,
            self._ledger,
            self._spool,
            self._progress,
            (target.pace, self.hours.every),
            lambda: job.id in target.overtaken,
        )
        receipt = await attempt.run()
        await self._recover(target)
        if _STRENGTH.index(receipt.proof) > _STRENGTH.index(target.minimum_proof):
            raise fault(FAULTS, "delivery.unproven", f"{receipt.proof} instead of {target.minimum_proof}")
        outcome = Outcome(
            proof=receipt.proof,
            exclusive=receipt.exclusive,
            checksum=receipt.checksum,
            location=receipt.location,
            version=receipt.version,
            has_leftovers=receipt.has_leftovers,
        )
        if not await self._ledger.deliveries.finish_delivery(job.id, outcome):
            events.info("sent, and skipped meanwhile", key=attempt.key)
            return
        self._progress.delivered_files += 1
        self._progress.delivered_bytes += receipt.size
        events.info(
            "done",
            key=attempt.key,
            proof=receipt.proof,
            exclusive=receipt.exclusive,
            location=receipt.location,
        )

    async def _prepare(self, target: Target) -> None:
        """Find out once per settings what a commit at this destination can claim."""
        if target.exclusive is None:  # so this is its only worker
            check = await target.call(target.backend.check)
            if check.fault is not None:
                raise check.fault
            target.exclusive = check.exclusive
            await self._ledger.cameras.note_check(target.name, target.fingerprint, check.exclusive)
        target.backend.exclusive = target.exclusive

    async def _ask(self, target: Target) -> None:
        """What waits for it may be evicted, and is fetched again only for a destination that works."""
        check = await target.call(target.backend.check)
        if check.fault is not None:
            await self._stop_target(target, check.fault)
        else:
            await self._recover(target)


async def _end(task: asyncio.Task[None] | None) -> None:
    if task:
        task.cancel()
        await asyncio.wait([task])


def _probe_seconds(failures: int) -> float:
    """How long an outage is left alone: from a second on, doubled up to a minute, and a little more so that agents that
    lost one server together do not come back together."""
    return float(min(_PROBE_SECONDS, 2.0 ** min(failures - 1, 10)) * random.uniform(1.0, 1.1))
