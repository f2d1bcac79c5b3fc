"""When a file was really made, if the camera's clock is known to be wrong by so much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

_QUARTER_SECONDS = 15 * 60
_SURE_SECONDS = 2


def steady(ahead_seconds: float) -> int:
    """Return how far the camera's wall clock is ahead of UTC, in a form that the next measurement gives as well.

    Clocks are set to zones, which differ by quarters of an hour; a clock has no fractions of a second, and the question takes
    a moment. So what is near a quarter is one.
    """
    quarter = round(ahead_seconds / _QUARTER_SECONDS) * _QUARTER_SECONDS
    return quarter if abs(ahead_seconds - quarter) <= _SURE_SECONDS else round(ahead_seconds)


def corrected(captured: str, ahead_seconds: int | None, zone: tzinfo | None) -> tuple[str, str]:
    """Return the moment `captured` in UTC and in `zone` (None: this computer's), both written as `captured` is; "" twice
    when the camera's clock is not known or there is no time.
    """
    if ahead_seconds is None:
        return "", ""
    try:
        utc = datetime.fromisoformat(captured) - timedelta(seconds=ahead_seconds)
        local = utc.replace(tzinfo=UTC).astimezone(zone)
    except (ValueError, OverflowError):
        return "", ""
    return utc.isoformat(), local.replace(tzinfo=None).isoformat()
