"""What a running agent says: structured log lines, for people on stderr or as JSON, and the terminal's live progress.

A line never fails whoever logs it: a terminal or pipe that went away costs lines, not photos. Names from cameras and
words from servers are written so that a terminal only shows them. Other libraries' warnings come out the same way.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from agent.cli import measures
from agent.cli.terminal import progress as progress
from agent.cli.text import paint, safe
from agent.ledger import utc_now

if TYPE_CHECKING:
    from agent.settings import LogSettings

Fields = MutableMapping[str, Any]

# What a person would read past. JSON lines have everything.
_USUAL = {"offset": 0, "attempt": 1, "exclusive": "atomic", "is_new": False}
_LAST = ("code", "hint", "detail", "exception")
_PLAIN = ("camera", "folder", "destination", "key", "size", "proof")
_EVENT_COLUMNS, _NAME_COLUMNS = 10, 12
_SIGNS = {"debug": ("·", "dim"), "warning": ("!", "yellow"), "error": ("!", "red"), "critical": ("!", "red")}
_COLOURS = {"done": "green", "fetched": "cyan", "failed": "red", "waiting": "yellow", "needs you": "red"}


def configure(settings: LogSettings, *, json: bool = False) -> None:
    """Log from here on as `settings` say. `json`: the lines are the command's result, so JSON on stdout."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    is_json = json or settings.format == "json"
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _as_json if is_json else _as_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *name: _Lines(*name, to_stdout=json),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(logging.WARNING))
    logging.captureWarnings(True)


class _Lines:
    """Writes finished lines; `name` is who logs."""

    def __init__(self, name: str = "", *, to_stdout: bool):
        self.name = name
        self._to_stdout = to_stdout

    def msg(self, line: str) -> None:
        # Looked up each time: a live display puts itself in the place of stderr and prints above itself.
        stream = sys.stdout if self._to_stdout else sys.stderr
        with suppress(OSError, ValueError):
            stream.write(line + "\n")
            stream.flush()

    debug = info = warning = error = critical = fatal = exception = log = msg


class _Bridge(logging.Handler):
    """Carries what libraries log into our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(
            record.levelno, record.getMessage().strip(), exc_info=record.exc_info
        )


def _as_json(logger: Any, method: str, fields: Fields) -> str:
    head = {
        "at": utc_now(),
        "level": fields.pop("level"),
        "logger": logger.name,
        "event": fields.pop("event"),
    }
    return json.dumps(head | dict(fields), ensure_ascii=False, separators=(",", ":"), default=str)


def _as_text(logger: Any, method: str, fields: Fields) -> str:
    """One line: time, sign of the level, event, name and number of the file, fields; a traceback below it."""
    stream = sys.stderr
    level, event = fields.pop("level"), safe(fields.pop("event"))
    sign, colour = _SIGNS.get(level, (" ", ""))
    parts = [
        paint(_time_of_day(stream), "dim", stream),
        paint(sign, colour, stream),
        paint(f"{event:<{_EVENT_COLUMNS}}", _COLOURS.get(event, colour if level != "debug" else ""), stream),
    ]
    name, file_id = fields.pop("name", None), fields.pop("file", None)
    if name is not None:
        parts.append(f"{safe(name):<{_NAME_COLUMNS}}")
    if file_id is not None:
        parts.append(paint(f"#{file_id:<3}", "dim", stream))
    traceback = fields.pop("exception", None)
    parts += _told(event, fields, stream)
    line = " ".join(parts).rstrip()
    if traceback:
        line += "".join(f"\n    {safe(each)}" for each in str(traceback).splitlines())
    return line


def _time_of_day(stream: TextIO) -> str:
    """Short for whoever watches; with its date for whoever reads it later."""
    return datetime.now().strftime("%H:%M:%S" if stream.isatty() else "%Y-%m-%d %H:%M:%S")


def _told(event: str, fields: Fields, stream: TextIO) -> list[str]:
    """What everybody knows stands without its name, the rest as name=value, and what to do at the end."""
    shown = {
        key: value
        for key, value in fields.items()
        if value not in (None, "", []) and value != _USUAL.get(key)
    }
    if "key" in shown:
        shown.pop("location", None)
    if event == "done":
        shown.pop("key", None)  # it stands in the line "uploading"
    place = "/".join(safe(shown[key]) for key in ("camera", "folder") if key in shown)
    target = f"→ {safe(shown['destination'])}" if "destination" in shown else ""
    key = safe(shown["key"]) if "key" in shown else ""
    parts = [place, f"{target}: {key}" if target and key else target or key]
    parts += [_value(name, shown[name]) for name in ("size", "proof") if name in shown]
    parts += [
        paint(f"{safe(name)}=", "dim", stream) + _value(name, value)
        for name, value in shown.items()
        if name not in _PLAIN and name not in _LAST
    ]
    code, hint, detail = (shown.get(name) for name in ("code", "hint", "detail"))
    if code:
        parts.append(paint(safe(code), "yellow", stream) + (":" if hint else ""))
    if hint:
        parts.append(safe(hint))
    if detail:
        parts.append(paint(f"({safe(detail)})", "dim", stream))
    return [part for part in parts if part]


def _value(key: str, value: Any) -> str:
    if key == "size" or key.endswith("_bytes"):
        return measures.size(value).replace(" ", "")
    if key == "sha256":
        return f"{str(value)[:12]}…"
    if key.endswith("_at"):
        return measures.clock(str(value)).replace(" ", "T")
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(safe(each) for each in value)
    written = safe(value)
    return json.dumps(written, ensure_ascii=False) if " " in written or '"' in written else written
