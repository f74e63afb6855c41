from __future__ import annotations

from kdnas.evaluation.show import metrics_line, point_lines


def test_a_fine_tunings_line_fits_or_becomes_two() -> None:
    label = "lr 0.0001, batch 8, seed 0"
    (line,) = point_lines("rte 1/3", label, metrics_line({"accuracy": 0.7}), "12 s")
    assert line == f"  rte 1/3: {label}: accuracy 0.7000 (12 s)"
    scores = {"accuracy_matched": 0.8, "accuracy_mismatched": 0.81}
    lines = point_lines("mnli 1/3", label, metrics_line(scores), "from an earlier evaluation")
    assert len(lines) == 2 and max(map(len, lines)) <= 80
    assert lines[1].split() == ["accuracy_matched", "0.8000", "accuracy_mismatched", "0.8100"]
