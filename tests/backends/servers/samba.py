"""Samba: one smbd with a share for each thing that can be asked of one. Signing is mandatory everywhere.

It runs as whoever runs the tests. Its accounts are names of its own, mapped to Unix users that every machine has;
only the first can get at files, the others exist to be turned away.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.backends.servers.process import Process, answers_at_all, executable, free_port

USER = "camuser"
PASSWORD = "pw123 with ä"

# The Unix user behind an account, and what `pdbedit` is told of it; nothing: it has to change its password.
TURNED_AWAY = {
    "disabled": ("bin", ["-c", "[D]"]),
    "locked": ("daemon", ["-c", "[L]"]),
    "expired": ("games", ["--kickoff-time=1"]),
    "renew": ("mail", []),
}

_GLOBAL = """\
[global]
  server role = standalone server
  smb ports = {port}
  disable netbios = yes
  bind interfaces only = yes
  interfaces = 127.0.0.1/8
  lock directory = {folder}/lock
  state directory = {folder}/state
  cache directory = {folder}/cache
  private dir = {folder}/private
  pid directory = {folder}/run
  ncalrpc dir = {folder}/run/ncalrpc
  log file = {folder}/smbd.log
  passdb backend = tdbsam:{folder}/private/passdb.tdb
  username map = {folder}/users.map
  server min protocol = SMB2
  server signing = mandatory
  load printers = no
  printing = bsd
  printcap name = /dev/null
  disable spoolss = yes
  max stat cache size = 0
"""


class Smbd(Process):
    """One process group: the listener, its helpers, and one process per connection."""

    def kill(self) -> None:
        if self._child is not None:
            os.killpg(self._child.pid, signal.SIGKILL)
        super().kill()

    def connections(self) -> list[int]:
        """Return the ids of the processes that serve a connection."""
        assert self._child is not None
        return [pid for pid in _children(self._child.pid) if _serves(pid)]

    def end_connections(self) -> None:
        """End the processes that serve one, the hard way; the listener lives on."""
        for pid in self.connections():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        os.killpg(self._child.pid, number)


class Samba:
    """Serves folders of its own as shares; `extra` goes into the global section and wins."""

    def __init__(self, folder: Path, shares: dict[str, str], extra: str = ""):
        """`shares`: name → further lines. Each share is the folder of that name below `folder`/shares."""
        program = executable("smbd") or _in_sbin("smbd")
        if program is None:
            raise FileNotFoundError("smbd (Debian's samba)")
        self.folder = folder
        self.port = free_port()
        for name in ("lock", "state", "cache", "private", "run/ncalrpc"):
            (folder / name).mkdir(parents=True)
        self._settings = folder / "smb.conf"
        text = _GLOBAL.format(port=self.port, folder=folder) + extra
        for name, lines in shares.items():
            self.share(name).mkdir(parents=True, exist_ok=True)
            text += f"[{name}]\n  path = {self.share(name)}\n  read only = no\n{lines}\n"
        self._settings.write_text(text)
        owner = pwd.getpwuid(os.geteuid()).pw_name
        accounts = {USER: owner} | {name: unix for name, (unix, _) in TURNED_AWAY.items()}
        (folder / "users.map").write_text("".join(f"{unix} = {name}\n" for name, unix in accounts.items()))
        self._account(owner)
        self.process: Smbd = Smbd(
            [program, "--foreground", "-s", str(self._settings), "--debug-stdout"],
            folder / "log",
            lambda: answers_at_all(self.port),
        )

    def share(self, name: str) -> Path:
        return self.folder / "shares" / name

    def turn_away(self, name: str) -> None:
        """Make one of the accounts that cannot log in."""
        unix, arguments = TURNED_AWAY[name]
        self._account(unix)
        if arguments:
            self._run("pdbedit", ["-r", "-u", unix, *arguments])
        else:
            self._run("net", ["sam", "set", "pwdmustchangenow", unix, "yes"])

    def _account(self, unix: str) -> None:
        self._run("pdbedit", ["-a", "-t", "-u", unix], f"{PASSWORD}\n{PASSWORD}\n")

    def _run(self, name: str, arguments: list[str], answers: str = "") -> None:
        program = executable(name)
        if program is None:
            raise FileNotFoundError(f"{name} (Debian's samba)")
        command = [program, "-s", str(self._settings), *arguments]
        done = subprocess.run(command, input=answers, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def _in_sbin(name: str) -> str | None:
    """Find what is not on the path of a user without rights."""
    path = Path("/usr/sbin") / name
    return str(path) if path.exists() else None


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _serves(pid: int) -> bool:
    """Say whether a child of smbd serves a client: its helpers have names of their own."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "smbd"
    except OSError:  # it has just ended
        return False
