"""The words of the command line: sub-commands, options, and what --help says. Loads nothing but argparse.

Each command names the function that carries it out as text (`handler`), so that only its own modules are loaded.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any

EXIT_CODES = "Exit codes: 0 done; 1 something is not as it should be; 2 wrong usage or configuration."
_CONFIG = "configuration file; else what HOTSHOE_CONFIG says, else ./hotshoe.toml"
_STATES = (
    "discovered",
    "fetching",
    "fetched",
    "evicted",
    "gone",
    "skipped",
    "queued",
    "uploading",
    "done",
    "failed",
)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any):
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"hotshoe {version('hotshoe')}")
        except PackageNotFoundError:
            print("hotshoe (from a checkout)")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    from agent.cli import delivering, options

    root = argparse.ArgumentParser(
        prog="hotshoe",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=filled(
            "Takes every photo and video off a camera as it is shot, and delivers each one once, verified."
        ),
        epilog=f"hotshoe COMMAND --help tells more, with examples.\n\n{filled(EXIT_CODES)}",
    )
    root.add_argument("--version", action=_Version, help="show the version and end")
    commands = root.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for add in (
        _run,
        _status,
        _files,
        _doctor,
        _ls,
        _get,
        delivering.send,
        delivering.retry,
        delivering.skip,
        delivering.destinations,
        delivering.verify,
        _pause,
        _resume,
        _scan,
        _reload,
        _guid,
        options.delete,
        options.journal,
        options.secret,
    ):
        add(commands)
    return root


def command(
    commands: Any,
    name: str,
    handler: str,
    summary: str,
    description: str,
    examples: Sequence[str],
    *,
    codes: str = "",
) -> argparse.ArgumentParser:
    epilog = ["examples:", *(f"  {example}" for example in examples), "", filled(codes or EXIT_CODES)]
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=filled(description),
        epilog="\n".join(epilog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--config", "-c", metavar="FILE", help=_CONFIG)
    made.set_defaults(handler=handler)
    return made


def filled(prose: str) -> str:
    return textwrap.fill(prose, 79)


def add_json(command: argparse.ArgumentParser, what: str = "JSON lines instead of text") -> None:
    command.add_argument("--json", action="store_true", help=what)


def _run(commands: Any) -> None:
    made = command(
        commands,
        "run",
        "agent.cli.run:run",
        "take photos off the cameras and deliver them",
        "Runs until stopped (Ctrl-C, SIGTERM). It may be killed at any moment and goes on where it was. "
        "SIGHUP, or hotshoe reload, reads the configuration again.",
        (
            "hotshoe run --config hotshoe.toml",
            "hotshoe run --once --patience 30",
            "hotshoe run --json | jq .event",
        ),
        codes="Exit codes: 0 stopped, or with --once all is delivered; 1 something is not delivered, and why "
        "was said; 2 the configuration or the state folder does not work.",
    )
    made.add_argument(
        "--once", action="store_true", help="end when all that is on the cards, and should be, is delivered"
    )
    made.add_argument(
        "--patience",
        type=_seconds,
        default=120.0,
        metavar="S",
        help="with --once: give up after so many seconds in which nothing moved (%(default)g)",
    )
    add_json(made, "log as JSON lines on stdout")


def _status(commands: Any) -> None:
    made = command(
        commands,
        "status",
        "agent.cli.show:status",
        "how it stands",
        "Cameras and destinations with what they wait for, counts, what is still to go, what moves now. "
        "Works beside a running hotshoe and after it.",
        ("hotshoe status", "hotshoe status --json | jq .backlog.owed_bytes", "watch -n 1 hotshoe status"),
        codes="Exit codes: 0 told; 1 nothing has run here yet; 2 wrong usage or configuration.",
    )
    add_json(made, "one JSON object instead of text")


def _files(commands: Any) -> None:
    made = command(
        commands,
        "files",
        "agent.cli.show:files",
        "every file that was seen, and where it is",
        "One file a line, in the order in which they were seen; what waits or fails says why. "
        "With --json also its digests and each delivery with its key, proof and receipt.",
        (
            "hotshoe files",
            "hotshoe files --state failed",
            "hotshoe files --json | jq -r 'select(.status != \"done\") | .filename'",
        ),
    )
    made.add_argument(
        "--state",
        choices=_STATES,
        metavar="STATE",
        help="only files that are: discovered, fetching, fetched, evicted, gone or skipped; or, with their"
        " deliveries taken together: queued, uploading, done or failed",
    )
    add_json(made)


def _doctor(commands: Any) -> None:
    made = command(
        commands,
        "doctor",
        "agent.cli.doctor:doctor",
        "try the configuration, the cameras and the destinations",
        "Reads the configuration, writes to the state folder, connects to each camera, and at each destination "
        "writes a small file, reads it back, tries to replace it, and deletes it. Each step is told with its time.",
        ("hotshoe doctor", "hotshoe doctor --json | jq 'select(.ok == false)'"),
        codes="Exit codes: 0 all is well; 1 something is wrong; 2 wrong usage.",
    )
    add_json(made)


_ADDRESS = "the camera: HOST, HOST:PORT, [IPv6] or [IPv6]:PORT (port 15740 by default)"


def _ls(commands: Any) -> None:
    made = command(
        commands,
        "ls",
        "agent.cli.cards:ls",
        "list what is on a camera's cards",
        "Connects to the camera, or asks the running hotshoe if that holds it. At first contact the camera may ask "
        "for a confirmation: press OK there.",
        (
            "hotshoe ls 192.168.1.2",
            "hotshoe ls [fe80::1%wlan0]:15740",
            "hotshoe ls 192.168.1.2 --json | jq .size_bytes",
        ),
    )
    made.add_argument("address", metavar="HOST[:PORT]", help=_ADDRESS)
    add_json(made)


def _get(commands: Any) -> None:
    made = command(
        commands,
        "get",
        "agent.cli.cards:get",
        "fetch one file from a camera",
        "Fetches a file by its name, such as IMG_0001.JPG, 100CANON/IMG_0001.JPG or, with two cards, "
        "00010001/100CANON/IMG_0001.JPG. It appears under its name only when it is whole.",
        (
            "hotshoe get 192.168.1.2 IMG_0001.CR3 -o first.cr3",
            "hotshoe get 192.168.1.2 100CANON/IMG_0001.JPG -o ~/Pictures/",
            "hotshoe get 192.168.1.2 IMG_0001.JPG --thumb -o - | display",
        ),
    )
    made.add_argument("address", metavar="HOST[:PORT]", help=_ADDRESS)
    made.add_argument("name", metavar="NAME", help="the file on the card")
    made.add_argument(
        "-o",
        dest="out",
        metavar="FILE",
        help="where to: a file, a folder, or - for stdout; else here, under its own name",
    )
    made.add_argument("--thumb", action="store_true", help="its thumbnail instead (a small JPEG)")
    made.add_argument("--force", action="store_true", help="replace FILE if it exists")
    add_json(made, "tell the result as a JSON line")


def _pause(commands: Any) -> None:
    made = command(
        commands,
        "pause",
        "agent.cli.steer:pause",
        "let go of a camera, or stop delivering to a destination",
        "Holds until hotshoe resume, also over a restart. Nothing is lost: what is under way goes on later.",
        ("hotshoe pause cloud", "hotshoe pause camera:main"),
    )
    made.add_argument(
        "name", metavar="NAME", help="a camera or destination; camera:NAME or destination:NAME if both"
    )
    add_json(made)


def _resume(commands: Any) -> None:
    made = command(
        commands,
        "resume",
        "agent.cli.steer:resume",
        "go on with a paused camera or destination",
        "Also tries one again at once that waits, or that hotshoe paused because it needs a person.",
        ("hotshoe resume cloud",),
    )
    made.add_argument(
        "name", metavar="NAME", help="a camera or destination; camera:NAME or destination:NAME if both"
    )
    add_json(made)


def _scan(commands: Any) -> None:
    made = command(
        commands, "scan", "agent.cli.steer:scan", "read the cards again now",
        "Happens by itself every few minutes, and whenever a camera tells of something new.", ("hotshoe scan",),
    )  # fmt: skip
    add_json(made)


def _reload(commands: Any) -> None:
    made = command(
        commands,
        "reload",
        "agent.cli.steer:reload",
        "let the running hotshoe read its configuration again",
        "Only what changed is begun anew. With a mistake in the file everything stays as it is.",
        ("hotshoe reload",),
    )
    add_json(made)


def _guid(commands: Any) -> None:
    made = command(
        commands,
        "guid",
        "agent.cli.guid:guid",
        "show or replace the GUID by which cameras know us",
        "Made once per installation. A camera refuses any other than the one that it was paired with: import the GUID "
        "of a program or computer that you replace, and its pairings go on.",
        ("hotshoe guid", "hotshoe guid --import 00000000-0000-0000-0001-0123456789ab"),
    )
    made.add_argument(
        "--import", dest="imported", metavar="GUID", help="32 hexadecimal digits, with or without dashes"
    )
    add_json(made)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < 1e9:
        raise ValueError(text)
    return seconds


_seconds.__name__ = "number of seconds"
