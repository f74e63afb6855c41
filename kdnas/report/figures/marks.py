"""The teacher and the controls, marked among the students of a search."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from kdnas.files.curves import MINI_KD
from kdnas.report.facts import Facts
from kdnas.report.figures import style
from kdnas.report.models import shown_name
from kdnas.report.results import HAND_PICKED
from kdnas.report.table import finished, records
from kdnas.space import Architecture

CONTROL_HOVER = "%{text}<br>score %{y:.4f}<extra>control</extra>"


def mark_teacher(figure: go.Figure, facts: Facts, column: str) -> None:
    """A diamond where the teacher is: it explains itself wholly."""
    known = {"speedup": 1.0, **_costs(facts.report["teacher"] if facts.report else {})}
    if known.get(column):
        figure.add_scatter(
            x=[known[column]],
            y=[1.0],
            mode="markers",
            name="teacher",
            marker={"symbol": "diamond", "size": 13, "color": style.TEACHER},
            hovertemplate=f"{style.plain(_teacher_label(facts))}<extra>teacher</extra>",
        )


def mark_controls(figure: go.Figure, facts: Facts, column: str) -> None:
    """Rings around the controls that have a mini-KD score; without KD there is none."""
    if facts.report is None:
        return
    scores = _scores(facts)
    found = []
    for control in facts.report["controls"]:
        cost = {"speedup": control["speedup"], **_costs(control)}.get(column)
        if control["name"] in scores and cost:
            label = Architecture.from_params(control["architecture"]).label
            name = shown_name(control, facts.report)
            found.append((cost, scores[control["name"]], f"{name}<br>{label}"))
    if found:
        x, y, text = zip(*found, strict=True)
        ring = {"symbol": "square-open", "size": 13, "color": style.CONTROL, "line": {"width": 2}}
        figure.add_scatter(
            x=x,
            y=y,
            text=[style.plain(t).replace("&lt;br&gt;", "<br>") for t in text],
            mode="markers",
            name="controls",
            marker=ring,
            hovertemplate=CONTROL_HOVER,
        )


def _scores(facts: Facts) -> dict[str, float]:
    """Mini-KD scores by control: from its own training, else from a trial of the same student."""
    trained = {c["name"]: c["heldout"] for c in facts.curves if c["stage"] == MINI_KD}
    tried = {
        Architecture.from_params(row): float(row["loss"])
        for table in (facts.control, facts.table)
        if table is not None
        for row in records(finished(table))
    }
    found = {}
    trial = facts.report["student"]["trial"] if facts.report else None
    for control in facts.report["controls"] if facts.report else ():
        folder = FOLDERS.get(control["name"])
        if folder is None:
            continue
        known = tried.get(Architecture.from_params(control["architecture"]))
        # A student that was distilled beside the winner has controls of its own.
        loss = trained.get(f"trial-{trial} {folder}", trained.get(folder, known))
        if loss is not None:
            found[control["name"]] = 1 - loss
    return found


# Under which name the trainings of a control are recorded; the one without KD has no score.
# "Same depth" is how older versions picked one by hand.
FOLDERS = {
    HAND_PICKED: "hand-picked",
    "hand-picked, same depth": "hand-picked",
    "random search": "random-search",
}


def _costs(row: dict[str, Any]) -> dict[str, float]:
    return {name: row[name] for name in ("params", "macs") if row.get(name)}


def _teacher_label(facts: Facts) -> str:
    return facts.teacher.label if facts.teacher else "teacher"
