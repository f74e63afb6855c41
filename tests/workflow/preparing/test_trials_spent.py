"""What a run has paid for, and what is left."""

from __future__ import annotations

from collections.abc import Callable

from optuna.trial import TrialState
from support.stepwise import Stepwise

from kdnas.runs.run_folder import Run
from kdnas.study.attributes import ERROR, INFEASIBLE, UNITS
from kdnas.study.workers import retry
from kdnas.workflow.preparing.trials_spent import trials_left, trials_spent


def test_a_last_trial_that_was_stopped_is_tried_again(make_run: Callable[..., Run]) -> None:
    pipeline = Stepwise(make_run(trials=2, sampler="random", warm_start=False))
    pipeline.search()
    run = pipeline.run
    study = Stepwise(run).open_study()
    more = Stepwise(Run(run.folder, run.settings.model_copy(update={"trials": 3})))
    # As Ctrl-C in the third one leaves it.
    trial = study.ask(more.space.distributions)
    trial.set_user_attr(UNITS, 1)
    study.tell(trial, state=TrialState.FAIL)
    retry(study, trial.number)
    assert trials_spent(more.context) == 3 and trials_left(more.context) == 1
    more.search()
    states = [one.state for one in more.open_study().trials]
    assert states.count(TrialState.COMPLETE) == 3 and TrialState.WAITING not in states
    assert trials_left(more.context) == 0


def test_a_small_space_pays_for_no_more_trials_than_it_has_candidates(
    make_run: Callable[..., Run],
) -> None:
    few = {"num_hidden_layers": [1, 2], "hidden_size": [16], "hidden_act": ["gelu"]}
    few |= {"num_attention_heads": [2], "intermediate_size": [32]}
    step = Stepwise(make_run(trials=20, space=few, sampler="tpe", random_control="search"))
    space = step.space
    assert len(space.candidates) == 2 == trials_left(step.context, space=space)
    study = step.open_study()
    for candidate in space.candidates:
        study.enqueue_trial(space.params(candidate))
    assert trials_left(step.context, space=space) == 2  # they wait
    first, second = (study.ask(space.distributions) for _ in range(2))
    study.tell(first, 1.0)
    assert trials_left(step.context, space=space) == 1
    second.set_user_attr(INFEASIBLE, True)
    study.tell(second, state=TrialState.PRUNED)
    assert trials_left(step.context, space=space) == 0 < trials_left(step.context)
    assert trials_left(step.context, control=True, space=space) == 2


def test_a_candidate_that_failed_twice_is_not_left_to_try(make_run: Callable[..., Run]) -> None:
    step = Stepwise(make_run(trials=2000, random_control="off"))
    study, space = step.open_study(), step.space
    every = len(space.candidates)
    for left in (every, every - 1):
        study.enqueue_trial(space.params(space.candidates[0]))
        trial = study.ask(space.distributions)
        trial.set_user_attr(ERROR, "RuntimeError: no")
        study.tell(trial, state=TrialState.FAIL)
        assert trials_left(step.context, space=space) == left
