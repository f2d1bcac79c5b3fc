"""Each refusal of an FTP server, as it comes over the wire, becomes the fault that says who acts next."""

from __future__ import annotations

import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from agent.backends import FtpConfig, open_backend
from agent.backends.ftp.faults import FAULTS
from agent.backends.ftp.tree import FtpTree
from agent.faults import Fault, Kind, Scope
from tests.backends.conformance import deliver
from tests.backends.servers.certificates import Certificate, make_certificate
from tests.backends.servers.process import free_port
from tests.backends.servers.scripted_ftp import (
    HANG_UP,
    IN_EARNEST,
    PASSWORD,
    SILENCE,
    USER,
    Answer,
    ScriptedFtp,
    scripted_ftp,
    server_context,
)

pytestmark = pytest.mark.link
provoked: set[str] = set()

PLAIN = ("x.jpg",)
ODD = ("Größe?.jpg",)
HERE = "/home/"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def config_for(server: ScriptedFtp, **changes: object) -> FtpConfig:
    settings: dict[str, object] = {
        "host": "127.0.0.1",
        "port": server.port,
        "security": "none",
        "user": USER,
        "password": PASSWORD,
        "connect_timeout_seconds": 1,
        "read_timeout_seconds": 0.5,
    }
    return FtpConfig.model_validate({**settings, **changes})


def expect(code: str, action: Callable[[], object]) -> Fault:
    with pytest.raises(Fault) as refusal:
        action()
    fault = refusal.value
    assert fault.code == code, fault
    assert (fault.kind, fault.scope, fault.hint) == (FAULTS[code].kind, FAULTS[code].scope, FAULTS[code].hint)
    assert PASSWORD not in str(fault)
    provoked.add(code)
    return fault


LONG = "220-" + "x" * 20_000
MANY = "220-hello\r\n" + "and again\r\n" * 10_000

LOGIN: list[tuple[dict[str, Answer], str]] = [
    ({"greeting": "421 too many of you"}, "ftp.too_many"),
    ({"greeting": "120 in a while"}, "ftp.too_many"),
    ({"greeting": "SSH-2.0-OpenSSH_9.2"}, "ftp.not_ftp"),
    ({"greeting": "HTTP/1.1 400 Bad Request"}, "ftp.not_ftp"),
    ({"greeting": "\x16\x03\x01\x02"}, "ftp.not_ftp"),
    ({"greeting": SILENCE}, "ftp.timeout"),
    ({"greeting": HANG_UP}, "ftp.closed"),
    ({"greeting": LONG}, "ftp.garbled"),
    ({"greeting": MANY}, "ftp.garbled"),
    ({"USER": "421 too many of you"}, "ftp.too_many"),
    ({"USER": "530 only encrypted"}, "ftp.tls_required"),
    ({"USER": "550 only encrypted"}, "ftp.tls_required"),
    ({"USER": "534 only encrypted"}, "ftp.tls_required"),
    ({"USER": SILENCE}, "ftp.timeout"),
    ({"USER": "2x0 hm"}, "ftp.garbled"),
    ({"PASS": f"530 {PASSWORD} is wrong"}, "ftp.wrong_password"),
    ({"PASS": "430 wrong"}, "ftp.wrong_password"),
    ({"PASS": "421 too many of you"}, "ftp.too_many"),
    ({"PASS": "332 and your account?"}, "ftp.account"),
    ({"PASS": "532 and your account?"}, "ftp.account"),
    ({"PASS": "500 OOPS: vsftpd: refusing to run with writable root inside chroot()"}, "ftp.server_error"),
    ({"PASS": HANG_UP}, "ftp.closed"),
    ({"TYPE": "504 text alone"}, "ftp.unsupported"),
]


@pytest.mark.parametrize(("answers", "code"), LOGIN)
def test_logging_in(answers: dict[str, Answer], code: str) -> None:
    with scripted_ftp(answers) as server:
        expect(code, lambda: FtpTree(config_for(server)))


UPLOAD: list[tuple[dict[str, Answer], str]] = [
    ({"EPSV": "500 what?", "PASV": "500 what?"}, "ftp.no_data_connection"),
    ({"EPSV": "500 what?", "PASV": "227 (127,0,0,1,0,0)"}, "ftp.garbled"),
    ({"EPSV": "500 what?", "PASV": "227 somewhere"}, "ftp.garbled"),
    ({"EPSV": "500 what?", "PASV": "227 (127,0,0,1,999,999)"}, "ftp.garbled"),
    ({"EPSV": "229 (|||70000|)"}, "ftp.garbled"),
    ({"EPSV": "229 nowhere"}, "ftp.garbled"),
    ({"EPSV": "421 idle for too long"}, "ftp.closed"),
    ({"EPSV": SILENCE}, "ftp.timeout"),
    ({"STOR": "421 going down"}, "ftp.closed"),
    ({"STOR": "425 cannot reach you"}, "ftp.no_data_connection"),
    ({"STOR": "450 in use"}, "ftp.busy"),
    ({"STOR": "451 trouble"}, "ftp.server_error"),
    ({"STOR": "452 disk full"}, "ftp.full"),
    ({"STOR": "500 what?"}, "ftp.unsupported"),
    ({"STOR": "501 what?"}, "ftp.unsupported"),
    ({"STOR": "502 what?"}, "ftp.unsupported"),
    ({"STOR": "503 what?"}, "ftp.unsupported"),
    ({"STOR": "504 what?"}, "ftp.unsupported"),
    ({"STOR": "521 encrypt that"}, "ftp.tls_required"),
    ({"STOR": "522 session not taken up again"}, "ftp.no_data_connection"),
    ({"STOR": "532 account?"}, "ftp.account"),
    ({"STOR": "550 you may not"}, "ftp.forbidden"),
    ({"STOR": "552 quota"}, "ftp.full"),
    ({"STOR": "553 you may not"}, "ftp.forbidden"),
    ({"STOR": "599 so there"}, "ftp.unclassified"),
    ({"STOR": "226 thanks"}, "ftp.garbled"),
    ({"STOR": SILENCE}, "ftp.timeout"),
    ({"DATA": "426 broken off"}, "ftp.cut"),
    ({"DATA": "421 going down"}, "ftp.closed"),
    ({"DATA": "451 disk full"}, "ftp.full"),
    ({"DATA": "452 disk full"}, "ftp.full"),
    ({"DATA": "550 disk full"}, "ftp.full"),
    ({"DATA": "552 quota"}, "ftp.full"),
    ({"DATA": "500 OOPS: child died"}, "ftp.closed"),
    ({"DATA": HANG_UP}, "ftp.closed"),
    ({"DATA": SILENCE}, "ftp.timeout"),
    ({"DATA": "garbage"}, "ftp.garbled"),
]


def upload(tree: FtpTree) -> None:
    tree.size(PLAIN)
    writer = tree.open(PLAIN, 0)
    writer.write(memoryview(b"content"))
    writer.finish()


@pytest.mark.parametrize(("answers", "code"), UPLOAD)
def test_uploading(answers: dict[str, Answer], code: str) -> None:
    with scripted_ftp(answers) as server:
        tree = FtpTree(config_for(server))
        expect(code, lambda: upload(tree))
        lasting = code not in ("ftp.closed", "ftp.timeout", "ftp.garbled")
        assert tree.is_usable is lasting
        if lasting:  # the conversation goes on where it was
            assert tree.size(("nothing",)) is None
        tree.close()


OTHERS: list[tuple[dict[str, Answer], Callable[[FtpTree], object], str]] = [
    ({"RETR": "550 you may not"}, lambda tree: list(tree.read(PLAIN)), "ftp.not_readable"),
    ({}, lambda tree: list(tree.read(("gone",))), "ftp.upload_gone"),
    ({"RETR": "450 in use"}, lambda tree: list(tree.read(PLAIN)), "ftp.busy"),
    ({"DATA": "451 trouble"}, lambda tree: list(tree.read(PLAIN)), "ftp.server_error"),
    ({"DATA": "426 broken off"}, lambda tree: list(tree.read(PLAIN)), "ftp.cut"),
    ({"SIZE": "213 many"}, lambda tree: tree.size(PLAIN), "ftp.unclassified"),
    ({"SIZE": "451 trouble"}, lambda tree: tree.size(PLAIN), "ftp.server_error"),
    ({"RNFR": "550 you may not"}, lambda tree: tree.rename(PLAIN, ODD), "ftp.forbidden"),
    ({"RNFR": "450 in use"}, lambda tree: tree.rename(PLAIN, ODD), "ftp.busy"),
    ({}, lambda tree: tree.rename(("gone",), ODD), "ftp.upload_gone"),
    ({"RNTO": "553 not that"}, lambda tree: tree.rename(PLAIN, ODD), "ftp.refused_name"),
    ({"RNTO": "550 not that"}, lambda tree: tree.rename(PLAIN, ("a" * 300,)), "ftp.refused_name"),
    ({"RNTO": "550 you may not"}, lambda tree: tree.rename(PLAIN, ("y.jpg",)), "ftp.forbidden"),
    ({"RNTO": "550 is there"}, lambda tree: tree.rename(PLAIN, ("there.jpg",)), "ftp.exists"),
    ({"RNTO": "553 is there"}, lambda tree: tree.rename(PLAIN, ("there.jpg",)), "ftp.exists"),
    ({"RNTO": "502 what?"}, lambda tree: tree.rename(PLAIN, ODD), "ftp.unsupported"),
    ({"DELE": "550 you may not"}, lambda tree: tree.remove(PLAIN), "ftp.forbidden"),
    ({"DELE": "450 in use"}, lambda tree: tree.remove(PLAIN), "ftp.busy"),
    ({}, lambda tree: tree.make_folders(("x.jpg", "below")), "ftp.blocked"),
    ({"MKD": "550 you may not"}, lambda tree: tree.make_folders(("a", "b")), "ftp.forbidden"),
    ({"MKD": "550 you may not"}, lambda tree: tree.make_folders(("ä", "b")), "ftp.forbidden"),
    ({"MKD": "552 quota"}, lambda tree: tree.make_folders(("a",)), "ftp.full"),
    ({"MKD": "502 what?"}, lambda tree: tree.make_folders(("a",)), "ftp.unsupported"),
    ({"CWD": "550 nothing there"}, lambda tree: tree.make_folders(()), "ftp.missing"),
    ({"CWD": "451 trouble"}, lambda tree: tree.make_folders(()), "ftp.server_error"),
    ({}, lambda tree: tree.open(("a\nDELE x",), 0), "ftp.refused_name"),
]


@pytest.mark.parametrize(("answers", "action", "code"), OTHERS)
def test_other_commands(answers: dict[str, Answer], action: Callable[[FtpTree], object], code: str) -> None:
    with scripted_ftp(answers) as server:
        server.files = {HERE + "x.jpg": b"content", HERE + "there.jpg": b"of somebody"}
        tree = FtpTree(config_for(server))
        expect(code, lambda: action(tree))
        tree.close()
        assert server.files[HERE + "there.jpg"] == b"of somebody"


@pytest.mark.parametrize("is_left", [False, True])
def test_a_folder_whose_name_the_server_cannot_store(is_left: bool) -> None:
    """550 to MKD says no more than "no": whether it is the name, a plain one tells, left by a kill or not."""

    def refuse_odd_ones(folder: str) -> str:
        return IN_EARNEST if folder.isascii() else "550 no"

    with scripted_ftp({"MKD": refuse_odd_ones}) as server:
        if is_left:
            server.folders |= {"/home/a", "/home/a/.hotshoe-folder"}
        tree = FtpTree(config_for(server))
        expect("ftp.refused_name", lambda: tree.make_folders(("a", "ä")))
        assert server.folders == {"/", "/home", "/home/a"}
        tree.close()


def test_nobody_listens_and_no_such_host() -> None:
    for host in ("127.0.0.1", "no-such-host.invalid", "x" * 70 + ".invalid"):
        nowhere = FtpConfig.model_validate({"host": host, "port": free_port(), "user": "x"})
        expect("ftp.unreachable", partial(FtpTree, nowhere))


@pytest.mark.parametrize("dribble", ["greeting", "FEAT"])
def test_an_answer_that_never_ends_by_the_byte(dribble: str) -> None:
    """Each byte comes in time, the answer does not."""
    with scripted_ftp() as server:

        def drop_by_drop(_: str) -> str:
            with suppress(OSError):
                for _drop in range(200):
                    server.sockets[-1].sendall(b"2")
                    time.sleep(0.02)  # this is the dribbling
            return HANG_UP

        server.answers[dribble] = drop_by_drop
        expect("ftp.timeout", lambda: FtpTree(config_for(server)))


# Encryption.


def trusting(certificate: Certificate, **changes: object) -> dict[str, object]:
    return {
        "security": "explicit",
        "ca_bundle": certificate.certificate,
        "read_timeout_seconds": 5,
        **changes,
    }


@pytest.mark.parametrize("answer", ["500 what?", "502 what?", "504 what?", "534 no", "431 not now", "421 no"])
def test_no_encryption_is_no_login(certificate: Certificate, answer: str) -> None:
    with scripted_ftp({"AUTH": answer}) as server:
        expect("ftp.no_tls", lambda: FtpTree(config_for(server, **trusting(certificate))))
        assert not {"USER", "PASS"} & {said.split()[0] for said in server.said}


@pytest.mark.parametrize("answer", ["500 what?", "536 no", "504 what?", "431 no", "534 no"])
def test_data_is_never_sent_in_the_clear(certificate: Certificate, answer: str) -> None:
    with scripted_ftp({"PROT": answer}, certificate=certificate) as server:
        expect("ftp.no_tls", lambda: FtpTree(config_for(server, **trusting(certificate))))


def test_implicit_encryption_at_a_plain_port(certificate: Certificate) -> None:
    with scripted_ftp(certificate=certificate) as server:
        expect(
            "ftp.no_tls", lambda: FtpTree(config_for(server, **trusting(certificate, security="implicit")))
        )


def test_explicit_encryption_at_an_implicit_port(certificate: Certificate) -> None:
    with scripted_ftp(certificate=certificate, implicit=True) as server:
        settings = trusting(certificate, read_timeout_seconds=0.5)
        expect("ftp.timeout", lambda: FtpTree(config_for(server, **settings)))


def test_what_was_said_in_the_clear_does_not_count_under_encryption(certificate: Certificate) -> None:
    with scripted_ftp({"AUTH": "234 go on\r\n230 and you are in"}, certificate=certificate) as server:
        expect("ftp.garbled", lambda: FtpTree(config_for(server, **trusting(certificate))))


def certificates(folder: Path) -> Iterator[tuple[Certificate, dict[str, object], str]]:
    def made(name: str, **how: object) -> Certificate:
        (folder / name).mkdir()
        return make_certificate(folder / name, **how)  # type: ignore[arg-type]

    good, expired = made("good"), made("expired", begins_in_days=-9, days=7)
    future, other = (
        made("future", begins_in_days=2),
        made("other", host="ftp.example.com", address="192.0.2.1"),
    )
    yield good, {"ca_bundle": None}, "ftp.certificate_unknown"
    yield good, trusting(expired), "ftp.certificate_unknown"
    yield expired, trusting(expired), "ftp.certificate_expired"
    yield future, trusting(future), "ftp.clock"
    yield other, trusting(other), "ftp.wrong_host"
    yield other, trusting(other, host="localhost"), "ftp.wrong_host"
    yield good, {"certificate_sha256": other.sha256}, "ftp.wrong_fingerprint"
    yield good, {"ca_bundle": folder / "missing.pem"}, "ftp.bad_settings"
    yield good, {"ca_bundle": good.key}, "ftp.bad_settings"


def test_certificates(tmp_path: Path) -> None:
    for certificate, settings, code in certificates(tmp_path):
        with scripted_ftp(certificate=certificate) as server:
            config = config_for(server, **{"security": "explicit", "read_timeout_seconds": 5, **settings})
            fault = expect(code, partial(FtpTree, config))
            assert "USER cam" not in server.said
            if code == "ftp.wrong_fingerprint":
                assert certificate.sha256 in fault.detail, "so that it can be compared"


def test_a_stranger_on_the_data_connection(tmp_path: Path, certificate: Certificate) -> None:
    """Somebody on the way who takes over the port that the server has opened for us."""
    stranger = make_certificate(tmp_path)
    for trust, code in (
        ({"certificate_sha256": certificate.sha256}, "ftp.wrong_fingerprint"),
        ({"ca_bundle": certificate.certificate}, "ftp.certificate_unknown"),
    ):
        with scripted_ftp(certificate=certificate) as server:
            server.data_context = server_context(stranger)
            tree = FtpTree(config_for(server, security="explicit", read_timeout_seconds=5, **trust))
            expect(code, partial(upload, tree))
            tree.close()
            assert b"".join(server.files.values()) == b""


def test_a_server_whose_encryption_is_too_old(certificate: Certificate) -> None:
    with scripted_ftp(certificate=certificate) as server:
        assert server.context is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            server.context.minimum_version = ssl.TLSVersion.TLSv1
            server.context.maximum_version = ssl.TLSVersion.TLSv1_1
        server.context.set_ciphers("ALL:@SECLEVEL=0")
        expect("ftp.tls", lambda: FtpTree(config_for(server, **trusting(certificate))))


# What RemoteBackend brings about.


def test_a_copy_that_differs_a_bad_key_and_a_server_that_cannot_go_on() -> None:
    with scripted_ftp() as server:

        def flip(verb: str) -> str:
            for name, content in server.files.items():
                if verb == "STOR":
                    server.files[name] = bytes([content[0] ^ 1]) + content[1:]
            return IN_EARNEST

        backend = open_backend(config_for(server), owner="test")
        server.answers["DATA"] = flip
        expect("ftp.damaged", lambda: deliver(backend, "x.jpg", b"content"))
        assert server.files == {}
        expect("ftp.bad_key", lambda: deliver(backend, "../x.jpg", b"content"))
        server.answers = {"REST": "502 what?", "APPE": "502 what?"}
        server.files[HERE + "x.part"] = b"con"
        tree = FtpTree(config_for(server))
        expect("ftp.no_resume", lambda: tree.open(("x.part",), 3))
        tree.close()
        assert server.files == {}, "so that the next try begins at 0"
        deliver(backend, "x.jpg", b"content")
        assert server.files == {HERE + "x.jpg": b"content"}
        backend.close()


def test_every_fault_was_provoked(request: pytest.FixtureRequest) -> None:
    """Each code of the table came over a wire above, in this very run."""
    running = {item.originalname for item in request.session.items if isinstance(item, pytest.Function)}
    if not {name for name in globals() if name.startswith("test_")} <= running:
        pytest.skip("says something only when the whole module runs")
    assert provoked == set(FAULTS)


def test_who_acts_next() -> None:
    for code, advice in FAULTS.items():
        assert advice.hint.endswith(".") and ":" in advice.hint or code == "ftp.exists", code
        if advice.kind is Kind.NEEDS_USER:
            assert advice.scope is Scope.WHOLE, code
        if advice.kind is Kind.PERMANENT:
            assert advice.scope is Scope.ITEM, code
