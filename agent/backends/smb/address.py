"""Where a share is, in the ways that people write it. Pure."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from agent.backends.smb.names import objection

PORT = 445
_HOST = re.compile(r"\[(?P<v6>[0-9A-Fa-f:.%A-Za-z]+)\]|(?P<name>[^\s:@\[\]]+)")
_ADVICE = r"write it like \\server\share\folder or smb://server/share/folder"


class Address(msgspec.Struct, frozen=True):
    host: str
    port: int
    share: str
    folders: tuple[str, ...]  # of the destination's root, below the share

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORT else f":{self.port}"
        return f"smb://{host}{port}/" + "/".join((self.share, *self.folders))


def parse(text: str) -> Address:
    r"""Read ``\\server\share\folder``, ``//server/share/folder`` or ``smb://server[:port]/share/folder``.

    ValueError, in words, for anything else. The text is never repeated in it: it may hold a password.
    """
    is_url = text.lower().startswith("smb://")
    if is_url:
        plain = text[len("smb:") :]
    elif "://" in text:
        raise ValueError(f"only smb:// is understood here: {_ADVICE}")
    else:
        plain = text.replace("\\", "/")
    if not plain.startswith("//"):
        raise ValueError(_ADVICE)
    server, *path = plain[2:].rstrip("/").split("/")
    if "@" in server:
        raise ValueError("user name and password have fields of their own, the address is without them")
    host, port = _server(server)
    if is_url:
        path = [unquote(segment) for segment in path]
    if not path or not path[0]:
        raise ValueError(f"the name of the share is missing: {_ADVICE}")
    for segment in path:
        wrong = "a part of it is empty" if segment in ("", ".", "..") else objection(segment)
        if wrong:
            raise ValueError(f"{wrong}: {_ADVICE}")
    return Address(host=host, port=port, share=path[0], folders=tuple(path[1:]))


def _server(text: str) -> tuple[str, int]:
    found = _HOST.match(text)
    if not found:
        raise ValueError(f"the name of the server is missing: {_ADVICE}")
    rest = text[found.end() :]
    if not rest:
        return found["v6"] or found["name"], PORT
    if not re.fullmatch(r":[0-9]{1,5}", rest) or not 0 < int(rest[1:]) < 65536:
        raise ValueError("the port is a number from 1 to 65535")
    return found["v6"] or found["name"], int(rest[1:])
