"""Google Cloud Storage's JSON API for tests, written from Google's documentation: `python -m …gcs_program PORT FOLDER`.

Buckets, media (single, multipart, resumable), metadata, listings, deletes, permissions, and OAuth tokens for service
accounts. Nothing is kept in memory; content goes through in pieces of 256 KiB (`gcs_disk` says where it lies).

As documented: generation conditions hold for every kind of upload, for a resumable one at its start and at its end;
``bytes */*`` asks and ``bytes */N`` ends an upload whose N bytes are all there; a cancelled session answers 499 from
then on, an unknown one 404; a finished one answers with its object; checksums in the metadata or in X-Goog-Hash are compared
before an object exists; replacing needs storage.objects.delete; without storage.objects.list a missing object is a 403.

Stricter than the service: a chunk that is not the last must be a multiple of 256 KiB and begin where the session stands
(the service recommends the first and would take the overlap of the second); a 412 or 400 at the end leaves the session
open, so that who does not cancel it is seen. Looser: no ACLs, versions, quotas by rate, gzip or caching;
sessions do not age; listings read every object of the bucket.
"""

# mypy: allow-untyped-calls
# (google.auth says that it is typed, and mostly is not)

from __future__ import annotations

import base64
import secrets
import sys
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.backends.servers.gcs_disk import Disk, encoded
from tests.backends.servers.gcs_http import Service
from tests.backends.servers.gcs_intake import PIECE, Cut, Refused
from tests.backends.servers.gcs_uploads import Uploads


class Handler(Uploads):
    def _route(self) -> Callable[[], None]:
        match (self.command, *self.segments):
            case ("GET", "healthz"):
                return lambda: self._answer(200, {})
            case ("POST", "token"):
                return self._give_token
            case (("PUT" | "DELETE" | "POST"), "upload", "storage", "v1", "b", _, "o") if (
                "upload_id" in self.query
            ):
                return self._session
            case ("POST", "upload", "storage", "v1", "b", bucket, "o"):
                return lambda: self._upload(self._allowed(bucket, "create"))
            case ("GET", "storage", "v1", "b", bucket):
                return lambda: self._answer(200, self._bucket(self._allowed(bucket, "list")))
            case ("GET", "storage", "v1", "b", bucket, "iam", "testPermissions"):
                return lambda: self._test_permissions(bucket)
            case ("GET", "storage", "v1", "b", bucket, "o"):
                return lambda: self._list(self._allowed(bucket, "list"))
            case ("GET", "storage" | "download", *_, "b", bucket, "o", _):
                return lambda: self._get(self._allowed(bucket, "get"))
            case ("DELETE", "storage", "v1", "b", bucket, "o", _):
                return lambda: self._delete(self._allowed(bucket, "delete"))
        raise Refused(404, "notFound", "no such method")

    def _test_permissions(self, bucket: str) -> None:
        _, rights = self._rights(bucket)
        asked = self.many.get("permissions", [])
        held = [name for name in asked if name.removeprefix("storage.objects.") in rights]
        self._answer(200, {"kind": "storage#testIamPermissionsResponse", "permissions": held})

    def _give_token(self) -> None:
        """RFC 7523: a signed assertion for an access token."""
        from google.auth import jwt

        form = parse_qs(self.intake.whole().decode())
        assertion = form.get("assertion", [""])[0]
        try:
            claims = jwt.decode(assertion, verify=False)
            key = self.service.disk.public_key(claims["iss"])
            if key is None:
                raise ValueError("account not found")
            jwt.decode(assertion, certs=key.encode())
        except (ValueError, KeyError, OSError) as error:
            return self._answer(400, {"error": "invalid_grant", "error_description": str(error)})
        lives = self.service.disk.trouble("short tokens") or 3600
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self.service.disk.save_token(token, claims["iss"], lives)
        self._answer(200, {"access_token": token, "expires_in": lives, "token_type": "Bearer"})

    def _list(self, bucket: str) -> None:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        items: dict[str, dict[str, Any] | None] = {}
        for resource in self.service.disk.objects(bucket):
            name = resource["name"]
            if name.startswith(prefix):
                cut = name.find(delimiter, len(prefix)) if delimiter else -1
                items |= {name: resource} if cut < 0 else {name[: cut + len(delimiter)]: None}
        after = base64.b64decode(self.query.get("pageToken", "")).decode()
        names = [name for name in sorted(items, key=str.encode) if name.encode() > after.encode()]
        size = min(int(self.query.get("maxResults") or 1000), 1000)
        page: dict[str, Any] = {"kind": "storage#objects"}
        shown = [(name, items[name]) for name in names[:size]]
        page["items"] = [self._shown(resource) for _, resource in shown if resource is not None]
        page["prefixes"] = [name for name, resource in shown if resource is None]
        if len(names) > size:
            page["nextPageToken"] = encoded(names[size - 1].encode())
        self._answer(200, page)

    def _get(self, bucket: str) -> None:
        resource = self._existing(bucket)
        if self.query.get("alt") != "media":
            return self._answer(200, self._shown(resource))
        size = int(resource["size"])
        first, last = 0, size - 1
        wanted = self.headers.get("Range", "")
        if wanted:
            begin, _, end = wanted.removeprefix("bytes=").partition("-")
            first, last = (int(begin), int(end or last)) if begin else (max(0, size - int(end)), last)
            last = min(last, size - 1)
            if first > last:
                raise Refused(416, "requestedRangeNotSatisfiable")
        self.status = 206 if wanted else 200
        self._note()
        self.send_response(self.status)
        self.send_header("Content-Type", resource.get("contentType", "application/octet-stream"))
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("X-Goog-Generation", resource["generation"])
        self.send_header("X-Goog-Hash", f"crc32c={resource['crc32c']},md5={resource['md5Hash']}")
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        left = last - first + 1
        with self.service.disk.content(resource).open("rb") as content:
            content.seek(first)
            while left and (piece := content.read(min(left, PIECE))):
                self.wfile.write(piece)
                left -= len(piece)
        self.wfile.flush()

    def _delete(self, bucket: str) -> None:
        with self.service.lock:
            self._existing(bucket)
            if (self.service.disk.bucket(bucket) or {}).get("retained"):
                raise Refused(403, "retentionPolicyNotMet")
            self.service.disk.delete(bucket, self.segments[-1])
        self._answer(204, None)

    def _existing(self, bucket: str) -> dict[str, Any]:
        name = self.segments[-1]
        resource = self.service.disk.object(bucket, name)
        if resource is None or self.query.get("generation", resource["generation"]) != resource["generation"]:
            self._allowed(bucket, "list")
            raise Refused(404, "notFound", f"No such object: {bucket}/{name}")
        self.service.check(bucket, name, {**self.query})
        return resource

    @staticmethod
    def _bucket(bucket: str) -> dict[str, Any]:
        return {"kind": "storage#bucket", "id": bucket, "name": bucket, "location": "LOOPBACK"}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | Cut):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def main(port: int, folder: Path) -> None:
    Handler.service = Service(Disk(folder))
    Server(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
