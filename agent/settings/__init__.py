"""The whole settings tree of an agent: default < file < edits < environment.

`load` gives a frozen `Settings` with absolute paths, or one `SettingsError` that lists everything that is wrong.
`differences` tells which cameras and destinations a change concerns, so that only their tasks are replaced.
A destination's own settings stand beside its backend.
"""

from agent.settings.deletion import DeleteSettings
from agent.settings.loading import EXAMPLE, load
from agent.settings.problems import Problem, SettingsError
from agent.settings.routes import Match, Route
from agent.settings.tree import (
    CameraSettings,
    Changes,
    LogSettings,
    Settings,
    SpoolSettings,
    UploadSettings,
    differences,
)

__all__ = [
    "EXAMPLE",
    "CameraSettings",
    "Changes",
    "DeleteSettings",
    "LogSettings",
    "Match",
    "Problem",
    "Route",
    "Settings",
    "SettingsError",
    "SpoolSettings",
    "UploadSettings",
    "differences",
    "load",
]
