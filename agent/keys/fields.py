"""What a template can name. Each field is a function of `Facts` alone.

From the card's listing:

    {camera}    the camera's name in the settings        {name}      IMG_0412.CR3
    {serial}    its serial number                        {stem}      IMG_0412
    {storage}   the card slot: 00020001                  {ext}       CR3
    {folder}    100CANON                                 {sequence}  0412, the number in the name, or "unnumbered"
    {kind}      jpeg, raw, heif, video, audio, other     {site}      the setting `site`

Times, each with a format such as {date:%Y-%m-%d} (the default); / in it makes folders:

    {date}      when the file was made, by the camera's own clock
    {local}     the same moment, corrected, in the setting `time_zone`
    {utc}       the same moment, corrected, in UTC
    {taken}     EXIF's time of the exposure, by the camera's own clock

The correction is what the camera's clock differed by from this computer's when the camera was connected. A clock that
is right but for its zone gives the same name whenever it is measured; one that drifts may give another second after the
ledger was lost. Where a camera does not tell its clock, {local} and {utc} are the camera's own time, as is {taken} for
files without EXIF. A file without any time gives "undated". There are %Y %y %m %d %j (day of the year) %G %V (ISO
year and week) %H %M %S.

From EXIF, which costs one more read of the file's first 256 KiB, and only where a template names it:

    {make}  {model}  {lens}  {artist}  {iso}  {orientation}   Canon, Canon EOS R7, …, …, 400, landscape or portrait
    {aperture}  {shutter}  {focal}                            2.8, 1-250 (for 1/250 s), 50 (mm)
    {rating}                                                  stars, 0 to 5

What a file does not say, and what a camera that gives whole files only cannot show in time, is "unknown" (for {rating}: 0).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from agent.keys.facts import Facts
from agent.keys.names import split
from agent.pictures import Picture

Value = Callable[[Facts], str]


def _last_folder(facts: Facts) -> str:
    return re.split(r"[/\\]", facts.folder.rstrip("/\\"))[-1]


def _sequence(facts: Facts) -> str:
    """The last number of the name: a copy is IMG_0412_1 on no camera that we know."""
    numbers = re.findall(r"[0-9]+", split(facts.name)[0])
    return numbers[-1] if numbers else "unnumbered"


def _of_picture(name: str) -> Value:
    return lambda facts: str(getattr(facts.picture or _UNKNOWN, name)) or "unknown"


_UNKNOWN = Picture()

LISTED: dict[str, Value] = {
    "camera": lambda facts: facts.camera,
    "serial": lambda facts: facts.serial,
    "storage": lambda facts: f"{facts.storage:08x}",
    "folder": _last_folder,
    "name": lambda facts: facts.name,
    "stem": lambda facts: split(facts.name)[0],
    "ext": lambda facts: split(facts.name)[1].removeprefix("."),
    "kind": lambda facts: facts.kind.value,
    "sequence": _sequence,
    "site": lambda facts: facts.site,
}
PICTURED: dict[str, Value] = {
    name: _of_picture(name) for name in Picture.__struct_fields__ if name != "taken"
}
TIMES: dict[str, Value] = {
    "date": lambda facts: facts.captured,
    "local": lambda facts: facts.local or facts.captured,
    "utc": lambda facts: facts.utc or facts.captured,
    "taken": lambda facts: (facts.picture or _UNKNOWN).taken or facts.captured,
}
NEEDING_PICTURE = frozenset({*PICTURED, "taken"})
