"""From an address to an open SFTP session: the server proves itself first, then the user does.

Imports asyncssh, so it is imported with the first connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import asyncssh

from agent.backends.sftp.config import SftpConfig
from agent.backends.sftp.faults import FAULTS
from agent.faults import Fault, fault

logging.getLogger("asyncssh").setLevel(logging.WARNING)  # it tells of every connection

_KEEPALIVES = 3  # that may stay without an answer
_LARGEST_KEY_BYTES = 1 << 20

_CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,chacha20-poly1305@openssh.com"
"""asyncssh's own choice begins with chacha20, which costs it more than twice the processor time: two cipher contexts
are made for each 32 KiB (2.24: 8.6 s per GiB sent, and 3.4 s with aes128-gcm)."""


class Visitor(asyncssh.SSHClient):
    """Answers what a server asks on the way in, and remembers it, to tell what went wrong."""

    def __init__(self, config: SftpConfig, known: asyncssh.SSHKnownHosts | None, key: asyncssh.SSHKey | None):
        self.refused_host_key: Fault | None = None
        self.was_asked: set[str] = set()
        self._config = config
        self._known = known
        self._key = key

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked about every key that is not among the known hosts."""
        shown = key.get_fingerprint()
        if self._config.host_key is not None:
            if shown == self._config.host_key:
                return True
            code = "sftp.host_key_changed"
        else:
            is_known = self._known is not None and any(self._known.match(host, addr, port)[:2])
            code = "sftp.host_key_changed" if is_known else "sftp.unknown_host_key"
        self.refused_host_key = fault(FAULTS, code, f"{host} shows {shown} ({key.get_algorithm()})")
        return False

    def public_key_auth_requested(self) -> asyncssh.SSHKey | None:
        key, self._key = self._key, None
        if key is not None:
            self.was_asked.add("key")
        return key

    def password_auth_requested(self) -> str | None:
        return self._password("password")

    def kbdint_auth_requested(self) -> str | None:
        return None if self._config.password is None else ""

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        """Give the password to the one hidden question that a password server asks, in whatever language."""
        if not prompts:
            return []
        if len(prompts) > 1 or prompts[0][1]:
            return None
        password = self._password("question")
        return None if password is None else [password]

    def _password(self, way: str) -> str | None:
        """Return the password once for each way: asked again, it was wrong."""
        if self._config.password is None or way in self.was_asked:
            return None
        self.was_asked.add(way)
        return self._config.password.get_secret_value()

    def refusal(self) -> str:
        """Return the code of what was not good enough."""
        if self.was_asked & {"password", "question"}:
            return "sftp.wrong_password"
        return "sftp.key_refused" if "key" in self.was_asked else "sftp.login_kind"


async def log_in(config: SftpConfig) -> tuple[Any, Any]:
    """Return the connection and its SFTP client. Raises Fault, or what asyncssh and the sockets raise."""
    loop = asyncio.get_running_loop()
    key = await loop.run_in_executor(None, read_key, config)
    known = await loop.run_in_executor(None, read_known_hosts, config)
    visitor = Visitor(config, known, key)
    try:
        async with asyncio.timeout(config.connect_timeout_seconds):
            connection = await asyncssh.connect(
                config.host,
                config.port,
                # None and the lists are said out loud: left out, each would be looked for in ~/.ssh.
                config=None,
                known_hosts=known if known is not None else ([], [], []),
                client_keys=None,
                agent_path=None,
                pkcs11_provider=None,
                x509_trusted_certs=None,
                x509_trusted_cert_paths=[],
                gss_host=None,
                host_based_auth=False,
                client_factory=lambda: visitor,
                username=config.user,
                encryption_algs=_CIPHERS,
                compression_algs=None,  # photos are compressed
                preferred_auth="publickey,password,keyboard-interactive",
                login_timeout=0,  # ours is around it, and is told from a server that hangs up
                keepalive_interval=config.read_timeout_seconds,
                keepalive_count_max=_KEEPALIVES,
            )
    except asyncssh.HostKeyNotVerifiable:
        if visitor.refused_host_key is None:  # revoked, or a certificate that nobody vouches for
            raise
        raise visitor.refused_host_key from None
    except asyncssh.PermissionDenied as error:
        raise fault(FAULTS, visitor.refusal(), f"user {config.user}") from error
    except (asyncssh.ConnectionLost, ConnectionResetError, BrokenPipeError) as error:
        raise fault(FAULTS, "sftp.hung_up", str(error)) from error
    try:
        client = await connection.start_sftp_client(path_encoding=None)
    except BaseException as error:
        connection.abort()
        if isinstance(error, asyncssh.SFTPError):  # a shell's greeting instead of the protocol, or nothing
            raise fault(FAULTS, "sftp.no_sftp", str(error)) from error
        raise
    return connection, client


def read_key(config: SftpConfig) -> asyncssh.SSHKey | None:
    path = config.key_file
    if path is None:
        return None
    passphrase = config.key_passphrase.get_secret_value() if config.key_passphrase else ""
    content = b""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_KEY_BYTES)
        return asyncssh.import_private_key(content, passphrase)
    except (OSError, ValueError) as error:
        # OpenSSH's own format has an error of its own for a wrong passphrase, the older ones only say "ENCRYPTED".
        is_locked = isinstance(error, asyncssh.KeyEncryptionError) or b"ENCRYPTED" in content
        code = "sftp.wrong_passphrase" if is_locked else "sftp.key_unreadable"
        raise fault(FAULTS, code, f"{path}: {error}") from error


def read_known_hosts(config: SftpConfig) -> asyncssh.SSHKnownHosts | None:
    if config.known_hosts_file is None:
        return None
    try:
        return asyncssh.read_known_hosts(str(config.known_hosts_file))
    except (OSError, ValueError) as error:
        raise fault(
            FAULTS, "sftp.known_hosts", f"{config.known_hosts_file}: {type(error).__name__}"
        ) from error
