"""Parallel coordinates: a line a student, through its parameters to what it is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kdnas.report.facts import Facts
from kdnas.report.figures import style
from kdnas.report.figures.matter import NAMES
from kdnas.report.page import Section
from kdnas.report.table import finished
from kdnas.space.families import FIELDS

TOLD = (
    "A line a student; the higher its score, the further its colour from the background. Drag "
    "along an axis to keep the students of a range, drag its name to move it. The table of the "
    "search's course has the same students."
)


def parallel_section(facts: Facts) -> Section:
    """Every finished student."""
    rows = finished(facts.table)
    if rows.empty:
        missing = "No trial is finished yet."
        return Section("parallel", "Parallel coordinates", TOLD, missing=missing)
    figure = style.figure(height=420, margin={"l": 40, "r": 48, "t": 64, "b": 24})
    score = 1 - rows.loss.astype(float)
    figure.add_parcoords(
        dimensions=[
            *(_choices(NAMES[field], rows[field]) for field in FIELDS),
            _speedups(rows.speedup.astype(float)),
            {"label": "score", "values": score},
            {"label": "reward", "values": rows.reward.astype(float)},
        ],
        line={"color": score, "colorscale": style.SCALE},
        labelfont={"color": style.INK},
        tickfont={"color": style.INK},
        rangefont={"color": style.MUTED},
        unselected={"line": {"color": style.GRID, "opacity": 0.4}},
    )
    return Section(
        "parallel",
        "Parallel coordinates",
        TOLD,
        {"all": figure},
        least_width=680,
    )


def _speedups(column: pd.Series) -> dict[str, Any]:
    """An axis on which each doubling takes the same room."""
    values = np.log2(column)
    low, high = int(np.floor(values.min())), int(np.ceil(values.max()))
    doublings = range(low, max(high, low + 1) + 1)
    return {
        "label": "speed-up",
        "values": values,
        "tickvals": list(doublings),
        "ticktext": [f"{2.0**n:g}x" for n in doublings],
        "range": [doublings[0], doublings[-1]],
    }


def _choices(name: str, column: pd.Series) -> dict[str, Any]:
    """An axis with a tick a choice; choices stand evenly, whatever their values."""
    choices = sorted(column.unique())
    places = {choice: i for i, choice in enumerate(choices)}
    return {
        "label": name,
        "values": column.map(places).astype(int),
        "tickvals": list(places.values()),
        "ticktext": [style.plain(choice) for choice in choices],
        "range": [-0.2, max(1, len(choices) - 1) + 0.2],
    }
