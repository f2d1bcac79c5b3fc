"""Each way in which an SFTP server can fail us, at a real one where that can be had, and the fault it becomes."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncssh
import pytest
from tenacity import Retrying, stop_after_delay, wait_fixed

from agent.backends import SftpConfig
from agent.backends.base import Exclusive
from agent.backends.sftp.faults import FAULTS
from agent.backends.sftp.tree import SftpTree
from agent.faults import Fault
from tests.backends.conformance import digests_of
from tests.backends.disks import lock, small_disk
from tests.backends.servers.openssh import PASSPHRASE, OpenSSH, fingerprint_of, make_key
from tests.backends.servers.process import free_port
from tests.backends.servers.ssh_in_process import PASSWORD, Files, Guard, failing
from tests.backends.sftp_places import Places, delivery_fault, fault_of, says, status

pytestmark = pytest.mark.server

SECRET = "hush-hush"


@pytest.fixture
def places(openssh: OpenSSH, tmp_path: Path) -> Iterator[Places]:
    with ExitStack() as stack:
        yield Places(openssh, tmp_path, stack)


Provocation = Callable[[Places], Fault]
PROVOCATIONS: list[tuple[str, Provocation]] = []


def provokes(code: str) -> Callable[[Provocation], Provocation]:
    def note(provocation: Provocation) -> Provocation:
        PROVOCATIONS.append((code, provocation))
        return provocation

    return note


# Before the login.


@provokes("sftp.unreachable")
def nobody_listens(places: Places) -> Fault:
    return places.fault(port=free_port())


@provokes("sftp.no_such_host")
def a_name_that_nobody_knows(places: Places) -> Fault:
    return places.fault(host="no-such-host.invalid")


@provokes("sftp.not_ssh")
def another_century(places: Places) -> Fault:
    return places.fault(port=places.stack.enter_context(says(b"SSH-1.5-OldThing\r\n", stays=True)))


@provokes("sftp.not_ssh")
def a_flood_of_text(places: Places) -> Fault:
    return places.fault(port=places.stack.enter_context(says(b"welcome to my page\r\n" * 2000, stays=True)))


@provokes("sftp.timeout")
def an_ftp_server_waits_for_us(places: Places) -> Fault:
    return places.fault(
        port=places.stack.enter_context(says(b"220 welcome\r\n", stays=True)), connect_timeout_seconds=0.5
    )


@provokes("sftp.timeout")
def a_stopped_server(places: Places) -> Fault:
    backend = places.backend(read_timeout_seconds=0.5)
    backend.browse("")
    places.openssh.process.pause()
    places.stack.callback(places.openssh.process.resume)
    return fault_of(lambda: backend.browse(""))


@provokes("sftp.hung_up")
def hung_up_at_once(places: Places) -> Fault:
    return places.fault(port=places.stack.enter_context(says(b"", stays=False)))


@provokes("sftp.hung_up")
def too_many_who_have_not_logged_in(places: Places) -> Fault:
    backend = places.another(MaxStartups="1")
    port = places.area.server.port
    for attempt in Retrying(stop=stop_after_delay(10), wait=wait_fixed(0.05)):
        with attempt:  # the question whether the server is up counted as well
            guest = places.stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            assert guest.recv(4) == b"SSH-", "it counts from here on"
    return fault_of(lambda: backend.browse(""))


@provokes("sftp.too_many")
def too_many_connections(places: Places) -> Fault:
    backend = places.in_process(type("Full", (Guard,), {"disconnects_with": 12}))
    return fault_of(lambda: backend.browse(""))


@provokes("sftp.too_many")
def too_few_resources(places: Places) -> Fault:
    def refuse(self: Guard) -> bool:
        raise asyncssh.ChannelOpenError(4, "no more")

    backend = places.in_process(type("Tired", (Guard,), {"session_requested": refuse}), None)
    return fault_of(lambda: backend.browse(""))


@provokes("sftp.no_common_algorithm")
def old_algorithms(places: Places) -> Fault:
    backend = places.another(KexAlgorithms="diffie-hellman-group1-sha1")
    return fault_of(lambda: backend.browse(""))


# Who the server is.


@provokes("sftp.unknown_host_key")
def first_contact(places: Places) -> Fault:
    refusal = places.fault(host_key=None)
    assert places.openssh.fingerprint in refusal.detail, "this is what is to be entered"
    return refusal


@provokes("sftp.unknown_host_key")
def not_among_the_known(places: Places) -> Fault:
    known = places.folder / "known_hosts"
    known.write_text(places.openssh.known_host().replace("[127.0.0.1]", "[192.0.2.1]"))
    refusal = places.fault(host_key=None, known_hosts_file=known)
    assert places.openssh.fingerprint in refusal.detail
    return refusal


@provokes("sftp.host_key_changed")
def another_fingerprint(places: Places) -> Fault:
    refusal = places.fault(host_key=fingerprint_of(places.openssh.stranger))
    assert places.openssh.fingerprint in refusal.detail
    return refusal


@provokes("sftp.host_key_changed")
def another_key_than_the_known(places: Places) -> Fault:
    known = places.folder / "known_hosts"
    stranger = places.openssh.stranger.with_suffix(".pub").read_text()
    known.write_text(f"[127.0.0.1]:{places.openssh.port} {stranger}")
    return places.fault(host_key=None, known_hosts_file=known)


@provokes("sftp.host_key_changed")
def a_revoked_key(places: Places) -> Fault:
    known = places.folder / "known_hosts"
    known.write_text(f"@revoked {places.openssh.known_host()}{places.openssh.known_host()}")
    return places.fault(host_key=None, known_hosts_file=known)


@provokes("sftp.known_hosts")
def no_known_hosts(places: Places) -> Fault:
    return places.fault(host_key=None, known_hosts_file=places.folder / "missing")


@provokes("sftp.known_hosts")
def rubbish_for_known_hosts(places: Places) -> Fault:
    rubbish = places.folder / "known_hosts"
    rubbish.write_text("@what is this\n")
    return places.fault(host_key=None, known_hosts_file=rubbish)


# Who we are.


@provokes("sftp.key_refused")
def a_stranger(places: Places) -> Fault:
    return places.fault(key_file=places.openssh.stranger)


@provokes("sftp.key_unreadable")
def no_key_file(places: Places) -> Fault:
    return places.fault(key_file=places.folder / "missing")


@provokes("sftp.key_unreadable")
def a_public_key(places: Places) -> Fault:
    return places.fault(key_file=places.openssh.key.with_suffix(".pub"))


@provokes("sftp.wrong_passphrase")
def a_wrong_passphrase(places: Places) -> Fault:
    key = places.folder / "locked"
    make_key(key, "-t", "rsa", "-m", "PEM", passphrase=PASSPHRASE)
    return places.fault(key_file=key, key_passphrase=SECRET)


@provokes("sftp.wrong_passphrase")
def no_passphrase(places: Places) -> Fault:
    key = places.folder / "locked"
    make_key(key, "-t", "rsa", "-m", "PKCS8", passphrase=PASSPHRASE)
    return places.fault(key_file=key)


@provokes("sftp.login_kind")
def a_password_where_keys_are_wanted(places: Places) -> Fault:
    return places.fault(key_file=None, password=SECRET)


@provokes("sftp.wrong_password")
def a_wrong_password(places: Places) -> Fault:
    return fault_of(lambda: places.in_process(password=SECRET).browse(""))


@provokes("sftp.wrong_password")
def a_wrong_answer(places: Places) -> Fault:
    guard = type("Asking", (Guard,), {"ways": {"question"}})
    return fault_of(lambda: places.in_process(guard, password=SECRET).browse(""))


@provokes("sftp.wrong_password")
def a_code_from_a_phone_that_nobody_types(places: Places) -> Fault:
    prompts = (("Kennwort: ", False), ("Code: ", False))
    guard = type("Doubting", (Guard,), {"ways": {"password", "question"}, "prompts": prompts})
    return fault_of(lambda: places.in_process(guard, password=SECRET).browse(""))


# What the account can do.


@provokes("sftp.no_sftp")
def a_shell_that_talks(places: Places) -> Fault:
    return fault_of(lambda: places.another(ForceCommand="/bin/echo welcome").browse(""))


@provokes("sftp.no_sftp")
def a_server_without_sftp(places: Places) -> Fault:
    return fault_of(lambda: places.another(ForceCommand="", Subsystem="").browse(""))


@provokes("sftp.missing")
def no_such_folder(places: Places) -> Fault:
    return delivery_fault(places.backend(path=f"{places.area.root}/nowhere"))


@provokes("sftp.missing")
def a_file_for_a_root(places: Places) -> Fault:
    places.area.plant("file", b"1")
    return delivery_fault(places.backend(path=f"{places.area.root}/file"))


@provokes("sftp.no_permission")
def no_right_to_write(places: Places) -> Fault:
    places.area.root.chmod(0o555)
    shutil.chown(places.area.root, 0)
    return delivery_fault(places.backend())


@provokes("sftp.full")
def a_full_disk(places: Places) -> Fault:
    config = places.area.full()
    assert isinstance(config, SftpConfig)
    return delivery_fault(places.backend(path=config.path), 17_000_000)


@provokes("sftp.read_only")
def a_read_only_disk(places: Places) -> Fault:
    disk = places.stack.enter_context(small_disk(places.openssh.make_root(places.folder.name), 4))
    shutil.chown(disk, places.openssh.user)
    lock(disk)
    return delivery_fault(places.backend(path=str(disk)), key="x.jpg")


@provokes("sftp.quota")
def a_quota_without_a_word_for_it(places: Places) -> Fault:
    files = failing(lambda: asyncssh.SFTPFailure("Disk quota exceeded"), "write")
    return delivery_fault(places.in_process(files=files))


@provokes("sftp.failure")
def a_failure_without_a_reason(places: Places) -> Fault:
    files = failing(lambda: asyncssh.SFTPFailure("Failure"), "mkdir")
    return delivery_fault(places.in_process(files=files))


@provokes("sftp.unclassified")
def a_status_that_nobody_knows(places: Places) -> Fault:
    files = failing(lambda: asyncssh.SFTPError(99, f"{PASSWORD}"), "mkdir")
    return delivery_fault(places.in_process(files=files))


@provokes("sftp.lost")
def a_connection_that_breaks(places: Places) -> Fault:
    backend = places.another()
    upload = backend.start("x.jpg", 10, "token1")
    places.area.server.process.kill()
    refusal = fault_of(lambda: upload.write(memoryview(b"0123456789")))
    upload.close()
    return refusal


# Single files.


@provokes("sftp.exists")
def an_existing_file(places: Places) -> Fault:
    places.area.plant("a/x.jpg", b"1")
    return delivery_fault(places.backend())


@provokes("sftp.exists")
def a_file_that_appears_at_the_last_moment(places: Places) -> Fault:
    """The server itself refuses: nobody looked."""
    backend = places.backend()
    backend.exclusive = Exclusive.ATOMIC
    places.area.plant("a/x.jpg", b"1")
    return delivery_fault(backend)


@provokes("sftp.blocked")
def a_file_for_a_folder(places: Places) -> Fault:
    places.area.plant("a", b"1")
    return delivery_fault(places.backend())


@provokes("sftp.refused_name")
def a_long_name(places: Places) -> Fault:
    return delivery_fault(places.backend(), key=f"a/{'n' * 300}.jpg")


@provokes("sftp.refused_name")
def a_long_name_for_a_folder(places: Places) -> Fault:
    return delivery_fault(places.backend(), key=f"{'n' * 300}/x.jpg")


@provokes("sftp.bad_key")
def a_way_out(places: Places) -> Fault:
    return delivery_fault(places.backend(), key="../x.jpg")


@provokes("sftp.damaged")
def less_than_was_announced(places: Places) -> Fault:
    upload = places.backend().start("x.jpg", 10, "token1")
    refusal = fault_of(lambda: upload.commit(digests_of(b"0123456789")))
    upload.close()
    return refusal


@provokes("sftp.busy")
def somebody_makes_it_again_and_again(places: Places) -> Fault:
    files = failing(lambda: asyncssh.SFTPFileAlreadyExists("there"), "open")

    def there(self: Files, path: bytes) -> asyncssh.SFTPAttrs:
        is_folder = not path.endswith(b".part")
        return asyncssh.SFTPAttrs(size=0, permissions=0o40755 if is_folder else 0o100644)

    always_there = {"lstat": there, "stat": there, "remove": lambda self, path: None}
    return delivery_fault(places.in_process(files=type("Busy", (files,), always_there)))


@provokes("sftp.busy")
def somebody_holds_it(places: Places) -> Fault:
    files = failing(lambda: status(17), "open")
    return delivery_fault(places.in_process(files=files))


@provokes("sftp.gone")
def a_file_that_somebody_has_just_moved_away(places: Places) -> Fault:
    """As for a worker that was overtaken: the partial has been published by another."""
    backend = places.backend()
    upload = backend.start("x.jpg", 10, "token1")
    upload.write(memoryview(b"0123456789"))
    (places.area.root / ".hotshoe-token1.part").rename(places.area.root / "y.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SftpTree, "size", lambda tree, path: 10 if path[-1].endswith(".part") else None)
        return fault_of(lambda: upload.commit(digests_of(b"0123456789")))


@provokes("sftp.gone")
def a_partial_that_is_gone_at_the_rename(places: Places) -> Fault:
    files = failing(lambda: asyncssh.SFTPNoSuchFile("moved"), "rename")
    return delivery_fault(places.in_process(files=files))


@provokes("sftp.too_large")
def more_than_fat_can_hold(places: Places) -> Fault:
    """4 GiB and no more, with room left: the partial is a sparse file of nearly that size."""
    files = failing(lambda: asyncssh.SFTPFailure("File too large"), "write")
    backend = places.in_process(files=files)
    size = 1 << 32
    partial = places.folder / "root/.hotshoe-token1.part"
    with partial.open("wb") as sparse:
        sparse.truncate(size - 10)
    upload = backend.start("x.mp4", size, "token1")
    refusal = fault_of(lambda: upload.write(memoryview(b"0123456789")))
    upload.close()
    return refusal


@pytest.mark.parametrize(
    ("code", "provocation"), PROVOCATIONS, ids=[each.__name__ for _, each in PROVOCATIONS]
)
def test_provoked(places: Places, code: str, provocation: Provocation) -> None:
    refusal = provocation(places)
    assert refusal.code == code, refusal
    advice = FAULTS[code]
    assert (refusal.kind, refusal.scope, refusal.hint) == (advice.kind, advice.scope, advice.hint)
    for secret in (SECRET, PASSWORD, PASSPHRASE):
        assert secret not in f"{refusal} {refusal!r} {refusal.detail}"


def test_every_fault_is_provoked() -> None:
    assert {code for code, _ in PROVOCATIONS} == set(FAULTS)
