"""Which destinations a file is owed to, and under which key. Pure: settings and facts in, keys out.

What a file is and which file it is are decided from the camera's listing alone. Routes may ask for more: `missing` says
what, of the file itself and of the other files of its shot, and `owed` counts what nobody could say as nothing. So the
result is a function of facts that the camera gives again, not of the moment in which they became known: of a set of facts it
does not matter in which order they came. How routes are written stands in `agent.settings.routes`, what templates can name in
`agent.keys.fields`.
"""

from agent.keys import Facts, Media, suffixed
from agent.routing.clock import corrected, steady
from agent.routing.identity import identity_of, kind_of
from agent.routing.matching import ALONE, Missing, Need, Shot
from agent.routing.owing import (
    HasTemplate,
    Owed,
    ask_for_marks,
    ask_for_shots,
    is_wanted,
    missing,
    named,
    override,
    owed,
)
from agent.routing.rows import facts_of, picture_of

__all__ = [
    "ALONE",
    "Facts",
    "HasTemplate",
    "Media",
    "Missing",
    "Need",
    "Owed",
    "Shot",
    "ask_for_marks",
    "ask_for_shots",
    "corrected",
    "facts_of",
    "identity_of",
    "is_wanted",
    "kind_of",
    "missing",
    "named",
    "override",
    "owed",
    "picture_of",
    "steady",
    "suffixed",
]
