"""smbprotocol's connection with what it lacks: deadlines, and no belief in what is not signed.

Everything that smbprotocol sends for us goes through `receive` here, which bounds each wait: by the silence of the
server, so that a slow link is no failure, and by a multiple of that in all.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

from smbprotocol import MAX_PAYLOAD_SIZE
from smbprotocol.connection import Connection, Request
from smbprotocol.exceptions import SMBException
from smbprotocol.header import Commands, NtStatus, Smb2Flags, SMB2HeaderRequest
from smbprotocol.open import Open, SMB2WriteRequest, SMB2WriteResponse

from agent.backends.smb import bulk
from agent.backends.smb.address import Address
from agent.backends.smb.channel import Channel
from agent.backends.smb.faults import NoAnswer, NotGenuine

# What they have to say reaches us as exceptions; on loss, smbprotocol also logs a traceback from its thread.
for _name in ("smbprotocol", "spnego"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

_AT_WORK = 4  # times the patience, once the server has said that it is at work (STATUS_PENDING)
_IN_ALL = 10
_HEADER_BYTES = 64
_LOOK_SECONDS = 0.5


class Wire(Connection):  # type: ignore[misc]
    """One TCP connection and its receiving thread, which goes with `end`. Requests come from one thread at a time."""

    def __init__(
        self, address: Address, *, connect_seconds: float, silence_seconds: float, require_signing: bool
    ):
        self._channel = Channel(
            address.host, address.port, connect_seconds=connect_seconds, silence_seconds=silence_seconds
        )
        self._silence_seconds = silence_seconds
        super().__init__(uuid4(), address.host, address.port, require_signing=require_signing)

    @property
    def transport(self) -> Channel:
        return self._channel

    @transport.setter
    def transport(self, made: object) -> None:
        """`Connection.connect` makes a transport of its own; there is no other way to give it ours."""

    def send(self, message: Any, *arguments: Any, force_signature: bool = False, **named: Any) -> Any:
        """As in smbprotocol. SMB 3.1.1 demands a signed TREE_CONNECT of those too who sign nothing else."""
        forced = force_signature or message.COMMAND == Commands.SMB2_TREE_CONNECT
        return super().send(message, *arguments, force_signature=forced, **named)

    def receive(
        self, request: Any, wait: bool = True, timeout: float | None = None, resolve_symlinks: bool = False
    ) -> Any:
        """Return the final answer to `request`.

        Raises NoAnswer, NotGenuine, and SMBException. Links are never followed to other shares.
        """
        self._wait(request)
        try:
            return super().receive(request, wait, 1, resolve_symlinks=False)
        except (SMBException, OSError, NotGenuine):
            raise
        except Exception as error:
            if error is not self._t_exc:
                raise
            raise NotGenuine(f"{type(error).__name__}: {error}") from error

    def room(self) -> int:
        """Return how many bytes may be asked for or sent in one message, by what the server has granted."""
        if not self.supports_multi_credit:
            return int(MAX_PAYLOAD_SIZE)
        credits = self.sequence_window["high"] - self.sequence_window["low"]
        return int(min(self.max_write_size, self.max_read_size, max(credits, 1) * MAX_PAYLOAD_SIZE))

    def write(self, file: Open, offset: int, data: memoryview) -> int:
        """Write `data`, at most `room` bytes of it; return how many the server took."""
        if not bulk.can_make(file):
            message, receive = file.write(bytes(data), offset, send=False)
            return int(receive(self._of(file, message)))
        credits = -(-len(data) // MAX_PAYLOAD_SIZE)
        with self.sequence_lock:
            message_id = self.sequence_window["low"]
            self.sequence_window["low"] += credits
        header = SMB2HeaderRequest()
        header["message_id"] = message_id
        request = Request(header, SMB2WriteRequest, self, session_id=file.tree_connect.session.session_id)
        self.outstanding_requests[message_id] = request
        self._check_worker_running()
        self._channel.send_all(bulk.pieces(file, message_id, credits, offset, data))
        answer = SMB2WriteResponse()
        answer.unpack(self.receive(request)["data"].get_value())
        return int(answer["count"].get_value())

    def ask_read(self, file: Open, offset: int, length: int) -> Any:
        """Ask for `length` bytes, of which `room` has been asked, and return what `take_read` wants."""
        message, _ = file.read(offset, length, send=False)
        return self._of(file, message)

    def take_read(self, asked: Any) -> memoryview:
        """Return the answer's content. Raises EndOfFile behind the end."""
        body = self.receive(asked)["data"].get_value()  # [MS-SMB2] 2.2.20; the offset counts from the header
        begin, length = body[2] - _HEADER_BYTES, int.from_bytes(body[4:8], "little")
        if len(body) < 16 or begin < 0 or begin + length > len(body):
            raise NotGenuine("a READ response that is not whole")
        return memoryview(body)[begin : begin + length]

    def _of(self, file: Open, message: Any) -> Any:
        share = file.tree_connect
        return self.send(message, share.session.session_id, share.tree_connect_id)

    def verify_signature(self, header: Any, session_id: int, force: bool = False) -> None:
        """As in smbprotocol, which takes an answer without a signature as good even where signing was agreed."""
        session = self.session_table.get(session_id)
        if session is not None and not self._may_be_plain(header):
            if session.encrypt_data:
                raise NotGenuine("an answer that is not encrypted")
            if session.signing_required and not header["flags"].has_flag(Smb2Flags.SMB2_FLAGS_SIGNED):
                raise NotGenuine("an answer that is not signed")
        if session is not None and not force and self._is_bulk(header):
            if not bulk.is_genuine(self, session.signing_key, self._channel.last):
                raise NotGenuine("a signature that is wrong")
            return
        try:
            super().verify_signature(header, session_id, force)
        except SMBException as error:
            raise NotGenuine(str(error)) from error

    @staticmethod
    def _is_bulk(header: Any) -> bool:
        """Say whether it is a READ response that came alone, so that it is the channel's last message."""
        return bool(
            header["command"].get_value() == Commands.SMB2_READ
            and header["next_command"].get_value() == 0
            and header["flags"].has_flag(Smb2Flags.SMB2_FLAGS_SIGNED)
            and header["status"].get_value() == NtStatus.STATUS_SUCCESS
        )

    def end(self, *, is_abrupt: bool) -> None:
        """End the connection and its thread, whatever state they are in; the server closes what was open.

        Never raises, and asks for no answer. `is_abrupt`: nothing that was sent may arrive late.
        """
        with suppress(Exception):
            self.disconnect(close=False)
        if self._t_worker is None or not self._t_worker.is_alive():
            self._channel.release(is_abrupt=is_abrupt)

    @staticmethod
    def _may_be_plain(header: Any) -> bool:
        """[MS-SMB2] 3.2.5.1.3: neither interim answers nor those of the login itself."""
        return bool(
            header["status"].get_value() == NtStatus.STATUS_PENDING
            or header["command"].get_value() in (Commands.SMB2_NEGOTIATE, Commands.SMB2_SESSION_SETUP)
        )

    def _wait(self, request: Any) -> None:
        begun = time.monotonic()
        patience = self._silence_seconds
        while True:
            if self._is_answered(request):
                return
            now = time.monotonic()
            silent = now - max(begun, self._channel.heard_at)
            if silent >= patience or now - begun >= _IN_ALL * self._silence_seconds:
                raise NoAnswer(f"no answer for {now - begun:.0f} s")
            if not self._channel.connected:
                return
            if request.response_event.wait(min(_LOOK_SECONDS, patience - silent)):
                with request.response_event_lock:
                    if request.response is None:
                        return  # the receiver has ended, and says so to all who wait
                    if request.response["status"].get_value() == NtStatus.STATUS_PENDING:
                        request.response_event.clear()
                        patience = _AT_WORK * self._silence_seconds

    @staticmethod
    def _is_answered(request: Any) -> bool:
        with request.response_event_lock:
            response = request.response
            return response is not None and response["status"].get_value() != NtStatus.STATUS_PENDING
