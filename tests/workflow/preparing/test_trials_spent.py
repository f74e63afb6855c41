from __future__ import annotations

from collections.abc import Callable

from optuna.trial import TrialState
from support.stepwise import Stepwise

from kdnas.runs.run_folder import Run
from kdnas.study.attributes import UNITS
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
