"""The figure and the table of `kdnas fidelity`, from numbers made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from kdnas.report.fidelity import fidelity_figure, fidelity_lines
from kdnas.report.figures.style import MUTED
from kdnas.workflow.fidelity import summarise


@pytest.fixture
def result() -> dict[str, Any]:
    students = [
        {
            "trial": 10 + i,
            "label": f"{i}x16 h2 f32 gelu",
            "params": 1000 * (9 - i),
            "macs": 10 + i,
            "speedup": 1.0 + i,
            "depth": 2,
            "loss": 0.1 * (i + 1),
            "reward": 0.5 + i,
            "final": {"0": 0.9 - 0.1 * i, "1": 0.8 - 0.1 * i},
        }
        for i in range(6)
    ]
    return summarise(students, "mcc")


def test_dots_lie_at_mini_kd_score_and_mean_final_score(result: dict[str, Any]) -> None:
    dots = fidelity_figure(result).data[0]
    assert list(dots.x) == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert list(dots.y) == pytest.approx([0.85, 0.75, 0.65, 0.55, 0.45, 0.35])
    assert list(dots.error_y.array) == pytest.approx([0.05] * 6)
    assert dots.error_y.color == MUTED  # plotly's own black is lost in the dark
    assert list(dots.customdata[2][:2]) == [12, "2x16 h2 f32 gelu"]


def test_each_predictor_has_its_row_in_either_group(result: dict[str, Any]) -> None:
    lines = fidelity_lines(result, "runs/x")
    assert lines[0] == "all students (6), against mcc:"
    rows = {line[2:20].strip(): line[20:].split() for line in lines[2:8]}
    assert rows["mini-KD score"] == ["1.000", "1.000", "to", "1.000"] * 2
    assert rows["reward"][0] == "-1.000" and rows["speed-up, negated"][0] == "1.000"
    assert rows["depth"] == ["all", "equal", "-", "-", "-"]  # all are equally deep
    assert lines[8] == "the better half by final score (3), against mcc:"
    assert all(len(line) <= 80 for line in lines)
