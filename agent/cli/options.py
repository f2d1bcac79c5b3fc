"""The words of `hotshoe delete`, `hotshoe journal` and `hotshoe secret`. Loads nothing but argparse."""

from __future__ import annotations

import argparse
from typing import Any

from agent.cli.arguments import EXIT_CODES, add_json, command, filled


def delete(commands: Any) -> None:
    made = command(
        commands,
        "delete",
        "agent.cli.delete:delete",
        "delete from the cards what is delivered and proven",
        "Lets the running hotshoe look at the cards now and delete what the section [delete] allows: files that every "
        "required destination has proven, long enough ago, and that are still the same on their card. With --dry-run "
        "nothing is asked of any camera: what would be deleted is listed, and why the rest stays.",
        ("hotshoe delete --dry-run", "hotshoe delete --dry-run --verbose", "hotshoe delete --yes"),
    )
    made.add_argument("--dry-run", action="store_true", help="only tell what would be deleted")
    made.add_argument(
        "--verbose", "-v", action="store_true", help="with --dry-run: every file that stays, and why"
    )
    made.add_argument(
        "--yes", action="store_true", help="this one time, even if deleting is switched off in the settings"
    )
    add_json(made, "JSON lines instead of text; with --dry-run one for every file")


def journal(commands: Any) -> None:
    made = command(
        commands,
        "journal",
        "agent.cli.journal:journal",
        "what was deleted from which card, and what justified it",
        "Every time that a camera was told to delete a file, or was about to be: with the deliveries that justified it, "
        "and what came of it.",
        ("hotshoe journal", "hotshoe journal --json | jq 'select(.state != \"deleted\")'"),
    )
    add_json(made)


def secret(commands: Any) -> None:
    made: argparse.ArgumentParser = commands.add_parser(
        "secret",
        help="keep passwords and keys out of the configuration file",
        description=filled(
            "Secrets are kept in the state folder, readable by its owner alone, and fill what the configuration file "
            "leaves out. They are never shown. Secrets may also come from the environment, or from systemd "
            "(LoadCredential=)."
        ),
        epilog="\n".join(
            (
                "examples:",
                "  hotshoe secret list",
                "  hotshoe secret set destinations.archive.password",
                "  pass show nas | hotshoe secret set destinations.nas.password",
                "  hotshoe secret clear destinations.archive.password",
                "",
                "Each action has --help and --json.",
                "",
                filled(EXIT_CODES),
            )
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = made.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    set_ = command(
        actions,
        "set",
        "agent.cli.secret:set_secret",
        "keep a secret, or replace it",
        "Asks for the value without showing it, or reads it from stdin when that is no terminal. Never give it as an "
        "argument: everybody on this computer could read it there.",
        (
            "hotshoe secret set destinations.archive.password",
            "pass show nas | hotshoe secret set destinations.nas.password",
        ),
    )
    clear = command(
        actions,
        "clear",
        "agent.cli.secret:clear_secret",
        "forget a secret",
        "The secret is removed from the state folder. What the configuration file or the environment says stays.",
        ("hotshoe secret clear destinations.archive.password",),
    )
    for each in (set_, clear):
        each.add_argument("path", metavar="PATH", help="the setting, such as destinations.archive.password")
        add_json(each)
    add_json(
        command(
            actions,
            "list",
            "agent.cli.secret:list_secrets",
            "which secrets there are, and where each comes from",
            "Names only. Also tells which settings still need one.",
            ("hotshoe secret list",),
        )
    )
