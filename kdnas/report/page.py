"""Pages for a browser, each in one file: sections with a plot, its numbers as a table, and text."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from kdnas.files.atomic import write_text

Plotly = Literal["inline", "cdn"]

# The templates escape all text; style and scripts are the package's own.
TEMPLATES = Environment(
    loader=PackageLoader("kdnas.report", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Table:
    """The numbers of a plot: cells as they are shown, a row's first names it."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    open: bool = False  # at once, not behind a click
    caption: str = ""
    commands: Sequence[str] = ()  # a row's command, to be copied; empty for none
    words: bool = False  # whether cells hold sentences, which wrap


@dataclass(frozen=True)
class Command:
    """A command line to be copied, and what it is good for."""

    line: str
    what: str


@dataclass(frozen=True)
class Section:
    """One section of a page."""

    key: str  # its anchor
    title: str
    told: str  # how to read it
    views: dict[str, go.Figure] = field(default_factory=dict)  # by the button that shows each
    table: Table | None = None
    missing: str = ""  # why there is no plot
    notes: dict[str, str] = field(default_factory=dict)  # text of one view, by its name
    least_width: int = 0  # pixels below which the plot scrolls sideways within its frame
    commands: Sequence[Command] = ()
    clicked: str = ""  # what a click on a dot does, where dots have commands


@dataclass(frozen=True)
class Top:
    """What stands before the sections, beside the first of them where there is room."""

    lead: Sequence[str] = ()  # paragraphs, the first one the outcome
    table: Table | None = None


def write_page(
    path: Path,
    title: str,
    sections: Sequence[Section],
    *,
    top: Top | None = None,
    plotly: Plotly = "inline",
    reload: float | None = None,
) -> None:
    """Writes a page: its title, what stands at the top, sections.

    Args:
        path: Of the file.
        title: Of the page.
        sections: In their order.
        top: The outcome and a table; the first section stands beside them.
        plotly: Whether its script is in the page (5 MB; it works offline) or comes from its server.
        reload: Seconds after which the page loads itself again; None for one that is finished.
    """
    figures = {
        section.key: {name: json.loads(figure.to_json()) for name, figure in section.views.items()}
        for section in sections
        if section.views
    }
    script = get_plotlyjs() if figures else ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    cdn = {
        "url": f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js",
        "hash": f"sha256-{digest}",
    }
    page = TEMPLATES.get_template("page.html").render(
        title=title,
        top=top,
        sections=sections,
        reload=reload,
        # A tag would end the script; JSON can spell < otherwise.
        figures=json.dumps(figures).replace("<", "\\u003c"),
        script=script if plotly == "inline" else "",
        source=cdn if script and plotly == "cdn" else None,
    )
    write_text(path, page)
