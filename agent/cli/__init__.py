"""The command line: `hotshoe COMMAND`. What each command needs is loaded when it is called, and no sooner.

Expected failures end with one sentence on stderr and an exit code (`stop`); a traceback is a bug.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from agent.cli import arguments, places, text
from agent.cli.stop import INTERRUPTED, MISUSED, UNREAD, told


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code. Wrong usage and --help end in SystemExit, as argparse does."""
    text.prepare_streams()
    parser = arguments.parser()
    given = parser.parse_args(argv)
    if given.command is None:
        parser.print_help(sys.stderr)
        return MISUSED
    given.is_config_named = bool(given.config or os.environ.get(places.CONFIG_VARIABLE))
    given.config = places.config_path(given.config)
    try:
        code = _handler(given.handler)(given)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Nobody reads on (hotshoe files | head). The interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except KeyboardInterrupt:
        text.hint("")
        return INTERRUPTED
    except Exception as error:
        if (expected := told(error)) is None:
            raise
        sentence, code = expected
        text.hint(f"hotshoe: {text.safe_lines(sentence)}")
        return code


def _handler(name: str) -> Callable[..., int]:
    from importlib import import_module

    module, _, function = name.partition(":")
    found: Callable[..., int] = getattr(import_module(module), function)
    return found
