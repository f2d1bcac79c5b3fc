"""Azurite, Microsoft's own emulator of Azure Storage, from npm (``azurite/package-lock.json``).

What it keeps is asked of it in Azure's language, but with requests made and signed here, not by the SDK that the
backend uses. It is installed beside its lock file on first use, which takes most of a minute.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path

from tests.backends.servers.process import Process, answers_at_all, free_port

ACCOUNT = "hotshoetests"
ACCOUNT_KEY = base64.b64encode(hashlib.sha512(b"a key for tests").digest()).decode()
_PACKAGE = Path(__file__).parent / "azurite"
_INSTALL_SECONDS = 300
_ID_LENGTH = 37  # of all blocks of a blob, as the backend names them
_END_SECONDS = 10
_VERSION = "2023-11-03"


class Azurite:
    def __init__(self, folder: Path, certificate: Path | None = None):
        """`folder` is empty and its own. `certificate`: a PEM file of key and certificate, for TLS."""
        program = _installed()
        self.port = free_port()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}/{ACCOUNT}"
        data = folder / "data"
        data.mkdir()
        command = [str(program), "--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        command += ["--location", str(data), "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        if certificate:
            command += ["--cert", str(certificate), "--key", str(certificate)]
        self.process: Process = _Saving(
            command,
            folder / "log",
            lambda: answers_at_all(self.port),
            env={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{ACCOUNT_KEY}"},
        )

    def make_container(self, name: str) -> None:
        self._ask("PUT", name, {"restype": "container"})

    def remove_container(self, name: str) -> None:
        self._ask("DELETE", name, {"restype": "container"})

    def plant(self, container: str, key: str, content: bytes) -> None:
        """Publish a stranger's blob from one block.

        Not by Put Blob: with Azure that drops the uncommitted blocks of others as well, Azurite 3.35 keeps them.
        """
        block = "a stranger's".ljust(_ID_LENGTH)
        self.stage(container, key, block, content)
        name = base64.b64encode(block.encode()).decode()
        listed = f"<BlockList><Latest>{name}</Latest></BlockList>".encode()
        self._ask("PUT", f"{container}/{key}", {"comp": "blocklist"}, listed)

    def put(self, container: str, key: str, content: bytes, headers: dict[str, str]) -> None:
        """Publish a blob by Put Blob, over what is there."""
        self._ask("PUT", f"{container}/{key}", {}, content, {"x-ms-blob-type": "BlockBlob", **headers})

    def stage(self, container: str, key: str, block_id: str, content: bytes) -> None:
        """Stage a stranger's block."""
        name = base64.b64encode(block_id.encode()).decode()
        self._ask("PUT", f"{container}/{key}", {"comp": "block", "blockid": name}, content)

    def objects(self, container: str) -> dict[str, bytes]:
        """Return every published blob with its content."""
        return {name: self._ask("GET", f"{container}/{name}", {})[0] for name in self.names(container)}

    def names(self, container: str, include: str = "") -> list[str]:
        """Return the names of the published blobs, or of others as well (``uncommittedblobs``)."""
        query = {"restype": "container", "comp": "list", "include": include}
        body, _ = self._ask("GET", container, {name: value for name, value in query.items() if value})
        tree = ET.fromstring(body)
        assert not tree.findtext("NextMarker"), "more than a page"
        return [name.text or "" for name in tree.iterfind("Blobs/Blob/Name")]

    def unfinished(self, container: str) -> list[str]:
        """Return the uncommitted blocks of all blobs, each as the blob's name and its own."""
        found = []
        for key in self.names(container, "uncommittedblobs"):
            query = {"comp": "blocklist", "blocklisttype": "uncommitted"}
            body, _ = self._ask("GET", f"{container}/{key}", query)
            blocks = ET.fromstring(body).iterfind("UncommittedBlocks/Block/Name")
            found += [f"{key} {base64.b64decode(name.text or '').decode()}" for name in blocks]
        return found

    def headers(self, container: str, key: str) -> dict[str, str]:
        """Return what is stored beside the content of a blob, names in lower case."""
        return self._ask("HEAD", f"{container}/{key}", {})[1]

    def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        content: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of the answer to a request, signed as "Authorize with Shared Key" says."""
        path = urllib.parse.quote(f"/{ACCOUNT}/{path}")
        ours = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION, **(headers or {})}
        ours["Content-Type"] = "application/octet-stream"
        signed = [name for name in sorted(ours) if name.startswith("x-ms-")]
        to_sign = [method, "", "", str(len(content) or ""), "", ours["Content-Type"], *[""] * 6]
        to_sign += [f"{name}:{ours[name]}" for name in signed]
        to_sign += [f"/{ACCOUNT}{path}", *(f"{name}:{query[name]}" for name in sorted(query))]
        digest = hmac.digest(base64.b64decode(ACCOUNT_KEY), "\n".join(to_sign).encode(), "sha256")
        ours["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        url = (
            self.url.removesuffix(f"/{ACCOUNT}")
            + path
            + (f"?{urllib.parse.urlencode(query)}" if query else "")
        )
        data = content if method == "PUT" else None
        request = urllib.request.Request(url, data, ours, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.read(), {name.lower(): value for name, value in response.headers.items()}
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from error


class _Saving(Process):
    """Azurite writes down what it has every five seconds, and when it is asked to end: so it is asked, first."""

    def kill(self) -> None:
        if self._child is not None:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(_END_SECONDS)
        super().kill()


def _installed() -> Path:
    """Return the program, installed as the lock file says."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm, for azurite")
    program = _PACKAGE / "node_modules/.bin/azurite-blob"
    done = _PACKAGE / "node_modules/.installed"
    lock = (_PACKAGE / "package-lock.json").read_text()
    with (_PACKAGE / "package.json").open() as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != lock:
            command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(command, cwd=_PACKAGE, check=True, capture_output=True, timeout=_INSTALL_SECONDS)
            done.write_text(lock)
    return program
