"""Routes as they are written: which files, to which destinations, called what.

    [[routes]]
    match = { kind = ["jpeg"], folder = "1*CANON" }   # everything that is named must hold; leave out what does not matter
    destinations = ["agency"]                         # one or several
    template = "{site}/{local:%Y-%m-%d}/{name}"       # instead of each destination's own; fields: `agent.keys`
    auto = true                                       # false: only when a person sends the file
    whole_shot = true                                 # RAW, film and voice memo go where the picture of the same shot goes
    stop = true                                       # the routes below are not asked about a file that this one takes

Routes are asked from top to bottom, and all that match count; `stop` ends it early. A destination gets a file once, by
the first route that names it. A file that no route takes stays on the card, listed, and can be sent by hand.

A route may match on:

    kind, camera        what it is, which camera it is from
    folder, name        patterns, where * stands for anything, ? for one character, [ab] for one of those
    since, until        by the camera's own clock, the ends included
    hours, weekdays     by the camera's own clock; hours may go past midnight
    protected           the flag that the camera's key button sets
    min_rating, max_rating   the stars that the camera's RATE button gives
    with_kind, without_kind  what else was written of the same shot

What of this the listing does not tell is looked up in the camera, and only for files that the rest of a route fits:
the flag costs one question, stars two, and the second reads the file's first 256 KiB. What is changed on the camera while
it is connected is looked up again and may bring a file further destinations; it never takes one away.

The files of a shot are told by the camera's own number for it. They are announced one after the other, so a route
that asks for partners waits up to five seconds for those of a shot that was just taken; a partner that comes even later, such as a
voice memo, is compared with what is there, and may bring its shot further destinations. The files of a shot lie in one folder of one
card: what goes to the other card is a shot of its own there, and so is every file of a camera that tells no such number
(bodies that are not EOS, and EOS bodies that list their files one by one).
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from agent.keys import Media
from agent.settings.section import Section, several

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_HOURS = re.compile(r"(\d\d?):(\d\d) ?[-–] ?(\d\d?):(\d\d)")
_PATTERN_CHARACTERS = 100


def _pattern(text: str) -> str:
    if not 0 < len(text) <= _PATTERN_CHARACTERS or "/" in text or "\\" in text:
        raise ValueError("must be a pattern of one name, such as 100CANON or *.CR3, without folders above it")
    return text


def _hours(text: str) -> str:
    """Return the span in the form "18:00-02:00"."""
    found = _HOURS.fullmatch(text.strip())
    if found:
        numbers = [int(group) for group in found.groups()]
        begin, end = numbers[:2], numbers[2:]
        if (
            begin[0] < 24
            and begin[1] < 60
            and end[1] < 60
            and (end[0] < 24 or end == [24, 0])
            and begin != end
        ):
            return f"{begin[0]:02}:{begin[1]:02}-{end[0] % 24:02}:{end[1]:02}"
    raise ValueError(
        'must be a span of hours such as "18:00-23:30"; one past midnight such as "22:00-02:00" is right too'
    )


def _weekday(value: object) -> object:
    """Take "Saturday" as well as "sat"."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if text[:3] in WEEKDAYS and text.removesuffix("day") in (
        "mon",
        "tues",
        "wednes",
        "thurs",
        "fri",
        "satur",
        "sun",
    ):
        return text[:3]
    return text or value


def _moment(value: object, time_of_a_date: str) -> object:
    """Take a TOML time or date as well as text; return text that compares with a file's `captured`."""
    if value is None:
        return None
    moment: datetime | None = None
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            value = date.fromisoformat(value)
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
        elif isinstance(value, datetime):
            moment = value
        elif isinstance(value, date):
            moment = datetime.fromisoformat(f"{value.isoformat()}T{time_of_a_date}")
    except ValueError:
        pass
    if moment is None or moment.tzinfo:
        raise ValueError(
            "must be a time by the camera's own clock, such as 2024-05-01T18:00:00, or a day such as 2024-05-01"
        )
    return moment.isoformat(timespec="seconds")


Pattern = Annotated[str, AfterValidator(_pattern)]


class Match(Section):
    """Which files a route is for. What is left out matches everything."""

    kind: Annotated[tuple[Media, ...], BeforeValidator(several)] = Field(
        default=(), title="Kinds", description="Among jpeg, raw, heif, video, audio, other."
    )
    camera: Annotated[tuple[str, ...], BeforeValidator(several)] = Field(
        default=(), title="Cameras", description="Names of cameras."
    )
    folder: Annotated[tuple[Pattern, ...], BeforeValidator(several)] = Field(
        default=(),
        title="Camera folders",
        description='Folders of the card, such as "100CANON", or patterns such as "1*EOS*". Capitals do not matter.',
    )
    name: Annotated[tuple[Pattern, ...], BeforeValidator(several)] = Field(
        default=(),
        title="Names",
        description='Patterns of file names, such as "IMG_*" or "*.CR3". Capitals do not matter.',
    )
    since: Annotated[str | None, BeforeValidator(lambda value: _moment(value, "00:00:00"))] = Field(
        default=None,
        title="Taken from",
        description="A time by the camera's own clock, or a day. A file without a time is not matched.",
    )
    until: Annotated[str | None, BeforeValidator(lambda value: _moment(value, "23:59:59"))] = Field(
        default=None,
        title="Taken until",
        description="A time by the camera's own clock, or a day, which counts to its end. A file without a time is not matched.",
    )
    hours: Annotated[tuple[Annotated[str, AfterValidator(_hours)], ...], BeforeValidator(several)] = Field(
        default=(),
        title="Hours",
        description='When it was taken, such as "18:00-02:00", by the camera\'s own clock. A file without a time is not matched.',
    )
    weekdays: Annotated[
        tuple[Annotated[Weekday, BeforeValidator(_weekday)], ...], BeforeValidator(several)
    ] = Field(
        default=(),
        title="Days of the week",
        description='Among mon, tue, wed, thu, fri, sat, sun. What is taken after midnight within "hours" belongs to the day before.',
    )
    protected: bool | None = Field(
        default=None,
        title="Protected",
        description="True: only files that are protected on the camera. False: only the others. Where the camera does not tell,"
        " a file counts as not protected.",
    )
    min_rating: int | None = Field(
        default=None,
        ge=0,
        le=5,
        title="At least so many stars",
        description="Stars from 0 to 5, as given on the camera. A file whose stars are unknown (a film, a body that gives"
        " whole files only) counts as one with none.",
    )
    max_rating: int | None = Field(
        default=None,
        ge=0,
        le=5,
        title="At most so many stars",
        description="Stars from 0 to 5; 0 is what has no stars, or unknown ones.",
    )
    with_kind: Annotated[tuple[Media, ...], BeforeValidator(several)] = Field(
        default=(),
        title="Shot together with",
        description="Only files of a shot of which one of these kinds was written as well, such as raw.",
    )
    without_kind: Annotated[tuple[Media, ...], BeforeValidator(several)] = Field(
        default=(),
        title="Shot without",
        description="Only files of a shot of which none of these kinds was written; for a shot just taken that is known"
        " after five seconds.",
    )

    @model_validator(mode="after")
    def _can_match(self) -> Match:
        if self.since and self.until and self.since > self.until:
            raise ValueError("can match nothing: until lies before since")
        if None not in (self.min_rating, self.max_rating) and (self.min_rating or 0) > (self.max_rating or 0):
            raise ValueError("can match nothing: max_rating is less than min_rating")
        if both := set(self.with_kind) & set(self.without_kind):
            raise ValueError(f"can match nothing: {min(both)} is in with_kind and in without_kind")
        return self


class Route(Section):
    """Where files go."""

    destinations: Annotated[tuple[str, ...], BeforeValidator(several)] = Field(
        min_length=1, title="Destinations", description='Names of destinations, such as ["archive"].'
    )
    match: Match = Field(default=Match(), title="Only", description="Which files; all by default.")
    auto: bool = Field(
        default=True, title="By itself", description="False sends a file only when a person asks for it."
    )
    template: str | None = Field(
        default=None,
        title="Template",
        description="What files are called there, instead of the destination's own template.",
    )
    whole_shot: bool = Field(
        default=False,
        title="Whole shots",
        description="True sends all files of a shot (RAW, JPEG, film, voice memo) once one of them matches.",
    )
    stop: bool = Field(
        default=False,
        title="Last word",
        description="True: the routes below are not asked about a file that this one takes.",
    )
