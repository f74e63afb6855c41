"""The students that a run trains in full, as a plan lists them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import create_trial
from support.stepwise import Stepwise

from kdnas.runs.context import Context, open_context
from kdnas.runs.run_folder import Run
from kdnas.study.attributes import UNITS
from kdnas.workflow.distilling.finalists import all_found
from kdnas.workflow.pipeline import plan_search
from kdnas.workflow.planning.trainings import FINALIST, Kind, most_finalists, trained_in_full


def test_finalists_that_there_are_too_few_trials_for_are_not_to_come(
    make_run: Callable[..., Run],
) -> None:
    context = open_context(make_run(finalists=3))
    nowhere = context.run.folder / "students" / "finalists"
    assert _places(context) == [nowhere, nowhere]
    context.run.step("finalists", {}).write([{}, {}])
    assert _places(context) == [context.run.folder / "student", nowhere]
    all_found(context).write(2)
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


def test_what_a_person_would_pick_has_layers(make_run: Callable[..., Run]) -> None:
    context = open_context(make_run())
    found = trained_in_full(context, context.run.folder)
    assert [one.place.name for one in found if one.kind is Kind.LAYERED] == ["hand-picked"]


def _places(context: Context) -> list[Path]:
    found = trained_in_full(context, context.run.folder)
    return [one.place for one in found if one.step.startswith(FINALIST)]
