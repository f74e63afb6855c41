"""Class by class: what lies below the student's main score."""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go

from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.model import Details
from kdnas.report.page import Section, Table

CLASSES = Section(
    "classes",
    "Classes",
    "The student on each class. Precision: of the {counted} it puts in the class, the share that "
    "belongs there; recall: of the {counted} that belong there, the share it finds.",
)
PLOT = (
    " The plot shows for each class (a row) the share of its rows that the student takes for each "
    "class (a column)."
)
HEAD = ("class", "precision", "recall", "F1")
MOST = 40  # classes that a matrix can show


def classes_section(data: ReportData) -> Section:
    """The confusion matrix, and a table of precision, recall, F1 and rows."""
    details = data.report.details if data.report else None
    if details is None or not details.classes:
        told = CLASSES.told.format(counted="rows")
        missing = "There are no classes, or no student yet."
        return replace(CLASSES, told=told, missing=missing)
    rows = [
        (one.name, f"{one.precision:.4f}", f"{one.recall:.4f}", f"{one.f1:.4f}", str(one.support))
        for one in details.classes
    ]
    head, told = (*HEAD, details.counted), CLASSES.told.format(counted=details.counted)
    told += PLOT if details.confusion else ""
    caption = "The student, class by class."
    table = Table(head, rows, len(rows) <= MOST, caption)
    section = replace(CLASSES, told=told, table=table)
    if not details.confusion:
        return section
    if len(rows) > MOST:
        return replace(section, missing=f"No plot: there are more than {MOST} classes.")
    return replace(section, views={"confusion": _matrix(details, details.confusion)})


def _matrix(details: Details, confusion: list[list[int]]) -> go.Figure:
    names = [style.plain(one.name) for one in details.classes]
    shares = [[n / max(1, sum(row)) for n in row] for row in confusion]
    size = 170 + 44 * len(names)
    figure = style.figure(
        {"title": {"text": "taken for"}, "type": "category", "side": "bottom"},
        {"title": {"text": "is"}, "type": "category", "autorange": "reversed"},
        min(size, 900),
        showlegend=False,
    )
    figure.add_heatmap(
        x=names,
        y=names,
        z=shares,
        text=confusion,
        texttemplate="%{text}",
        zmin=0,
        zmax=1,
        colorscale="Blues",
        showscale=False,
        hovertemplate="%{text} of %{y} taken for %{x} (%{z:.1%})<extra></extra>",
    )
    return figure
