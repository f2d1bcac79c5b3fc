"""The FTP destination at real servers: what differs between them, and what they say when they refuse."""

from __future__ import annotations

import ftplib
import os
import ssl
from typing import Any

import pytest

from agent.backends import FtpConfig, open_backend
from agent.backends.base import Entry, Exclusive, Proof
from agent.backends.ftp.tls import context_of
from agent.backends.ftp.tree import FtpTree
from agent.faults import Fault, Kind
from tests.backends.areas.ftp import PyftpdArea, VsftpdArea
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.servers import pyftpd, vsftpd
from tests.backends.servers.process import free_port
from tests.backends.servers.pyftpd import Pyftpd
from tests.backends.servers.vsftpd import ForkingProcess, Vsftpd

pytestmark = pytest.mark.server
MIB = 1 << 20


def tree_at(area: VsftpdArea | PyftpdArea, **changes: object) -> FtpTree:
    config = area.config(**changes)
    assert isinstance(config, FtpConfig)
    return FtpTree(config)


def refusal_of(area: VsftpdArea | PyftpdArea, **changes: object) -> Fault:
    backend = open_backend(area.config(**changes), owner="test")
    try:
        with pytest.raises(Fault) as refusal:
            deliver(backend, "x.jpg", content_of(1000))
    finally:
        backend.close()
    assert vsftpd.PASSWORD not in str(refusal.value)
    return refusal.value


# Encryption.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("mode", ["passive", "active"])
@pytest.mark.parametrize("trust", ["ca_bundle", "certificate_sha256"])
def test_vsftpd_sees_its_tls_session_again(
    monkeypatch: pytest.MonkeyPatch, vsftpd_explicit: Vsftpd, version: ssl.TLSVersion, mode: str, trust: str
) -> None:
    def limited(config: FtpConfig) -> ssl.SSLContext | None:
        context = context_of(config)
        assert context is not None
        context.minimum_version = context.maximum_version = version
        return context

    monkeypatch.setattr("agent.backends.ftp.connection.context_of", limited)
    area = VsftpdArea(vsftpd_explicit)
    pinned = {"ca_bundle": None, "certificate_sha256": vsftpd_explicit.certificate.sha256}
    backend = open_backend(area.config(mode=mode, **(pinned if trust != "ca_bundle" else {})), owner="test")
    content = content_of(2 * MIB + 1)
    deliver(backend, "x.jpg", content)
    backend.close()
    assert area.published() == {"x.jpg": content}


def test_vsftpd_does_insist_on_it(vsftpd_explicit: Vsftpd) -> None:
    """Else the test above would say nothing: ftplib alone does not get through."""
    context = ssl.create_default_context(cafile=vsftpd_explicit.certificate.certificate)
    stock = ftplib.FTP_TLS(context=context, timeout=5)
    stock.connect("127.0.0.1", vsftpd_explicit.port)
    stock.login(vsftpd.USER, vsftpd.PASSWORD)
    stock.prot_p()
    with pytest.raises((ssl.SSLError, OSError, ftplib.Error)):
        stock.nlst()
    stock.close()


def test_implicit_encryption(vsftpd_implicit: Vsftpd) -> None:
    area = VsftpdArea(vsftpd_implicit)
    backend = open_backend(area.config(), owner="test")
    check = backend.check()
    assert (check.fault, check.proof, check.exclusive) == (None, Proof.READBACK, Exclusive.CHECKED)
    content = content_of(2 * MIB + 1)
    deliver(backend, "ä/x.jpg", content)
    backend.close()
    assert area.published() == {"ä/x.jpg": content}


def test_who_may_log_in_how(vsftpd_explicit: Vsftpd, vsftpd_plain: Vsftpd, pyftpd_server: Pyftpd) -> None:
    encrypted, plain, other = VsftpdArea(vsftpd_explicit), VsftpdArea(vsftpd_plain), PyftpdArea(pyftpd_server)
    bare: dict[str, object] = {"security": "none", "ca_bundle": None, "certificate_sha256": None}
    unknown: dict[str, object] = {"ca_bundle": None, "certificate_sha256": None}
    wrong: dict[str, object] = {"ca_bundle": None, "certificate_sha256": "ab" * 32}
    for area, changes, code in (
        (encrypted, bare, "ftp.tls_required"),
        (other, bare, "ftp.tls_required"),
        (plain, {"security": "explicit"}, "ftp.no_tls"),
        (plain, {"security": "implicit"}, "ftp.no_tls"),
        (encrypted, {"security": "implicit"}, "ftp.no_tls"),
        (encrypted, unknown, "ftp.certificate_unknown"),
        (other, unknown, "ftp.certificate_unknown"),
        (encrypted, {"host": "127.0.0.2"}, "ftp.unreachable"),
        (encrypted, wrong, "ftp.wrong_fingerprint"),
        (other, wrong, "ftp.wrong_fingerprint"),
        (encrypted, {"password": "wrong"}, "ftp.wrong_password"),
        (plain, {"password": "wrong"}, "ftp.wrong_password"),
        (other, {"password": "wrong"}, "ftp.wrong_password"),
        (encrypted, {"user": "nobody"}, "ftp.wrong_password"),
        (encrypted, {"password": None}, "ftp.wrong_password"),
        (encrypted, {"port": free_port()}, "ftp.unreachable"),
    ):
        assert refusal_of(area, **changes).code == code, (area, changes)


def test_what_a_login_may_not_do(vsftpd_explicit: Vsftpd, pyftpd_server: Pyftpd) -> None:
    first, other = VsftpdArea(vsftpd_explicit), PyftpdArea(pyftpd_server)
    blind: dict[str, object] = {"user": "blind", "path": ""}
    for area, changes, code in (
        (first, {"user": vsftpd.READER}, "ftp.forbidden"),
        (other, {"user": "reader", "path": ""}, "ftp.forbidden"),
        (other, blind, "ftp.not_readable"),
        (first, {"path": "/nowhere"}, "ftp.missing"),
        (other, {"path": "/nowhere"}, "ftp.missing"),
    ):
        fault = refusal_of(area, **changes)
        assert (fault.code, fault.kind) == (code, Kind.NEEDS_USER)
    backend = open_backend(other.config(minimum_proof="size", **blind), owner="test")
    check = backend.check()
    assert (check.fault, check.proof) == (None, Proof.SIZE), "as the hint says"
    assert deliver(backend, "seen.jpg", b"content", "token9").proof is Proof.SIZE
    backend.close()


def test_a_full_disk_at_pyftpdlib(pyftpd_server: Pyftpd) -> None:
    """It stops without a word, and so it is an outage like others: a wait, and it mends."""
    area = PyftpdArea(pyftpd_server)
    backend = open_backend(area.config(user="small", path=""), owner="test")
    with pytest.raises(Fault) as refusal:
        deliver(backend, "x.mp4", content_of(pyftpd.SMALL_BYTES) + content_of(MIB))
    assert refusal.value.code in ("ftp.timeout", "ftp.closed")
    backend.drop("x.mp4", "token1")
    deliver(backend, "x.jpg", content_of(MIB))
    backend.close()


# Locks, cuts, listings.


def test_a_file_that_another_connection_holds(vsftpd_plain: Vsftpd) -> None:
    area = VsftpdArea(vsftpd_plain)
    holder, other = tree_at(area), tree_at(area, read_timeout_seconds=1)
    writer = holder.open((".hotshoe-a.part",), 0)
    writer.write(memoryview(b"half"))
    for attempt in (
        lambda: other.open((".hotshoe-a.part",), 1),
        lambda: list(other.read((".hotshoe-a.part",))),
    ):
        with pytest.raises(Fault) as refusal:
            attempt()
        assert refusal.value.code == "ftp.busy"
        assert other.is_usable
    other.make_folders(())
    writer.finish()
    assert other.size((".hotshoe-a.part",)) == 4
    holder.close()
    other.close()


def test_a_dead_connection_that_holds_the_partial_does_not_stop_the_upload(vsftpd_explicit: Vsftpd) -> None:
    """The way it goes after Wi-Fi was lost: the server still serves a connection that nobody has."""
    area = VsftpdArea(vsftpd_explicit)
    content = content_of(3 * MIB)
    lost = tree_at(area)
    writer = lost.open((".hotshoe-token1.part",), 0)
    writer.write(memoryview(content)[:MIB])
    backend = open_backend(area.config(read_timeout_seconds=1), owner="test")
    upload = backend.start("x.mp4", len(content), "token1")
    assert upload.token != "token1"
    send(upload, content)
    upload.commit(digests_of(content))
    upload.close()
    backend.close()
    assert area.published() == {"x.mp4": content}
    assert area.partials() == []
    writer.write(memoryview(content)[MIB:])
    writer.close()
    lost.close()
    assert area.published() == {"x.mp4": content}, "what the lost one still writes harms nobody"


@pytest.mark.parametrize("sent", [1, 65_537, MIB + 1])
def test_goes_on_after_the_session_was_killed(vsftpd_explicit: Vsftpd, sent: int) -> None:
    area = VsftpdArea(vsftpd_explicit)
    content = content_of(2 * MIB)
    tree = tree_at(area)
    writer = tree.open((".hotshoe-token1.part",), 0)
    writer.write(memoryview(content)[:sent])
    assert isinstance(vsftpd_explicit.process, ForkingProcess)
    vsftpd_explicit.process.end_sessions()
    writer.close()
    tree.close()
    backend = open_backend(area.config(), owner="test")
    upload = backend.start("x.mp4", len(content), "token1")
    assert upload.offset <= sent
    send(upload, content)
    upload.commit(digests_of(content))
    upload.close()
    backend.close()
    assert area.published() == {"x.mp4": content}


@pytest.mark.parametrize("server", ["vsftpd_explicit", "pyftpd_server"])
def test_listings(request: pytest.FixtureRequest, server: str) -> None:
    """By MLSD at one, by names and sizes at the other: the same comes of it."""
    running: Any = request.getfixturevalue(server)
    area = VsftpdArea(running) if isinstance(running, Vsftpd) else PyftpdArea(running)
    area.plant("b/c/x.jpg", b"1")
    area.plant("b/-la * ? [x].jpg", b"12")
    area.plant("b/.hotshoe-y", b"123")
    area.plant("b/ Größe.jpg", b"1234")
    tree = tree_at(area)
    assert {(entry.name, entry.is_folder, entry.size) for entry in tree.list(("b",))} == {
        ("c", True, None),
        ("-la * ? [x].jpg", False, 2),
        (".hotshoe-y", False, 3),
        (" Größe.jpg", False, 4),
    }
    assert list(tree.list(("b", "c"))) == [Entry(name="x.jpg", is_folder=False, size=1)]
    assert list(tree.list(("b", "nowhere"))) == []
    tree.close()


def test_blocked_by_a_file(vsftpd_explicit: Vsftpd, pyftpd_server: Pyftpd) -> None:
    for area in (VsftpdArea(vsftpd_explicit), PyftpdArea(pyftpd_server)):
        area.plant("a", b"a file")
        tree = tree_at(area)
        for folders in (("a",), ("a", "b")):
            with pytest.raises(Fault) as refusal:
                tree.make_folders(folders)
            assert refusal.value.code == "ftp.blocked"
        with pytest.raises(Fault) as refusal:
            tree.make_folders(("n" * 300,))
        assert refusal.value.code == "ftp.refused_name"
        assert area.published() == {"a": b"a file"}
        assert os.listdir(area.root) == ["a"]
        tree.close()
