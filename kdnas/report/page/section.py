"""One section of a page, as plain data; the templates know how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go


@dataclass(frozen=True)
class Table:
    """Numbers that a plot shows, to be read without it.

    Attributes:
        head: Names of the columns.
        rows: Cells as they are shown; a row's first names it.
        open: Whether it is shown at once, not behind a click.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    open: bool = False


@dataclass(frozen=True)
class Section:
    """One section of a page.

    Attributes:
        key: Its anchor, a plain word.
        title: Its heading.
        told: How to read it, in a sentence or two.
        views: Figures by the name of the button that shows each; the first is shown first.
        table: Its numbers.
        missing: Why there is no plot, where there is none.
        notes: What is to be said of one view alone, by its name.
        least_width: Pixels below which the plot scrolls sideways within its frame.
    """

    key: str
    title: str
    told: str
    views: dict[str, go.Figure] = field(default_factory=dict)
    table: Table | None = None
    missing: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    least_width: int = 0
