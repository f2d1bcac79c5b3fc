"""pyftpdlib, in a process of its own: MLSD and MLST, rights for each user, and no need to be root.

Run as a program it serves what its arguments say.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

from tests.backends.servers.certificates import Certificate
from tests.backends.servers.process import Process, answers_at_all, free_port

USER, PASSWORD = "cam", "Chrysantheme7"
RIGHTS = {
    USER: "elradfmwMT",
    "reader": "elr",
    "blind": "eladfmwMT",  # may not download
    "small": "elradfmwMT",  # has a home of SMALL_BYTES
}
SMALL_BYTES = 16 << 20


class Pyftpd:
    """Each user has a home of its own below `homes`."""

    def __init__(self, folder: Path, certificate: Certificate, port: int | None = None):
        """`folder` is empty and its own."""
        self.certificate = certificate
        self.port = port or free_port()
        self.homes = folder / "homes"
        for user in RIGHTS:
            (self.homes / user).mkdir(parents=True)
        command = [sys.executable, "-m", "tests.backends.servers.pyftpd", str(self.port), str(self.homes)]
        command += [str(certificate.certificate), str(certificate.key)]
        self.process = Process(command, folder / "log", lambda: answers_at_all(self.port))

    def close(self) -> None:
        self.process.kill()


def serve(port: int, homes: Path, certificate: str, key: str) -> None:
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.filesystems import AbstractedFS
    from pyftpdlib.handlers import TLS_FTPHandler
    from pyftpdlib.servers import FTPServer

    class Limited:
        """A file in the small home."""

        def __init__(self, file: Any):
            self._file = file

        def write(self, data: bytes) -> int:
            if sum(path.stat().st_size for path in (homes / "small").rglob("*")) + len(data) > SMALL_BYTES:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self._file.write(data))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    class FileSystem(AbstractedFS):  # type: ignore[misc]
        def open(self, filename: str, mode: str) -> Any:
            file = open(filename, mode, buffering=0)  # noqa: SIM115
            is_small = Path(filename).is_relative_to(homes / "small")
            return Limited(file) if is_small and "r" not in mode.replace("r+", "") else file

    class Handler(TLS_FTPHandler):  # type: ignore[misc]
        certfile = certificate
        keyfile = key
        tls_control_required = True
        tls_data_required = True
        abstracted_fs = FileSystem
        authorizer = DummyAuthorizer()
        auth_failed_timeout = 0
        max_login_attempts = 3

    for user, rights in RIGHTS.items():
        Handler.authorizer.add_user(user, PASSWORD, str(homes / user), perm=rights)
    FTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
