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
import hashlib
import json
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import google_crc32c

from tests.backends.servers.gcs_disk import Disk, encoded

_PIECE = 1 << 18
_GRANULE = 1 << 18
_MOST_METADATA = 1 << 16
_FROM_CLIENT = ("contentType", "metadata", "storageClass", "cacheControl", "contentDisposition")


class Refused(Exception):
    def __init__(self, status: int, reason: str, message: str = ""):
        super().__init__(f"{status} {reason}")
        self.status, self.reason, self.message = status, reason, message or reason


class Cut(Exception):
    """The connection ends here, without an answer."""


class Intake:
    """A request's body, by length or in chunks, in pieces; counted, and hashed once `hash` is set."""

    def __init__(self, handler: BaseHTTPRequestHandler):
        self._file = handler.rfile
        self._chunked = "chunked" in handler.headers.get("Transfer-Encoding", "")
        self._left = 0 if self._chunked else int(handler.headers.get("Content-Length") or 0)
        self._is_over = not self._chunked and not self._left
        self.count = 0

    def pieces(self) -> Iterator[bytes]:
        while not self._is_over:
            if self._chunked and not self._left:
                self._left = int(self._file.readline().split(b";")[0], 16)
                if not self._left:
                    self._file.readline()
                    self._is_over = True
                    return
            piece = self._file.read1(min(self._left, _PIECE))
            if not piece:
                raise Cut
            self._left -= len(piece)
            self.count += len(piece)
            if self._chunked and not self._left:
                self._file.readline()
            self._is_over = not self._chunked and not self._left
            yield piece

    def whole(self) -> bytes:
        content = b"".join(self.pieces())
        if len(content) > _MOST_METADATA:
            raise Refused(413, "uploadTooLarge")
        return content


class Hashes:
    """The two digests of what goes by."""

    def __init__(self) -> None:
        self.crc, self.md5 = 0, hashlib.md5()

    def update(self, piece: bytes) -> None:
        self.crc = google_crc32c.extend(self.crc, piece)
        self.md5.update(piece)

    def named(self) -> dict[str, str]:
        return {"crc32c": encoded(self.crc.to_bytes(4, "big")), "md5Hash": encoded(self.md5.digest())}


class Service:
    """What all connections share: the disk, one lock over all that changes objects, digests of sessions at work."""

    def __init__(self, disk: Disk):
        self.disk = disk
        self.lock = threading.Lock()
        self.hashes: dict[str, tuple[int, Hashes]] = {}

    def hashes_of(self, session: str) -> Hashes:
        """Return the digests of what the session holds; read again after a restart."""
        path = self.disk.session_path(session)
        size, known = self.hashes.pop(session, (-1, Hashes()))
        if size != path.stat().st_size:
            known = Hashes()
            with path.open("rb") as content:
                while piece := content.read(_PIECE):
                    known.update(piece)
        return known

    def check(self, bucket: str, name: str, query: dict[str, str], size: int = 0) -> None:
        """Raise Refused unless the conditions hold for `name` now."""
        there = self.disk.object(bucket, name)
        generation = there["generation"] if there else "0"
        if query.get("ifGenerationMatch", generation) != generation:
            raise Refused(
                412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
            )
        if query.get("ifGenerationNotMatch") == generation:
            raise Refused(412, "conditionNotMet")
        quota = (self.disk.bucket(bucket) or {}).get("quota")
        if quota is not None and sum(int(o["size"]) for o in self.disk.objects(bucket)) + size > quota:
            raise Refused(403, "quotaExceeded")

    def publish(
        self,
        bucket: str,
        name: str,
        query: dict[str, str],
        source: Path,
        said: dict[str, Any],
        digests: dict[str, str],
    ) -> dict[str, Any]:
        """Compare what was promised, look at the conditions, and make the object, in one step for all others."""
        if self.disk.trouble("ignore checksums") is None:
            for key, value in digests.items():
                if said.get(key, value) != value:
                    words = f"Provided {key} {said[key]!r} doesn't match calculated {value!r}."
                    raise Refused(400, "invalid", words)
        with self.lock:
            self.check(bucket, name, query, source.stat().st_size)
            kept = {key: said[key] for key in _FROM_CLIENT if key in said}
            return self.disk.publish(bucket, name, source, {"storageClass": "STANDARD", **kept, **digests})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    service: Service

    def handle_one(self) -> None:
        parts = urlsplit(self.path)
        self.query = {
            key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()
        }
        self.many = parse_qs(parts.query)
        self.intake = Intake(self)
        self.status = 0
        self.segments = [unquote(segment) for segment in parts.path.strip("/").split("/")]
        try:
            self._route()()
        except Refused as refusal:
            self._refuse(refusal)
        except (Cut, ConnectionError):
            self.close_connection = True
        noted = (
            self.command,
            parts.path,
            self.headers.get("Content-Range", "-"),
            self.intake.count,
            self.status,
        )
        self.service.disk.note("\t".join(map(str, noted)))

    do_GET = do_PUT = do_POST = do_DELETE = handle_one

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _route(self) -> Callable[[], None]:
        match (self.command, *self.segments):
            case ("GET", "healthz"):
                return lambda: self._answer(200, {})
            case ("POST", "token"):
                return self._give_token
            case ("POST", "upload", "storage", "v1", "b", bucket, "o"):
                return lambda: self._upload(self._allowed(bucket, "create"))
            case (("PUT" | "DELETE" | "POST"), "upload", "storage", "v1", "b", _, "o") if (
                "upload_id" in self.query
            ):
                return self._session
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

    # Who may do what.

    def _rights(self, bucket: str) -> tuple[str | None, set[str]]:
        settings = self.service.disk.bucket(bucket)
        header = self.headers.get("Authorization", "")
        who = None
        if header:
            who = self.service.disk.owner_of(header.removeprefix("Bearer "))
            if who is None:
                raise Refused(401, "authError", "Invalid Credentials")
        if settings is None:
            raise Refused(404, "notFound", "The specified bucket does not exist.")
        if settings.get("requester_pays") and "userProject" not in self.query:
            raise Refused(400, "required", "Bucket is requester pays bucket but no user project provided.")
        members = settings["members"]
        return who, set(members.get(who, ())) | set(members.get("allUsers", ()))

    def _allowed(self, bucket: str, right: str) -> str:
        if self.service.disk.trouble("forget tokens") is not None:
            self.service.disk.revoke_tokens()
        who, rights = self._rights(bucket)
        if right not in rights:
            self._drain()
            if who is None:
                raise Refused(401, "required", "Anonymous caller does not have access.")
            raise Refused(403, "forbidden", f"{who} does not have storage.objects.{right} access.")
        return bucket

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

    # Uploads.

    def _upload(self, bucket: str) -> None:
        kind = self.query.get("uploadType")
        if kind == "resumable":
            return self._begin_session(bucket)
        path = self.service.disk.session_path(f"single-{secrets.token_hex(8)}")
        hashes = Hashes()
        said: dict[str, Any] = {}
        pieces = self.intake.pieces()
        if kind == "multipart":
            said, pieces = self._parts(pieces)
        else:
            said["contentType"] = self.headers.get("Content-Type", "application/octet-stream")
        said |= self._promised()
        name = str(said.get("name") or self.query.get("name", ""))
        try:
            with path.open("wb") as target:
                for piece in pieces:
                    target.write(piece)
                    hashes.update(piece)
            self._check_name(name)
            self._may_replace(bucket, name)
            resource = self.service.publish(bucket, name, self.query, path, said, hashes.named())
        finally:
            path.unlink(missing_ok=True)
        if self.service.disk.trouble("lose the answer") is not None:
            raise Cut
        self._answer(200, self._shown(resource))

    def _parts(self, pieces: Iterator[bytes]) -> tuple[dict[str, Any], Iterator[bytes]]:
        """Split multipart/related: the metadata, and the media in pieces."""
        boundary = self.headers.get_param("boundary", failobj="")
        line = b"--" + str(boundary).encode()
        head = b""
        start = -1
        while start < 0:
            piece = next(pieces, b"")
            head += piece
            if not piece or len(head) > _MOST_METADATA + _PIECE:
                raise Refused(400, "parseError")
            second = head.find(b"\r\n" + line, len(line))
            start = head.find(b"\r\n\r\n", second + 1) if second > 0 else -1
        said: dict[str, Any] = json.loads(head[head.index(b"\r\n\r\n") + 4 : second])
        typed = [one.split(b":")[1].strip() for one in head[second:start].split(b"\r\n") if b"ontent-" in one]
        said.setdefault("contentType", typed[0].decode() if typed else "application/octet-stream")
        return said, self._media(head[start + 4 :], pieces, b"\r\n" + line + b"--")

    @staticmethod
    def _media(first: bytes, pieces: Iterator[bytes], end: bytes) -> Iterator[bytes]:
        """Yield all before `end`, which comes last."""
        held = first
        for piece in pieces:
            if len(held) > len(end) + 4:
                yield held[: -len(end) - 4]
                held = held[-len(end) - 4 :]
            held += piece
        content, found, _ = held.rpartition(end)
        if not found:
            raise Refused(400, "parseError")
        yield content

    def _begin_session(self, bucket: str) -> None:
        said: dict[str, Any] = json.loads(self.intake.whole() or b"{}")
        name = str(said.get("name") or self.query.get("name", ""))
        self._check_name(name)
        self._may_replace(bucket, name)
        self.service.check(bucket, name, self.query)
        said.setdefault("contentType", self.headers.get("X-Upload-Content-Type", "application/octet-stream"))
        session = secrets.token_urlsafe(32)
        self.service.disk.session_path(session).touch()
        state = {"state": "open", "bucket": bucket, "name": name, "said": said, "query": self.query}
        self.service.disk.save_session(session, state)
        url = f"http://{self.headers['Host']}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&upload_id={session}"
        self._answer(200, None, {"Location": url, "X-GUploader-UploadID": session})

    def _session(self) -> None:
        session = self.query["upload_id"]
        state = self.service.disk.session(session)
        if state is None or self.service.disk.bucket(state["bucket"]) is None:
            self._drain()
            raise Refused(404, "notFound", "Not Found")
        if state["state"] == "cancelled" or self.command == "DELETE":
            self._drain()
            if state["state"] == "open":
                self.service.disk.save_session(session, {**state, "state": "cancelled"})
                self.service.disk.session_path(session).unlink()
            return self._answer(499, None)
        if state["state"] == "done":
            self._drain()
            resource = self.service.disk.object(state["bucket"], state["name"])
            if resource is None or resource["generation"] != state["generation"]:
                raise Refused(404, "notFound")
            return self._answer(200, self._shown(resource))
        held, total = self._append(session)
        if held != total:
            shown = {"Range": f"bytes=0-{held - 1}"} if held else {}
            if self.headers.get("X-GUploader-No-308") == "yes":
                return self._answer(200, None, {**shown, "X-Http-Status-Code-Override": "308"})
            return self._answer(308, None, shown)
        self._finish(session, state)

    def _append(self, session: str) -> tuple[int, int]:
        """Take what the request brings. Return what the session holds and what it should hold at its end, or -1."""
        path = self.service.disk.session_path(session)
        held = path.stat().st_size
        unit, _, said = self.headers.get("Content-Range", "").partition(" ")
        span, _, whole = said.partition("/")
        total = int(whole) if whole.isdigit() else -1
        if not unit:  # one request with all of it
            span, length = "0-", int(self.headers.get("Content-Length") or -1)
            total = -1 if length < 0 else length
        elif span == "*":
            self._drain()
            return held, total
        first = int(span.partition("-")[0])
        is_last = total >= 0 and (not unit or int(span.partition("-")[2]) == total - 1)
        if first != held or (not is_last and int(self.headers.get("Content-Length") or 0) % _GRANULE):
            self._drain()
            raise Refused(400, "invalid", f"the session stands at {held}; chunks are multiples of {_GRANULE}")
        keep = self.service.disk.trouble("keep a part")
        cut = self.service.disk.trouble("cut after")
        flip = self.service.disk.trouble("flip a bit") is not None
        hashes = self.service.hashes_of(session)
        with path.open("ab") as target:
            for piece in self.intake.pieces():
                if flip:
                    piece, flip = bytes([piece[0] ^ 1]) + piece[1:], False
                if keep is not None:
                    piece = piece[: max(0, held + keep - target.tell())]
                target.write(piece)
                hashes.update(piece)
                if cut is not None and self.intake.count >= cut:
                    break
            target.flush()
            end = target.tell()
            if cut is not None or (total < 0 and not unit):
                target.truncate(end - end % _GRANULE if cut is not None else end)
        if not unit:
            total = end
        if cut is not None:
            raise Cut
        self.service.hashes[session] = (end, hashes)
        return end, total

    def _finish(self, session: str, state: dict[str, Any]) -> None:
        bucket, name, path = state["bucket"], state["name"], self.service.disk.session_path(session)
        digests = self.service.hashes_of(session).named()
        said = {**state["said"], **self._promised()}
        self._may_replace(bucket, name)
        if self.service.disk.trouble("another writer") is not None:
            self.service.disk.plant(bucket, name, b"somebody was faster")
        resource = self.service.publish(bucket, name, state["query"], path, said, digests)
        done = {**state, "state": "done", "generation": resource["generation"]}
        self.service.disk.save_session(session, done)
        if self.service.disk.trouble("lose the answer") is not None:
            raise Cut
        self._answer(200, self._shown(resource))

    def _promised(self) -> dict[str, str]:
        """What X-Goog-Hash says of the content."""
        names = {"crc32c": "crc32c", "md5": "md5Hash"}
        pairs = [one.strip().partition("=") for one in self.headers.get("X-Goog-Hash", "").split(",")]
        return {names[key]: value for key, _, value in pairs if key in names}

    def _may_replace(self, bucket: str, name: str) -> None:
        if self.query.get("ifGenerationMatch") == "0" or self.service.disk.object(bucket, name) is None:
            return
        if "upload_id" not in self.query:
            self._allowed(bucket, "delete")

    def _check_name(self, name: str) -> None:
        if not name or len(name.encode()) > 1024 or {"\r", "\n"} & set(name) or name in (".", ".."):
            raise Refused(400, "invalid", "Invalid object name")

    # Everything else.

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
            while left and (piece := content.read(min(left, _PIECE))):
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

    @staticmethod
    def _shown(resource: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in resource.items() if key != "data"}

    def _drain(self) -> None:
        for _ in self.intake.pieces():
            pass

    def _refuse(self, refusal: Refused) -> None:
        self._drain()
        said = {"message": refusal.message, "domain": "global", "reason": refusal.reason}
        error = {"code": refusal.status, "message": refusal.message, "errors": [said]}
        self._answer(refusal.status, {"error": error})

    def _answer(
        self, status: int, body: dict[str, Any] | None, headers: dict[str, str] | None = None
    ) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.status = status
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Type", "application/json; charset=UTF-8")
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


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
