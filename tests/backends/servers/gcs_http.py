"""One request at the tests' Cloud Storage: who asks, what comes in, and how it is answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.backends.servers.gcs_disk import Disk
from tests.backends.servers.gcs_intake import PIECE, Cut, Hashes, Intake, Refused

_FROM_CLIENT = ("contentType", "metadata", "storageClass", "cacheControl", "contentDisposition")


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
                while piece := content.read(PIECE):
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


class Exchange(BaseHTTPRequestHandler):
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
            self._note()

    do_GET = do_PUT = do_POST = do_DELETE = handle_one

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _route(self) -> Callable[[], None]:
        """Return what answers this request; an exchange alone knows nothing."""
        raise Refused(404, "notFound")

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

    def _shown(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Return the resource as clients see it: rclone downloads from its mediaLink."""
        path = f"storage/v1/b/{quote(resource['bucket'])}/o/{quote(resource['name'], safe='')}"
        here = f"http://{self.headers['Host']}"
        links = {
            "selfLink": f"{here}/{path}",
            "mediaLink": f"{here}/download/{path}?generation={resource['generation']}&alt=media",
        }
        return {key: value for key, value in resource.items() if key != "data"} | links

    def _drain(self) -> None:
        for _ in self.intake.pieces():
            pass

    def _refuse(self, refusal: Refused) -> None:
        self._drain()
        said = {"message": refusal.message, "domain": "global", "reason": refusal.reason}
        error = {"code": refusal.status, "message": refusal.message, "errors": [said]}
        self._answer(refusal.status, {"error": error})

    def _note(self) -> None:
        """Write down what went by: before the answer, so that who has the answer finds it."""
        span = self.headers.get("Content-Range", "-")
        path = urlsplit(self.path).path
        self.service.disk.note(f"{self.command}\t{path}\t{span}\t{self.intake.count}\t{self.status}")

    def _answer(
        self, status: int, body: dict[str, Any] | None, headers: dict[str, str] | None = None
    ) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.status = status
        self._note()
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
