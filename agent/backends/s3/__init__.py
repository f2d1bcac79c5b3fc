"""Amazon S3 and everything that speaks its language: MinIO, Cloudflare R2, Backblaze B2, Wasabi, SeaweedFS.

A file of at most one part is one conditional PutObject at commit; a larger one is a multipart upload that is
resumed from what the store lists and published by a conditional CompleteMultipartUpload. A delivery is proven by
the store's own CRC32C of the whole object where the store was seen to compute one (`traits`), else by reading
it back.

The rights it needs (IAM): s3:PutObject, s3:GetObject, s3:AbortMultipartUpload, s3:ListMultipartUploadParts on the
objects; s3:ListBucket, s3:ListBucketMultipartUploads on the bucket (without s3:ListBucket a missing object
answers 403 and every `find` fails); s3:DeleteObject on ``<prefix>.hotshoe-*`` for the probes, and on all objects
if a damaged copy that was just published is to be taken back. A lifecycle rule that aborts incomplete multipart
uploads after some days is a good idea, as with any client. With ``encryption = "sse-kms"`` and a key of its own:
kms:GenerateDataKey and kms:Decrypt on that key.

Leftovers: a listing of unfinished uploads names nobody but the account. So `abort` and `drop` end the one upload whose id
the token carries, and what a kill between its creation and the saving of its id left goes when its very key is
settled. Nothing else is ever touched.

Credentials are looked for only where `credentials` says; the network is asked for them (instance metadata, a
container's address) with ``role`` alone, for a few seconds at most. The region need not be set for Amazon: its
redirect names the bucket's own, which is used from then on.
"""

from agent.backends.s3.config import S3Config

__all__ = ["S3Config"]
