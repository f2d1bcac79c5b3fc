"""What can be set, with its defaults and limits. A new setting is one field here, or in a backend's Config.

Every field has a title and a description: forms and the text of problems are made of them. Validators raise
ValueErrors in words that fit behind the field's path ("must be …").
"""

from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.backends import Destination
from agent.backends.base import Limit
from agent.schedule import MOST_LINES
from agent.settings.deletion import DeleteSettings
from agent.settings.routes import Route
from agent.settings.section import Section

ENV_PREFIX = "HOTSHOE_"
ENV_SEPARATOR = "__"

_BYTE_SIZE = TypeAdapter(ByteSize)
_PERCENT = re.compile(r"(\d{1,3}) ?%")


def _slug(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name) or ENV_SEPARATOR in name:
        raise ValueError("must be a short name of lower-case letters, digits, - and single _, such as main")
    return name


def _host(host: str) -> str:
    if not re.fullmatch(r"[\w.:%-]+", host) or re.fullmatch(r"[^:]*:\d*", host):
        raise ValueError(
            "must be an address or a name alone, such as 192.168.1.2; a port has its own setting"
        )
    return host


def _backlog(value: object) -> object:
    """Take a TOML time or date as well as text; keep camera-local text that compares with a file's `captured`."""
    if value in ("all", "none"):
        return value
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
    except ValueError:
        value = None
    if not isinstance(value, datetime) or value.tzinfo:
        raise ValueError(
            'must be "all", "none" or a time by the camera\'s own clock, such as 2024-05-01T18:00:00'
        )
    return value.isoformat(timespec="seconds")


def _budget(value: object) -> object:
    try:
        if percent := _PERCENT.fullmatch(str(value).strip()):
            if 1 <= int(percent[1]) <= 100:
                return f"{int(percent[1])}%"
        elif isinstance(value, str | int) and _BYTE_SIZE.validate_python(value) > 0:
            return str(value)
    except ValidationError:
        pass
    raise ValueError('must be a size such as "20 GiB", or a share of what is free such as "80%"')


def _zone(name: str) -> str:
    try:
        if name:
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            "must be a time zone that this computer knows, such as Europe/Zurich (timedatectl list-timezones)"
        ) from None
    return name


Slug = Annotated[str, AfterValidator(_slug)]


class CameraSettings(Section):
    """One camera on the network."""

    name: Slug = Field(title="Name", description="What the camera is called here, such as main.")
    host: Annotated[str, AfterValidator(_host)] = Field(
        title="Address", description="Its address on the network, such as 192.168.1.2."
    )
    port: int = Field(default=15740, ge=1, le=65535, title="Port", description="Its PTP/IP port.")
    enabled: bool = Field(default=True, title="In use", description="False leaves this camera alone.")
    backlog: Annotated[str, BeforeValidator(_backlog)] = Field(
        default="all",
        title="Pictures already on the card",
        description="What to take of a card full of old pictures on first contact: all, none, or since a time.",
    )
    session_id: int = Field(
        default=1, ge=1, le=0xFFFFFFFF, title="Session", description="The PTP session number to open."
    )
    # A 1D X II shows busy and locks its dials when it is asked more than about ten times a second.
    poll_seconds: float | None = Field(
        default=None,
        ge=0.1,
        le=600,
        title="Look every",
        description="Seconds between two looks; by default what suits the model.",
    )


class UploadSettings(Section):
    workers: int = Field(
        default=4,
        ge=1,
        le=64,
        title="Uploads at once",
        description="Uploads that run side by side, over all destinations. Each may have one at any time.",
    )
    limit: Limit = Field(
        default=(),
        max_length=MOST_LINES,
        title="Speed limit",
        description='For all destinations together: lines such as "512k 08:00-22:00" or "pause 08:00-18:00 video";'
        " the first that applies counts.",
    )


class SpoolSettings(Section):
    """Where files wait between the card and their destinations."""

    path: Path | None = Field(
        default=None, title="Folder", description="By default spool in the state folder."
    )
    budget: Annotated[str, BeforeValidator(_budget)] = Field(
        default="80%",
        title="Budget",
        description='The most it may hold: a size such as "20 GiB", or a share of the free space.',
    )

    def budget_bytes(self, available_bytes: int) -> int:
        """Return the budget in bytes. `available_bytes`: what is free on the disk plus what the spool holds."""
        if percent := _PERCENT.fullmatch(self.budget):
            return available_bytes * int(percent[1]) // 100
        return int(_BYTE_SIZE.validate_python(self.budget))


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", title="Level", description="The least that is logged."
    )
    format: Literal["text", "json"] = Field(
        default="text", title="Format", description="Lines for people, or one JSON object a line."
    )


class Settings(BaseSettings):
    """The root. Build it with `load`: constructed directly it reads no file and no environment."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_SEPARATOR
    )

    site: str = Field(
        default="",
        max_length=64,
        title="Site",
        description="What this place is called, for {site} in templates.",
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="",
        title="Time zone",
        description="The zone of {local} in templates, such as Europe/Zurich; empty: this computer's.",
    )
    state_dir: Path = Field(
        default=Path("state"), title="State folder", description="Where the ledger and the spool are kept."
    )
    cameras: tuple[CameraSettings, ...] = Field(
        default=(), title="Cameras", description="One [[cameras]] each."
    )
    destinations: dict[Slug, Destination] = Field(
        default={}, title="Destinations", description="One [destinations.NAME] each."
    )
    routes: tuple[Route, ...] = Field(default=(), title="Routes", description="One [[routes]] each.")
    upload: UploadSettings = UploadSettings()
    spool: SpoolSettings = SpoolSettings()
    delete: DeleteSettings = DeleteSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone of `time_zone`; None: this computer's."""
        return ZoneInfo(self.time_zone) if self.time_zone else None

    @property
    def spool_path(self) -> Path:
        return self.spool.path or self.state_dir / "spool"


class Changes(msgspec.Struct, frozen=True):
    """What differs between two settings. Names stand for what was added, removed or changed alike."""

    cameras: frozenset[str]
    destinations: frozenset[str]
    routes: bool
    others: frozenset[str]  # names of other top-level settings


def differences(old: Settings, new: Settings) -> Changes:
    """Say what a change of settings concerns; what is not named goes on undisturbed."""
    before, after = {c.name: c for c in old.cameras}, {c.name: c for c in new.cameras}
    others = set(Settings.model_fields) - {"cameras", "destinations", "routes"}
    return Changes(
        cameras=frozenset(n for n in before.keys() | after.keys() if before.get(n) != after.get(n)),
        destinations=frozenset(
            n
            for n in old.destinations.keys() | new.destinations.keys()
            if old.destinations.get(n) != new.destinations.get(n)
        ),
        routes=old.routes != new.routes,
        others=frozenset(n for n in others if getattr(old, n) != getattr(new, n)),
    )
