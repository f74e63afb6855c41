"""Numbers as people read them."""

from __future__ import annotations

MILLION, FEW = 1e6, 1e5


def several(count: object, noun: str) -> str:
    """`1 thread`, `2 threads`, `0.5 epochs`: a count as it is shown, with its noun."""
    return f"{count} {noun}" if str(count) == "1" else f"{count} {noun}s"


def in_millions(number: float, digits: int = 1) -> str:
    """`14.5M`; in thousands what millions would show little of: `63k`."""
    if number < max(FEW, MILLION / 10**digits):
        return f"{number / 1000:.0f}k"
    return f"{number / MILLION:.{digits}f}M"
