"""Numbers as people read them."""

from __future__ import annotations

MILLION, FEW = 1e6, 1e5


def several(count: object, noun: str) -> str:
    """A count with its noun: `1 thread`, `2 threads`, `0.5 epochs`."""
    return f"{count} {noun}" if str(count) == "1" else f"{count} {noun}s"


def in_millions(number: float, digits: int = 1) -> str:
    """A large number: `14.5M`, or `63k` where millions would show too few digits."""
    if number < max(FEW, MILLION / 10**digits):
        return f"{number / 1000:.0f}k"
    return f"{number / MILLION:.{digits}f}M"
