"""Pages in one file: words, tables, figures and, unless it is referenced, plotly's script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from kdnas.files.atomic import write_text
from kdnas.report.page.section import Section

Plotly = Literal["inline", "cdn"]

# All text is escaped by the templates' engine; what is not text (style, scripts) is our own.
TEMPLATES = Environment(
    loader=PackageLoader("kdnas.report.page", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(
    path: Path,
    title: str,
    sections: Sequence[Section],
    *,
    lead: Sequence[str] = (),
    plotly: Plotly = "inline",
) -> None:
    """Writes a page that needs no other file.

    Args:
        path: Where to.
        title: Its heading.
        sections: In their order.
        lead: Paragraphs before them.
        plotly: Whether plotly's script is in the page (`inline`, 5 MB; it works offline) or comes
            from plotly's own server (`cdn`).
    """
    figures = {
        section.key: {name: json.loads(figure.to_json()) for name, figure in section.views.items()}
        for section in sections
        if section.views
    }
    page = TEMPLATES.get_template("page.html").render(
        title=title,
        lead=lead,
        sections=sections,
        # Text in a script ends where a tag seems to; JSON can spell < otherwise.
        figures=json.dumps(figures).replace("<", "\\u003c"),
        script=get_plotlyjs() if figures and plotly == "inline" else "",
        source=_source() if figures and plotly == "cdn" else None,
    )
    write_text(path, page)


@cache
def _source() -> dict[str, str]:
    """Where plotly's script is, and what it must hash to."""
    digest = hashlib.sha256(get_plotlyjs().encode("utf-8")).digest()
    return {
        "url": f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js",
        "hash": f"sha256-{base64.b64encode(digest).decode('ascii')}",
    }
