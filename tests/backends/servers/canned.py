"""A server that gives one prepared answer to everything: for refusals that no server here can be brought to."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Canned:
    url: str
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def canned(
    status: int = 200,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    certificate: Path | None = None,
    before: Callable[[Canned, Mapping[str, str]], None] | None = None,
) -> Iterator[Canned]:
    """Yield the answer, which can be changed. `certificate`: a PEM file of key and certificate, for TLS.

    `before` sees the headers of each request and may change the answer to it.
    """
    prepared = Canned("", status, body, headers or {})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if before is not None:
                before(prepared, dict(self.headers.items()))
            self.send_response(prepared.status)
            for name, value in prepared.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(prepared.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(prepared.body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    prepared.url = f"http://127.0.0.1:{server.server_port}"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        prepared.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield prepared
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
