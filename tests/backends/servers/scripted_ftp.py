"""A small FTP server with its files in memory, which can be told to answer anything, or nothing.

For what no real server here can be brought to: every code in its place, garbage, silence, old habits.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from tests.backends.servers.certificates import Certificate

USER, PASSWORD = "cam", "Chrysantheme7"
SILENCE = None
"""An answer that never comes."""
HANG_UP = ""
IN_EARNEST = "in earnest"
"""What a callable returns to have it done after all."""

Answer = str | None | Callable[[str], str | None]
_WITH_DATA = ("STOR", "APPE", "RETR", "LIST", "NLST", "MLSD")


def server_context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


class ScriptedFtp:
    """`answers`: by verb what is said instead of doing it; ``greeting``, and ``DATA`` for the end of a transfer."""

    def __init__(
        self,
        answers: Mapping[str, Answer] | None = None,
        *,
        host: str = "127.0.0.1",
        certificate: Certificate | None = None,
        implicit: bool = False,
        features: str = "EPSV SIZE REST UTF8",
    ):
        self.answers = dict(answers or {})
        self.files: dict[str, bytes] = {}
        self.folders = {"/", "/home"}
        self.said: list[str] = []
        """What clients have asked, passwords left out."""
        self.features = features
        self.cut_after: int | None = None
        """The next file is cut off, with both connections, when this many bytes of it have passed."""
        self.context = server_context(certificate) if certificate else None
        self.data_context = self.context
        self.implicit = implicit
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family)
        self.port: int = self.listener.getsockname()[1]
        self.sockets: list[socket.socket] = []
        """Every connection so far."""
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._threads[0].join()
        self.hang_up()
        for thread in self._threads[1:]:
            thread.join()

    def hang_up(self) -> None:
        """End every session."""
        for sock in self.sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                control, _ = self.listener.accept()
            except OSError:
                return
            control.settimeout(20)
            thread = threading.Thread(target=self._session, args=(control,))
            self._threads.append(thread)
            thread.start()

    def _session(self, control: socket.socket) -> None:
        with suppress(OSError, EOFError, ValueError):
            if self.implicit and self.context:
                control = self.context.wrap_socket(control, server_side=True)
            self.sockets.append(control)
            _Session(self, control).run()
        control.close()


class _Session:
    def __init__(self, server: ScriptedFtp, control: socket.socket):
        self.server = server
        self.control = control
        self.unread = b""
        self.protects = False
        self.offset = 0
        self.source = ""
        self.folder = "/home"
        self.waiting: socket.socket | None = None
        self.active: tuple[str, int] | None = None

    def run(self) -> None:
        greeting = self._scripted("greeting", "")
        self._reply(greeting if greeting is not IN_EARNEST else "220 at your service")
        while True:
            verb, _, argument = self._line().partition(" ")
            verb = verb.upper()
            self.server.said.append(verb if verb == "PASS" else f"{verb} {argument}".strip())
            answer = self._scripted(verb, argument)
            if answer is IN_EARNEST:
                answer = self._transfer(verb, argument) if verb in _WITH_DATA else self._do(verb, argument)
            self._reply(answer)
            if verb == "AUTH" and answer and answer.startswith("234") and self.server.context:
                self.control = self.server.context.wrap_socket(self.control, server_side=True)
                self.server.sockets.append(self.control)
            if verb == "QUIT":
                return

    def _scripted(self, verb: str, argument: str) -> str | None:
        answer = self.server.answers.get(verb, IN_EARNEST)
        return answer(argument) if callable(answer) else answer

    def _line(self) -> str:
        while b"\n" not in self.unread:
            piece = self.control.recv(4096)
            if not piece:
                raise EOFError
            self.unread += piece
        line, _, self.unread = self.unread.partition(b"\n")
        return line.rstrip(b"\r").decode()

    def _reply(self, text: str | None) -> None:
        if text == HANG_UP:
            raise EOFError
        if text is not None:
            self.control.sendall(text.encode("utf-8", "surrogateescape") + b"\r\n")

    def _do(self, verb: str, argument: str) -> str | None:
        server = self.server
        path = argument if argument.startswith("/") else f"{self.folder}/{argument}"
        match verb:
            case "USER":
                return "331 password?"
            case "PASS":
                return "230 welcome" if argument == PASSWORD else "530 no"
            case "AUTH":
                return "234 go on" if server.context else "500 never heard of it"
            case "PBSZ" | "TYPE" | "OPTS" | "NOOP":
                return "200 fine"
            case "PROT":
                self.protects = True
                return "200 fine"
            case "FEAT":
                return (
                    "211-features\r\n"
                    + "".join(f" {each}\r\n" for each in server.features.split())
                    + "211 end"
                )
            case "PWD":
                return '257 "/home" is where you are'
            case "CWD":
                if path.rstrip("/") not in server.folders and path != "/":
                    return "550 no such folder"
                self.folder = path
                return "250 fine"
            case "MKD":
                if (
                    path in server.folders | server.files.keys()
                    or path.rpartition("/")[0] not in server.folders
                ):
                    return "550 no"
                server.folders.add(path)
                return "257 made"
            case "RMD":
                server.folders.discard(path)
                return "250 fine"
            case "SIZE":
                return f"213 {len(server.files[path])}" if path in server.files else "550 no such file"
            case "DELE":
                return "250 fine" if server.files.pop(path, None) is not None else "550 no such file"
            case "RNFR":
                self.source = path
                return "350 to what?" if path in server.files else "550 no such file"
            case "RNTO":
                server.files[path] = server.files.pop(self.source)
                return "250 fine"
            case "REST":
                self.offset = int(argument)
                return "350 fine"
            case "EPSV" | "PASV":
                return self._listen(verb)
            case "PORT":
                numbers = argument.split(",")
                self.active = (".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5]))
                return "200 fine"
            case "EPRT":
                _, _, host, port, _ = argument.split(argument[0])
                self.active = (host, int(port))
                return "200 fine"
            case "QUIT":
                return "221 bye"
        return "502 never heard of it"

    def _listen(self, verb: str) -> str:
        host = self.control.getsockname()[0]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.waiting = socket.create_server((host, 0), family=family)
        self.waiting.settimeout(20)
        port = self.waiting.getsockname()[1]
        if verb == "EPSV":
            return f"229 come (|||{port}|)"
        return f"227 come (10,11,12,13,{port >> 8},{port & 255})"  # an address that nobody can reach

    def _transfer(self, verb: str, argument: str) -> str | None:
        path = argument if argument.startswith("/") else f"{self.folder}/{argument}"
        if verb == "RETR" and path not in self.server.files:
            return "550 no such file"
        data = self._data()
        with data:
            ending = "226 done"
            if verb in ("STOR", "APPE"):
                self._store(verb, path, data)
            else:
                content = self.server.files[path] if verb == "RETR" else self._listing(verb)
                data.sendall(content[: self.server.cut_after])
                if self.server.cut_after is not None:
                    self.server.cut_after = None
                    raise EOFError
            if isinstance(data, ssl.SSLSocket):
                with suppress(OSError):
                    data.unwrap()
        answer = self._scripted("DATA", verb)
        return ending if answer is IN_EARNEST else answer

    def _data(self) -> socket.socket:
        if self.active:
            self._reply("150 here it goes")
            data = socket.create_connection(self.active, timeout=20)
        else:
            assert self.waiting is not None
            data, _ = self.waiting.accept()
            self.waiting.close()
            self._reply("150 here it goes")
        data.settimeout(20)
        if self.protects and self.server.data_context:
            data = self.server.data_context.wrap_socket(data, server_side=True)
        self.server.sockets.append(data)
        return data

    def _store(self, verb: str, path: str, data: socket.socket) -> None:
        files = self.server.files
        start = len(files.get(path, b"")) if verb == "APPE" else self.offset
        self.offset = 0
        come = 0
        files[path] = files.get(path, b"")[:start]
        while piece := data.recv(65536):
            cut = self.server.cut_after
            if cut is not None:
                piece = piece[: cut - come]
            come += len(piece)
            files[path] += piece
            if come == cut:
                self.server.cut_after = None
                raise EOFError

    def _listing(self, verb: str) -> bytes:
        here = self.folder.rstrip("/") + "/"
        server = self.server
        names = {
            each[len(here) :]
            for each in server.files | dict.fromkeys(server.folders)
            if each.startswith(here)
        }
        names = {name for name in names if name and "/" not in name}
        if verb == "LIST":
            kinds = {name: "-" if here + name in server.files else "d" for name in names}
            sizes = {name: len(server.files.get(here + name, b"")) for name in names}
            lines = [
                f"{kinds[name]}rw-r--r--    1 0        0        {sizes[name]:8} Nov 22 18:07 {name}"
                for name in names
            ]
            return "".join(f"{line}\r\n" for line in ["total 0", *lines]).encode()
        if verb == "NLST":
            return "".join(f"{name}\r\n" for name in names).encode()
        lines = [
            f"type=file;size={len(server.files[here + name])}; {name}"
            if here + name in server.files
            else f"type=dir; {name}"
            for name in names
        ]
        return "".join(f"{line}\r\n" for line in ["type=cdir; .", *lines]).encode()


@contextmanager
def scripted_ftp(
    answers: Mapping[str, Answer] | None = None,
    *,
    host: str = "127.0.0.1",
    certificate: Certificate | None = None,
    implicit: bool = False,
    features: str = "EPSV SIZE REST UTF8",
) -> Iterator[ScriptedFtp]:
    server = ScriptedFtp(answers, host=host, certificate=certificate, implicit=implicit, features=features)
    try:
        yield server
    finally:
        server.close()
