"""A search with rungs, and random search beside a search, on a small real teacher."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from conftest import QUICK
from optuna.trial import TrialState
from support.stepwise import Stepwise

from kdnas.config import Settings
from kdnas.report.trials_table import trial_table
from kdnas.runs.run_folder import Run
from kdnas.scoring.costs import Costs
from kdnas.scoring.scorer import Budget, Score
from kdnas.space import Architecture, Candidate
from kdnas.study.attributes import BORROWED, CONTINUES, REPEATS, RUNG, RUNG_VALUES, UNITS
from kdnas.study.deadline import Deadline
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.study import evaluated
from kdnas.workflow.preparing.inputs import check_has_trials
from kdnas.workflow.searching.search import finish_search


@pytest.fixture
def run(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Run:
    given = {"teacher": str(teacher_folder), "task": "mrpc", "data_dir": data_folder}
    quick = {**QUICK, "mini_epochs": 3}
    return Run.create(Settings(**given, **quick, out=tmp_path / "run", trials=4, rungs=2))


def with_budget(run: Run) -> Run:
    """The same run, as a worker finds one whose time ends its search."""
    return Run(run.folder, run.settings.model_copy(update={"budget": "1m"}))


@pytest.mark.parametrize("objective", ["reward", pytest.param("pareto", marks=pytest.mark.slow)])
def test_the_better_part_goes_on_and_the_budget_is_kept(run: Run, objective: str) -> None:
    changed = run.settings.model_copy(update={"objective": objective})
    pipeline = Stepwise(Run(run.folder, changed))
    pipeline.search()
    study, pruner = pipeline.open_study(), SuccessiveHalvingPruner(2, 3)
    full = pruner.full_cost
    assert full * 4 - 1 <= pruner.spent(study.trials) <= full * 4
    ended = [t for t in study.trials if RUNG in t.user_attrs]
    whole = evaluated(study)
    assert len(ended) > 4 and 1 <= len(whole) < len(ended)
    for trial in whole:
        before = study.trials[trial.user_attrs[CONTINUES]]
        assert before.params == trial.params and before.state == TrialState.PRUNED
        assert trial.user_attrs["loss"] < before.user_attrs["loss"]  # it learnt on
        for known in ("speedup", "initial_loss"):
            assert trial.user_attrs[known] == before.user_attrs[known]
    if objective == "reward":
        best = max(t.user_attrs[RUNG_VALUES][0] for t in ended)
        assert any(study.trials[t.user_attrs[CONTINUES]].user_attrs[RUNG_VALUES] == [best]
                   for t in whole)  # fmt: skip
    architectures = [Architecture.from_params(t.params) for t in ended]
    assert len(set(architectures)) == len(architectures)
    table = trial_table(study, pipeline.settings)
    assert table[RUNG].notna().sum() == len(ended) and len(table) == len(study.trials)


@pytest.mark.slow
def test_a_space_that_is_soon_exhausted_goes_on_to_the_top(run: Run) -> None:
    few = {"num_hidden_layers": [1], "hidden_size": [16, 32], "hidden_act": ["gelu"]}
    few |= {"num_attention_heads": [2], "intermediate_size": [32]}
    pipeline = Stepwise(Run(run.folder, run.settings.model_copy(update={"space": few})))
    count = len(pipeline.space.architectures)
    assert count == 2
    pipeline.search()
    assert len(evaluated(pipeline.open_study())) == count


def test_a_candidate_in_two_parts_is_as_good_as_in_one(run: Run, tmp_path: Path) -> None:
    pipeline = Stepwise(run)
    scorer, small = pipeline.scorer, Candidate(pipeline.space.smallest)
    whole = scorer.score(small, Budget()).value
    file = tmp_path / "part.pt"
    part = scorer.score(small, Budget(1 / 3, file)).value
    rest = scorer.score(small, Budget(1.0, file)).value
    assert rest == pytest.approx(whole, abs=1e-4) and part < rest


def test_a_search_that_is_to_end_takes_its_best_candidate_to_the_end(run: Run) -> None:
    pipeline, asked = Stepwise(run), list[tuple[Candidate, float]]()

    def scored(candidate: Candidate, budget: Budget) -> Score:
        asked.append((candidate, budget.share))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return Score(1 - len(asked) / 10)

    alike = Costs(9, 8, 1.0, 0.0, 2.0, 2.0)
    pipeline.scorer.score = scored  # type: ignore[method-assign]
    pipeline.meter.of_candidate = lambda _: alike  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        pipeline.search()
    study, context = pipeline.open_study(), pipeline.context
    assert not evaluated(study)
    check_has_trials(context)
    finish_search(pipeline.prepared, study)
    [whole] = evaluated(study)
    assert pipeline.space.candidate(whole.params) == asked[0][0]
    assert [share for _, share in asked].count(1) == 1 and asked[-1] == (asked[0][0], 1)
    assert {one for one, _ in asked[3:-1]} <= {asked[2][0]}  # nothing but what was begun
    assert Deadline.of(study) is None
    finish_search(pipeline.prepared, study)
    assert len(evaluated(study)) == 1


@pytest.mark.slow
def test_a_killed_candidate_is_continued_for_what_it_was_to_cost(run: Run) -> None:
    pipeline = Stepwise(run)
    score, asked = pipeline.scorer.score, []

    def interrupted(candidate: Candidate, budget: Budget) -> Score:
        asked.append(budget.share)
        if len(asked) > 1 and budget.share == 1 and asked.count(1) == 1:
            raise KeyboardInterrupt
        return score(candidate, budget)

    pipeline.scorer.score = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        pipeline.search()
    pipeline.search()
    study = pipeline.open_study()
    failed = next(t for t in study.trials if t.state == TrialState.FAIL)
    again = next(t for t in study.trials if t.user_attrs.get("retry_of") == failed.number)
    assert again.user_attrs[CONTINUES] == failed.user_attrs[CONTINUES]
    assert again.state == TrialState.COMPLETE and again.params == failed.params
    assert SuccessiveHalvingPruner(2, 3).spent(study.trials) <= 12


@pytest.mark.slow
def test_random_search_beside_it_pays_for_nothing_twice(run: Run) -> None:
    settings = run.settings.model_copy(update={"random_control": "search", "rungs": 1})
    pipeline = Stepwise(Run(run.folder, settings))
    pipeline.search()
    own = {Architecture.from_params(t.params): t for t in evaluated(pipeline.open_study())}
    control = pipeline.open_study("random")
    for architecture in list(own)[:2]:
        control.enqueue_trial(architecture.params)
    assert pipeline.random_search() is not None
    drawn = evaluated(control)
    assert len(drawn) == 4 and not any(REPEATS in t.user_attrs for t in drawn)
    for trial in drawn[:2]:
        same = own[Architecture.from_params(trial.params)]
        assert trial.user_attrs[BORROWED] == same.number and trial.value == same.value
        assert trial.user_attrs["seconds"] == 0
    assert {p.name for p in (run.folder / "trials").iterdir()} <= {
        str(t.number) for t in own.values()
    }
    before = len(control.trials)
    pipeline.random_search()
    assert len(pipeline.open_study("random").trials) == before


@pytest.mark.slow
@pytest.mark.usefixtures("thread_clock")
def test_random_search_times_no_student_again_that_was_too_slow(run: Run) -> None:
    changes = {"random_control": "search", "rungs": 1, "speedup": 1.5}
    settings = run.settings.model_copy(update=changes)
    pipeline = Stepwise(Run(run.folder, settings))
    study, slow = pipeline.open_study(), pipeline.space.teacher.params
    study.enqueue_trial(slow)
    pipeline.search()
    control = pipeline.open_study("random")
    control.enqueue_trial(slow)
    pipeline.random_search()
    first = control.trials[0]
    assert first.user_attrs[BORROWED] == 0 and first.state == TrialState.PRUNED
    assert first.constraints["speedup"] > 0 and first.user_attrs["seconds"] == 0
    assert len(evaluated(control)) == 4


@pytest.mark.slow
def test_a_worker_does_random_search_too(run: Run) -> None:
    settings = run.settings.model_copy(update={"random_control": "search", "rungs": 1})
    pipeline = Stepwise(Run(run.folder, settings))
    pipeline.work()
    assert len(evaluated(pipeline.open_study("random"))) == 4
    before = len(pipeline.open_study("random").trials)
    assert pipeline.random_search() is not None
    assert len(pipeline.open_study("random").trials) == before


def test_random_search_needs_no_control(run: Run) -> None:
    for changes in (
        {"sampler": "random", "random_control": "search"},
        {"random_control": "off", "study": "another"},
    ):
        settings = run.settings.model_copy(update=changes)
        assert Stepwise(Run(run.folder, settings)).random_search() is None


def test_a_search_out_of_time_trains_one_candidate_to_the_end(run: Run) -> None:
    pipeline = Stepwise(with_budget(run))
    study = pipeline.open_study()
    Deadline(time.time() - 1, 1, 1.0).write(study)
    pipeline.work()
    ended = [t.state for t in study.trials if t.state.is_finished()]
    assert ended == [TrialState.PRUNED, TrialState.COMPLETE]


def test_what_was_given_back_is_not_begun_again_once_time_is_up(run: Run) -> None:
    pipeline = Stepwise(with_budget(run))
    study = pipeline.open_study()
    Deadline(time.time() - 1, 1, 1.0).write(study)
    pipeline.work()
    done, other = len(study.trials), pipeline.space.candidates[-1]
    study.enqueue_trial(other.params, user_attrs={UNITS: 1})  # of a worker that died
    pipeline.work()
    assert [t.state for t in study.trials[done:]] == [TrialState.WAITING]
