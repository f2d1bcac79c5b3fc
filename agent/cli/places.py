"""Where the command line finds things: the configuration file, the state folder it names, and the socket in it.

Commands that only look, or that give orders to a running agent, need the state folder and nothing else of the
settings. They read that one value themselves, by the rules of `settings.load`, so that they are quick, and work
where the rest of the configuration is incomplete: a service's secrets are not in everybody's environment.
"""

from __future__ import annotations

import argparse
import os
import re
import tomllib
from pathlib import Path

from agent.cli.stop import MISUSED, Stop

CONFIG_VARIABLE = "HOTSHOE_CONFIG"
CONFIG_DEFAULT = "hotshoe.toml"
_STATE_VARIABLE = "HOTSHOE_STATE_DIR"
_STATE_DEFAULT = "state"
PTP_IP_PORT = 15740


def config_path(given: str | None) -> Path:
    """Return the configuration file: as given, else as the environment says, else ./hotshoe.toml."""
    return Path(given or os.environ.get(CONFIG_VARIABLE) or CONFIG_DEFAULT)


def state_folder(config: Path) -> Path:
    """Return the state folder of a configuration. Raises SettingsError for a file that is missing or broken."""
    base = config.parent.absolute()
    if named := os.environ.get(_STATE_VARIABLE):
        return base / Path(named).expanduser()
    try:
        named = tomllib.loads(config.read_text("utf-8")).get("state_dir", _STATE_DEFAULT)
    except (OSError, ValueError):
        from agent.settings import load

        return load(config).state_dir  # says what is wrong with the file
    if not isinstance(named, str):
        raise Stop(f"{config}: state_dir must be text in quotes", MISUSED)
    return base / Path(named).expanduser()


def installation_folder(arguments: argparse.Namespace) -> Path:
    """Return where this installation keeps its GUID: with the configuration if there is one, else in the home."""
    if arguments.is_config_named or arguments.config.exists() or os.environ.get(_STATE_VARIABLE):
        return state_folder(arguments.config)
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "hotshoe"


def readable(state_dir: Path) -> Path:
    """Return `state_dir`. Raises Stop if it exists and is closed to us, which would look like "nothing there"."""
    if state_dir.exists() and not os.access(state_dir, os.R_OK | os.X_OK):
        raise Stop(f"{state_dir} belongs to another user: run this as the user that hotshoe runs as.")
    return state_dir


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of "HOST", "HOST:PORT", "[IPv6]" or "[IPv6]:PORT". Raises Stop."""
    found = re.fullmatch(
        r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]/\s]+))(?::(?P<port>\d{1,5}))?", text
    )
    if found is None and text.count(":") > 1 and re.fullmatch(r"[0-9A-Fa-f:.%\w]+", text):
        return text, PTP_IP_PORT  # an IPv6 address alone cannot be meant otherwise
    port = int(found["port"] or PTP_IP_PORT) if found else 0
    if found is None or not 0 < port < 65536:
        raise Stop(
            f"{text!r} is no address: write HOST or HOST:PORT, and an IPv6 address with a port as [ADDRESS]:PORT.",
            MISUSED,
        )
    return found["v6"] or found["host"], port
