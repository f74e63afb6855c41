"""Trials of processes that live, and give no sign of life in this study."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from kdnas.config import Settings
from kdnas.runtime.process import process_name
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import Evaluation
from kdnas.scoring.scorer import Budget, Score
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.space.derivation import derive_choices
from kdnas.study import optimize, workers
from kdnas.study.attributes import FIXED_ATTR, HEARTBEAT, RETRY_OF, WORKER
from kdnas.study.samplers import make_sampler
from kdnas.study.study import evaluated
from kdnas.study.workers import WorkerMonitor, described, heartbeat, retry

TEACHER = Architecture(4, 4, 32, 64, "gelu")
SPACE = SearchSpace(TEACHER, derive_choices(TEACHER))


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(sampler=make_sampler("random", SPACE, 0, 9), direction="maximize")


def at_work(study: optuna.Study) -> optuna.Trial:
    """A trial as a copy of a run has it: signed by a process that lives, and no longer touched."""
    trial = study.ask(SPACE.distributions)
    with heartbeat(trial, 60):
        pass
    return trial


def test_a_trial_is_lost_once_its_heartbeat_stands_still(study: optuna.Study) -> None:
    copied, living = at_work(study), at_work(study)
    monitor, lost, end = WorkerMonitor(study, 0.2), 0, time.monotonic() + 30
    for count in range(1, 10_000):
        study._storage.set_trial_system_attr(living._trial_id, HEARTBEAT, count)
        if (lost := monitor.release_dead()) or time.monotonic() > end:
            break
        time.sleep(0.02)
    assert lost == 1 and count > 2
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING]
    assert study.trials[-1].user_attrs[RETRY_OF] == copied.number


def test_what_was_queued_is_tried_again_though_its_worker_died_while_it_was_asked_for(
    study: optuna.Study,
) -> None:
    queued = SPACE.params(SPACE.candidates[-1])
    study.enqueue_trial(queued)
    some = dict(list(SPACE.distributions.items())[:2])
    retry(study, study.ask(some).number)
    assert study.trials[-1].system_attrs[FIXED_ATTR] == queued


@pytest.mark.parametrize("lost", ["hidden_act", "recipe"])
def test_what_lost_a_parameter_while_it_was_proposed_is_not_tried_again(
    study: optuna.Study, lost: str
) -> None:
    whole = SPACE.with_recipes(["default", "logits"]).distributions
    study.ask(whole)
    assert lost in whole
    retry(study, study.ask({name: d for name, d in whole.items() if name != lost}).number)
    assert len(study.trials) == 2
    retry(study, study.ask(whole).number)
    assert study.trials[-1].user_attrs[RETRY_OF] == 2


@pytest.mark.parametrize("beside", [False, True])
def test_a_copied_run_tells_what_others_are_at_and_goes_on(
    beside: bool,
    study: optuna.Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(optimize, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(optimize, "ANNOUNCE_SECONDS", 0.1)
    monkeypatch.setattr(workers, "is_beside", lambda _: beside)
    copied = at_work(study)

    def evaluate(candidate: Candidate, budget: Budget, costs: Any = None) -> Evaluation:
        return Evaluation(Costs(1, 1, 1.0, 0.0, 2.0, 2.0), {}, Score(0.5), 0.5, 0.1)

    settings = Settings(trials=1, task="mrpc").model_copy(update={"worker_timeout": 0.5})
    optimize.optimize(study, SPACE, evaluate, settings, tmp_path, lambda *_, **__: None)
    [again] = evaluated(study)
    assert again.params == copied.params and again.user_attrs[RETRY_OF] == copied.number
    told = " ".join(capsys.readouterr().out.split())
    if beside:  # by this command itself
        assert "waiting" not in told
        return
    assert told.count("waiting for 1 trial of other processes: 0 (process ") == 1
    assert f"(process {os.getpid()} on " in told and "no sign of life for 0.5 s is tried" in told


def test_trials_are_described_by_their_processes(study: optuna.Study) -> None:
    first, second = (study.ask(SPACE.distributions) for _ in range(2))
    first.set_user_attr(WORKER, "node-3:boot-1:4711:99")
    second.set_user_attr(WORKER, process_name())
    host, pid = process_name().split(":")[0], os.getpid()
    assert described(study.trials[:2]) == (
        f"0 (process 4711 on node-3), 1 (process {pid} on {host})"
    )
    unsigned = optuna.create_study()
    unsigned.ask()
    assert described(unsigned.trials) == "0 (not signed yet)"
