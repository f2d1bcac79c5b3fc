"""Every fault of an SMB destination, provoked: by Samba wherever it can be brought to that, else by its status alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.backends import open_backend
from agent.backends.remote import Tree
from agent.backends.smb import SmbConfig
from agent.backends.smb.backend import connect
from agent.backends.smb.faults import FAULTS, STATUSES
from agent.faults import Fault, Kind, Scope
from tests.backends.areas.smb import SambaArea
from tests.backends.conformance import content_of, digests_of, send
from tests.backends.disks import lock, small_disk
from tests.backends.servers.canned_smb import meddling, refusing, saying
from tests.backends.servers.process import free_port
from tests.backends.servers.samba import PASSWORD, Samba

pytestmark = pytest.mark.server

_UNKNOWN_STATUS = 0xC0DE0BAD


class Stage:
    """What a provocation may use: the suite's server, servers of its own, and an end to all of it."""

    def __init__(self, area: SambaArea, folder: Path, stack: ExitStack):
        self.area = area
        self.stack = stack
        self._folder = folder

    def at(self, port: int, share: str = "photos", **changes: object) -> SmbConfig:
        return self.area.config(address=f"smb://127.0.0.1:{port}/{share}", **changes)

    def samba(self, extra: str = "", share: str = "", turned_away: str | None = None) -> Samba:
        """Start one with other settings."""
        server = Samba(self._folder / "own", {"photos": share}, extra)
        if turned_away:
            server.turn_away(turned_away)
        server.process.start()
        self.stack.callback(server.process.kill)
        return server

    def tree(self, config: SmbConfig | None = None) -> Tree:
        tree = connect(config or self.area.config())
        self.stack.callback(tree.close)
        return tree

    def refused_with(self, status: int) -> None:
        self.tree(self.at(self.stack.enter_context(refusing(status))))


@pytest.fixture
def stage(samba: Samba, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        area = SambaArea(samba)
        stack.callback(area.close)
        yield Stage(area, tmp_path, stack)


def _unknown_host(stage: Stage) -> None:
    stage.tree(stage.area.config(address=r"\\no-such-host.invalid\photos"))


def _unreachable(stage: Stage) -> None:
    """A listener whose queue is full takes no more: the kernel drops the connection request."""
    listener = stage.stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    for _ in range(4):
        caller = stage.stack.enter_context(socket.socket())
        caller.setblocking(False)
        caller.connect_ex(listener.getsockname())
    stage.tree(stage.at(listener.getsockname()[1], connect_timeout_seconds=1))


def _connection_lost(stage: Stage) -> None:
    tree = stage.tree()
    stage.area.server.process.end_connections()
    tree.size(("x",))


def _stalled(stage: Stage) -> None:
    tree = stage.tree(stage.area.config(read_timeout_seconds=1))
    stage.area.server.process.pause()
    stage.stack.callback(stage.area.server.process.resume)
    tree.size(("x",))


def _tampered(stage: Stage) -> None:
    stage.area.plant("x.jpg", content_of(100_000))

    def change(answer: bytes) -> bytes:
        return (
            answer[:50_000] + bytes([answer[50_000] ^ 1]) + answer[50_001:]
            if len(answer) > 60_000
            else answer
        )

    way = stage.stack.enter_context(meddling(stage.area.server.port, change))
    address = f"smb://127.0.0.1:{way}/photos/{stage.area.root.name}"
    list(stage.tree(stage.area.config(address=address)).read(("x.jpg",)))


def _server_error(stage: Stage) -> None:
    server = stage.samba(share="  max connections = 1")
    for _ in range(2):
        stage.tree(stage.at(server.port))


def _full(stage: Stage) -> None:
    writer = stage.tree(stage.area.full()).open(("x.part",), 0)
    for _ in range(20):
        writer.write(memoryview(content_of(1 << 20)))


def _busy(stage: Stage) -> None:
    stage.tree().open(("x.part",), 0)
    stage.tree().open(("x.part",), 0)


def _damaged(stage: Stage) -> None:
    backend = open_backend(stage.area.config(), owner="test")
    stage.stack.callback(backend.close)
    upload = backend.start("x.jpg", 1000, "token1")
    stage.stack.callback(upload.close)
    send(upload, content_of(1000))
    upload.commit(digests_of(content_of(1000, seed=1)))


def _bad_key(stage: Stage) -> None:
    backend = open_backend(stage.area.config(), owner="test")
    stage.stack.callback(backend.close)
    backend.find("../x.jpg", 1, None)


def _turned_away(name: str) -> Callable[[Stage], None]:
    def provoke(stage: Stage) -> None:
        stage.tree(stage.at(stage.samba(turned_away=name).port, user=name))

    return provoke


def _at_a_samba(extra: str, **changes: object) -> Callable[[Stage], None]:
    def provoke(stage: Stage) -> None:
        stage.tree(stage.at(stage.samba(extra).port, "photos", **changes))

    return provoke


def _read_only(stage: Stage) -> None:
    disk = stage.stack.enter_context(small_disk(stage.area.root / "disk", 4))
    lock(disk)
    stage.tree().open(("disk", "x.part"), 0)


def _elsewhere(stage: Stage) -> None:
    server = stage.samba(share="  msdfs root = yes")
    (server.share("photos") / "link").symlink_to("msdfs:otherhost\\share")
    stage.tree(stage.at(server.port, "photos/link")).make_folders(())


def _exists(stage: Stage) -> None:
    stage.area.plant("a", b"1")
    stage.area.plant("b", b"2")
    stage.tree().rename(("a",), ("b",))


def _blocked(stage: Stage) -> None:
    stage.area.plant("a", b"1")
    stage.tree().make_folders(("a", "b"))


def _by_status(code: str) -> Callable[[Stage], None]:
    status = next(status for status, (_, listed) in STATUSES.items() if listed == code)
    return lambda stage: stage.refused_with(status)


PROVOCATIONS: dict[str, Callable[[Stage], object]] = {
    "smb.unknown_host": _unknown_host,
    "smb.unreachable": _unreachable,
    "smb.refused": lambda stage: stage.tree(stage.at(free_port())),
    "smb.connection_lost": _connection_lost,
    "smb.stalled": _stalled,
    "smb.tampered": _tampered,
    "smb.server_error": _server_error,
    "smb.too_many_users": _by_status("smb.too_many_users"),
    "smb.disk": _by_status("smb.disk"),
    "smb.full": _full,
    "smb.no_logon_server": _by_status("smb.no_logon_server"),
    "smb.clock": _by_status("smb.clock"),
    "smb.busy": _busy,
    "smb.gone": lambda stage: list(stage.tree().read(("not-there",))),
    "smb.damaged": _damaged,
    "smb.unclassified": lambda stage: stage.refused_with(_UNKNOWN_STATUS),
    "smb.wrong_login": lambda stage: stage.tree(stage.area.wrong_secret()),
    "smb.account_locked": _turned_away("locked"),
    "smb.account_disabled": _turned_away("disabled"),
    "smb.password_expired": _turned_away("renew"),
    "smb.account_restricted": _by_status("smb.account_restricted"),
    "smb.guest": _at_a_samba("  map to guest = bad user\n", user="nobody-here"),
    "smb.no_common_login": _at_a_samba("  ntlm auth = disabled\n"),
    "smb.no_smb2": _at_a_samba("  server min protocol = NT1\n  server max protocol = NT1\n"),
    "smb.no_encryption": _at_a_samba("  server smb encrypt = off\n", encryption="required"),
    "smb.no_permission": lambda stage: stage.tree(stage.area.forbidden()).open(("x",), 0),
    "smb.read_only": _read_only,
    "smb.no_share": lambda stage: stage.tree(stage.area.missing_root()),
    "smb.missing": lambda stage: stage.tree(stage.at(stage.area.server.port, "photos/no")).make_folders(()),
    "smb.elsewhere": _elsewhere,
    "smb.exists": _exists,
    "smb.blocked": _blocked,
    "smb.bad_key": _bad_key,
    "smb.refused_name": lambda stage: stage.tree().open(("é" * 200,), 0),  # 400 bytes: Samba's own refusal
    "smb.too_large": _by_status("smb.too_large"),
}


@pytest.mark.parametrize("code", FAULTS)
def test_every_fault_can_happen(stage: Stage, code: str) -> None:
    """A code without a provocation fails here by name."""
    with pytest.raises(Fault) as caught:
        PROVOCATIONS[code](stage)
    fault = caught.value
    assert fault.code == code
    assert PASSWORD not in f"{fault} {fault.detail} {fault!r}"


@pytest.mark.parametrize("status", [*STATUSES, _UNKNOWN_STATUS])
def test_each_status(samba: Samba, status: int) -> None:
    """As it comes over the wire; nothing of the failed login is left."""
    name, code = STATUSES.get(status, ("", "smb.unclassified"))
    with refusing(status) as port, pytest.raises(Fault) as caught:
        connect(SambaArea(samba).config(address=f"smb://127.0.0.1:{port}/photos"))
    assert caught.value.code == code
    assert f"{name} 0x{status:08X}".strip() in caught.value.detail


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x04what", b"\0\0\0\x44" + bytes(68)]
)
def test_something_that_is_no_smb_server(stage: Stage, answer: bytes) -> None:
    with saying(answer) as port, pytest.raises(Fault) as caught:
        stage.tree(stage.at(port))
    assert caught.value.code == "smb.no_smb2"


def test_a_server_that_hangs_up_is_no_old_server(stage: Stage) -> None:
    """One that is being restarted must not pause the destination until a person comes."""
    with saying(b"") as port, pytest.raises(Fault) as caught:
        stage.tree(stage.at(port))
    assert (caught.value.code, caught.value.kind) == ("smb.connection_lost", Kind.RETRYABLE)


def test_answers_whose_signature_was_taken_off(stage: Stage) -> None:
    """smbprotocol believes an answer that says of itself that it is not signed."""

    def change(answer: bytes) -> bytes:
        command, flags = answer[12], answer[16]
        if command in (0, 1):  # the login, which is protected in another way
            return answer
        return answer[:16] + bytes([flags & ~8]) + answer[17:48] + bytes(16) + answer[64:]

    way = stage.stack.enter_context(meddling(stage.area.server.port, change))
    with pytest.raises(Fault) as caught:
        stage.tree(stage.at(way))
    assert caught.value.code == "smb.tampered"


def test_wrong_rights_are_for_a_person_and_outages_for_the_clock() -> None:
    for code in ("wrong_login", "no_permission", "no_share", "missing", "read_only"):
        assert (FAULTS[f"smb.{code}"].kind, FAULTS[f"smb.{code}"].scope) == (Kind.NEEDS_USER, Scope.WHOLE)
    for code in ("stalled", "full", "unreachable", "refused", "unknown_host", "connection_lost"):
        assert (FAULTS[f"smb.{code}"].kind, FAULTS[f"smb.{code}"].scope) == (Kind.RETRYABLE, Scope.WHOLE)
    assert (FAULTS["smb.busy"].kind, FAULTS["smb.busy"].scope) == (Kind.RETRYABLE, Scope.ITEM)


def test_statuses_and_faults_agree() -> None:
    assert {code for _, code in STATUSES.values()} <= set(FAULTS)
