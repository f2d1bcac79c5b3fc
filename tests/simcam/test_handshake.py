"""The first packets of a connection as literal bytes (protocol.md §10.1 and the Rebel T6 recording)."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.simcam import SimCamera, recordings
from tests.simcam.dial import GUID, Dial, Refused

HELLO = bytes.fromhex("2600000001000000 00112233445566778899aabbccddeeff 65006400670065000000 00000100")
OTHER = bytes(15) + b"\1"


@pytest.fixture
def cam() -> Iterator[SimCamera]:
    with SimCamera("eos-1300d") as camera:
        yield camera


def call(cam: SimCamera) -> socket.socket:
    return socket.create_connection((cam.host, cam.port), timeout=5)


def hears(sock: socket.socket, size: int) -> str:
    return sock.recv(size, socket.MSG_WAITALL).hex()


def test_the_whole_beginning_byte_for_byte(cam: SimCamera) -> None:
    with call(cam) as command:
        command.sendall(HELLO)
        assert hears(command, 46) == recordings.payload("eos_rebelT6_initcommandack").hex()
        with call(cam) as event:
            event.sendall(bytes.fromhex("0c0000000300000001000000"))
            assert hears(event, 8) == "0800000004000000"
            command.sendall(bytes.fromhex("1600000006000000010000000210 00000000 01000000"))
            assert hears(command, 14) == "0e00000007000000012000000000"
            command.sendall(bytes.fromhex("1600000006000000010000001591 01000000 01000000"))
            assert hears(command, 14) == "0e00000007000000012001000000"
            command.sendall(bytes.fromhex("1200000006000000010000001691 02000000"))
            assert hears(command, 20) == "1400000009000000020000003517000000000000"
            assert hears(command, 12) == "411700000c00000002000000"
            assert hears(command, 5941) == recordings.payload("eos1300d_getevent_first").hex()
            assert hears(command, 14) == "0e00000007000000012002000000"
            event.sendall(bytes.fromhex("080000000d000000"))
            assert hears(event, 8) == "080000000e000000"


def test_bytes_may_come_one_by_one(cam: SimCamera) -> None:
    with call(cam) as command:
        for byte in HELLO:
            command.sendall(bytes([byte]))
        assert hears(command, 8) == "2e00000002000000"


def test_another_guid_is_rejected_once_one_is_paired(cam: SimCamera) -> None:
    Dial(cam.port).close()
    with call(cam) as command:
        command.sendall(HELLO.replace(GUID, OTHER))
        assert hears(command, 13) == "0c0000000500000001000000"  # and nothing more: closed
    Dial(cam.port).close()
    cam.trouble.forget_pairing()
    Dial(cam.port, guid=OTHER).close()


def test_only_known_guids() -> None:
    with SimCamera("generic", known=[OTHER]) as cam:
        Dial(cam.port, guid=OTHER).close()
        with pytest.raises(Refused, match="1"):
            Dial(cam.port)
        assert cam.stats.refused == {1: 1}


def test_any_guid() -> None:
    with SimCamera("generic", pairing="any") as cam:
        Dial(cam.port).close()
        Dial(cam.port, guid=OTHER).close()


def test_a_second_initiator_is_told_that_the_camera_is_busy(cam: SimCamera) -> None:
    with Dial(cam.port) as first:
        with call(cam) as second:
            second.sendall(HELLO)
            assert hears(second, 13) == "0c0000000500000002000000"
        assert first.ask(0x1001).code == 0x2001


def test_the_next_one_is_welcome_at_once(cam: SimCamera) -> None:
    for number in range(1, 20):
        with Dial(cam.port) as dial:
            assert int.from_bytes(dial.ack[:4], "little") == number


def test_a_pairing_dialog_takes_its_time(cam: SimCamera) -> None:
    cam.trouble.pairing_delay(0.3)
    began = time.monotonic()
    Dial(cam.port).close()
    assert 0.3 <= time.monotonic() - began < 1
    began = time.monotonic()
    Dial(cam.port).close()
    assert time.monotonic() - began < 0.3, "paired now"
    cam.trouble.pairing_delay(0.1, accept=False)
    with pytest.raises(Refused, match="1"):
        Dial(cam.port)


def test_an_event_connection_with_a_wrong_number_fails(cam: SimCamera) -> None:
    with call(cam) as command, call(cam) as event:
        command.sendall(HELLO)
        hears(command, 46)
        event.sendall(bytes.fromhex("0c0000000300000007000000"))
        assert hears(event, 12) == "0c0000000500000002000000"


def test_a_stranger_is_thrown_out(cam: SimCamera) -> None:
    with call(cam) as sock, contextlib.suppress(ConnectionResetError):
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert sock.recv(100) == b""


def test_closing_the_event_socket_ends_the_session(cam: SimCamera) -> None:
    with Dial(cam.port) as dial:
        assert dial.event is not None
        dial.event.close()
        assert dial.command.recv(1) == b""


def test_operations_wait_for_the_event_connection(cam: SimCamera) -> None:
    with call(cam) as command:
        command.sendall(HELLO)
        hears(command, 46)
        command.sendall(bytes.fromhex("1600000006000000010000000210 00000000 01000000"))
        command.settimeout(0.2)
        with pytest.raises(TimeoutError):
            command.recv(1)
