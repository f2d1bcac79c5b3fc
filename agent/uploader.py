"""Takes deliveries from the ledger and settles them: find, send while the spool file grows, commit, receipt.

The order of writes is the promise (design: order of writes): nothing is committed before the whole file is
fetched and its digests are in the ledger; a delivery is 'done' only with a receipt, durable. Every step may be
repeated: a crash between commit and ledger is recognised by `find` on the next attempt.

A fault about one delivery postpones or fails that delivery. A fault about the destination stops the
destination alone: it waits for the clock, or is paused until a person acts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from agent.backends.base import Backend, Digests, Exclusive, Presence, Proof, Receipt, Upload
from agent.faults import Advice, Fault, Kind, Scope, backoff_seconds, fault
from agent.keys import suffixed
from agent.ledger import Job, Ledger, Outcome, as_text
from agent.progress import Progress
from agent.spool import Gone, Reader, Restarted, Spool, Suspended

log = structlog.get_logger("uploader")

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
    "delivery.unclassified": Advice(
        Kind.RETRYABLE,
        "Something unexpected went wrong; the log has the details. It is tried again by itself.",
        Scope.ITEM,
    ),
}
_STRENGTH = (Proof.CHECKSUM, Proof.READBACK, Proof.SIZE)
_RETRY_CAP_SECONDS = 300.0


class Target:
    """A configured destination at work."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        *,
        workers: int,
        minimum_proof: Proof,
        fingerprint: str,
        algorithms: tuple[str, ...] = ("sha256",),
    ):
        self.name = name
        self.backend = backend
        self.workers = workers
        self.minimum_proof = minimum_proof
        self.fingerprint = fingerprint  # of the settings: a check is repeated when they change
        self.algorithms = algorithms  # what `commit` and `find` compare
        self.exclusive: Exclusive | None = None
        self.checking = asyncio.Lock()
        self.paused = False
        self.failures = 0  # in a row, of the destination as a whole
        self.retry_at = 0.0  # monotonic
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def room(self) -> int:
        """How many more deliveries may start now; one at a time until the destination has recovered."""
        if self.paused or time.monotonic() < self.retry_at:
            return 0
        return (1 if self.failures else self.workers) - len(self.tasks)

    @property
    def is_unreachable(self) -> bool:
        return self.paused or self.failures > 0


class Uploader:
    def __init__(self, ledger: Ledger, spool: Spool, progress: Progress, *, workers: int):
        self._ledger = ledger
        self._spool = spool
        self._progress = progress
        self.workers = workers
        self.targets: dict[str, Target] = {}
        self._jobs: dict[int, asyncio.Task[None]] = {}
        self.on_back: Callable[[], None] = lambda: None  # a destination works again

    # -- targets -----------------------------------------------------------------------------------------

    async def add(self, target: Target) -> None:
        """Begin to deliver to `target`. A pause by a person outlives a restart; one by a fault is tried again."""
        subject = await self._ledger.cameras.subject("destination", target.name)
        if subject and subject.state == "paused" and subject.paused_by != "agent":
            target.paused = True
        elif subject is None or subject.state != "ready":
            await self._ledger.cameras.set_subject("destination", target.name, "ready")
        if subject and subject.fingerprint == target.fingerprint and subject.exclusive:
            target.exclusive = Exclusive(subject.exclusive)
        self.targets[target.name] = target
        self._ledger.wake()

    async def remove(self, name: str) -> None:
        """Stop delivering to `name`; what is under way keeps its partial and is queued again."""
        target = self.targets.pop(name)
        await _cancel(target.tasks)
        await asyncio.to_thread(target.backend.close)

    async def pause(self, name: str, by: str) -> None:
        target = self.targets[name]
        target.paused = True
        await self._ledger.cameras.set_subject("destination", name, "paused", reason=f"paused by {by}", by=by)
        await _cancel(target.tasks)

    async def resume(self, name: str) -> None:
        target = self.targets[name]
        target.paused, target.failures, target.retry_at = False, 0, 0.0
        await self._ledger.cameras.set_subject("destination", name, "ready")
        self._ledger.wake()

    async def drop(self, file_ids: Iterable[int]) -> None:
        """End the uploads of these files that are under way: a person gave them up."""
        await _cancel({self._jobs[file_id] for file_id in file_ids if file_id in self._jobs})

    @property
    def is_idle(self) -> bool:
        return not any(target.tasks for target in self.targets.values())

    # -- the loop ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                seen = self._ledger.changes
                if not await self._start_what_fits():
                    await self._wait(seen)
        finally:
            for target in self.targets.values():
                await _cancel(target.tasks)

    async def _start_what_fits(self) -> bool:
        started = False
        for target in list(self.targets.values()):
            busy = sum(len(each.tasks) for each in self.targets.values())
            if busy >= self.workers:
                break
            if target.room <= 0:
                continue
            job = await self._ledger.deliveries.claim(target.name, self._spool.growing)
            if job is not None:
                task = asyncio.create_task(self._work(target, job), name=f"delivery {job.id}")
                target.tasks.add(task)
                task.add_done_callback(target.tasks.discard)
                started = True
        return started

    async def _wait(self, seen: int) -> None:
        """Wait for a change of the ledger, or for the first thing that waits for the clock."""
        waits = [target.retry_at - time.monotonic() for target in self.targets.values() if target.retry_at]
        due = await self._ledger.deliveries.next_due_at()
        if due:
            waits.append((datetime.fromisoformat(due) - datetime.now(UTC)).total_seconds())
        wait = min((wait for wait in waits if wait > 0), default=60.0)
        try:
            async with asyncio.timeout(max(0.01, min(wait, 60.0))):
                await self._ledger.wait_for_change(seen)
        except TimeoutError:
            pass

    async def _work(self, target: Target, job: Job) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._jobs[job.file_id] = task
        events = log.bind(file=job.file_id, name=job.name, destination=target.name)
        try:
            events.info("uploading", key=job.key, attempt=job.tries)
            await self._deliver(target, job, events)
            await self._recover(target)
        except (Suspended, Restarted, Gone) as pause:
            await self._ledger.deliveries.postpone(job.id, waiting_for="camera", code=None)
            events.info("waiting", waiting_for="camera", reason=type(pause).__name__.lower())
        except Fault as caught:
            await self._settle_fault(target, job, caught, events)
        except asyncio.CancelledError:
            await self._ledger.deliveries.postpone(job.id, waiting_for="worker", code=None)
            raise
        except Exception as error:  # a bug must cost one delivery its turn, not the agent its life
            events.exception("unclassified", error=repr(error))
            await self._settle_fault(
                target, job, fault(FAULTS, "delivery.unclassified", type(error).__name__), events
            )
        finally:
            self._jobs.pop(job.file_id, None)
            self._progress.moved()

    async def _recover(self, target: Target) -> None:
        if target.failures:
            target.failures, target.retry_at = 0, 0.0
            await self._ledger.cameras.set_subject("destination", target.name, "ready")
            log.info("destination is back", destination=target.name)
            self.on_back()
            self._ledger.wake()

    async def _settle_fault(
        self, target: Target, job: Job, caught: Fault, events: structlog.BoundLogger
    ) -> None:
        """Who acts next: the clock, nobody, or a person (agent/faults.py)."""
        if caught.kind is Kind.PERMANENT or (caught.kind is Kind.NEEDS_USER and caught.scope is Scope.ITEM):
            await self._ledger.deliveries.fail_delivery(job.id, caught.code, caught.detail)
            events.error("failed", code=caught.code, hint=caught.hint, detail=caught.detail)
            return
        if caught.scope is Scope.ITEM:
            wait = caught.retry_after_seconds or backoff_seconds(job.tries, first=2.0, cap=_RETRY_CAP_SECONDS)
            next_try = as_text(datetime.now(UTC) + timedelta(seconds=wait))
            await self._ledger.deliveries.postpone(
                job.id, waiting_for="retry", code=caught.code, detail=caught.detail, next_try_at=next_try
            )
            events.warning(
                "waiting", code=caught.code, hint=caught.hint, next_try_at=next_try, detail=caught.detail
            )
            return
        await self._stop_target(target, caught)
        await self._ledger.deliveries.postpone(
            job.id, waiting_for="destination", code=caught.code, detail=caught.detail
        )
        events.warning("waiting", waiting_for="destination", code=caught.code)

    async def _stop_target(self, target: Target, caught: Fault) -> None:
        events = log.bind(destination=target.name, code=caught.code, hint=caught.hint, detail=caught.detail)
        if caught.kind is Kind.NEEDS_USER:
            target.paused = True
            await self._ledger.cameras.set_subject(
                "destination", target.name, "paused", code=caught.code, reason=caught.hint, by="agent"
            )
            events.error("destination paused")
            return
        target.failures += 1
        wait = caught.retry_after_seconds or backoff_seconds(target.failures, first=1.0, cap=60.0)
        target.retry_at = time.monotonic() + wait
        next_try = as_text(datetime.now(UTC) + timedelta(seconds=wait))
        await self._ledger.cameras.set_subject(
            "destination", target.name, "waiting", code=caught.code, reason=caught.hint, next_try_at=next_try
        )
        events.warning("destination waiting", next_try_at=next_try)

    # -- one delivery ------------------------------------------------------------------------------------

    async def _deliver(self, target: Target, job: Job, events: structlog.BoundLogger) -> None:
        if job.shared_with is not None and await self._ledger.deliveries.share_delivery(job.id):
            events.info("done", shared_with=job.shared_with)
            return
        await self._prepare(target)
        delivery = _Delivery(self, target, job)
        receipt = await delivery.run()
        if _STRENGTH.index(receipt.proof) > _STRENGTH.index(target.minimum_proof):
            raise fault(FAULTS, "delivery.unproven", f"{receipt.proof} instead of {target.minimum_proof}")
        await self._ledger.deliveries.finish_delivery(
            job.id,
            Outcome(
                proof=receipt.proof,
                exclusive=receipt.exclusive,
                checksum=receipt.checksum,
                location=receipt.location,
                version=receipt.version,
            ),
        )
        self._progress.delivered_files += 1
        self._progress.delivered_bytes += receipt.size
        events.info(
            "done",
            key=delivery.key,
            proof=receipt.proof,
            exclusive=receipt.exclusive,
            location=receipt.location,
        )

    async def _prepare(self, target: Target) -> None:
        """Find out once per settings what a commit at this destination can claim."""
        async with target.checking:
            if target.exclusive is None:
                check = await asyncio.to_thread(target.backend.check)
                if check.fault is not None:
                    raise check.fault
                target.exclusive = check.exclusive
                await self._ledger.cameras.note_check(target.name, target.fingerprint, check.exclusive)
        target.backend.exclusive = target.exclusive

    @property
    def ledger(self) -> Ledger:
        return self._ledger

    @property
    def spool(self) -> Spool:
        return self._spool

    @property
    def progress(self) -> Progress:
        return self._progress


class _Delivery:
    """One attempt at one delivery: which key, then the bytes, then the receipt."""

    def __init__(self, uploader: Uploader, target: Target, job: Job):
        self._ledger = uploader.ledger
        self._spool = uploader.spool
        self._progress = uploader.progress
        self._backend = target.backend
        self._job = job
        self.key = job.key
        self._token = job.token
        self._is_stale = job.is_partial_stale
        self._algorithms = target.algorithms
        is_known = job.sha256 and (job.crc32c or "crc32c" not in target.algorithms)
        self._digests = Digests(job.sha256 or "", job.crc32c) if is_known else None

    async def run(self) -> Receipt:
        if self.key != self._job.wanted_key and self._job.tries == 1:
            receipt = await self._reclaim_wanted_key()
            if receipt:
                return receipt
        for _ in range(6):  # the wanted key, two suffixes, and a look again after each wait for digests
            found = await asyncio.to_thread(self._backend.find, self.key, self._job.size, self._digests)
            if found.presence is Presence.SAME and found.receipt:
                await asyncio.to_thread(self._backend.drop, self.key, self._token)
                return found.receipt
            if found.presence is Presence.UNDECIDED:
                await self._wait_for_digests()
            elif found.presence is Presence.DIFFERENT:
                await self._move_on()
            else:
                try:
                    return await self._send_with_retries()
                except Fault as caught:
                    if not caught.code.endswith(".exists"):
                        raise
                    await self._wait_for_digests()
        raise fault(FAULTS, "delivery.no_free_key", self.key)

    async def _reclaim_wanted_key(self) -> Receipt | None:
        """With a rebuilt ledger, the key that another file holds in it may be ours at the destination."""
        found = await asyncio.to_thread(
            self._backend.find, self._job.wanted_key, self._job.size, self._digests
        )
        if found.presence is Presence.UNDECIDED:
            await self._wait_for_digests()
            found = await asyncio.to_thread(
                self._backend.find, self._job.wanted_key, self._job.size, self._digests
            )
        if found.presence is not Presence.SAME or found.receipt is None:
            return None
        holder = await self._ledger.deliveries.undone_holder(self._job.destination, self._job.wanted_key)
        if holder:
            await self._ledger.deliveries.rekey(holder[0], suffixed(self._job.wanted_key, holder[1], 6))
        if await self._ledger.deliveries.rekey(self._job.id, self._job.wanted_key) is None:
            return None
        self.key = self._job.wanted_key
        return found.receipt

    async def _move_on(self) -> None:
        """Something else stands under the key: take the next suffix, the same one in every life of the ledger."""
        await asyncio.to_thread(self._backend.drop, self.key, self._token)
        for digits in (6, 16):
            key = suffixed(self._job.wanted_key, self._job.identity, digits)
            if key == self.key:
                continue
            if digits == 6 and self.key == suffixed(self._job.wanted_key, self._job.identity, 16):
                continue
            token = await self._ledger.deliveries.rekey(self._job.id, key)
            if token:
                log.info(
                    "key is taken",
                    file=self._job.file_id,
                    destination=self._job.destination,
                    key=self.key,
                    instead=key,
                )
                self.key, self._token, self._is_stale = key, token, False
                return
        raise fault(FAULTS, "delivery.no_free_key", self.key)

    async def _wait_for_digests(self) -> None:
        """Until step 3: the whole file is in the spool and its digests are in the ledger."""
        if self._digests is None:
            digests = await self._spool.fetched(self._job.file_id, self._algorithms)
            self._digests = Digests(digests["sha256"], digests.get("crc32c"))

    async def _send_with_retries(self) -> Receipt:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(3),
            wait=wait_random_exponential(multiplier=0.5, max=5),
            retry=retry_if_exception(lambda error: isinstance(error, Fault) and error.kind is Kind.RETRYABLE),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return await self._send()
        raise AssertionError("tenacity ends with a result or an exception")

    async def _send(self) -> Receipt:
        upload = await self._start()
        try:
            reader = self._spool.follow(self._job.file_id, self._job.size)
            try:
                await self._send_bytes(upload, reader)
            finally:
                reader.close()
            await self._wait_for_digests()
            assert self._digests is not None
            return await asyncio.to_thread(upload.commit, self._digests)
        except Restarted:
            await asyncio.to_thread(upload.abort)
            raise
        finally:
            await _finish(asyncio.to_thread(upload.close))

    async def _start(self) -> Upload:
        if self._is_stale:
            await asyncio.to_thread(self._backend.drop, self.key, self._token)
        upload = await asyncio.to_thread(self._backend.start, self.key, self._job.size, self._token)
        if upload.token != self._token or self._is_stale:
            await self._ledger.deliveries.save_token(self._job.id, upload.token, self._job.generation)
            self._token, self._is_stale = upload.token, False
        return upload

    async def _send_bytes(self, upload: Upload, reader: Reader) -> None:
        size = self._job.size
        buffer = memoryview(bytearray(min(upload.chunk_bytes, size)))
        with self._progress.transfer(
            self._job.file_id, self._job.name, self._job.destination, size, upload.offset
        ) as transfer:
            while upload.offset < size:
                chunk = buffer[: min(len(buffer), size - upload.offset)]
                await reader.read_into(upload.offset, chunk)
                await _finish(asyncio.to_thread(upload.write, chunk))
                transfer.advance_to(upload.offset)
                self._progress.moved()


async def _finish(call: Coroutine[None, None, None]) -> None:
    """Await a call in a thread to its end even when cancelled: two threads must never share one upload."""
    future = asyncio.ensure_future(call)
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)
