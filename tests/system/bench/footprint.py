"""footprint: what one configured destination adds to an agent: memory and time of its first call, and what it loads.

Each kind gets a process of its own that loads the agent, opens one destination at an address where nobody listens,
and asks it for a file: the SDK is loaded and its client made; buffers of a transfer are no part of this (`memory`,
`upload`).
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from agent.backends import BACKENDS
from tests.backends.servers.process import free_port
from tests.system.bench.figures import MEBIBYTE, aim, begin, median, spread, table
from tests.system.bench.options import Options
from tests.system.bench.processes import ROOT

SDKS = {
    "azure": {"azure.core", "azure.storage.blob", "requests"},
    "folder": set[str](),
    "ftp": {"ftplib"},
    "gcs": {"google.auth", "google.cloud.storage", "requests", "google_crc32c"},
    "s3": {"boto3", "botocore", "google_crc32c"},
    "sftp": {"asyncssh"},
    "smb": {"smbprotocol", "spnego"},
}
"""By kind: the packages that no agent without it may load."""

_TIMES = 5


class Footprint(msgspec.Struct, frozen=True):
    """Of one process."""

    base_bytes: int  # resident, with the agent's modules loaded
    bytes: int  # after the destination's first call
    seconds: float  # of processor time, that call
    loaded: tuple[str, ...]  # packages of `SDKS`
    code: str  # of the fault that the call ended with; "" for none


def run(options: Options) -> None:
    begin("footprint", "resident MiB of an agent before and after the first call of its one destination")
    rows = []
    strangers: dict[str, set[str]] = {}
    for kind in BACKENDS:
        folder = options.folder / kind
        folder.mkdir()
        found = [measured(kind, folder) for _ in range(1 if options.quick else _TIMES)]
        added = [(each.bytes - each.base_bytes) / MEBIBYTE for each in found]
        rows.append(
            [
                kind,
                spread([each.base_bytes / MEBIBYTE for each in found], 1),
                spread([each.bytes / MEBIBYTE for each in found], 1),
                spread(added, 1),
                f"{median([each.seconds for each in found]):.2f}",
                found[0].code or "nothing there",
            ]
        )
        strangers[kind] = {name for each in found for name in each.loaded} - SDKS[kind]
    table(["destination", "before", "after", "added", "CPU s", "what it said"], rows)
    others = {kind: sorted(names) for kind, names in strangers.items() if names}
    aim("base plus only that SDK", f"loaded besides: {others or 'nothing'}", not others)


def measured(kind: str, folder: Path) -> Footprint:
    command = [sys.executable, "-m", "tests.system.bench.footprint", json.dumps(settings(kind, folder))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{kind}: {done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Footprint)


def settings(kind: str, folder: Path) -> dict[str, Any]:
    """Return a destination at an address where nobody listens."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    each: dict[str, dict[str, Any]] = {
        "azure": {"container": "photos", "account": "cam", "account_key": "c2VjcmV0", "endpoint_url": url},
        "folder": {"path": str(folder)},
        "ftp": {"host": "127.0.0.1", "port": port, "user": "cam", "password": "secret"},
        "gcs": {"bucket": "photos", "anonymous": True, "endpoint_url": url},
        "s3": {
            "bucket": "photos",
            "endpoint_url": url,
            "region": "us-east-1",
            "access_key_id": "key",
            "secret_access_key": "secret",
        },
        "sftp": {
            "host": "127.0.0.1",
            "port": port,
            "user": "cam",
            "password": "secret",
            "host_key": f"SHA256:{'a' * 43}",
        },
        "smb": {"address": f"smb://127.0.0.1:{port}/photos", "user": "cam", "password": "secret"},
    }
    return {"kind": kind, **each[kind]}


def report(destination: dict[str, Any]) -> Footprint:
    """Measure this process."""
    from pydantic import TypeAdapter

    import agent.cli.agent
    import agent.cli.run  # noqa: F401  # what `hotshoe run` loads
    from agent.backends import Destination, open_backend
    from agent.faults import Fault

    config: Any = TypeAdapter(Destination).validate_python(destination)
    base = _resident_bytes()
    began = time.process_time()
    backend = open_backend(config, owner="bench")
    code = ""
    try:
        backend.find("2026-11-22/IMG_0001.JPG", 1, None)
    except Fault as refusal:
        code = refusal.code
    seconds = time.process_time() - began
    loaded = tuple(name for names in SDKS.values() for name in names if name in sys.modules)
    found = Footprint(base, _resident_bytes(), seconds, loaded, code)
    backend.close()
    return found


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(report(json.loads(sys.argv[1]))))
