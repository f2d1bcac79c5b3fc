"""Amazon S3 and everything that speaks its language: MinIO, Cloudflare R2, Backblaze B2, Wasabi, SeaweedFS.

A file of at most one part is one conditional PutObject at commit; a larger one is a multipart upload that is
resumed from what the store lists and published by a conditional CompleteMultipartUpload. A delivery is proven by
the store's own CRC32C of the whole object where the store was seen to compute one (`traits`), else by reading
it back.

The rights it needs (IAM): s3:PutObject, s3:GetObject, s3:AbortMultipartUpload, s3:ListMultipartUploadParts on the
objects; s3:ListBucket, s3:ListBucketMultipartUploads on the bucket (without s3:ListBucket a missing object
answers 403 and every `find` fails); s3:DeleteObject on ``<prefix>.hotshoe-*`` for the probes, and on all objects
if a damaged copy that was just published is to be taken back. A lifecycle rule that aborts incomplete multipart
uploads after some days is a good idea, as with any client.
"""

from agent.backends.s3.config import S3Config

__all__ = ["S3Config"]
