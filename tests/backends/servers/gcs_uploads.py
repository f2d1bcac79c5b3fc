"""The three kinds of upload at the tests' Cloud Storage."""

from __future__ import annotations

import json
import secrets
from typing import Any
from urllib.parse import quote

from tests.backends.servers.gcs_http import Exchange
from tests.backends.servers.gcs_intake import Cut, Hashes, Refused, split_parts

_GRANULE = 1 << 18


class Uploads(Exchange):
    def _upload(self, bucket: str) -> None:
        kind = self.query.get("uploadType")
        if kind == "resumable":
            return self._begin_session(bucket)
        path = self.service.disk.session_path(f"single-{secrets.token_hex(8)}")
        hashes = Hashes()
        said: dict[str, Any] = {}
        pieces = self.intake.pieces()
        if kind == "multipart":
            said, pieces = split_parts(str(self.headers.get_param("boundary", failobj="")), pieces)
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

    def _begin_session(self, bucket: str) -> None:
        said: dict[str, Any] = json.loads(self.intake.whole() or b"{}")
        name = str(said.get("name") or self.query.get("name", ""))
        self._check_name(name)
        self._may_replace(bucket, name)
        if self.service.disk.trouble("forget the condition") is not None:
            del self.query["ifGenerationMatch"]
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
            if resource is None and self.service.disk.trouble("remember the deleted") is not None:
                resource = state["resource"]
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
        done = {**state, "state": "done", "generation": resource["generation"], "resource": resource}
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
