"""The section `[delete]`: whether, and when, delivered files are deleted from the camera's card."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from agent.backends.base import Proof
from agent.keys import Media
from agent.settings.section import Section, several

_AGE = re.compile(r"(\d{1,6}) ?(s|min|m|h|d|w)")
_UNIT_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _age(value: object) -> object:
    """Keep the text; `seconds_of` reads it."""
    if isinstance(value, str) and _AGE.fullmatch(value.strip()):
        return value.strip()
    raise ValueError('must be a number with s, min, h, d or w, such as "2h" or "1d"')


def seconds_of(age: str) -> int:
    """Return how long "2h" or "30 min" is."""
    found = _AGE.fullmatch(age)
    assert found is not None
    return int(found[1]) * _UNIT_SECONDS[found[2]]


class DeleteSettings(Section):
    """Deleting from the card what is delivered and proven. Nothing is deleted unless this is switched on."""

    enabled: bool = Field(
        default=False,
        title="Delete from the card",
        description="True deletes files from the camera's card once they are delivered and proven everywhere.",
    )
    proof: Literal[Proof.READBACK, Proof.CHECKSUM] = Field(
        default=Proof.READBACK,
        title="Proof",
        description='The least proof that every destination must have given: "readback", or "checksum" alone.',
    )
    after: Annotated[str, BeforeValidator(_age)] = Field(
        default="24h",
        title="After",
        description='How long the last proof must have stood, such as "2h" or "1d".',
    )
    kinds: Annotated[tuple[Media, ...], BeforeValidator(several)] = Field(
        default=(),
        title="Kinds",
        description="What to delete, among jpeg, raw, heif, video, audio, other; all by default. Each file of a"
        " shot is judged by itself.",
    )
    destinations: Annotated[tuple[str, ...], BeforeValidator(several)] = Field(
        default=(),
        title="Destinations",
        description="Which destinations must have proven a file; by default each that a route names for it or that"
        " it was ever promised to. What no route sends by itself stays.",
    )

    @property
    def after_seconds(self) -> int:
        return seconds_of(self.after)
