"""What a running agent says: structured log lines, for people on stderr or as JSON, and the terminal's live progress.

A line never fails whoever logs it: a terminal or pipe that went away costs lines, not photos. Names from cameras and
words from servers are written so that a terminal only shows them. Other libraries' warnings come out the same way.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
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

_FIRST = ("camera", "destination", "model", "serial", "folder", "size", "key")
_LAST = ("code", "hint", "detail", "exception")
_EVENT_COLUMNS, _NAME_COLUMNS = 12, 14
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
        parts.append(paint(f"#{file_id}", "dim", stream))
    traceback = fields.pop("exception", None)
    parts += _told(fields, stream)
    line = " ".join(parts).rstrip()
    if traceback:
        line += "".join(f"\n    {safe(each)}" for each in str(traceback).splitlines())
    return line


def _time_of_day(stream: TextIO) -> str:
    """Short for whoever watches; with its date for whoever reads it later."""
    return datetime.now().strftime("%H:%M:%S" if stream.isatty() else "%Y-%m-%d %H:%M:%S")


def _told(fields: Mapping[str, Any], stream: TextIO) -> list[str]:
    known = [key for key in _FIRST if key in fields]
    others = [key for key in fields if key not in _FIRST and key not in _LAST]
    parts = [
        paint(f"{safe(key)}=", "dim", stream) + _value(key, fields[key])
        for key in (*known, *others)
        if fields[key] not in (None, "", [])
    ]
    code, hint, detail = (fields.get(key) for key in ("code", "hint", "detail"))
    if code:
        parts.append(paint(safe(code), "yellow", stream) + (":" if hint else ""))
    if hint:
        parts.append(safe(hint))
    if detail:
        parts.append(paint(f"({safe(detail)})", "dim", stream))
    return parts


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
