"""The words of `hotshoe send, retry, skip, destinations` and `verify`. Loads nothing but argparse."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.cli.arguments import add_json, command

_FILE = "number of a file, its name, the end of camera/folder/name, or a pattern in quotes such as '100CANON/*.CR3'"


def retry(commands: Any) -> None:
    made = command(
        commands,
        "retry",
        "agent.cli.steer:retry",
        "try again what failed, was skipped or waits",
        "With FILEs: what failed or was skipped of these files. With --all: whatever failed, of any file; and "
        "everything that waits, cameras and destinations too, is tried at once.",
        ("hotshoe retry --all", "hotshoe retry 12 13", "hotshoe retry '101CANON/*'"),
    )
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("files", nargs="*", metavar="FILE", default=[], help=_FILE)
    which.add_argument("--all", action="store_true", help="everything")
    add_json(made)


def skip(commands: Any) -> None:
    made = command(
        commands,
        "skip",
        "agent.cli.steer:skip",
        "give up on files",
        "These files are not fetched or delivered any further; what is delivered stays. Who and why is kept. "
        "hotshoe retry takes it back.",
        ('hotshoe skip 12 13 --reason "test shots"', "hotshoe skip '*.MP4' --reason \"too long\""),
    )
    made.add_argument("files", nargs="+", metavar="FILE", help=_FILE)
    made.add_argument("--reason", required=True, type=_reason, metavar="WHY", help="kept with the files")
    add_json(made)


def send(commands: Any) -> None:
    made = command(
        commands,
        "send",
        "agent.cli.steer:send",
        "send files that no route sends by itself",
        "Sends files to wherever a route names, also one with auto = false; or to any destination with --to. "
        "A file that is no longer here is fetched from its card again. What is there already stays as it is.",
        (
            "hotshoe send 12 13",
            "hotshoe send IMG_0012.CR3 --to archive",
            "hotshoe send '100CANON/*.JPG' --to press --as 'final/{name}'",
        ),
        codes="Exit codes: 0 all on their way or there; 1 some are not, and why was said; 2 wrong usage.",
    )
    made.add_argument("files", nargs="+", metavar="FILE", help=_FILE)
    made.add_argument("--to", metavar="NAME", help="name of a destination")
    made.add_argument(
        "--as",
        dest="template",
        metavar="TEMPLATE",
        help="with --to: what they are called there: a template, a name, or a folder with / behind it",
    )
    add_json(made)


def destinations(commands: Any) -> None:
    made = command(
        commands,
        "destinations",
        "agent.cli.destinations:destinations",
        "where files go, and whether it works",
        "Without more: every destination with its state, what is still to go there, and its newest proof. With check: "
        "writes a small file there, reads it back, tries to replace it, and deletes it; each step is told with its "
        "time. Both work beside a running hotshoe and without one.",
        (
            "hotshoe destinations",
            "hotshoe destinations check",
            "hotshoe destinations check archive --json | jq 'select(.ok == false)'",
        ),
    )
    made.add_argument("names", nargs="*", metavar="[check] NAME", help="only these; all by default")
    add_json(made)


def verify(commands: Any) -> None:
    made = command(
        commands,
        "verify",
        "agent.cli.verify:verify",
        "prove deliveries again, where they lie",
        "Asks each destination for what was delivered there and compares it, as strictly as the destination can prove "
        "anything: by its own checksums, or by reading the files back. Nothing is sent or deleted. With --requeue, what "
        "is missing or different is queued again while it is still here or on its card; what is different is left "
        "where it is, and the file gets another name beside it.",
        (
            "hotshoe verify --sample 20",
            "hotshoe verify --all --destination archive",
            "hotshoe verify --all --since 7d --json | jq 'select(.result != \"same\")'",
        ),
        codes="Exit codes: 0 all is as it was delivered; 1 something is not, or could not be asked; 2 wrong usage.",
    )
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--sample", type=_count, metavar="N", help="so many of each destination, picked by chance"
    )
    which.add_argument("--all", action="store_true", help="everything that was delivered")
    made.add_argument(
        "--destination", "-d", action="append", metavar="NAME", help="only this one; may be repeated"
    )
    made.add_argument(
        "--since",
        type=_since,
        metavar="WHEN",
        help="only what was delivered since: 12h, 7d, 2024-05-01 or 2024-05-01T18:00",
    )
    made.add_argument("--requeue", action="store_true", help="deliver again what is missing or different")
    add_json(made)


def _reason(text: str) -> str:
    if not text.strip() or len(text) > 500:
        raise argparse.ArgumentTypeError("say why, in at most 500 characters")
    return text.strip()


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of files up to 100000")
    return int(text)


def _since(text: str) -> datetime:
    """A time by the local clock, or how long ago; in UTC."""
    if found := re.fullmatch(r"(\d{1,5})([hdw])", text):
        return datetime.now(UTC) - int(found[1]) * timedelta(hours={"h": 1, "d": 24, "w": 168}[found[2]])
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 7d or 2024-05-01T18:00") from None
