"""Many workers at once: the budget is kept to the trial, and no student is paid for twice.

Their candidates take milliseconds, so that they are nearly always asking.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from servers import PostgreSQL
from support.processes import FORKS, Child

from kdnas.config import Settings
from kdnas.runtime.process import process_name
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import Evaluation
from kdnas.scoring.scorer import Budget, Score
from kdnas.space import Candidate, SearchSpace
from kdnas.space.families import FIELDS
from kdnas.study.attributes import CONTINUES, RETRY_OF, RUNG, UNITS, WORKER
from kdnas.study.optimize import optimize
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.samplers import make_sampler
from kdnas.study.storage import make_storage
from kdnas.study.study import create_study, load_run_study
from kdnas.study.workers import LostTrialError, WorkerMonitor, claim
from kdnas.teachers.load import load_config

TRIALS = 20


def evaluate(candidate: Candidate, budget: Budget, costs: Costs | None = None) -> Evaluation:
    """In no time."""
    time.sleep(random.random() / 20)
    return Evaluation(Costs(1, 1, 1.0, 0.0, 2.0, 2.0), {}, Score(0.5), 0.5, 0.0)


def work(barrier: Barrier, url: str, teacher: str, folder: Path) -> None:
    """A worker that begins when all have come to the barrier."""
    choices = {"num_hidden_layers": [1, 2], "num_attention_heads": [4], "intermediate_size": [64]}
    space = SearchSpace.from_teacher(load_config(teacher), teacher, choices)
    assert TRIALS < len(space.candidates) < 2 * TRIALS
    sampler = make_sampler("random", space, 0, TRIALS)
    barrier.wait(60)
    study = create_study(url, "s", sampler, "reward", {"t": 1})
    optimize(study, space, evaluate, Settings(trials=TRIALS), folder, lambda *_, **__: None)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.database()


@pytest.mark.slow
def test_many_workers_keep_the_budget_and_repeat_nothing(
    url: str, teacher_folder: Path, tmp_path: Path
) -> None:
    barrier = FORKS.Barrier(4)
    workers = [Child(work, barrier, url, str(teacher_folder), tmp_path) for _ in range(4)]
    for worker in workers:
        assert worker.wait() == 0, worker.output
    trials = load_run_study(url, "s", tmp_path).trials
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    assert len(complete) == TRIALS
    assert len({tuple(t.params.values()) for t in complete}) == TRIALS
    assert not [t for t in trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
    assert len({t.user_attrs[WORKER] for t in complete}) > 1


SPACE = {name: optuna.distributions.CategoricalDistribution((1, 2, 3)) for name in FIELDS}


@pytest.fixture
def study(tmp_path: Path) -> Iterator[optuna.Study]:
    yield create_study(f"sqlite:///{tmp_path}/s.db", "s", None, "reward", {})


def asked(study: optuna.Study, value: int, **attributes: object) -> optuna.Trial:
    study.enqueue_trial(dict.fromkeys(FIELDS, value), user_attrs=attributes)
    trial = study.ask(SPACE)
    trial.set_user_attr(WORKER, process_name())
    return trial


def told(
    study: optuna.Study,
    trial: optuna.Trial,
    pruner: SuccessiveHalvingPruner = SuccessiveHalvingPruner(),  # noqa: B008
    trials: int = 2,
) -> str | None:
    return claim(study, trial, trials, pruner, WorkerMonitor(study, 60))


def test_whoever_has_begun_goes_on(study: optuna.Study) -> None:
    first, second = asked(study, 1), asked(study, 1)
    assert told(study, second) == f"trial {first.number} has the same candidate"
    study.tell(second, state=TrialState.FAIL)
    assert told(study, first) is None
    third = asked(study, 2)
    assert told(study, third) is None
    assert told(study, asked(study, 3)) == "other trials spend the rest of the budget"


def test_the_first_waits_for_a_later_one_to_decide(study: optuna.Study) -> None:
    first, second = asked(study, 1), asked(study, 1)
    url = study._storage._backend.url  # type: ignore[attr-defined]
    decider = Child(decide_late, url, second._trial_id)
    start = time.monotonic()
    assert told(study, first) == f"trial {second.number} has the same candidate"
    assert decider.wait() == 0 and time.monotonic() - start > 0.5


def decide_late(url: str, trial: int) -> None:
    time.sleep(0.5)
    make_storage(url).set_trial_user_attr(trial, "begun", True)


def test_a_retry_is_worked_on_once(study: optuna.Study) -> None:
    first, second = asked(study, 1, retry_of=7), asked(study, 2, retry_of=7)
    assert told(study, second) == f"trial {first.number} retries trial 7 already"
    assert first.user_attrs[RETRY_OF] == 7 and told(study, first) is None


def test_what_waits_with_its_cost_set_aside_is_counted(study: optuna.Study) -> None:
    trial = asked(study, 1)
    study.enqueue_trial(dict.fromkeys(FIELDS, 2), user_attrs={UNITS: 2})
    late = study.ask(SPACE)
    late.set_user_attr(WORKER, process_name())
    assert told(study, late) == "other trials spend the rest of the budget"
    study.tell(late, state=TrialState.FAIL)
    assert told(study, trial) is None


def test_a_trial_that_another_process_began_is_left_to_it(study: optuna.Study) -> None:
    trial = asked(study, 1)
    assert told(study, trial) is None
    with pytest.raises(LostTrialError):
        told(study, trial)


def test_a_new_candidate_begins_where_it_could_be_trained_to_the_end(study: optuna.Study) -> None:
    rungs = SuccessiveHalvingPruner(3, 3)
    first, second = asked(study, 1), asked(study, 2)
    assert told(study, second, rungs, trials=1) == "other trials spend the rest of the budget"
    study.tell(second, state=TrialState.FAIL)
    assert told(study, first, rungs, trials=1) is None
    end_on_a_rung(study, first, rungs)
    goes_on = asked(study, 1, **{CONTINUES: first.number, UNITS: rungs.cost(1)})
    assert told(study, goes_on, rungs, trials=1) is None


def test_one_candidate_goes_on_to_its_end_whatever_was_spent(study: optuna.Study) -> None:
    rungs = SuccessiveHalvingPruner(3, 3)
    seen = [asked(study, 1 + i % 3) for i in range(8)]  # which were begun all at once
    for trial in seen:
        end_on_a_rung(study, trial, rungs)
    up = {UNITS: rungs.cost(1)}
    goes_on = asked(study, 1, **{CONTINUES: seen[0].number, **up})
    other = asked(study, 2, **{CONTINUES: seen[1].number, **up})
    assert told(study, other, rungs, trials=1) == "other trials spend the rest of the budget"
    study.tell(other, state=TrialState.FAIL)
    assert told(study, goes_on, rungs, trials=1) is None


def end_on_a_rung(
    study: optuna.Study, trial: optuna.Trial, pruner: SuccessiveHalvingPruner
) -> None:
    trial.set_user_attr(RUNG, pruner.share(0))
    trial.set_user_attr(UNITS, 1)
    study.tell(trial, state=TrialState.PRUNED)
