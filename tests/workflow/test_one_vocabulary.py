"""A search whose students all have one vocabulary, smaller than their teacher's."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pytest
from support.stepwise import Stepwise
from transformers import AutoConfig

from kdnas.config import Settings
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.space import Candidate
from kdnas.study.rows import candidate_of, row_of
from kdnas.study.winner import Winner
from kdnas.workflow.another_trial import distil_another
from kdnas.workflow.fidelity import student_of
from kdnas.workflow.pipeline import find_student

NAME = "task-9"


def test_every_reader_of_a_trial_knows_its_vocabulary(make_run: Callable[..., Run]) -> None:
    step = Stepwise(make_run(vocabulary=NAME))
    study, settings = step.open_study(), step.settings
    candidate = step.space.candidates[0]
    study.enqueue_trial(step.space.params(candidate))
    trial = study.ask(step.space.distributions)
    for name, value in {"params": 9, "macs": 8, "speedup": 2.0, "loss": 0.5, "reward": 1.0}.items():
        trial.set_user_attr(name, value)
    study.tell(trial, 1.0)
    [told] = study.trials
    assert candidate.vocabulary == NAME and "vocabulary" not in told.params
    assert Winner.of(told, settings).candidate == candidate
    assert candidate_of(row_of(told, settings)) == candidate
    assert student_of(told, settings)["vocabulary"] == NAME
    both, offered = f"teacher,{NAME}", step.space.with_vocabularies(["teacher", NAME])
    chosen = Settings(vocabularies=both, search_over="shape,vocabulary", mini_score="agreement")
    for one in (offered.candidates[0], offered.candidates[1]):
        assert Candidate.of_trial(offered.params(one), chosen) == one


@pytest.mark.slow
def test_the_student_that_ships_has_it(make_run: Callable[..., Run]) -> None:
    run = make_run(vocabulary=NAME, trials=1, max_params=30_000)
    report = find_student(open_context(run))
    size = AutoConfig.from_pretrained(run.folder / "student").vocab_size
    inputs = Stepwise(run).inputs
    assert size == len(inputs.vocabularies[NAME]) < inputs.config.vocab_size
    assert report.student.params <= 30_000 and report.student.name.endswith(NAME)
    with (run.folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["vocabulary"] for row in rows] == [NAME]
    assert int(rows[0]["params"]) == report.student.params
    folder, _ = distil_another(open_context(run), 0, None)
    assert folder == run.folder  # it is that very student
