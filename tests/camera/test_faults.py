"""The table of faults: complete, and every foreign error arrives in it by its code."""

from __future__ import annotations

import errno
import re
import socket

import pytest

from agent.camera.faults import FAULTS, code_of, expect_ok, init_fail, os_fault
from agent.camera.session import Reply
from agent.faults import Fault, Kind, Scope
from agent.ptp.codes import ResponseCode

LISTED = {
    0x2002: "general_error",
    0x2003: "session_not_open",
    0x2004: "invalid_transaction_id",
    0x2005: "operation_not_supported",
    0x2006: "parameter_not_supported",
    0x2007: "incomplete_transfer",
    0x2008: "invalid_storage_id",
    0x2009: "invalid_object_handle",
    0x200A: "device_prop_not_supported",
    0x200B: "invalid_object_format_code",
    0x200C: "store_full",
    0x200D: "object_write_protected",
    0x200E: "store_read_only",
    0x200F: "access_denied",
    0x2010: "no_thumbnail_present",
    0x2012: "partial_deletion",
    0x2013: "store_not_available",
    0x2014: "specification_by_format_unsupported",
    0x2015: "no_valid_object_info",
    0x2019: "device_busy",
    0x201A: "invalid_parent_object",
    0x201D: "invalid_parameter",
    0x201E: "session_already_open",
    0x201F: "transaction_cancelled",
    0x2020: "specification_of_destination_unsupported",
    0xA001: "unknown_command",
    0xA005: "operation_refused",
    0xA006: "lens_cover_closed",
    0xA101: "low_battery",
    0xA102: "object_not_ready",
    0xA104: "cannot_make_object",
    0xA106: "memory_status_not_ready",
}
"""protocol.md §2.8, without OK."""


@pytest.mark.parametrize(("response", "name"), LISTED.items())
def test_every_response_code_that_matters_has_its_own_fault(response: int, name: str) -> None:
    with pytest.raises(Fault) as caught:
        expect_ok(Reply(response, (), b"", 0, None), "GetThumb")
    assert caught.value.code == f"ptp.{name}"
    assert "GetThumb" in caught.value.detail


@pytest.mark.parametrize("response", [0x2000, 0x2011, 0x2016, 0x2021, 0xA1FF, 0])
def test_other_codes_share_one(response: int) -> None:
    assert code_of(response) == "ptp.other" and "ptp.other" in FAULTS


def test_ok_is_no_fault() -> None:
    expect_ok(Reply(ResponseCode.OK, (), b"", 0, None), "GetThumb")


@pytest.mark.parametrize("code", FAULTS)
def test_every_hint_is_one_sentence_for_a_photographer(code: str) -> None:
    hint = FAULTS[code].hint
    assert re.fullmatch(r"[A-Z].*[^.]\.", hint) and ". " not in hint, hint
    assert not re.search(r"0x|ptp\.|errno|socket|exception|transaction id", hint, re.IGNORECASE), hint


def test_only_what_needs_hands_needs_a_person() -> None:
    needing = {code for code, advice in FAULTS.items() if advice.kind is Kind.NEEDS_USER}
    assert needing == {
        "camera.not_paired",
        "ptp.store_full",
        "ptp.store_read_only",
        "ptp.lens_cover_closed",
    }


def test_what_breaks_the_link_concerns_the_whole_camera() -> None:
    broken = (
        "link_lost",
        "silent",
        "too_slow",
        "closed",
        "protocol_error",
        "asleep",
        "not_paired",
        "hung_up",
    )
    assert all(FAULTS[f"camera.{code}"].scope is Scope.WHOLE for code in broken)
    assert FAULTS["ptp.invalid_object_handle"].scope is Scope.ITEM


@pytest.mark.parametrize(
    ("error", "connecting", "code"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), True, "camera.port_closed"),
        (TimeoutError(), True, "camera.asleep"),
        (OSError(errno.EHOSTUNREACH, ""), True, "camera.asleep"),
        (OSError(errno.EHOSTDOWN, ""), True, "camera.asleep"),
        (OSError(errno.ENETUNREACH, ""), True, "camera.no_network"),
        (OSError(errno.ENETDOWN, ""), False, "camera.no_network"),
        (socket.gaierror(socket.EAI_NONAME, ""), True, "camera.unknown_host"),
        (ConnectionResetError(errno.ECONNRESET, ""), True, "camera.hung_up"),
        (ConnectionResetError(errno.ECONNRESET, ""), False, "camera.link_lost"),
        (BrokenPipeError(errno.EPIPE, ""), False, "camera.link_lost"),
        (OSError(errno.ETIMEDOUT, ""), False, "camera.link_lost"),
        (OSError(errno.EHOSTUNREACH, ""), False, "camera.link_lost"),
        (OSError(errno.EIO, ""), False, "camera.link_lost"),
    ],
)
def test_errors_of_sockets_are_told_apart_by_number(error: OSError, connecting: bool, code: str) -> None:
    assert os_fault(error, connecting=connecting).code == code


def test_refusals_wait_as_long_as_a_camera_needs() -> None:
    waits = [init_fail(reason).retry_after_seconds for reason in (1, 2, 3)]
    assert waits == [60, 10, 30]
