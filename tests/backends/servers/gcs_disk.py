"""Where the tests' Cloud Storage keeps everything: plain files, for the server and for whoever looks behind its back.

    buckets/<bucket>/bucket.json        who may do what, quota, retention
    buckets/<bucket>/<name's hash>.json an object's resource; its content is the file that "data" names
    sessions/<id>.json, sessions/<id>   an upload session, and the bytes it holds
    tokens/<hash>.json                  an access token: whose, and until when
    accounts.json                       e-mail address → public key
    troubles/<name>                     what is to go wrong, once; the content says how much
    requests                            a line for each answer: method, path without session ids, Content-Range, body bytes, status

An object appears by the rename of its json, so nobody ever sees half of one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c

_PIECE = 1 << 18


class Disk:
    def __init__(self, root: Path):
        self.root = root
        for name in ("buckets", "sessions", "tokens", "troubles"):
            (root / name).mkdir(parents=True, exist_ok=True)

    # Buckets. "members": e-mail address or "allUsers" → permissions; "quota": bytes; "retained", "requester_pays": bool.

    def make_bucket(self, bucket: str, **settings: Any) -> None:
        (self.root / "buckets" / bucket).mkdir()
        write_json(self.root / "buckets" / bucket / "bucket.json", {"members": {}, **settings})

    def bucket(self, bucket: str) -> dict[str, Any] | None:
        return read_json(self.root / "buckets" / bucket / "bucket.json")

    def remove_bucket(self, bucket: str) -> None:
        shutil.rmtree(self.root / "buckets" / bucket)

    # Objects.

    def object(self, bucket: str, name: str) -> dict[str, Any] | None:
        return read_json(self._resource(bucket, name))

    def objects(self, bucket: str) -> Iterator[dict[str, Any]]:
        for path in (self.root / "buckets" / bucket).glob("*.json"):
            resource = read_json(path)
            if path.name != "bucket.json" and resource is not None:
                yield resource

    def content(self, resource: dict[str, Any]) -> Path:
        return self.root / "buckets" / str(resource["bucket"]) / str(resource["data"])

    def publish(self, bucket: str, name: str, source: Path, resource: dict[str, Any]) -> dict[str, Any]:
        """Make `source` the content of `name`; it is moved. `resource`: what the uploader said of the object."""
        generation = time.time_ns() // 1000
        before = self.object(bucket, name)
        data = f"{hashed(name)}.{generation}.data"
        size = source.stat().st_size
        source.rename(self.root / "buckets" / bucket / data)
        whole = {
            **resource,
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{generation}",
            "name": name,
            "bucket": bucket,
            "generation": str(generation),
            "metageneration": "1",
            "size": str(size),
            "timeCreated": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            "updated": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            "data": data,
        }
        write_json(self._resource(bucket, name), whole)
        if before is not None:
            self.content(before).unlink(missing_ok=True)
        return whole

    def delete(self, bucket: str, name: str) -> None:
        resource = self.object(bucket, name)
        if resource is not None:
            self._resource(bucket, name).unlink()
            self.content(resource).unlink(missing_ok=True)

    def plant(self, bucket: str, name: str, content: bytes) -> None:
        """Put a stranger's object there."""
        source = self.root / "buckets" / bucket / f"planted-{time.time_ns()}"
        source.write_bytes(content)
        self.publish(bucket, name, source, {"contentType": "image/jpeg", **digests_of(source)})

    # Sessions.

    def session_path(self, session: str) -> Path:
        return self.root / "sessions" / session

    def session(self, session: str) -> dict[str, Any] | None:
        return read_json(self.root / "sessions" / f"{session}.json")

    def save_session(self, session: str, state: dict[str, Any]) -> None:
        write_json(self.root / "sessions" / f"{session}.json", state)

    def unfinished(self, bucket: str) -> list[str]:
        """Return the ids of the sessions that still hold something or could."""
        found = []
        for path in (self.root / "sessions").glob("*.json"):
            state = read_json(path)
            if state is not None and state["bucket"] == bucket and state["state"] == "open":
                found.append(path.stem)
        return found

    def expire(self, session: str) -> None:
        """A week passes."""
        self.session_path(session).unlink(missing_ok=True)
        (self.root / "sessions" / f"{session}.json").unlink()

    # Who is who.

    def add_account(self, email: str, public_key: str) -> None:
        accounts = read_json(self.root / "accounts.json") or {}
        write_json(self.root / "accounts.json", {**accounts, email: public_key})

    def public_key(self, email: str) -> str | None:
        return (read_json(self.root / "accounts.json") or {}).get(email)

    def save_token(self, token: str, email: str, lives_seconds: float) -> None:
        state = {"email": email, "until": time.time() + lives_seconds}
        write_json(self.root / "tokens" / f"{hashed(token)}.json", state)

    def owner_of(self, token: str) -> str | None:
        state = read_json(self.root / "tokens" / f"{hashed(token)}.json")
        return None if state is None or state["until"] < time.time() else str(state["email"])

    def revoke_tokens(self) -> None:
        for path in (self.root / "tokens").iterdir():
            path.unlink()

    # Troubles, and what went by.

    def make_trouble(self, name: str, how_much: int = 0) -> None:
        (self.root / "troubles" / name).write_text(str(how_much))

    def trouble(self, name: str) -> int | None:
        """Return how much of it, once; None if there is none."""
        path = self.root / "troubles" / name
        try:
            how_much = int(path.read_text())
            path.unlink()
        except FileNotFoundError:
            return None
        return how_much

    def end_troubles(self) -> list[str]:
        """Return the troubles that nobody met, and forget them."""
        left = [path.name for path in (self.root / "troubles").iterdir()]
        for name in left:
            (self.root / "troubles" / name).unlink()
        return left

    def note(self, line: str) -> None:
        with (self.root / "requests").open("a") as log:
            log.write(line + "\n")

    def requests(self) -> list[list[str]]:
        path = self.root / "requests"
        return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []

    def forget_requests(self) -> None:
        (self.root / "requests").unlink(missing_ok=True)

    def _resource(self, bucket: str, name: str) -> Path:
        return self.root / "buckets" / bucket / f"{hashed(name)}.json"


def hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def digests_of(path: Path) -> dict[str, str]:
    """Return crc32c and md5Hash as an object's resource has them."""
    crc, md5 = 0, hashlib.md5()
    with path.open("rb") as content:
        while piece := content.read(_PIECE):
            crc = google_crc32c.extend(crc, piece)
            md5.update(piece)
    return {"crc32c": encoded(crc.to_bytes(4, "big")), "md5Hash": encoded(md5.digest())}


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    new = path.with_name(f"{path.name}.{time.time_ns()}.new")
    new.write_text(json.dumps(value))
    os.replace(new, path)
