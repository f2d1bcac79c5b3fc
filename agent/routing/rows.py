"""What is known of a file when all there is of it is its row in the ledger."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

import msgspec

from agent.keys import Facts, Media
from agent.pictures import Picture
from agent.routing.clock import corrected


def facts_of(row: dict[str, Any], *, site: str, zone: tzinfo | None) -> Facts:
    """Return the facts of a file. `row`: a row of ``file`` whose size is final, with its camera's name as ``camera``."""
    utc, local = corrected(row["captured"], row["clock_ahead_seconds"], zone)
    return Facts(
        camera=row["camera"],
        serial=row["serial"],
        storage=row["storage"],
        folder=row["folder"],
        name=row["name"],
        size=row["size_bytes"],
        captured=row["captured"],
        kind=Media(row["kind"]),
        group=row["shot"],
        site=site,
        utc=utc,
        local=local,
        is_protected=None if row["is_protected"] is None else bool(row["is_protected"]),
        picture=picture_of(row["picture"]),
    )


def picture_of(text: str | None) -> Picture | None:
    """Read what the ledger keeps of a file's beginning."""
    try:
        return None if text is None else msgspec.json.decode(text, type=Picture)
    except msgspec.DecodeError:  # written by another version
        return None
