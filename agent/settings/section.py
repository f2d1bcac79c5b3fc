"""What the sections of the settings have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table of the configuration file: nothing in it that is not known, nothing changed once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def several(value: object) -> object:
    """Take one text where a list of them is wanted."""
    return (value,) if isinstance(value, str) else value
