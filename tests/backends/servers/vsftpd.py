"""vsftpd: the server that most Linux machines and many a NAS run. Strict about TLS sessions, without MLSD.

It needs root: it asks PAM for passwords, and PAM reads its rules from /etc/pam.d alone.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from tests.backends.servers.certificates import Certificate
from tests.backends.servers.process import Process, answers_at_all, executable, free_port

USER, PASSWORD = "cam", "Chrysantheme7"
READER = "reader"
"""Logs in with the same password and may change nothing."""


class Vsftpd:
    """`security` as in the settings of the backend. Below `home` lie the areas."""

    def __init__(self, folder: Path, certificate: Certificate, security: str = "explicit"):
        """FileNotFoundError for what is missing on this machine. `folder` is empty and its own."""
        program = executable("vsftpd") or ("/usr/sbin/vsftpd" if Path("/usr/sbin/vsftpd").exists() else None)
        if program is None:
            raise FileNotFoundError("vsftpd")
        if not any(Path("/").glob("usr/lib/*/security/pam_pwdfile.so")):
            raise FileNotFoundError("pam_pwdfile.so (libpam-pwdfile)")
        if os.geteuid() != 0:
            raise FileNotFoundError("root (vsftpd asks PAM for passwords)")
        self.certificate = certificate
        self.security = security
        self.port = free_port()
        self.home = folder / "home"
        self._folder = folder
        self._pam = Path(f"/etc/pam.d/hotshoe-vsftpd-{self.port}")
        self._lay_out()
        settings = folder / "vsftpd.conf"
        settings.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        self.process = ForkingProcess(
            [program, str(settings)], folder / "log", lambda: answers_at_all(self.port)
        )

    def close(self) -> None:
        self.process.kill()
        self._pam.unlink(missing_ok=True)

    def _lay_out(self) -> None:
        for name in ("home", "empty", "users"):
            (self._folder / name).mkdir()
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True
        ).stdout.strip()
        _remove_rules_without_passwords()
        passwords = self._folder / "passwords"
        passwords.write_text("".join(f"{user}:{hashed}\n" for user in (USER, READER)))
        self._pam.write_text(
            f"auth required pam_pwdfile.so pwdfile {passwords} nodelay\n"
            "account required pam_permit.so\nsession required pam_permit.so\n"
        )
        (self._folder / "users" / READER).write_text("write_enable=NO\n")

    def _settings(self) -> dict[str, object]:
        first = free_port(also=60)
        settings: dict[str, object] = {
            "listen": "YES",
            "listen_address": "127.0.0.1",
            "listen_port": self.port,
            "background": "NO",
            "anonymous_enable": "NO",
            "local_enable": "YES",
            "write_enable": "YES",
            "guest_enable": "YES",
            "guest_username": "root",  # who gets through pytest's private folders
            "virtual_use_local_privs": "YES",
            "local_root": self.home,
            "chroot_local_user": "YES",
            "allow_writeable_chroot": "YES",
            "pam_service_name": self._pam.name,
            "session_support": "NO",
            "secure_chroot_dir": self._folder / "empty",
            "user_config_dir": self._folder / "users",
            "seccomp_sandbox": "NO",
            "isolate_network": "NO",
            "pasv_min_port": first,
            "pasv_max_port": first + 60,
            "delay_failed_login": 0,
            "xferlog_enable": "NO",
            "no_log_lock": "YES",
        }
        if self.security == "none":
            return settings
        return settings | {
            "ssl_enable": "YES",
            "implicit_ssl": "YES" if self.security == "implicit" else "NO",
            "force_local_logins_ssl": "YES",
            "force_local_data_ssl": "YES",
            "require_ssl_reuse": "YES",
            # What few clients get right, so that one of ours is asked for it.
            "strict_ssl_read_eof": "YES" if self.security == "implicit" else "NO",
            "strict_ssl_write_shutdown": "YES" if self.security == "implicit" else "NO",
            "ssl_ciphers": "HIGH",
            "rsa_cert_file": self.certificate.certificate,
            "rsa_private_key_file": self.certificate.key,
        }


def _remove_rules_without_passwords() -> None:
    """What runs that were killed have left in /etc/pam.d, once their folders are gone."""
    for rules in Path("/etc/pam.d").glob("hotshoe-vsftpd-*"):
        match = re.search(r"pwdfile (\S+)", rules.read_text())
        if match is None or not Path(match[1]).exists():
            rules.unlink(missing_ok=True)


class ForkingProcess(Process):
    """A server with a process per connection: what happens to it happens to all of them."""

    def kill(self) -> None:
        if self._child is not None:
            self._child.send_signal(signal.SIGSTOP)  # so that it makes no more
            self._signal_children(signal.SIGKILL)
        super().kill()

    def pause(self) -> None:
        super().pause()
        self._signal_children(signal.SIGSTOP)

    def resume(self) -> None:
        """Sessions do not survive: vsftpd takes a child that stops for one that ends, and waits for it for ever."""
        self.end_sessions()
        super().resume()

    def end_sessions(self) -> None:
        self._signal_children(signal.SIGKILL)

    def _signal_children(self, number: signal.Signals) -> None:
        assert self._child is not None
        for pid in _descendants(self._child.pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            child = int(status.parent.name)
            found += [child, *_descendants(child)]
    return found
