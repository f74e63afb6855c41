"""Numbers, paths and tables as people read them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from io import StringIO
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

MILLION, FEW = 1e6, 1e5
WIDTH = 80  # of a terminal
FEW_SECONDS = 10.0
# Estimates shorter than the first number (seconds) are rounded to multiples of the second.
ROUGH = ((20, 1), (60, 5), (150, 10), (300, 30), (3600, 60), (6 * 3600, 600), (float("inf"), 3600))


def several(count: object, noun: str) -> str:
    """A count with its noun: `1 thread`, `2 threads`, `0.5 epochs`."""
    return f"{count} {noun}" if str(count) == "1" else f"{count} {noun}s"


def short_path(path: Path) -> str:
    """A path as a person types it here, quoted: relative where it lies below this folder."""
    try:
        return quote(str(path.resolve().relative_to(Path.cwd())) or ".")
    except (ValueError, OSError):  # elsewhere, or this folder is gone
        return quote(str(path))


def in_millions(number: float, digits: int = 1) -> str:
    """A large number: `14.5M`, or `63k` where millions would show too few digits."""
    if number < max(FEW, MILLION / 10**digits):
        return f"{number / 1000:.0f}k"
    return f"{number / MILLION:,.{digits}f}M"


def in_decimals(number: float, digits: int, places: int = 4) -> str:
    """A number with so many decimal places, a small one with so many digits.

    Golden: 3.14159 -> '3.1416'; with four digits 0.000131 -> '0.000131'.
    """
    few = 0 < abs(number) < 10.0 ** (digits - places - 1)
    return f"{number:.{digits}g}" if few else f"{number:.{places}f}"


def as_score(score: float) -> str:
    """A score, `0.8186`; of an error, which may be in small units, `3.1e-05`."""
    return in_decimals(score, digits=2)


def as_interval(ends: tuple[float, float]) -> str:
    """The ends of a score's interval, `0.797 to 0.838`; small ones as those of scores."""
    low, high = (in_decimals(end, digits=2, places=3) for end in ends)
    return f"{low} to {high}"


def in_digits(number: float, digits: int) -> str:
    """A number with so many digits, or all those before its point: never with an exponent.

    Golden: with two digits 1.25 -> '1.2', 187.3 -> '187', 1234 -> '1,234'.
    """
    many = abs(number) >= 10**digits - 0.5
    return f"{number:,.0f}" if many else f"{number:.{digits}g}"


def table_lines(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    first: int | None = None,
    words: Collection[str] = (),
) -> list[str]:
    """A table without rules: the first column, `first` wide, left-aligned, the others right.

    Where it is too wide for a terminal, columns that are named as `words` are cut before others.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    table.add_column(head[0], no_wrap=True, overflow="ellipsis", width=first)
    for name in head[1:]:
        table.add_column(name, justify="right", no_wrap=name not in words, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
    text = StringIO()
    Console(file=text, width=WIDTH, color_system=None, markup=False, highlight=False).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def in_time(seconds: float, *, rough: bool = False) -> str:
    """A duration: `1.4 s`, `45 s`, `12 min 4 s`, `2 h 10 min`; rough ones without the last part."""
    if seconds < FEW_SECONDS and not rough:
        return f"{seconds:.1f} s"
    if rough:  # steps of about a tenth
        unit = next(unit for most, unit in ROUGH if seconds < most)
        seconds = max(1, round(seconds / unit)) * unit
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min" if minutes_left else f"{hours} h"
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def in_bytes(number: int) -> str:
    """A size in bytes: `1.2 GB`, `430 MB`, `12 kB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if number >= size:
            digits = 1 if number < 100 * size else 0
            return f"{number / size:.{digits}f} {unit}"
    return f"{number / 1000:.0f} kB"
