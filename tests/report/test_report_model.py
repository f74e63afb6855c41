"""report.json as a typed model, and the verdict in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import report_of

from kdnas.errors import KdnasError
from kdnas.report.card import model_card
from kdnas.report.model import ON_LABELS, SEARCHED, Report
from kdnas.report.verdict import verdict
from kdnas.space import Architecture


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report, path = report_of(), tmp_path / "report.json"
    report.write(path)
    assert Report.read(path) == report
    content = json.loads(path.read_text())
    for part in ("teacher", "student"):
        assert {"name", "params", "latency_ms", "scores", "intervals"} <= content[part].keys()
    assert {"name", "params", "speedup", "scores"} <= content["controls"][0].keys()
    assert {"sampler", "trials", "distinct", "seconds"} <= content["search"].keys()


def test_a_report_names_a_size_of_heads_where_it_is_their_own(tmp_path: Path) -> None:
    report, path = report_of(), tmp_path / "report.json"
    own = Architecture(2, 3, 32, 64, "relu", own_head_size=16)
    report = report.model_copy(
        update={"student": report.student.model_copy(update={"architecture": own})}
    )
    report.write(path)
    content = json.loads(path.read_text())
    assert content["student"]["architecture"]["own_head_size"] == 16
    assert "own_head_size" not in content["teacher"]["architecture"]
    assert Report.read(path) == report


def test_a_score_is_rounded_once_where_it_is_read(tmp_path: Path) -> None:
    report, score = report_of(), 74.120749  # with five decimals it would be read as 74.1208
    student = report.student.model_dump() | {"scores": {report.main_score: score}}
    report = Report.model_validate(report.model_dump() | {"student": student})
    report.write(tmp_path / "report.json")
    read = Report.read(tmp_path / "report.json")
    assert read.student.scores == {report.main_score: score} and "74.1207" in verdict(read)


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


def compared(name: str, difference: float, half: float, p: float) -> dict[str, Any]:
    interval = (difference - half, difference + half)
    return {"name": name, "difference": difference, "interval": interval, "p": p}


def test_a_verdict_names_what_was_kept_and_what_is_noise() -> None:
    report = report_of(
        examples={"validation": 1872},
        kept={"share": 0.889, "interval": (0.8612, 0.9)},
        comparisons=[
            compared("fine-tuned without KD", 0.1, 0.02, 0.001),
            compared("hand-picked, as fast", 0.01, 0.02, 0.3),
            compared("odd", -0.05, 0.02, 0.01),
            compared("TF-IDF, linear", 0.0305, 0.02, 0.01),
            compared("always good", 0.3, 0.02, 0.0),
        ],
        baselines=[
            {"name": "always good", "scores": {"accuracy": 0.5}},
            {"name": "TF-IDF, linear", "scores": {"accuracy": 0.77}},
        ],
    )
    assert verdict(report) == (
        "The student keeps 88.9% of its teacher's accuracy (n = 1,872, 95% interval 86.1 to 90.0) "
        'at 5.00 times its speed: 0.8400 of 0.8400. It is better than "fine-tuned without KD" by '
        '0.1000 and "TF-IDF, linear" by 0.0305; within noise of "hand-picked, as fast" (+0.0100); '
        'worse than "odd" by 0.0500.'
    )


def test_another_student_than_the_search_s_is_said_to_be_another() -> None:
    scores = {"hand-picked, as fast": 0.9, SEARCHED: 0.8}
    report = report_of(
        selection={"rows": 90, "shipped": "hand-picked, as fast", "scores": scores},
        student__architecture=Architecture(3, 12, 384, 1536, "gelu"),
        comparisons=[compared(ON_LABELS, 0.01, 0.02, 0.3)],
    )
    told = verdict(report)
    assert 'The student is "hand-picked, as fast", 3x384: on 90 training rows held out' in told
    assert 'within noise of "fine-tuned without KD" of 3x192 (+0.0100)' in told
    assert ", picked by hand and distilled by kdnas: " in model_card(report)
    assert ", found and distilled by kdnas: " in model_card(report_of())
    alone = {"rows": 90, "shipped": ON_LABELS, "scores": scores}
    card = model_card(report_of(selection=alone))
    assert ", found by kdnas and trained on labels alone: " in card


def test_a_verdict_warns_of_a_student_that_is_no_better_than_a_constant() -> None:
    report = report_of(
        comparisons=[compared("always good", 0.01, 0.02, 0.4)],
        baselines=[{"name": "always good", "scores": {"accuracy": 0.83}}],
    )
    assert verdict(report).startswith(
        'The student is not clearly better than one constant answer: "always good" reaches '
        "accuracy 0.8300. The student reaches accuracy 0.8400 (n = 872), its teacher 0.8400,"
    )


def test_a_verdict_warns_of_a_teacher_that_is_worse_than_none() -> None:
    learnt = [{"name": "TF-IDF, linear", "scores": {"accuracy": 0.9}}]
    intervals = {"accuracy": (0.8, 0.88)}
    told = verdict(report_of(teacher__intervals=intervals, baselines=learnt))
    assert (
        'The teacher itself is worse than "TF-IDF, linear" (0.9000), which learnt from no' in told
    )
    wide = {"accuracy": (0.8, 0.91)}
    assert "teacher itself" not in verdict(report_of(teacher__intervals=wide, baselines=learnt))
    # Also where that ships.
    shipped = {"rows": 90, "shipped": ON_LABELS, "scores": {ON_LABELS: 0.9, SEARCHED: 0.8}}
    best = {"selection": shipped, "student__scores": {"accuracy": 0.9}}
    told = verdict(report_of(teacher__intervals=intervals, **best))
    assert 'The teacher itself is worse than "fine-tuned without KD" (0.9000)' in told


def test_a_verdict_without_comparisons_says_so() -> None:
    assert verdict(report_of(teacher__scores={})) == (
        "The student reaches accuracy 0.8400 (n = 872) at 5.00 times its teacher's speed. It has 3 "
        "controls; how much of the differences is noise was not measured."
    )
