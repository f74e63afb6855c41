"""The students that a run trains in full, as a plan lists them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.study import Study
from optuna.trial import create_trial
from support.stepwise import Stepwise

from kdnas.report.search_summary import TOO_SLOW
from kdnas.runs.context import Context, open_context
from kdnas.runs.run_folder import Run
from kdnas.students.checkpoint import student_artifact
from kdnas.study.attributes import UNITS
from kdnas.study.winner import Winner
from kdnas.workflow.distilling.finalists import all_found, expected_finalists, place_of_finalist
from kdnas.workflow.pipeline import _asked_trainings, plan_search
from kdnas.workflow.planning.trainings import FINALIST, Kind, most_finalists, trained_in_full
from kdnas.workflow.preparing.epochs_left import as_trained, share_of
from kdnas.workflow.preparing.inputs import load_given_teacher
from kdnas.workflow.preparing.records import record_of
from kdnas.workflow.preparing.trials_spent import search_end


def test_finalists_that_there_are_too_few_trials_for_are_not_to_come(
    make_run: Callable[..., Run],
) -> None:
    context = open_context(make_run(finalists=3))
    nowhere = context.run.folder / "students" / "finalists"
    assert _places(context) == [nowhere, nowhere]
    context.run.step("finalists", {}).write([{}, {}])
    assert _places(context) == [context.run.folder / "student", nowhere]
    all_found(context, Stepwise(context.run).open_study()).write(2)
    assert _places(context) == [context.run.folder / "student"] * 2
    more = open_context(Run.open(context.run.folder, finalists=4))
    assert _places(more) == [context.run.folder / "student", nowhere, nowhere]


@pytest.mark.parametrize(
    ("trials", "shapes", "count"), [(1, 8, 0), (2, 8, 1), (9, 8, 2), (9, 1, 0), (9, 2, 1)]
)
def test_there_are_no_more_finalists_than_trials_and_candidates(
    trials: int, shapes: int, count: int, make_run: Callable[..., Run]
) -> None:
    few = {"num_hidden_layers": [1, 2][:shapes], "num_attention_heads": [2]}
    few |= {"intermediate_size": [16, 32, 48, 64][: max(1, shapes // 2)]}
    few |= {"hidden_size": [16], "hidden_act": ["gelu"]}
    context = open_context(make_run(finalists=3, trials=trials, space=few))
    names = [step.name for step in plan_search(context).plan.steps]
    assert sum(name.startswith(FINALIST) for name in names) == count


def test_a_search_that_is_to_end_now_has_the_finalists_of_its_trials(
    make_run: Callable[..., Run],
) -> None:
    step = Stepwise(make_run(finalists=3, trials=9))
    study, space = step.open_study(), step.space
    known = {"reward": 1.0, "loss": 0.1, UNITS: 1}
    params = space.params(space.candidates[0])
    study.add_trial(
        create_trial(value=1.0, params=params, distributions=space.distributions, user_attrs=known)
    )
    assert most_finalists(step.context, space) == 9
    assert most_finalists(step.context, space, finish=True) == 1


def test_finalists_that_further_trials_brought_are_planned(make_run: Callable[..., Run]) -> None:
    step = Stepwise(make_run(finalists=2, trials=4, random_control="off"))
    study = step.open_study()
    for i in range(2):
        _add_trial(step, study, i, 0.5 - 0.1 * i)
    assert _to_train(step.context) == ["distil student", "distil finalist 2"]
    for winner in expected_finalists(step.context):
        assert winner.trial in (0, 1)
        _make_student(step, winner)
    assert _to_train(step.context) == []
    _add_trial(step, study, 2, 0.1)
    _add_trial(step, study, 3, 0.2)
    assert _to_train(step.context) == ["distil student", "distil finalist 2"]
    best, second = expected_finalists(step.context)
    assert (best.trial, second.trial) == (2, 3)
    _make_student(step, second)
    assert _to_train(step.context) == ["distil student"]
    step.run.log(TOO_SLOW, trial=2, speedup=1.0)  # the next one takes its place
    assert _to_train(step.context) == []


def test_finalists_of_fewer_epochs_are_known(make_run: Callable[..., Run]) -> None:
    step = Stepwise(make_run(budget="1h", finalists=2, trials=2, random_control="off"))
    study = step.open_study()
    for i in range(2):
        _add_trial(step, study, i, 0.5 - 0.1 * i)
    context = step.context
    share_of(context, expected_finalists(context)[0].candidate).write(0.5)
    search_end(context).write({})
    for winner in expected_finalists(as_trained(context)):
        _make_student(step, winner, as_trained(context))
    found = _asked_trainings(context, step.inputs, finish=False)
    made = [one.step for one in found if one.is_made(as_trained(context).settings)]
    assert made == ["distil student", "distil finalist 2"]


def test_what_a_person_would_pick_has_layers(make_run: Callable[..., Run]) -> None:
    context = open_context(make_run())
    found = trained_in_full(context, context.run.folder)
    assert [one.place.name for one in found if one.kind is Kind.LAYERED] == ["hand-picked"]


def _add_trial(step: Stepwise, study: Study, place: int, loss: float) -> None:
    """A trial of the candidate at some place of the space."""
    known: dict[str, Any] = {"reward": 1 - loss, "loss": loss, UNITS: 1, "params": 9, "speedup": 2}
    params = step.space.params(step.space.candidates[place])
    given = {"params": params, "distributions": step.space.distributions, "user_attrs": known}
    study.add_trial(create_trial(value=1 - loss, **given))


def _make_student(step: Stepwise, winner: Winner, context: Context | None = None) -> None:
    """A finalist's checkpoint, of no training, where the run would have it."""
    context = context or step.context
    place = place_of_finalist(context, winner, True)
    record = record_of(context.settings, winner.candidate, winner.trial)
    given = load_given_teacher(step.context, step.inputs)
    student_artifact(place, record, given.tokenizer).write(given.model)


def _to_train(context: Context) -> list[str]:
    """The steps of a plan that distil students."""
    over = expected_finalists(context)
    found = trained_in_full(context, context.run.folder, most=2, chosen=over)
    return [
        one.step
        for one in found
        if one.step.startswith("distil") and "control" not in one.title
        if not one.is_made(context.settings)
    ]


def _places(context: Context) -> list[Path]:
    found = trained_in_full(context, context.run.folder)
    return [one.place for one in found if one.step.startswith(FINALIST)]
