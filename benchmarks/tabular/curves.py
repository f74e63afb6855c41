"""Searches on a table as curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots
from tables import OBJECTIVES, Table

ALPHA = 0.12


def plot(
    searches: Sequence[dict[str, Any]],
    table: Table,
    objectives: Sequence[str],
    samplers: Sequence[str],
    trials: int,
    file: Path,
) -> None:
    """Writes one panel an objective: each sampler's median course and its quartiles."""
    parts = {name: OBJECTIVES[name](table) for name in objectives}
    columns = min(2, len(parts))
    figure = make_subplots(
        rows=-(-len(parts) // columns),
        cols=columns,
        subplot_titles=[f"{name}: {part.label}" for name, part in parts.items()],
        vertical_spacing=0.12,
    )
    for position, (name, objective) in enumerate(parts.items()):
        place = {"row": position // columns + 1, "col": position % columns + 1}
        top = 1.0
        for sampler, colour in zip(samplers, qualitative.D3, strict=False):
            own = [s for s in searches if s["objective"] == name and s["sampler"] == sampler]
            courses = [objective.course(s["rows"][:trials]) for s in own]
            courses = [course for course in courses if len(course) == trials]
            if courses:
                # The first draws are luck and would press the rest to the floor.
                top = max(top, 1.1 * float(np.quantile(courses, 0.75, axis=0)[min(7, trials - 1)]))
                for trace in _traces(np.array(courses), sampler, colour, shown=position == 0):
                    figure.add_trace(trace, **place)
        figure.update_xaxes(title_text="evaluations", range=[1, trials], **place)
        figure.update_yaxes(range=[0, top], **place)
    title = f"{len(table.rows)} students, median and quartiles over seeds"
    figure.update_layout(template="plotly_white", title=title, width=1200, height=900)
    figure.write_html(file, include_plotlyjs=True)


def _traces(courses: np.ndarray, sampler: str, colour: str, *, shown: bool) -> list[go.Scatter]:
    lower, median, upper = np.quantile(courses, [0.25, 0.5, 0.75], axis=0)
    steps = list(range(1, courses.shape[1] + 1))
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    band = go.Scatter(
        x=steps + steps[::-1],
        y=[*upper, *lower[::-1]],
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},{ALPHA})",
        line={"width": 0},
        hoverinfo="skip",
        legendgroup=sampler,
        showlegend=False,
    )
    style = {"color": colour, "width": 3 if sampler == "lstm" else 2}
    line = go.Scatter(
        x=steps, y=median, name=sampler, line=style, legendgroup=sampler, showlegend=shown
    )
    return [band, line]
