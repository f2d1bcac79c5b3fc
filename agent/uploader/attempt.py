"""One attempt at one delivery: which key, then the bytes, then the receipt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from agent.backends.base import Backend, Digests, Presence, Receipt, Upload
from agent.faults import Fault, Kind, fault
from agent.keys import Media, suffixed
from agent.ledger import Job, Ledger
from agent.progress import Progress, Transfer
from agent.spool import Reader, Restarted, Spool
from agent.uploader.calls import settled
from agent.uploader.faults import FAULTS
from agent.uploader.pace import LOOK_SECONDS, Gate, Pace
from agent.uploader.target import Target

log = structlog.get_logger("uploader")

IDLE_SECONDS = 10.0
"""Longest that an upload is held open without a byte because of a limit: many servers hang up after a minute."""


class Overtaken(Exception):
    """The upload gives its place to one that goes first, and keeps its partial."""


class Attempt:
    """Made for one `run`. Raises Fault; Suspended, Restarted, Gone when the bytes do not come now; Closed, Overtaken when
    they may not go now. Whatever is raised, the partial stays for the next attempt.
    """

    def __init__(
        self,
        target: Target,
        job: Job,
        ledger: Ledger,
        spool: Spool,
        progress: Progress,
        paces: Sequence[Pace],
        is_overtaken: Callable[[], bool],
    ):
        self._backend: Backend = target.backend
        self._call = target.call
        self._job = job
        self._ledger = ledger
        self._spool = spool
        self._progress = progress
        self._gate = Gate(paces, Media(job.kind), job.rank)
        self._is_overtaken = is_overtaken
        self._tries = 1 if target.failures else 3  # what may be down is asked once
        self.key = job.key
        self._token = job.token
        self._is_stale = job.is_partial_stale
        self._algorithms = target.algorithms
        is_known = job.sha256 and (job.crc32c or "crc32c" not in target.algorithms)
        self._digests = Digests(job.sha256 or "", job.crc32c) if is_known else None

    async def run(self) -> Receipt:
        try:
            return await self._run()
        finally:
            await self._gate.close()

    async def _run(self) -> Receipt:
        if self.key != self._job.wanted_key:
            receipt = await self._reclaim_wanted_key()
            if receipt:
                return receipt
        for _ in range(6):  # the wanted key, two suffixes, and a look again after each wait for digests
            found = await self._call(self._backend.find, self.key, self._job.size, self._digests)
            if found.presence is Presence.SAME and found.receipt:
                return await self._clear(found.receipt)
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

    async def _clear(self, receipt: Receipt) -> Receipt:
        """It lies there already: what an attempt before left is in nobody's way, and is swept later if it is held."""
        try:
            await self._call(self._backend.drop, self.key, self._token)
        except Fault as caught:
            if not caught.code.endswith(".busy"):
                raise
            return msgspec.structs.replace(receipt, has_leftovers=True)
        return receipt

    async def _reclaim_wanted_key(self) -> Receipt | None:
        """With a rebuilt ledger, the key that another file holds in it may be ours at the destination."""
        key = self._job.wanted_key
        found = await self._call(self._backend.find, key, self._job.size, self._digests)
        if found.presence is Presence.UNDECIDED:
            await self._wait_for_digests()
            found = await self._call(self._backend.find, key, self._job.size, self._digests)
        if found.presence is not Presence.SAME or found.receipt is None:
            return None
        holder = await self._ledger.deliveries.undone_holder(self._job.destination, key)
        if holder and holder.is_uploading:
            raise fault(FAULTS, "delivery.key_in_use", key, retry_after_seconds=5.0)
        if holder:
            await self._call(self._backend.drop, key, holder.token)
            await self._ledger.deliveries.rekey(holder.id, suffixed(key, holder.identity))
        token = await self._ledger.deliveries.rekey(self._job.id, key)
        if token is None:
            return None
        await self._call(self._backend.drop, self.key, self._token)
        self.key, self._token = key, token
        return found.receipt

    async def _move_on(self) -> None:
        """Something else stands under the key: take the next suffix, the same one in every life of the ledger."""
        await self._call(self._backend.drop, self.key, self._token)
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

    async def _wait_for_digests(self, read_by: Reader | None = None) -> Digests:
        """Until step 3: the whole file is in the spool and its digests are in the ledger."""
        if self._digests is None:
            digests = await self._spool.fetched(self._job.file_id, self._algorithms, read_by=read_by)
            self._digests = Digests(digests["sha256"], digests.get("crc32c"))
        return self._digests

    async def _send_with_retries(self) -> Receipt:
        """Retry with resume. One reader over all tries: a fetch that began again at 0 in between is not missed."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._tries),
            wait=wait_random_exponential(multiplier=0.5, max=5),
            retry=retry_if_exception(lambda error: isinstance(error, Fault) and error.kind is Kind.RETRYABLE),
            reraise=True,
        )
        with self._spool.follow(self._job.file_id, self._job.size) as reader:
            async for attempt in retrying:
                with attempt:
                    return await self._send(reader)
        raise AssertionError("tenacity ends with a result or an exception")

    async def _send(self, reader: Reader) -> Receipt:
        job = self._job
        with self._progress.transfer(job.file_id, job.name, job.destination, job.size) as transfer:
            while True:
                upload = await self._start()
                try:
                    if upload.offset and await self._ledger.files.generation(job.file_id) != job.generation:
                        raise Restarted  # between our claim and our first look at the spool
                    if await self._send_bytes(upload, reader, transfer):
                        return await self._call(upload.commit, await self._wait_for_digests(reader))
                except Restarted:
                    await self._call(upload.abort)
                    raise
                finally:
                    await self._call(upload.close)
                while not await self._gate.stands_open(LOOK_SECONDS):
                    self._give_way()

    async def _start(self) -> Upload:
        """Begin or go on; the token that the backend wants to be told is durable before the first byte."""
        if self._is_stale:
            await self._call(self._backend.drop, self.key, self._token)
        starting = self._call.start(self._backend.start, self.key, self._job.size, self._token)
        try:
            upload = await settled(starting)
            await self._keep_token(upload)
        except BaseException:
            if not starting.cancelled() and not starting.exception():
                try:
                    await self._keep_token(starting.result())  # or nobody could ever find what was begun
                finally:
                    await self._call(starting.result().close)
            raise
        return upload

    async def _keep_token(self, upload: Upload) -> None:
        if upload.token != self._token or self._is_stale:
            await self._ledger.deliveries.save_token(self._job.id, upload.token, self._job.generation)
            self._token, self._is_stale = upload.token, False

    async def _send_bytes(self, upload: Upload, reader: Reader, transfer: Transfer) -> bool:
        """Send to the end. False: a limit makes the next chunk wait for longer than an upload may stand open."""
        size = self._job.size
        buffer = memoryview(bytearray(min(upload.chunk_bytes, size)))
        transfer.done_bytes = upload.offset
        while upload.offset < size:
            chunk = buffer[: min(len(buffer), size - upload.offset)]
            await reader.wait_for(upload.offset + len(chunk))
            if not await self._may_go(len(chunk)):
                return False
            await self._call(_pass_on, reader, upload, chunk)
            transfer.advance_to(upload.offset)
            self._progress.moved()
        return True

    async def _may_go(self, size: int) -> bool:
        for _ in range(round(IDLE_SECONDS / LOOK_SECONDS)):
            self._give_way()
            if await self._gate.admits(size, LOOK_SECONDS):
                return True
        return False

    def _give_way(self) -> None:
        if self._is_overtaken():
            raise Overtaken


def _pass_on(reader: Reader, upload: Upload, chunk: memoryview) -> None:
    reader.read_now(upload.offset, chunk)
    upload.write(chunk)
