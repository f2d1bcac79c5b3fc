"""Azure Blob Storage, public and sovereign clouds, and what speaks its language (Azurite).

A file of at most one block is one conditional Put Blob at commit. A larger one is staged block by block, resumed from
the list of uncommitted blocks and published by one conditional Put Block List: nothing is visible before, nothing is
ever replaced.

What its proof is worth: `checksum` says that the service compared an MD5 with the bytes of every block as they
arrived (it was seen to refuse a wrong one), that the blob consists of exactly these blocks, and that their CRC32C,
which each block's id carries, add up to the file's. The service computes nothing over what it keeps, and a stored
Content-MD5 is never taken as proof: of a blob made of blocks it is whatever the client said. Small files have one
because the service stores what it checked; larger ones have none, since after a resume nobody knows it. A stranger's
blob is always read back.

The rights it needs. Account key or managed identity with the role "Storage Blob Data Contributor"; a SAS needs
read, create, write, list and delete (``rcwld``) on the container. Without delete everything but the check works. The
container must exist.

Leftovers: Azure has no call that drops staged blocks. They are invisible, and go after a week or with the next commit
of the same name. `abort` and `drop` clear them at once where that cannot do harm (`leftovers`): never over a
published blob, never beside the blocks of somebody else, never in a container with a retention policy or a legal
hold, and not with a SAS of the container alone, which may not ask for those. For that moment an empty blob bears the
name, as it does in an Event Grid subscription and in soft-deleted versions.
"""

from agent.backends.azure.config import AzureConfig

__all__ = ["AzureConfig"]
