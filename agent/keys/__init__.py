"""The key of a file at a destination: templates, clean names, suffixes. Pure.

A key is relative, has `/` between its folders, and is made of components that are names on POSIX, Windows and
object stores alike: whatever a camera calls its files, the key stays below the destination's root and is never
empty. The same file under the same template always gets the same key, on any machine. What a template can name stands in
`fields`.

Cleaning may give two files one key. That is not prevented here but where keys are UNIQUE, in the ledger: the
second file takes `suffixed(key, identity)`. Room for the suffix is kept from the start, so adding it never
cuts, and two files of one key get different suffixed keys unless their digests agree in every digit asked for.
"""

from agent.keys.facts import Facts, Media
from agent.keys.names import (
    COMPONENT_BYTES,
    KEY_BYTES,
    MOST_COMPONENTS,
    MOST_SUFFIX_DIGITS,
    SUFFIX_DIGITS,
    clean,
    split,
    suffixed,
)
from agent.keys.template import TEMPLATE_CHARACTERS, Template, TemplateError, parse

__all__ = [
    "COMPONENT_BYTES",
    "KEY_BYTES",
    "MOST_COMPONENTS",
    "MOST_SUFFIX_DIGITS",
    "SUFFIX_DIGITS",
    "TEMPLATE_CHARACTERS",
    "Facts",
    "Media",
    "Template",
    "TemplateError",
    "clean",
    "parse",
    "split",
    "suffixed",
]
