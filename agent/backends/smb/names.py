"""Names that an SMB server can keep and a Windows computer can open. Pure.

Asked here and not of the server, since servers do worse than refuse: Windows drops a dot or space at the end and
stores the file under another name, and both Windows and Samba (with streams) take what follows a colon as the name of
a hidden stream.
"""

from __future__ import annotations

import re

_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_LONGEST = 255  # in units of UTF-16, as NTFS counts


def objection(name: str) -> str | None:
    """Say what is wrong with one segment of a path; None when it can be used."""
    found = _FORBIDDEN.search(name)
    if found:
        return f"{found[0]!r} cannot be part of a name"
    if name.endswith((".", " ")):
        return "a name cannot end with a dot or a space"
    if _DEVICE.fullmatch(name):
        return "Windows keeps this name for a device"
    if len(name.encode("utf-16-le")) // 2 > _LONGEST:
        return f"a name has at most {_LONGEST} characters"
    return None
