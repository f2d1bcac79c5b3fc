"""Verbs over TCP for a simulated camera in another process: one line in, one JSON line out.

A line is JSON (`{"verb": "cut_after", "args": [1000000]}`, also "kwargs") or plain words (`cut_after 1000000`,
`shoot JPG:5M+CR3:25M count=3`); a plain value is read as JSON, as a hexadecimal number, or as text. The answer is
`{"ok": …}` or `{"error": "…"}`. `help` lists all verbs.
"""

from __future__ import annotations

import json
import shlex
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simcam.simcam import SimCamera

Verb = Callable[..., Any]


def verbs(camera: SimCamera) -> dict[str, Verb]:
    """Everything that can be said to `camera`, by name: what it does on its own, and every trouble."""
    trouble = camera.trouble
    found: dict[str, Verb] = {
        name: getattr(trouble, name) for name in dir(trouble) if not name.startswith("_")
    }
    found["shoot"] = lambda *args, **kwargs: [asdict(shot) for shot in camera.shoot(*args, **kwargs)]
    found["shoot_every"] = camera.shoot_every
    found["stats"] = camera.stats.as_dict
    found["reset_stats"] = camera.stats.reset
    found["contents"] = camera.contents
    found["files"] = lambda: [
        {"path": item.path, "size": item.source.size, "handle": item.handle, "storage": item.storage}
        for item in camera.files()
        if item.source is not None
    ]
    found["help"] = lambda: sorted(found)
    return found


def obey(table: dict[str, Verb], line: str) -> dict[str, Any]:
    """Carry out one line. Whatever goes wrong is the answer."""
    try:
        verb, args, kwargs = parse(line)
        if verb not in table:
            raise ValueError(f"no verb {verb!r}; try help")
        return {"ok": table[verb](*args, **kwargs)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def parse(line: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Verb, positional and named arguments. ValueError for an empty line or bad JSON."""
    if line.lstrip().startswith("{"):
        said = json.loads(line)
        return said["verb"], said.get("args", []), said.get("kwargs", {})
    words = shlex.split(line)
    if not words:
        raise ValueError("an empty line")
    args, kwargs = [], {}
    for word in words[1:]:
        name, sign, value = word.partition("=")
        if sign and name.isidentifier():
            kwargs[name] = _value(value)
        else:
            args.append(_value(word))
    return words[0], args, kwargs


def _value(text: str) -> Any:
    for read in (json.loads, lambda word: int(word, 16) if word.startswith("0x") else json.loads("")):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def ask(host: str, port: int, line: str) -> Any:
    """Say one line to a camera elsewhere and return what it answers. RuntimeError with its words when it cannot."""
    with socket.create_connection((host, port), timeout=30) as sock:
        sock.sendall(line.encode() + b"\n")
        with sock.makefile() as answers:
            answer = json.loads(answers.readline())
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["ok"]


class Control:
    """Listens for verbs until `close`."""

    def __init__(self, camera: SimCamera, host: str, port: int) -> None:
        table = verbs(camera)

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    answer = obey(table, line.decode("utf-8", "replace"))
                    self.wfile.write(json.dumps(answer).encode() + b"\n")

        class Listener(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        self._listener = Listener((host, port), Handler)
        self.port: int = self._listener.server_address[1]
        self._thread = threading.Thread(
            target=self._listener.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="simcam-control",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join(5)
