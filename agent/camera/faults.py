"""Everything that can go wrong between the agent and a camera, and who acts next.

`FAULTS` is the whole list: ``camera.*`` is what the connection itself does, ``ptp.*`` is what a camera answers. Foreign
errors are turned into faults here and nowhere else: `os_fault` for sockets, by errno; `expect_ok` for response codes.

Almost everything mends by itself, because cameras sleep, walk away and are busy: it is Retryable, and the sentence says
what a person may do to hasten it. Item faults concern one object while the link is fine; all others end the session.
"""

from __future__ import annotations

import errno
import socket
from typing import Protocol

from agent.faults import Advice, Fault, Kind, Scope, fault
from agent.ptp.codes import ResponseCode, name_of

_SESSION = Kind.RETRYABLE


def _item(kind: Kind, hint: str) -> Advice:
    return Advice(kind, hint, Scope.ITEM)


_CONNECTION: dict[str, Advice] = {
    "camera.no_network": Advice(
        _SESSION, "This computer has no network towards the camera: check its Wi-Fi, and that both are in one network."
    ),
    "camera.unknown_host": Advice(
        _SESSION, "The camera's name cannot be resolved: check the spelling, or enter its IP address."
    ),
    "camera.asleep": Advice(
        _SESSION, "The camera does not answer at its address: wake it, switch its Wi-Fi on, or bring it into range."
    ),
    "camera.port_closed": Advice(
        _SESSION,
        "Something answers at the address, but not on the camera's port: choose “Remote control (EOS Utility)” in the"
        " camera's Wi-Fi menu, or correct the address.",
    ),
    "camera.wrong_host": Advice(
        _SESSION, "What answers at this address is not a camera (it does not speak PTP/IP): correct the address."
    ),
    "camera.hung_up": Advice(
        _SESSION,
        "The camera closed the connection before it was set up: end other programs that use it, and choose the connection"
        " again in its Wi-Fi menu.",
    ),
    "camera.pairing_timeout": Advice(
        _SESSION, "Nobody confirmed the pairing in time: press OK on the camera when it shows this computer's name."
    ),
    "camera.no_answer": Advice(
        _SESSION, "The camera accepts the connection but does not answer: look whether its screen asks for something."
    ),
    "camera.not_paired": Advice(
        Kind.NEEDS_USER,
        "The camera does not accept this computer: pair again on the camera (delete the old connection there, make a new"
        " one), or import the GUID that it knows.",
    ),
    "camera.busy_elsewhere": Advice(
        _SESSION, "The camera is connected to another program or phone: close that one; we try again."
    ),
    "camera.refused": Advice(
        _SESSION, "The camera refused the connection without a reason: switch it off and on, then choose the connection again."
    ),
    "camera.no_event_channel": Advice(
        _SESSION, "The camera accepts no second connection: switch it off and on, then choose the connection again."
    ),
    "camera.link_lost": Advice(
        _SESSION, "The connection to the camera broke off: check distance and battery; we connect again."
    ),
    "camera.silent": Advice(
        _SESSION, "The camera stopped answering in the middle of something: check distance and battery; we connect again."
    ),
    "camera.too_slow": Advice(
        _SESSION, "The connection to the camera is too slow to be of use: bring camera and computer closer together."
    ),
    "camera.closed": Advice(_SESSION, "The connection was closed on our side; it is opened again when needed."),
    "camera.protocol_error": Advice(
        _SESSION, "The camera sent something that PTP/IP does not allow; we connect again."
    ),
    "camera.bad_dataset": _item(
        Kind.RETRYABLE, "The camera described something in a way we cannot read; we ask again later."
    ),
    "camera.short_read": _item(
        Kind.RETRYABLE, "The camera sent less of the file than it has; we ask again, from where it stopped."
    ),
    "camera.size_differs": _item(
        Kind.RETRYABLE, "The file has another size than the camera said; it is looked up again before the next try."
    ),
    "camera.size_unknown": _item(
        Kind.PERMANENT, "The camera tells no size for this file: copy it with a card reader."
    ),
    "camera.whole_object_only": _item(
        Kind.RETRYABLE, "This camera sends the file only as a whole; it is read without interruption."
    ),
    "camera.too_many_objects": _item(
        Kind.RETRYABLE, "The card holds more files than we list: move old folders off the card."
    ),
    "camera.another_file": _item(
        Kind.RETRYABLE, "Another file has taken its place on the card: nothing was deleted; the card is read again."
    ),
    "camera.delete_later": _item(
        Kind.RETRYABLE, "The camera was busy and deleted nothing; it is asked again later."
    ),
    "camera.cannot_delete": _item(
        Kind.PERMANENT, "This camera lets nobody delete over the network: delete on the camera itself."
    ),
    "camera.not_deleted": _item(
        Kind.PERMANENT, "The camera said that it deleted the file, and still has it: delete it on the camera itself."
    ),
}  # fmt: skip

_ANSWERS: dict[int, Advice] = {
    ResponseCode.GENERAL_ERROR: _item(Kind.RETRYABLE, "The camera could not do it just then; we ask again."),
    ResponseCode.SESSION_NOT_OPEN: Advice(_SESSION, "The camera dropped the session; we connect again."),
    ResponseCode.INVALID_TRANSACTION_ID: Advice(_SESSION, "The camera lost count of our requests; we connect again."),
    ResponseCode.OPERATION_NOT_SUPPORTED: _item(Kind.PERMANENT, "This camera cannot do that."),
    ResponseCode.PARAMETER_NOT_SUPPORTED: _item(Kind.PERMANENT, "This camera cannot do that in this form."),
    ResponseCode.INCOMPLETE_TRANSFER: _item(Kind.RETRYABLE, "The camera broke off a transfer; we ask again."),
    ResponseCode.INVALID_STORAGE_ID: _item(Kind.RETRYABLE, "The card was taken out or changed; the cards are read again."),
    ResponseCode.INVALID_OBJECT_HANDLE: _item(
        Kind.RETRYABLE, "The file was deleted or the card changed; the file is looked up again."
    ),
    ResponseCode.DEVICE_PROP_NOT_SUPPORTED: _item(Kind.PERMANENT, "This camera does not have that property."),
    ResponseCode.INVALID_OBJECT_FORMAT_CODE: _item(Kind.PERMANENT, "This camera does not know that kind of file."),
    ResponseCode.STORE_FULL: _item(Kind.NEEDS_USER, "The card is full: change it, or free some space."),
    ResponseCode.OBJECT_WRITE_PROTECTED: _item(Kind.PERMANENT, "The file is protected in the camera; it stays on the card."),
    ResponseCode.STORE_READ_ONLY: _item(Kind.NEEDS_USER, "The card is write-protected: move its lock switch."),
    ResponseCode.ACCESS_DENIED: _item(Kind.PERMANENT, "The camera denies access to this file."),
    ResponseCode.NO_THUMBNAIL_PRESENT: _item(Kind.PERMANENT, "The camera has no thumbnail of this file."),
    ResponseCode.PARTIAL_DELETION: _item(Kind.RETRYABLE, "Not everything was deleted; the card is read again."),
    ResponseCode.STORE_NOT_AVAILABLE: _item(Kind.RETRYABLE, "The camera is not ready with its card; we ask again."),
    ResponseCode.SPECIFICATION_BY_FORMAT_UNSUPPORTED: _item(Kind.PERMANENT, "This camera cannot filter by kind of file."),
    ResponseCode.NO_VALID_OBJECT_INFO: _item(Kind.RETRYABLE, "The camera has no facts about this file yet; we ask again."),
    ResponseCode.DEVICE_BUSY: Advice(
        _SESSION, "The camera stays busy: close its menu or playback; if that does not help, switch it off and on."
    ),
    ResponseCode.INVALID_PARENT_OBJECT: _item(Kind.RETRYABLE, "A folder is gone from the card; the card is read again."),
    ResponseCode.INVALID_PARAMETER: _item(Kind.RETRYABLE, "The file is not as long as it was; it is looked up again."),
    ResponseCode.SESSION_ALREADY_OPEN: Advice(_SESSION, "The camera still holds an old session; we connect again."),
    ResponseCode.TRANSACTION_CANCELLED: _item(Kind.RETRYABLE, "The camera cancelled a transfer; we ask again."),
    ResponseCode.SPECIFICATION_OF_DESTINATION_UNSUPPORTED: _item(
        Kind.PERMANENT, "This camera cannot list its card in this form."
    ),
    ResponseCode.CANON_UNKNOWN_COMMAND: _item(Kind.PERMANENT, "This camera does not know that command."),
    ResponseCode.CANON_OPERATION_REFUSED: _item(Kind.PERMANENT, "The camera refuses that in its present mode."),
    ResponseCode.CANON_LENS_COVER_CLOSED: _item(Kind.NEEDS_USER, "The lens cover is closed: open it."),
    ResponseCode.CANON_LOW_BATTERY: Advice(_SESSION, "The camera's battery is low: charge or change it."),
    ResponseCode.CANON_OBJECT_NOT_READY: _item(
        Kind.RETRYABLE, "The camera is still writing the file; we ask again."
    ),
    ResponseCode.CANON_CANNOT_MAKE_OBJECT: _item(Kind.RETRYABLE, "The camera could not make the file; we ask again."),
    ResponseCode.CANON_MEMORY_STATUS_NOT_READY: Advice(_SESSION, "The camera is busy with its card; we ask again."),
}  # fmt: skip

_OTHER_ANSWER = "ptp.other"


def code_of(response: int) -> str:
    """Return the fault code of a response code; every code that §2.8 does not list shares one."""
    return (
        f"ptp.{name_of(response).removeprefix('CANON_').lower()}" if response in _ANSWERS else _OTHER_ANSWER
    )


FAULTS: dict[str, Advice] = {
    **_CONNECTION,
    **{code_of(response): advice for response, advice in _ANSWERS.items()},
    _OTHER_ANSWER: _item(Kind.RETRYABLE, "The camera gave an answer that we do not know; we ask again."),
}

_NO_NETWORK = {errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}
_ASLEEP = {errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT}
_BROKEN = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE}

FEW_SECONDS = 10.0
"""How soon another initiator may be gone (protocol.md §7.3: 5–10 s)."""


def os_fault(error: OSError, *, connecting: bool) -> Fault:
    """Return the fault for an error of a socket, by its errno. A reset while `connecting` is a camera that hung up."""
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, socket.gaierror):
        return fault(FAULTS, "camera.unknown_host", detail)
    if isinstance(error, TimeoutError) or error.errno in _ASLEEP:
        return fault(FAULTS, "camera.asleep" if connecting else "camera.link_lost", detail)
    if error.errno in _NO_NETWORK:
        return fault(FAULTS, "camera.no_network", detail)
    if connecting and error.errno == errno.ECONNREFUSED:
        return fault(FAULTS, "camera.port_closed", detail)
    if connecting and error.errno in _BROKEN:
        return fault(FAULTS, "camera.hung_up", detail)
    return fault(FAULTS, "camera.link_lost", detail)


_INIT_FAIL = {1: ("camera.not_paired", 60.0), 2: ("camera.busy_elsewhere", FEW_SECONDS)}


def init_fail(reason: int) -> Fault:
    """Return the fault for an InitFail: 1 rejected initiator, 2 busy, 3 unspecified (protocol.md §9.a)."""
    code, seconds = _INIT_FAIL.get(reason, ("camera.refused", 30.0))
    return fault(FAULTS, code, f"InitFail, reason {reason}", retry_after_seconds=seconds)


class Answer(Protocol):
    @property
    def code(self) -> int: ...


def refusal(answer: Answer, context: str) -> Fault:
    """Return the fault for a response code that is not OK; `context` names the operation for the log."""
    return fault(FAULTS, code_of(answer.code), f"{context}: {name_of(answer.code)}")


def expect_ok(answer: Answer, context: str) -> None:
    """Raise the fault for a response code that is not OK."""
    if answer.code != ResponseCode.OK:
        raise refusal(answer, context)
