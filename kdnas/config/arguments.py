"""Numbers that the Python API takes outside of the settings, checked as those are."""

from __future__ import annotations

from collections.abc import Collection

from kdnas.config.read import nearest
from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted

# What a number is that says how much of a score may be lost.
OF_THE_RANGE = "a share of the score's range (0.01: 1 point of 100)"


def check_whole(name: str, value: object, least: int) -> None:
    """Raises KdnasError where a value is not None and no whole number of `least` or more."""
    known = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if value is not None and not known:
        raise KdnasError(
            f"invalid {name} {quoted(value)}: expected a whole number of {least} or more"
        )


def check_number(name: str, value: object, least: float, most: float, what: str = "") -> None:
    """Raises KdnasError where a value is not None and no number from `least` to `most`.

    `what` says what the number is, as in `a share of the rows`.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    known = number is not None and least <= number <= most
    if value is not None and not known:
        raise KdnasError(
            f"invalid {name} {quoted(value)}: expected a number from {least:g} to {most:g}"
            f"{what and f', {what}'}"
        )


def check_known(name: str, options: Collection[str], known: Collection[str]) -> None:
    """Raises KdnasError where a function that takes some settings is given another."""
    for option in options:
        if option not in known:
            hint = nearest(option, known) or f"; it takes {', '.join(known)}"
            raise KdnasError(f"kdnas.{name} has no option {quoted(option)}{hint}")
