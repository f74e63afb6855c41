"""A search whose candidates are scored side by side."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState
from support.processes import kdnas_child
from support.stepwise import Stepwise

from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run
from kdnas.runtime.side_by_side import can_fork
from kdnas.study.attributes import BEGUN, RUNG
from kdnas.study.study import evaluated
from kdnas.workflow.preparing import count_jobs as jobs
from kdnas.workflow.preparing.count_jobs import check_jobs, count_jobs

MakeRun = Callable[..., Run]
forks = pytest.mark.skipif(not can_fork(torch.device("cpu")), reason="processes are not forked")


def test_as_many_as_cores_trials_and_memory_allow(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(jobs, "free_cores", lambda: 6)
    monkeypatch.setattr(jobs, "free_memory", lambda: 64_000_000_000)
    monkeypatch.setattr(jobs, "can_fork", lambda _: True)
    step = Stepwise(make_run())
    assert count_jobs(step.context, 40, 22_000_000) == 6
    assert count_jobs(step.context, 4, 22_000_000) == 4
    assert count_jobs(step.context, 1, 22_000_000) == 1
    assert count_jobs(step.context, 40, 335_000_000) == 3
    step.run.settings = step.settings.model_copy(update={"jobs": 5})
    assert [count_jobs(step.context, left, 1) for left in (40, 3)] == [5, 3]
    check_jobs(step.context)
    monkeypatch.setattr(jobs, "can_fork", lambda _: False)
    assert count_jobs(step.context, 40, 1) == 1
    with pytest.raises(KdnasError, match="invalid --jobs 5: on Linux and the CPU"):
        check_jobs(step.context)


@forks
@pytest.mark.parametrize(
    "options", [{}, pytest.param({"rungs": 2, "mini_epochs": 4}, marks=pytest.mark.slow)]
)
def test_scores_are_those_of_one_process(
    make_run: MakeRun, tmp_path: Path, options: dict[str, Any]
) -> None:
    def scored(count: int) -> dict[str, float]:
        out = tmp_path / str(count)
        run = make_run(trials=4, sampler="random", out=out, jobs=count, threads=1, **options)
        step = Stepwise(run)
        step.search()
        study = step.open_study()
        assert all(t.state != TrialState.RUNNING for t in study.trials)
        trials = [t for t in study.trials if "loss" in t.user_attrs]
        seen = {f"{t.params} {t.user_attrs.get(RUNG)}": t.user_attrs["loss"] for t in trials}
        states = {f"{t.number}" for t in evaluated(study)}
        assert {f.name for f in (out / "trials").iterdir()} <= states
        return seen

    two, one = scored(2), scored(1)
    assert options or two.keys() == one.keys()  # which go on to the next rung hangs on the order
    both = two.keys() & one.keys()
    assert len(both) >= 4
    assert {k: two[k] for k in both} == pytest.approx({k: one[k] for k in both}, rel=1e-4)


@forks
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_one_goes_on(make_run: MakeRun, number: signal.Signals) -> None:
    run = make_run(trials=4, mini_epochs=30, jobs=2, sampler="random", random_control="off")
    child = kdnas_child("resume", run.folder)

    def working() -> bool:
        if not (run.folder / "study.db").exists():
            return False
        trials = Stepwise(Run.open(run.folder)).open_study().trials
        return sum(t.state == TrialState.RUNNING and BEGUN in t.user_attrs for t in trials) == 2

    child.wait_until(working)
    child.kill(number)
    assert child.wait() == (130 if number == signal.SIGINT else -9), child.output
    assert "Traceback" not in child.output
    step = Stepwise(Run.open(run.folder, jobs=1, mini_epochs=30))
    step.search()
    trials = step.open_study().trials
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    assert len(complete) == len({str(t.params) for t in complete}) == 4
    assert sum(t.state == TrialState.FAIL for t in trials) == 2
