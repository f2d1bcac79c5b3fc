"""moto's S3: a store that honours conditions, but keeps what does not fit its checksum, and believes every signature.

It holds everything in memory: killed and started again, it has its buckets back and nothing in them, like a store
whose disk was replaced.
"""

from __future__ import annotations

import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.backends.servers.process import Process, answers, executable, free_port

ACCESS_KEY = "testkey"
SECRET_KEY = "testsecret"
_SPACE = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}
_SIGNED = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/aws4_request",
    "Content-Type": "application/octet-stream",  # of a form, it would take the body apart
}


class Moto:
    def __init__(self, folder: Path):
        program = executable("moto_server")
        if program is None:
            raise FileNotFoundError("moto_server (moto[s3], flask)")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.buckets: list[str] = []
        command = [program, "-H", "127.0.0.1", "-p", str(port)]
        self.process: Process = _Forgetting(
            self, command, folder / "log", lambda: answers(f"{self.url}/moto-api/data.json")
        )

    def make_bucket(self, name: str) -> None:
        self._ask("PUT", name)
        self.buckets.append(name)

    def remove_bucket(self, name: str) -> None:
        for key in self.names(name):
            self._ask("DELETE", f"{name}/{key}")
        self._ask("DELETE", name)
        self.buckets.remove(name)

    def plant(self, bucket: str, key: str, content: bytes) -> None:
        self._ask("PUT", f"{bucket}/{key}", content=content)

    def objects(self, bucket: str) -> dict[str, bytes]:
        return {key: self._ask("GET", f"{bucket}/{key}") for key in self.names(bucket)}

    def names(self, bucket: str) -> list[str]:
        query = {"list-type": "2", "encoding-type": "url"}
        tree = ET.fromstring(self._ask("GET", bucket, query))
        assert tree.findtext("s3:IsTruncated", namespaces=_SPACE) == "false", "more than a page"
        found = tree.iterfind("s3:Contents/s3:Key", _SPACE)
        return [urllib.parse.unquote(each.text or "") for each in found]

    def headers(self, bucket: str, key: str) -> dict[str, str]:
        """Return what is stored beside an object, names in lower case."""
        with self._open("HEAD", f"{bucket}/{key}", {}, None) as response:
            return {name.lower(): value for name, value in response.headers.items()}

    def unfinished(self, bucket: str) -> list[str]:
        """Return the keys of the unfinished uploads of `bucket`."""
        tree = ET.fromstring(self._ask("GET", bucket, {"uploads": ""}))
        return [each.text or "" for each in tree.iter() if each.tag.rpartition("}")[2] == "Key"]

    def _ask(
        self, method: str, path: str, query: dict[str, str] | None = None, content: bytes | None = None
    ) -> bytes:
        with self._open(method, path, query or {}, content) as response:
            return bytes(response.read())

    def _open(self, method: str, path: str, query: dict[str, str], content: bytes | None) -> Any:
        url = f"{self.url}/{urllib.parse.quote(path)}" + (
            f"?{urllib.parse.urlencode(query)}" if query else ""
        )
        request = urllib.request.Request(url, content, dict(_SIGNED), method=method)
        return urllib.request.urlopen(request, timeout=30)


class _Forgetting(Process):
    """Makes the buckets again that its server had before it was killed."""

    def __init__(self, server: Moto, command: list[str], log: Path, is_ready: Callable[[], bool]):
        super().__init__(command, log, is_ready)
        self._server = server

    def start(self) -> None:
        super().start()
        for name in self._server.buckets:
            self._server._ask("PUT", name)
