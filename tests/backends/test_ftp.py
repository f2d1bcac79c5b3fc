"""What an FTP destination does with servers of all ages; at a small server that tells what it was asked."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.backends import FtpConfig, open_backend
from agent.backends.base import Entry, Exclusive
from agent.backends.ftp.listing import entry_of, ls_entries_of, name_of
from agent.backends.ftp.tree import FtpTree
from agent.backends.remote import NO_FILE
from agent.faults import Fault
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.servers.certificates import make_certificate
from tests.backends.servers.process import free_port
from tests.backends.servers.scripted_ftp import (
    HANG_UP,
    IN_EARNEST,
    SILENCE,
    Answer,
    ScriptedFtp,
    _Session,
    scripted_ftp,
)
from tests.backends.test_ftp_faults import HERE, config_for

pytestmark = pytest.mark.link
MIB = 1 << 20
PART = HERE + ".hotshoe-token1.part"


def open_tree(server: ScriptedFtp, **changes: object) -> FtpTree:
    return FtpTree(config_for(server, **changes))


def put(tree: FtpTree, name: str, content: bytes) -> None:
    writer = tree.open((name,), 0)
    writer.write(memoryview(content))
    writer.finish()


# Going on after a cut.


@pytest.mark.parametrize("cut", [1, 777, 65_537, MIB - 1, MIB, MIB + 1, 2 * MIB + 12_345])
def test_goes_on_in_the_middle_of_a_chunk(cut: int) -> None:
    content = content_of(3 * MIB)
    with scripted_ftp() as server:
        backend = open_backend(config_for(server, read_timeout_seconds=5), owner="test")
        server.cut_after = cut
        with pytest.raises(Fault) as refusal:
            deliver(backend, "x.mp4", content)
        assert refusal.value.code == "ftp.closed"
        assert len(server.files[PART]) == cut

        upload = backend.start("x.mp4", len(content), "token1")
        assert upload.offset == cut
        send(upload, content)
        upload.commit(digests_of(content))
        upload.close()
        backend.close()
        assert f"REST {cut}" in server.said
        assert server.files == {HERE + "x.mp4": content}


def test_goes_on_by_appending_where_rest_is_not_known() -> None:
    content = content_of(MIB)
    with scripted_ftp({"REST": "502 what?"}) as server:
        server.files[PART] = content[:1000]
        backend = open_backend(config_for(server), owner="test")
        deliver(backend, "x.mp4", content)
        backend.close()
        assert server.files == {HERE + "x.mp4": content}
        assert any(said.startswith("APPE") for said in server.said)


def test_goes_on_where_stor_is_refused_after_rest() -> None:
    """ProFTPD without AllowStoreRestart."""
    asked = []

    def refuse_to_go_on(argument: str) -> str:
        asked.append(argument)
        return "451 Append/Restart not permitted, try again" if len(asked) == 1 else IN_EARNEST

    with scripted_ftp({"STOR": refuse_to_go_on, "APPE": "451 not permitted either"}) as server:
        server.files[PART] = b"half of an old one"
        backend = open_backend(config_for(server), owner="test")
        upload = backend.start("x.mp4", MIB, "token1")
        assert upload.offset == 0
        send(upload, content_of(MIB))
        upload.commit(digests_of(content_of(MIB)))
        upload.close()
        backend.close()
        assert server.files == {HERE + "x.mp4": content_of(MIB)}


def test_what_waits_for_a_server_that_was_given_up_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could arrive behind what a later connection has appended."""
    may_read = threading.Event()
    ended: list[str] = []

    def stalled(session: object, verb: str, path: str, data: socket.socket) -> None:
        may_read.wait(20)
        try:
            while data.recv(MIB):
                pass
        except ConnectionResetError:
            ended.append("cut")
        else:
            ended.append("as if it were whole")

    monkeypatch.setattr(_Session, "_store", stalled)
    with scripted_ftp() as server:
        tree = open_tree(server)
        writer = tree.open(("x.mp4",), 0)
        with pytest.raises(Fault) as refusal:
            for _ in range(64):
                writer.write(memoryview(content_of(MIB)))
        assert refusal.value.code == "ftp.timeout"
        may_read.set()
        tree.close()
    assert ended == ["cut"]


def test_a_server_that_refuses_to_replace_is_looked_at_all_the_same() -> None:
    """It too looks first and renames then."""
    with scripted_ftp() as server:
        server.answers["RNTO"] = lambda path: "553 is there" if path in server.files else IN_EARNEST
        backend = open_backend(config_for(server), owner="test")
        check = backend.check()
        backend.close()
        assert (check.fault, check.exclusive) == (None, Exclusive.CHECKED)
        assert server.files == {}


def test_a_download_that_is_cut() -> None:
    with scripted_ftp() as server:
        server.files[HERE + "x.jpg"] = content_of(MIB)
        tree = open_tree(server)
        server.cut_after = 1000
        with pytest.raises(Fault) as refusal:
            list(tree.read(("x.jpg",)))
        assert refusal.value.code == "ftp.closed"
        assert not tree.is_usable
        tree.close()


def test_a_download_that_is_not_wanted_to_its_end() -> None:
    with scripted_ftp() as server:
        server.files[HERE + "x.jpg"] = content_of(8 * MIB)
        tree = open_tree(server)
        for _ in tree.read(("x.jpg",)):
            break
        assert not tree.is_usable, "what comes next on this connection cannot be known"
        tree.close()


def test_a_file_is_made_anew_and_never_emptied() -> None:
    """What still waits for the lock of the old one at vsftpd would empty it later."""
    with scripted_ftp() as server:
        server.files[HERE + "x.part"] = b"old"
        tree = open_tree(server)
        put(tree, "x.part", b"new")
        tree.close()
        assert server.said.index("DELE /home/x.part") < server.said.index("STOR /home/x.part")
        assert server.files == {HERE + "x.part": b"new"}


@pytest.mark.parametrize("verb", ["STOR", "RETR"])
def test_silence_over_one_file_is_no_outage(verb: str) -> None:
    """vsftpd says nothing while another process holds the file's lock."""
    with scripted_ftp({verb: SILENCE}) as server:
        server.files[HERE + "x.part"] = b"half"
        tree = open_tree(server)
        with pytest.raises(Fault) as refusal:
            if verb == "STOR":
                tree.open(("x.part",), 4)
            else:
                list(tree.read(("x.part",)))
        assert refusal.value.code == "ftp.busy"
        assert tree.is_usable
        assert tree.size(("x.part",)) == 4
        tree.close()


def test_a_held_file_on_windows() -> None:
    with scripted_ftp({"STOR": "550 used by another process"}) as server:
        server.files[HERE + "x.part"] = b"half"
        tree = open_tree(server)
        with pytest.raises(Fault) as refusal:
            tree.open(("x.part",), 4)
        assert refusal.value.code == "ftp.busy"
        tree.close()


# Connections.


@pytest.mark.parametrize("farewell", ["", "421 idle for too long\r\n"])
def test_a_connection_that_died_of_idling_is_replaced(farewell: str) -> None:
    with scripted_ftp() as server:
        tree = open_tree(server)
        server.sockets[0].sendall(farewell.encode())
        server.hang_up()
        assert tree.size(("x.jpg",)) is None
        assert server.said.count("USER cam") == 2
        tree.close()


def test_an_old_tls_session_is_replaced_before_it_is_refused(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with scripted_ftp(certificate=certificate) as server:
        tree = open_tree(
            server, security="explicit", ca_bundle=certificate.certificate, read_timeout_seconds=5
        )
        put(tree, "x.jpg", b"1")
        tree._connection._secured_at -= 100_000
        put(tree, "y.jpg", b"2")
        assert server.said.count("USER cam") == 2
        tree.close()


def test_always_binary_and_in_utf8() -> None:
    with scripted_ftp() as server:
        tree = open_tree(server)
        put(tree, "Größe 日本.jpg", b"\r\n\n\r")
        tree.close()
        assert server.said.index("TYPE I") < server.said.index("STOR /home/Größe 日本.jpg")
        assert "OPTS UTF8 ON" in server.said
        assert server.files == {"/home/Größe 日本.jpg": b"\r\n\n\r"}


def test_the_address_in_an_answer_to_pasv_is_not_used() -> None:
    with scripted_ftp({"EPSV": "500 what?"}) as server:  # its PASV says 10.11.12.13
        tree = open_tree(server)
        put(tree, "x.jpg", b"1")
        put(tree, "y.jpg", b"2")
        tree.close()
        assert server.said.count("EPSV") == 1, "once refused, it is not asked again"
        assert set(server.files) == {HERE + "x.jpg", HERE + "y.jpg"}


def test_pasv_where_a_firewall_does_not_know_epsv() -> None:
    with scripted_ftp({"EPSV": f"229 (|||{free_port()}|)"}) as server:
        tree = open_tree(server)
        put(tree, "x.jpg", b"1")
        tree.close()
        assert server.files == {HERE + "x.jpg": b"1"}


@pytest.mark.parametrize("mode", ["active", "passive"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_modes_over_both_protocols(tmp_path: Path, mode: str, host: str) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("no IPv6 on this machine")
    certificate = make_certificate(tmp_path, address=host)
    with scripted_ftp(host=host, certificate=certificate) as server:
        for settings in (
            {"security": "none"},
            {"security": "explicit", "ca_bundle": certificate.certificate},
            {"security": "explicit", "certificate_sha256": certificate.sha256.upper()},
        ):
            tree = open_tree(server, host=host, mode=mode, read_timeout_seconds=5, **settings)
            put(tree, "x.jpg", b"1")
            assert b"".join(tree.read(("x.jpg",))) == b"1"
            tree.close()
        expected = {("active", "127.0.0.1"): "PORT", ("active", "::1"): "EPRT"}.get((mode, host), "EPSV")
        assert any(said.startswith(expected) for said in server.said)


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_a_server_that_does_not_come_to_us() -> None:
    with scripted_ftp({"STOR": "150 here it goes"}) as server:
        tree = open_tree(server, mode="active", connect_timeout_seconds=0.2)
        with pytest.raises(Fault) as refusal:
            tree.open(("x.jpg",), 0)
        assert refusal.value.code == "ftp.no_data_connection"
        tree.close()


def test_a_stranger_who_comes_instead_of_the_server_is_sent_away() -> None:
    with scripted_ftp({"STOR": "150 here it goes"}) as server:

        def from_elsewhere(argument: str) -> str:
            numbers = [int(each) for each in argument.split(",")]
            stranger = socket.create_connection(
                ("127.0.0.1", numbers[4] * 256 + numbers[5]), source_address=("127.0.0.2", 0)
            )
            server.sockets.append(stranger)
            return "200 fine"

        server.answers["PORT"] = from_elsewhere
        tree = open_tree(server, mode="active", connect_timeout_seconds=0.2)
        with pytest.raises(Fault) as refusal:
            tree.open(("x.jpg",), 0)
        assert refusal.value.code == "ftp.no_data_connection"
        assert server.sockets[-1].recv(1) == b"", "hung up on"
        server.sockets[-1].close()
        tree.close()


def test_no_password_is_sent_where_none_is_asked_for() -> None:
    with scripted_ftp({"USER": "230 welcome"}) as server:
        open_tree(server, user="anonymous", password=None).close()
        assert "PASS" not in server.said


# Old servers.


def test_sizes_without_size() -> None:
    """The file is read to its end."""
    with scripted_ftp({"SIZE": "502 what?", "FEAT": "502 what?"}) as server:
        server.files[HERE + "x.jpg"] = content_of(MIB + 1)
        tree = open_tree(server)
        assert tree.size(("x.jpg",)) == MIB + 1
        assert tree.size(("y.jpg",)) is None
        assert tree.size(()) == NO_FILE
        tree.close()


def refuse_option(argument: str) -> str:
    return "550 no such file" if argument else IN_EARNEST


LISTINGS: list[tuple[str, dict[str, Answer], str]] = [
    ("SIZE MLSD", {}, "MLSD"),
    ("MLST", {}, "MLSD"),
    ("SIZE", {}, "LIST -a"),
    ("SIZE", {"LIST": "502 what?"}, "NLST -a"),
    ("SIZE", {"LIST": refuse_option, "NLST": refuse_option}, "NLST"),
]


@pytest.mark.parametrize(("features", "answers", "asked"), LISTINGS)
def test_listings(features: str, answers: dict[str, Answer], asked: str) -> None:
    with scripted_ftp(answers, features=features) as server:
        server.folders |= {"/home/b", "/home/b/c"}
        server.files = {HERE + ".hidden": b"1", HERE + "Größe ; =.jpg": b"12", "/home/b/d.jpg": b"123"}
        tree = open_tree(server)
        assert sorted(tree.list(()), key=lambda entry: entry.name) == [
            Entry(name=".hidden", is_folder=False, size=1),
            Entry(name="Größe ; =.jpg", is_folder=False, size=2),
            Entry(name="b", is_folder=True),
        ]
        assert {entry.name for entry in tree.list(("b",))} == {"c", "d.jpg"}
        assert list(tree.list(("b", "c"))) == []
        assert list(tree.list(("nowhere",))) == []
        tree.close()
        assert asked in server.said


@pytest.mark.parametrize("answer", ["550 no files found", "450 no files found"])
def test_an_empty_folder_may_be_an_error(answer: str) -> None:
    with scripted_ftp({"LIST": answer, "NLST": answer}) as server:
        tree = open_tree(server)
        assert list(tree.list(())) == []
        tree.close()


@pytest.mark.parametrize("answers", [{}, {"LIST": "502 what?"}])
def test_an_endless_listing_ends(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Answer]) -> None:
    monkeypatch.setattr("agent.backends.ftp.tree._MOST_NAMES", 50)
    with scripted_ftp(answers) as server:
        server.folders.add("/home/in")
        server.files = {f"/home/in/{number:99}.jpg": b"1" for number in range(20_000)}
        tree = open_tree(server, read_timeout_seconds=5)
        assert 48 <= len(list(tree.list(("in",)))) <= 50
        assert tree.is_usable
        tree.close()


def test_names_that_a_listing_may_hold() -> None:
    assert entry_of("type=file;size=12;modify=2026; a b;c=d.jpg") == Entry(
        name="a b;c=d.jpg", is_folder=False, size=12
    )
    assert entry_of("Type=dir;Perm=el; x") == Entry(name="x", is_folder=True)
    assert entry_of("type=file;size=-1; x") == Entry(name="x", is_folder=False)
    for line in (
        "type=cdir; .",
        "type=pdir; ..",
        "",
        "total 12",
        "type=file; ../x",
        "type=file; ",
        "type=dir; ..",
    ):
        assert entry_of(line) is None, line
    assert [name_of(line) for line in ("x", "/a/b/x", "./x", ".", "..", "", "a/")] == [
        "x", "x", "x", None, None, None, "a",
    ]  # fmt: skip


def test_listings_that_look_like_those_of_ls() -> None:
    lines = [
        "total 12",
        "drwxr-xr-x    2 ftp      ftp          4096 Nov 22 18:07 ..",
        "drwxrwsr-t+   2 0        0            4096 Jan  1  2025  two  spaces ",
        "-rw-r--r--    1 cam      users  5000000000 Nov  2 18:07 x -> y.jpg",
    ]
    assert ls_entries_of(lines) == [
        Entry(name=" two  spaces ", is_folder=True),
        Entry(name="x -> y.jpg", is_folder=False, size=5_000_000_000),
    ]
    for doubtful in (
        "lrwxrwxrwx    1 0        0               1 Nov 22 18:07 link -> x.jpg",
        "-rw-r--r--    1 cam      domain users  500 Nov 22 18:07 x.jpg",
        "11-22-26  06:07PM       <DIR>          x",
        "-rw-r--r--    1 0        0             500 22 Nov 18:07 x.jpg",
        "x.jpg",
    ):
        assert ls_entries_of([*lines, doubtful]) is None, doubtful


# Settings.

GOOD: dict[str, object] = {"kind": "ftp", "host": "ftp.example.com", "user": "cam"}


@pytest.mark.parametrize(
    "changes",
    [
        {"host": ""},
        {"host": "ftp://ftp.example.com"},
        {"host": "cam@ftp.example.com"},
        {"host": "ftp.example.com\r\n"},
        {"user": ""},
        {"user": "cam\r\nDELE x"},
        {"password": "hush\r\nDELE x"},
        {"port": 0},
        {"security": "maybe"},
        {"security": "none", "ca_bundle": "x.pem"},
        {"security": "none", "certificate_sha256": "ab" * 32},
        {"ca_bundle": "x.pem", "certificate_sha256": "ab" * 32},
        {"certificate_sha256": "ab" * 20},
        {"path": "../up"},
        {"path": "a//b"},
        {"path": "a\nDELE x"},
        {"mode": "both"},
        {"minimum_proof": "checksum"},
        {"read_timeout_seconds": 0},
    ],
)
def test_bad_settings(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refusal:
        FtpConfig.model_validate({**GOOD, **changes})
    assert "hush" not in str(refusal.value)


def test_good_settings() -> None:
    config = FtpConfig.model_validate({**GOOD, "password": "hush", "path": "/in/wedding/"})
    assert (config.security, config.mode, config.effective_port()) == ("explicit", "passive", 21)
    assert config.path == "/in/wedding"
    assert FtpConfig.model_validate({**GOOD, "security": "implicit"}).effective_port() == 990
    assert "hush" not in repr(config) + str(config) + config.model_dump_json()
    security = FtpConfig.model_fields["security"].description
    assert security is not None and "can read the password" in security


@pytest.mark.parametrize(
    ("changes", "location"),
    [
        ({}, "ftp://127.0.0.1:{port}/home/a/b.jpg"),
        ({"path": "/"}, "ftp://127.0.0.1:{port}/a/b.jpg"),
        ({"path": "in"}, "ftp://127.0.0.1:{port}/home/in/a/b.jpg"),
        ({"path": "/in"}, "ftp://127.0.0.1:{port}/in/a/b.jpg"),
    ],
)
def test_where_a_person_would_look(changes: dict[str, object], location: str) -> None:
    with scripted_ftp() as server:
        tree = open_tree(server, **changes)
        assert tree.location(("a", "b.jpg")) == location.format(port=server.port)
        tree.close()


def test_a_server_that_hangs_up_while_a_folder_is_made() -> None:
    with scripted_ftp({"MKD": HANG_UP}) as server:
        tree = open_tree(server)
        with pytest.raises(Fault) as refusal:
            tree.make_folders(("a",))
        assert refusal.value.code == "ftp.closed"
        tree.close()
        tree.close()
