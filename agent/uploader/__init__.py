"""Takes deliveries from the ledger and settles them: find, send while the spool file grows, commit, receipt.

The order of writes is the promise (design: order of writes): nothing is committed before the whole file is
fetched and its digests are in the ledger; a delivery is 'done' only with a receipt, durable. Every step may be
repeated: a crash between commit and ledger is recognised by `find` on the next attempt.

A fault about one delivery postpones or fails that delivery. A fault about the destination stops the
destination alone: it waits for the clock, or is paused until a person acts.
"""

from agent.uploader.faults import FAULTS
from agent.uploader.target import Target
from agent.uploader.uploader import Uploader

__all__ = ["FAULTS", "Target", "Uploader"]
