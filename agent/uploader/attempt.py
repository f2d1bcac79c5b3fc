"""One attempt at one delivery: which key, then the bytes, then the receipt."""

from __future__ import annotations

import asyncio

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from agent.backends.base import Backend, Digests, Presence, Receipt, Upload
from agent.faults import Fault, Kind, fault
from agent.keys import suffixed
from agent.ledger import Job, Ledger
from agent.progress import Progress
from agent.spool import Reader, Restarted, Spool
from agent.uploader.calls import call, settled
from agent.uploader.faults import FAULTS

log = structlog.get_logger("uploader")


class Attempt:
    """Made for one `run`. Raises Fault; Suspended, Restarted, Gone when the bytes do not come now."""

    def __init__(
        self,
        backend: Backend,
        job: Job,
        ledger: Ledger,
        spool: Spool,
        progress: Progress,
        algorithms: tuple[str, ...],
    ):
        self._backend = backend
        self._job = job
        self._ledger = ledger
        self._spool = spool
        self._progress = progress
        self.key = job.key
        self._token = job.token
        self._is_stale = job.is_partial_stale
        self._algorithms = algorithms
        is_known = job.sha256 and (job.crc32c or "crc32c" not in algorithms)
        self._digests = Digests(job.sha256 or "", job.crc32c) if is_known else None

    async def run(self) -> Receipt:
        if self.key != self._job.wanted_key:
            receipt = await self._reclaim_wanted_key()
            if receipt:
                return receipt
        for _ in range(6):  # the wanted key, two suffixes, and a look again after each wait for digests
            found = await call(self._backend.find, self.key, self._job.size, self._digests)
            if found.presence is Presence.SAME and found.receipt:
                await call(self._backend.drop, self.key, self._token)
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
        key = self._job.wanted_key
        found = await call(self._backend.find, key, self._job.size, self._digests)
        if found.presence is Presence.UNDECIDED:
            await self._wait_for_digests()
            found = await call(self._backend.find, key, self._job.size, self._digests)
        if found.presence is not Presence.SAME or found.receipt is None:
            return None
        holder = await self._ledger.deliveries.undone_holder(self._job.destination, key)
        if holder and holder.is_uploading:
            raise fault(FAULTS, "delivery.key_in_use", key, retry_after_seconds=5.0)
        if holder:
            await call(self._backend.drop, key, holder.token)
            await self._ledger.deliveries.rekey(holder.id, suffixed(key, holder.identity))
        token = await self._ledger.deliveries.rekey(self._job.id, key)
        if token is None:
            return None
        await call(self._backend.drop, self.key, self._token)
        self.key, self._token = key, token
        return found.receipt

    async def _move_on(self) -> None:
        """Something else stands under the key: take the next suffix, the same one in every life of the ledger."""
        await call(self._backend.drop, self.key, self._token)
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
            stop=stop_after_attempt(3),
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
        upload = await self._start()
        try:
            if (
                upload.offset
                and await self._ledger.files.generation(self._job.file_id) != self._job.generation
            ):
                raise Restarted  # between our claim and our first look at the spool
            await self._send_bytes(upload, reader)
            return await call(upload.commit, await self._wait_for_digests(reader))
        except Restarted:
            await call(upload.abort)
            raise
        finally:
            await call(upload.close)

    async def _start(self) -> Upload:
        """Begin or go on; the token that the backend wants to be told is durable before the first byte."""
        if self._is_stale:
            await call(self._backend.drop, self.key, self._token)
        starting = asyncio.ensure_future(
            asyncio.to_thread(self._backend.start, self.key, self._job.size, self._token)
        )
        try:
            upload = await settled(starting)
            if upload.token != self._token or self._is_stale:
                await self._ledger.deliveries.save_token(self._job.id, upload.token, self._job.generation)
                self._token, self._is_stale = upload.token, False
        except BaseException:
            if not starting.cancelled() and not starting.exception():
                await call(starting.result().close)
            raise
        return upload

    async def _send_bytes(self, upload: Upload, reader: Reader) -> None:
        size = self._job.size
        buffer = memoryview(bytearray(min(upload.chunk_bytes, size)))
        with self._progress.transfer(
            self._job.file_id, self._job.name, self._job.destination, size, upload.offset
        ) as transfer:
            while upload.offset < size:
                chunk = buffer[: min(len(buffer), size - upload.offset)]
                await reader.wait_for(upload.offset + len(chunk))
                await call(_pass_on, reader, upload, chunk)
                transfer.advance_to(upload.offset)
                self._progress.moved()


def _pass_on(reader: Reader, upload: Upload, chunk: memoryview) -> None:
    reader.read_now(upload.offset, chunk)
    upload.write(chunk)
