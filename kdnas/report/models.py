"""The models that a report sets side by side: student, teacher, controls."""

from __future__ import annotations

from typing import Any

from kdnas.report.results import HAND_PICKED

# Up to so far from the student's speed-up a control counts as equally fast.
AS_FAST = 0.15
NEAREST = "hand-picked, nearest in speed"


def models_of(report: dict[str, Any]) -> list[tuple[str, dict[str, Any], float]]:
    """(name, its part of report.json, speed-up) of teacher, student and controls."""
    rows = [("teacher", report["teacher"], 1.0), ("student", report["student"], report["speedup"])]
    return rows + [(shown_name(c, report), c, c["speedup"]) for c in report["controls"]]


def shown_name(control: dict[str, Any], report: dict[str, Any]) -> str:
    """A control's name for people: a small space may have no student by hand that is as fast."""
    apart = abs(control["speedup"] / report["speedup"] - 1)
    return NEAREST if control["name"] == HAND_PICKED and apart > AS_FAST else str(control["name"])
