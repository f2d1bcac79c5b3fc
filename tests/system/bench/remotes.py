"""rclone at the servers of the tests: which programs there are, and what it must be told of a place."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.backends.places import Area
from tests.backends.servers import azurite, seaweedfs
from tests.system.bench.processes import Outcome, measured

_numbers = itertools.count(1)


def programs() -> dict[str, str]:
    """Name with version → path: Debian's, and the newest from PyPI."""
    found = {}
    for path in ("/usr/bin/rclone", str(Path(sys.executable).parent / "rclone")):
        if os.access(path, os.X_OK):
            said = subprocess.run([path, "version"], capture_output=True, text=True, timeout=60).stdout
            found[said.split("\n")[0].replace(" v", " ")] = path
    return found


class Remote(NamedTuple):
    """Where rclone copies to: its settings in the environment, and the place in its words."""

    settings: dict[str, str]
    path: str


def remote(kind: str, area: Area, program: str) -> Remote:
    """Say `area` in rclone's words. At GCS a new bucket that needs no login: rclone cannot be sent elsewhere for a token."""
    options, path = _MAKERS[kind](area, program)
    return Remote({f"RCLONE_CONFIG_STORE_{name.upper()}": value for name, value in options.items()}, path)


def copy(program: str, source: Path, to: Remote, folder: Path, prefix: Sequence[str] = ()) -> Outcome:
    """Copy every file, one after the other, in a single stream each, without looking at the source's digests."""
    command = [*prefix, program, "copy", str(source), to.path, "--config", os.devnull, "--transfers", "1"]
    command += ["--checkers", "1", "--retries", "1", "--min-size", "100K", "--s3-upload-concurrency", "1"]
    command += ["--azureblob-upload-concurrency", "1"]
    more = to.settings | {"AWS_CA_BUNDLE": ""}  # an older one cannot start with it
    return measured(command, folder / "rclone.log", home=folder, seconds=900, more=more)


def _obscured(program: str, secret: str) -> str:
    command = [program, "obscure", secret]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def _folder(area: Any, program: str) -> tuple[dict[str, str], str]:
    return {}, str(area.root)


def _smb(area: Any, program: str) -> tuple[dict[str, str], str]:
    config = area.config()
    server, share, folder = config.address.removeprefix("\\\\").split("\\", 2)
    host, _, port = server.partition(":")
    password = _obscured(program, config.password.get_secret_value())
    options = {"type": "smb", "host": host, "port": port, "user": config.user, "pass": password}
    return options, f"store:{share}/{folder}"


def _ftp(area: Any, program: str) -> tuple[dict[str, str], str]:
    config = area.config()
    password = _obscured(program, config.password.get_secret_value())
    options = {"type": "ftp", "host": config.host, "port": str(config.port), "user": config.user}
    options |= {"pass": password, "explicit_tls": "true", "no_check_certificate": "true"}
    options |= {
        "disable_tls13": "true"
    }  # with it, a server that insists on one session refuses rclone's data channel
    return options, f"store:{config.path}"


def _sftp(area: Any, program: str) -> tuple[dict[str, str], str]:
    config = area.config()
    options = {"type": "sftp", "host": config.host, "port": str(config.port), "user": config.user}
    options |= {"key_file": str(config.key_file), "disable_hashcheck": "true"}
    return options, f"store:{config.path}"


def _s3(area: Any, program: str) -> tuple[dict[str, str], str]:
    config = area.config()
    options = {"type": "s3", "provider": "Other", "endpoint": config.endpoint_url, "region": "us-east-1"}
    options |= {"access_key_id": seaweedfs.ACCESS_KEY, "secret_access_key": seaweedfs.SECRET_KEY}
    return options, f"store:{config.bucket}/copied"


def _azure(area: Any, program: str) -> tuple[dict[str, str], str]:
    config = area.config()
    options = {"type": "azureblob", "account": azurite.ACCOUNT, "key": azurite.ACCOUNT_KEY}
    return options | {"endpoint": area.server.url}, f"store:{config.container}/copied"


def _gcs(area: Any, program: str) -> tuple[dict[str, str], str]:
    bucket = f"rclone-{next(_numbers)}"
    area.server.make_bucket(bucket, members={"allUsers": ["create", "get", "list", "delete"]})
    options = {"type": "google cloud storage", "anonymous": "true", "bucket_policy_only": "true"}
    options |= {"no_check_bucket": "true", "endpoint": f"{area.server.url}/storage/v1/"}
    return options, f"store:{bucket}"


_MAKERS: dict[str, Callable[[Any, str], tuple[dict[str, str], str]]] = {
    "folder": _folder,
    "smb": _smb,
    "ftp": _ftp,
    "sftp": _sftp,
    "s3": _s3,
    "azure": _azure,
    "gcs": _gcs,
}
