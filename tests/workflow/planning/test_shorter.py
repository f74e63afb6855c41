"""What makes a budget enough follows from what takes the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kdnas.config import Settings
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.workflow.planning.estimate import (
    OF_FOLDS,
    SCORING,
    SIGNAL,
    TEACHER_TUNING,
    TIMING,
    Estimate,
)
from kdnas.workflow.planning.probe import Speeds
from kdnas.workflow.planning.shorter import TRIAL, by_work
from kdnas.workflow.preparing.check_teacher import SCORES
from kdnas.workflow.preparing.inputs import read_inputs


@pytest.mark.parametrize(
    ("part", "options"),
    [
        (TEACHER_TUNING, {"--max-train-rows", "--teacher-epochs"}),
        (OF_FOLDS[0], {"--max-train-rows", "--teacher-epochs"}),
        (SCORING, {"--max-eval-rows"}),
        (SCORES, {"--max-eval-rows"}),
        (TIMING, {"--latency-repeats"}),
        (SIGNAL, {"--max-train-rows"}),
        (TRIAL, {"--max-train-rows", "--mini-epochs"}),
        ("any stage", {"--max-train-rows", "--epochs-share"}),
    ],
)
def test_only_options_that_shorten_a_work_are_named(part: str, options: set[str]) -> None:
    [(work, seconds)] = by_work([{part: 1.0}, {part: 2.0}], Settings()).items()
    assert seconds == 3.0
    assert {word.strip("()") for word in work.shorter.split() if "--" in word} == options


def test_the_fewest_passes_cannot_be_fewer() -> None:
    [work] = by_work([{TIMING: 1.0}], Settings(latency_repeats=5))
    assert not work.shorter


def test_each_option_named_shortens_the_estimate(make_run: Callable[..., Run]) -> None:
    made = open_context(make_run(mini_epochs=2, teacher_epochs=2, latency_repeats=30))

    def parts(**changes: Any) -> dict[str, float]:
        context = replace(made, settings=made.settings.model_copy(update=changes))
        estimate = Estimate(context, read_inputs(context), Speeds(1.0, 1.0, 1.0, 1.0, 0.5))
        return {**estimate.report_parts(1), **estimate.teacher(), TRIAL: estimate.trial()}

    usual = parts()
    assert parts(latency_repeats=10)[TIMING] < usual[TIMING]
    less = parts(mini_epochs=1, teacher_epochs=1, max_eval_rows=4)
    assert all(less[part] < usual[part] for part in (SCORING, TEACHER_TUNING, TRIAL))
