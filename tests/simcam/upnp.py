"""The camera's UPnP description over HTTP, as recorded from a Rebel T6. Some bodies listen for PTP/IP only once somebody has
fetched it (protocol.md §7.2)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.simcam import recordings

PATH = "/upnp/CameraDevDesc.xml"


def description() -> bytes:
    """The recorded document; with the line ends of the network it has the length that its header says."""
    recorded = recordings.find("eos_rebelT6_CameraDevDesc.http.txt").read_bytes()
    return recorded[recorded.index(b"<?xml") :].replace(b"\n", b"\r\n")


class Description:
    """Serves the description until `close`, and says by `on_fetch` that somebody has read it."""

    def __init__(self, host: str, port: int, on_fetch: Callable[[], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = description() if self.path == PATH else b""
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if body:
                    on_fetch()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """The camera keeps no log of it."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.block_on_close = False
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="simcam-upnp", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
