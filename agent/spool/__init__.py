"""The spool: bytes from a camera on their way to every destination, each file in full or as a growing part.

One private folder holds ``<id>.part`` while a file is fetched and ``<id>`` once it is whole and durable; `id` is
the ledger's number. A file has one `Writer`, which digests what it writes, and any number of `Reader`s, which
follow its growth. The folder and its lengths are the only state: `Spool.recover` rebuilds everything else.

Invariants: ``<id>`` exists only after its bytes were fsynced; what a part is trusted for after a crash
(`disk.trusted_bytes`) was surely on the disk, and is digested again; a reader never sees a byte before its write
has completed, nor bytes of two fetches as one file; space for a whole file is promised before its first byte.

It does not know cameras, destinations or the ledger, decides no eviction, and retries nothing.
"""

from agent.spool.disk import FAULTS, boot_id, prepare
from agent.spool.growth import Gone, Restarted, Suspended
from agent.spool.reader import Reader
from agent.spool.space import Change, Room, Verdict
from agent.spool.store import Recovered, Spool
from agent.spool.writer import Writer

__all__ = [
    "FAULTS",
    "Change",
    "Gone",
    "Reader",
    "Recovered",
    "Restarted",
    "Room",
    "Spool",
    "Suspended",
    "Verdict",
    "Writer",
    "boot_id",
    "prepare",
]
