"""SFTP servers and connections for single tests, all of which end with the test's stack."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncssh
import pytest

from agent.backends import SftpConfig, open_backend
from agent.backends.base import Backend
from agent.backends.sftp.loop import Loop
from agent.backends.sftp.tree import SftpTree
from agent.faults import Fault
from tests.backends.areas.sftp import OpenSSHArea
from tests.backends.conformance import content_of, deliver
from tests.backends.servers.openssh import OpenSSH
from tests.backends.servers.ssh_in_process import PASSWORD, USER, Files, Guard, InProcess


def backend_at(stack: ExitStack, area: OpenSSHArea, **changes: object) -> Backend:
    backend = open_backend(area.config(**changes), owner="test")
    stack.callback(backend.close)
    return backend


def tree_at(stack: ExitStack, config: object) -> SftpTree:
    assert isinstance(config, SftpConfig)
    loop = Loop("sftp-test")
    stack.callback(loop.close)
    return SftpTree(config, loop)


def in_process(
    stack: ExitStack,
    root: Path,
    guard: type[Guard] = Guard,
    files: type[Files] | None = Files,
    **changes: object,
) -> SftpConfig:
    root.mkdir(exist_ok=True)
    running = InProcess(guard, type("Rooted", (files,), {"root": root}) if files else None)
    stack.callback(running.stop)
    settings: dict[str, object] = {
        "host": "127.0.0.1",
        "port": running.port,
        "user": USER,
        "password": PASSWORD,
        "host_key": running.fingerprint,
        "connect_timeout_seconds": 5,
        "read_timeout_seconds": 5,
    }
    return SftpConfig.model_validate({**settings, **changes})


def fault_of(call: Callable[[], object]) -> Fault:
    with pytest.raises(Fault) as caught:
        call()
    return caught.value


def delivery_fault(backend: Backend, size: int = 1000, key: str = "a/x.jpg") -> Fault:
    return fault_of(lambda: deliver(backend, key, content_of(size)))


class Places:
    """What a provocation needs; all of it is taken down with the test."""

    def __init__(self, openssh: OpenSSH, folder: Path, stack: ExitStack):
        self.openssh = openssh
        self.folder = folder
        self.stack = stack
        self.area = OpenSSHArea(openssh)
        stack.callback(self.area.close)

    def backend(self, **changes: object) -> Backend:
        """At Debian's sshd."""
        backend = open_backend(self.area.config(**changes), owner="test")
        self.stack.callback(backend.close)
        return backend

    def fault(self, **changes: object) -> Fault:
        return fault_of(lambda: self.backend(**changes).browse(""))

    def another(self, **settings: str) -> Backend:
        """At another sshd with these settings."""
        folder = self.folder / "another"
        folder.mkdir()
        server = OpenSSH(folder, **settings)
        self.stack.callback(server.remove)
        server.process.start()
        self.stack.callback(server.process.kill)
        self.area = OpenSSHArea(server)
        return self.backend()

    def in_process(
        self, guard: type[Guard] = Guard, files: type[Files] | None = Files, **changes: object
    ) -> Backend:
        """At a server that behaves as told."""
        config = in_process(self.stack, self.folder / "root", guard, files, **changes)
        backend = open_backend(config, owner="test")
        self.stack.callback(backend.close)
        return backend


@contextmanager
def says(text: bytes, *, stays: bool) -> Iterator[int]:
    """Yield the port of something that greets with `text` and then says no more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        guests: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    guest, _ = listener.accept()
                except OSError:
                    return
                guest.sendall(text)
                if stays:
                    guests.append(guest)
                else:
                    guest.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for guest in guests:
                guest.close()


def status(code: int) -> Exception:
    """Return an answer of this status; asyncssh's own server would say "failure" for those of later protocols."""

    class Said(asyncssh.SFTPError):
        def encode(self, version: int) -> bytes:
            return code.to_bytes(4, "big") + bytes(8)

    return Said(code, "")
