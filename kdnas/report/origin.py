"""How the student that ships was made, where it may be another than the run's own."""

from __future__ import annotations

from kdnas.report.model import (
    BY_MAGNITUDE,
    DISTILLED,
    HAND_PICKED,
    ON_LABELS,
    SEARCHED,
    WITHOUT_ASSISTANTS,
    Report,
)
from kdnas.study.optimize import RANDOM_SEARCH

MADE = {
    SEARCHED: "found and distilled by kdnas",
    DISTILLED: "distilled by kdnas",
    HAND_PICKED: "picked by hand and distilled by kdnas",
    RANDOM_SEARCH: "found by random search and distilled by kdnas",
    BY_MAGNITUDE: "pruned by magnitude and distilled by kdnas",
    WITHOUT_ASSISTANTS: "distilled by kdnas without assistants",
}


def made_in_words(report: Report) -> str:
    """`found and distilled by kdnas`, or what else is true of the student that ships."""
    own = SEARCHED if report.search else DISTILLED
    shipped = report.selection.shipped if report.selection else own
    if shipped == ON_LABELS:
        return f"{'found' if report.search else 'made'} by kdnas and trained on labels alone"
    return MADE.get(shipped, MADE[own])


def other_shape(report: Report, name: str) -> str:
    """The shape of a control where the student that ships has another; empty elsewhere.

    Controls are made for the run's own student: beside another one, what they share with it needs
    to be said.
    """
    own = report.student.architecture
    control = next((one for one in report.controls if one.name == name), None)
    if control is None or control.architecture == own:
        return ""
    short, ours = (shape.label.partition(" ")[0] for shape in (control.architecture, own))
    return short if short != ours else control.architecture.label
