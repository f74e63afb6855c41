"""Times as people type them: `45m`, `1h30m`, `90s`."""

from __future__ import annotations

import re

_FORM = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?", re.IGNORECASE)
_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
MOST_SECONDS = 366 * 86_400


def seconds_of(text: str) -> int:
    """A time such as 45m, 1h30m, 90s or 2d in seconds.

    Raises:
        ValueError: It is none, or no longer than nothing, or longer than a year.
    """
    found = _FORM.fullmatch(text.strip().replace(" ", ""))
    parts = found.groups() if found else ()
    seconds = sum(int(n or 0) * unit for n, unit in zip(parts, _UNITS.values(), strict=False))
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError("expected a time such as 45m, 1h30m or 90s")
    return seconds


def duration(seconds: float) -> str:
    """Seconds as `seconds_of` reads them: `1h30m`."""
    left, found = round(seconds), ""
    for name, unit in _UNITS.items():
        count, left = divmod(left, unit)
        found += f"{count}{name}" if count else ""
    return found or "0s"
