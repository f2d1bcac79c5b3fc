"""What is particular to SFTP: ways to log in, where things lie, what a rename is worth, and the settings."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from pydantic import ValidationError

from agent.backends import SftpConfig, open_backend
from agent.backends.base import Exclusive, Presence
from agent.backends.remote import NO_FILE
from agent.backends.sftp.faults import FAULTS
from agent.faults import Fault, Kind, Scope
from tests.backends.areas.sftp import OpenSSHArea
from tests.backends.conformance import deliver
from tests.backends.servers.openssh import PASSPHRASE, OpenSSH, make_key
from tests.backends.servers.ssh_in_process import Files, Guard
from tests.backends.sftp_places import backend_at, in_process, tree_at

server = pytest.mark.server
MIB = 1 << 20


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def area(openssh: OpenSSH) -> OpenSSHArea:
    return OpenSSHArea(openssh)


# Logging in.


@server
@pytest.mark.parametrize("kind", ["RFC4716", "PEM", "PKCS8"])
def test_a_key_with_a_passphrase(stack: ExitStack, tmp_path: Path, kind: str) -> None:
    key = tmp_path / "locked"
    make_key(key, "-t", "rsa", "-m", kind, passphrase=PASSPHRASE)
    folder = tmp_path / "server"
    folder.mkdir()
    running = OpenSSH(folder)
    stack.callback(running.remove)
    running.authorize(key)
    running.process.start()
    stack.callback(running.process.kill)
    backend = backend_at(stack, OpenSSHArea(running), key_file=key, key_passphrase=PASSPHRASE)
    deliver(backend, "x.jpg", b"content")


@server
@pytest.mark.parametrize("way", ["password", "question"])
def test_a_password(stack: ExitStack, tmp_path: Path, way: str) -> None:
    guard = type("Asking", (Guard,), {"ways": {way}})
    config = in_process(stack, tmp_path / "root", guard)
    backend = open_backend(config, owner="test")
    stack.callback(backend.close)
    deliver(backend, "x.jpg", b"content")
    assert (tmp_path / "root/x.jpg").read_bytes() == b"content"


@server
@pytest.mark.parametrize("is_hashed", [False, True])
def test_known_hosts(stack: ExitStack, area: OpenSSHArea, tmp_path: Path, is_hashed: bool) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(area.server.known_host())
    if is_hashed:
        subprocess.run(["ssh-keygen", "-H", "-f", str(known)], check=True, capture_output=True)
        assert "127.0.0.1" not in known.read_text()
    deliver(backend_at(stack, area, host_key=None, known_hosts_file=known), "x.jpg", b"content")


@server
def test_nothing_of_the_user_is_used(
    stack: ExitStack, area: OpenSSHArea, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither ~/.ssh, which knows the server and would lead elsewhere, nor an agent."""
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "known_hosts").write_text(area.server.known_host())
    (ssh / "config").write_text("Host *\n  HostName 192.0.2.1\n  ProxyCommand /bin/false\n")
    shutil.copy(area.server.key, ssh / "id_ed25519")
    agent = stack.enter_context(socket.socket(socket.AF_UNIX))
    agent.bind(str(tmp_path / "agent"))
    agent.listen()
    agent.setblocking(False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))

    deliver(backend_at(stack, area), "x.jpg", b"content")
    for changes, code in (
        ({"host_key": None}, "sftp.unknown_host_key"),
        ({"key_file": None, "password": "x"}, "sftp.login_kind"),
    ):
        with pytest.raises(Fault) as refusal:
            backend_at(stack, area, **changes).browse("")
        assert refusal.value.code == code
    with pytest.raises(BlockingIOError):
        agent.accept()


# Where things lie.


@server
@pytest.mark.parametrize(("path", "below"), [("", ""), ("in/side", "in/side"), ("/in/side", "in/side")])
def test_the_folder(stack: ExitStack, tmp_path: Path, path: str, below: str) -> None:
    """The server shows its guests `root` alone, as a chroot does."""
    (tmp_path / "root/in/side").mkdir(parents=True)
    config = in_process(stack, tmp_path / "root", path=path)
    backend = open_backend(config, owner="test")
    stack.callback(backend.close)
    receipt = deliver(backend, "a/x.jpg", b"content")
    assert (tmp_path / "root" / below / "a/x.jpg").read_bytes() == b"content"
    shown = "/".join(each for each in (f"sftp://127.0.0.1:{config.port}", below, "a/x.jpg") if each)
    assert receipt.location == shown


@server
def test_a_link_is_no_file(stack: ExitStack, area: OpenSSHArea) -> None:
    area.plant("real.jpg", b"content")
    (area.root / "link.jpg").symlink_to("real.jpg")
    (area.root / "folder").mkdir()
    tree = tree_at(stack, area.config())
    assert [tree.size((name,)) for name in ("real.jpg", "link.jpg", "folder", "none")] == [
        7,
        NO_FILE,
        NO_FILE,
        None,
    ]
    assert backend_at(stack, area).find("link.jpg", 7, None).presence is Presence.DIFFERENT


@server
def test_a_long_listing_is_not_read_to_its_end(stack: ExitStack, tmp_path: Path) -> None:
    asked: list[bytes] = []

    class Endless(Files):
        async def scandir(self, path: bytes) -> Any:
            for number in range(1_000_000):
                asked.append(path)
                yield asyncssh.SFTPName(b"%d.jpg" % number, attrs=asyncssh.SFTPAttrs(permissions=0o100644))

    backend = open_backend(in_process(stack, tmp_path / "root", files=Endless), owner="test")
    stack.callback(backend.close)
    assert len(backend.browse("")) == 1000
    assert len(asked) < 3000


@server
def test_names_that_are_not_utf8_are_shown(stack: ExitStack, area: OpenSSHArea) -> None:
    path = os.fsencode(area.root) + b"/caf\xe9.jpg"
    with open(path, "wb"):
        pass
    assert [entry.name for entry in backend_at(stack, area).browse("")] == [
        "caf\N{REPLACEMENT CHARACTER}.jpg"
    ]


# Publishing.


@server
def test_a_server_that_replaces_is_found_out(stack: ExitStack, tmp_path: Path) -> None:
    class Replacing(Files):
        def rename(self, oldpath: bytes, newpath: bytes) -> None:
            os.replace(self.map_path(oldpath), self.map_path(newpath))

    backend = open_backend(in_process(stack, tmp_path / "root", files=Replacing), owner="test")
    stack.callback(backend.close)
    check = backend.check()
    assert (check.fault, check.exclusive) == (None, Exclusive.CHECKED)
    (tmp_path / "root/x.jpg").write_bytes(b"theirs")
    with pytest.raises(Fault) as refusal:
        deliver(backend, "x.jpg", b"ours")
    assert refusal.value.code == "sftp.exists"
    assert (tmp_path / "root/x.jpg").read_bytes() == b"theirs"


@server
def test_a_server_that_looks_first_is_not_called_atomic(stack: ExitStack, tmp_path: Path) -> None:
    """asyncssh's own does: it refuses, but not in one step."""
    backend = open_backend(in_process(stack, tmp_path / "root"), owner="test")
    stack.callback(backend.close)
    check = backend.check()
    assert (check.fault, check.exclusive) == (None, Exclusive.CHECKED)
    assert os.listdir(tmp_path / "root") == []


@server
def test_where_no_hard_link_can_be_made_nothing_is_called_atomic(stack: ExitStack, tmp_path: Path) -> None:
    """As on FAT; there, OpenSSH looks and renames then."""
    running = OpenSSH(tmp_path, ForceCommand="internal-sftp -P hardlink")
    stack.callback(running.remove)
    running.process.start()
    stack.callback(running.process.kill)
    area = OpenSSHArea(running)
    check = backend_at(stack, area).check()
    assert (check.fault, check.exclusive) == (None, Exclusive.CHECKED)
    assert os.listdir(area.root) == []


# Faults and settings.


def test_who_acts_next() -> None:
    """Outages are waits of the whole destination; what one file cannot do stops no other."""
    people = {code for code, advice in FAULTS.items() if advice.kind is Kind.NEEDS_USER}
    assert {"sftp.wrong_password", "sftp.host_key_changed", "sftp.missing", "sftp.no_permission"} <= people
    assert all(FAULTS[code].scope is Scope.WHOLE for code in people)
    assert all(advice.scope is Scope.ITEM for advice in FAULTS.values() if advice.kind is Kind.PERMANENT)


SETTINGS = {"host": "nas.local", "user": "cam", "password": "hush"}


@pytest.mark.parametrize(
    "changes",
    [
        {"password": None},
        {"password": ""},
        {"host": ""},
        {"host": "sftp://nas.local"},
        {"host": "cam@nas.local"},
        {"host": "nas.local/photos"},
        {"port": 0},
        {"path": "a/../../b"},
        {"path": "~/photos"},
        {"path": "a\0b"},
        {"host_key": "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48"},
        {"host_key": "SHA256:short"},
        {"host_key": f"SHA256:{'a' * 43}", "known_hosts_file": "known_hosts"},
        {"key_passphrase": "hush"},
        {"read_timeout_seconds": 0},
        {"minimum_proof": "checksum"},
    ],
)
def test_bad_settings(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refusal:
        SftpConfig.model_validate({**SETTINGS, **changes})
    assert "hush" not in repr(SftpConfig.model_validate(SETTINGS))
    assert refusal.value.error_count() == 1


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", ""),
        ("photos/", "photos"),
        ("./photos//raw", "photos/raw"),
        ("/", "/"),
        ("/volume1/photos/", "/volume1/photos"),
    ],
)
def test_ways_to_write_a_folder(written: str, meant: str) -> None:
    assert SftpConfig.model_validate({**SETTINGS, "path": written}).path == meant


def test_an_address_in_brackets() -> None:
    assert SftpConfig.model_validate({**SETTINGS, "host": "[fe80::1]"}).host == "fe80::1"
