"""Debian's sshd: the SFTP server that most others are copies of.

Run by root, it logs its guests in as the user nobody, so that rights mean something; run by anybody else, as that
user. Nobody can reach the folders that pytest makes for root, so the data lie in a folder of their own, which `remove`
takes away.
"""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.backends.servers.process import Process, answers_at_all, free_port

PASSPHRASE = "correct horse"


class OpenSSH:
    def __init__(self, folder: Path, **settings: str):
        """`folder` is empty and its own. `settings` are of sshd_config, instead of ours; "" leaves one out."""
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise FileNotFoundError("sshd (openssh-server)")
        if shutil.which("ssh-keygen") is None:
            raise FileNotFoundError("ssh-keygen (openssh-client)")
        is_root = os.geteuid() == 0
        self.user = "nobody" if is_root else pwd.getpwuid(os.geteuid()).pw_name
        self.data = Path(tempfile.mkdtemp(prefix="hotshoe-sftp-"))
        self.data.chmod(0o755)
        self.port = free_port()
        self.host_key = folder / "host_key"
        self.key = folder / "key"
        self.stranger = folder / "stranger"
        for key in (self.host_key, self.key, self.stranger):
            make_key(key)
        self._authorized = self.data / "authorized_keys"  # read as the user
        self.authorize(self.key)
        if is_root:
            os.makedirs("/run/sshd", exist_ok=True)  # sshd wants it, and has no setting for it
        self._config = folder / "sshd_config"
        lines = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "HostKey": str(self.host_key),
            "PidFile": str(folder / "pid"),
            "AuthorizedKeysFile": str(self._authorized),
            "AuthorizedKeysCommand": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "MaxStartups": "100",
            "LoginGraceTime": "20",
            "ForceCommand": "internal-sftp -u 0022",
            "Subsystem": "sftp internal-sftp",
            **settings,
        }
        self._config.write_text("".join(f"{name} {value}\n" for name, value in lines.items() if value))
        command = [program, "-D", "-e", "-f", str(self._config)]
        self.process = Family(command, folder / "log", lambda: answers_at_all(self.port))

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.host_key)

    def authorize(self, key: Path) -> None:
        with self._authorized.open("a") as file:
            file.write(key.with_suffix(".pub").read_text())

    def known_host(self) -> str:
        """Return the line for a file of known hosts."""
        return f"[127.0.0.1]:{self.port} {self.host_key.with_suffix('.pub').read_text()}"

    def make_root(self, name: str) -> Path:
        root = self.data / name
        root.mkdir()
        if os.geteuid() == 0:
            shutil.chown(root, self.user)
        return root

    def remove(self) -> None:
        shutil.rmtree(self.data)


class Family(Process):
    """A server with a process for each guest, in a session of its own: all are stopped and ended together."""

    def kill(self) -> None:
        if self._child is not None:
            members = self._members()
            super().kill()
            for member in members[1:]:
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)

    def connections(self) -> list[int]:
        """Return the process ids that serve guests."""
        return self._members()[1:]

    def _signal(self, number: signal.Signals) -> None:
        for member in self._members():
            with suppress(ProcessLookupError):
                os.kill(member, number)

    def _members(self) -> list[int]:
        """The server first: once it is stopped it makes no further ones."""
        assert self._child is not None
        members = [self._child.pid]
        for member in members:
            members += _children_of(member)
        return members


def _children_of(parent: int) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(path.parent.name)


def make_key(path: Path, *arguments: str, passphrase: str = "") -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", str(path), *arguments]
    subprocess.run(command, check=True)


def fingerprint_of(key: Path) -> str:
    """As ssh-keygen -l shows it, reckoned without it and without asyncssh."""
    blob = base64.b64decode(key.with_suffix(".pub").read_text().split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
