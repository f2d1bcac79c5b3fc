"""Google Cloud Storage.

A file of at most one chunk is one conditional request; a larger one is a resumable upload session whose address is
kept in the token, so that it goes on after a restart from where the service stands. Both carry
``ifGenerationMatch=0``, which the service honours at the start and at the end: nothing is ever replaced, and the
receipt says atomic. The service computes a CRC32C of every object and refuses one that differs from the file's
before it exists; that is the proof, `checksum`. The generation is the version.

The rights it needs: roles/storage.objectCreator and roles/storage.objectViewer on the bucket, which are
storage.objects.create, .get and .list (without .list a missing object answers 403 and every `find` fails). With
storage.objects.delete as well (roles/storage.objectUser) the check removes its probe and a damaged copy can be taken
back; without it the check says so and leaves a file of 4 KiB each time. No ACL is sent, so buckets with uniform
access and with access control lists both work.

The address of a session lets anybody write to it for a week: it is kept in the ledger and shown nowhere. The
service cannot list sessions: one that was begun right before a kill stays until it expires, free of charge.
"""

from agent.backends.gcs.config import GcsConfig

__all__ = ["GcsConfig"]
