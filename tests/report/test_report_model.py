"""report.json as a typed model, and the verdict in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import report_of

from kdnas.errors import KdnasError
from kdnas.report.model import Report
from kdnas.report.verdict import verdict


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report, path = report_of(), tmp_path / "report.json"
    report.write(path)
    assert Report.read(path) == report
    content = json.loads(path.read_text())
    for part in ("teacher", "student"):
        assert {"name", "params", "latency_ms", "scores", "intervals"} <= content[part].keys()
    assert {"name", "params", "speedup", "scores"} <= content["controls"][0].keys()
    assert {"sampler", "trials", "distinct", "seconds"} <= content["search"].keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99, expected 1"),
        ({"speedup": "fast"}, "speedup: Input should be a valid number"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        (None, "missing or damaged"),
    ],
)
def test_a_report_that_cannot_be_read_is_one_clear_line(
    tmp_path: Path, change: dict[str, Any] | None, message: str
) -> None:
    path = tmp_path / "report.json"
    report_of().write(path)
    content = {**json.loads(path.read_text()), **(change or {})}
    path.write_text(json.dumps(content) if change else path.read_text()[:-9])
    with pytest.raises(KdnasError, match=message) as raised:
        Report.read(path)
    told = str(raised.value)
    assert told.startswith(f"cannot read {path}: ") and "\n" not in told
    assert f"`kdnas resume {tmp_path}`" in told


def verdict_of(
    teacher: float | None,
    scores: dict[str, float | None],
    half: float | None,
    examples: dict[str, int],
) -> str:
    """The verdict on a student and controls with these scores, `half` an interval wide each way."""

    def scored(score: float | None) -> dict[str, Any]:
        known = score is not None and half is not None
        return {
            "scores": {} if score is None else {"accuracy": score},
            "intervals": {"accuracy": (score - half, score + half)} if known else {},  # type: ignore[operator]
        }

    report = report_of(examples=examples)
    base = {**report.controls[0].model_dump(), "speedup": 4.0}
    student = {**report.student.model_dump(), "speedup": 4.0, **scored(scores.pop("s"))}
    controls = [{**base, "name": name, **scored(score)} for name, score in scores.items()]
    return verdict(
        report_of(
            examples=examples,
            teacher={**report.teacher.model_dump(), **scored(teacher), "intervals": {}},
            student=student,
            controls=controls,
        )
    )


def test_a_verdict_names_what_was_kept_and_what_is_noise() -> None:
    scores = {"s": 0.8, "plain": 0.7, "picked": 0.79, "drawn": 0.85}
    assert verdict_of(0.9, scores, 0.02, {"validation": 99}) == (
        "The student reaches accuracy 0.8000 on 99 examples, 88.9% of its teacher's 0.9000, at "
        '4.00 times its teacher\'s speed; it is better than "plain"; within noise of "picked"; '
        'worse than "drawn".'
    )


def test_a_verdict_without_intervals_says_so() -> None:
    scores = {"s": 0.8, "plain": 0.7, "picked": 0.8, "unscored": None}
    assert verdict_of(None, scores, None, {}) == (
        "The student reaches accuracy 0.8000 at 4.00 times its teacher's speed; it is better than "
        '"plain"; as good as "picked" (how much of this is noise was not measured).'
    )
