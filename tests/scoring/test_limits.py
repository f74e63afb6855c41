"""Limits out of reach are refused before anything is trained, and leave no run behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from conftest import kdnas
from support.stepwise import Stepwise

from kdnas.errors import KdnasError
from kdnas.measure import count_params
from kdnas.runs.run_folder import Run
from kdnas.space import Candidate


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        (
            "--max-params",
            "10",
            "--max-params 10 is out of reach: the smallest student of the space, ",
        ),
        ("--speedup", "500", "--speedup 500 is out of reach: the smallest student of the space, "),
    ],
)
def test_a_limit_out_of_reach_is_refused_at_once(
    quick_flags: list[str], tmp_path: Path, flag: str, value: str, told: str
) -> None:
    done = kdnas("search", *quick_flags, "--out", tmp_path / "run", flag, value)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert told in done.stderr and "fine-tuning" not in done.stdout
    assert not (tmp_path / "run").exists()


def test_the_smallest_student_keeps_a_limit_of_its_own_size(make_run: Callable[..., Run]) -> None:
    free = Stepwise(make_run())
    params = count_params(free.mini.start(Candidate(free.space.smallest)).model)
    for limit, reached in ((params, True), (params - 1, False)):
        shutil.rmtree(free.run.folder)
        pipeline = Stepwise(make_run(max_params=limit))
        if reached:
            pipeline.check_limits()
        else:
            with pytest.raises(KdnasError, match=f"has {params:,}"):
                pipeline.check_limits()


def test_narrow_embeddings_may_keep_a_limit_that_the_smallest_layers_break(
    make_run: Callable[..., Run], make_teacher: Callable[..., Path]
) -> None:
    given = {"embedding_size": ["teacher", 4], "hidden_size": [4, 8]}
    electra = {"teacher": str(make_teacher("electra", embedding_size=32)), "space": given}
    free = Stepwise(make_run(**electra))
    small, narrow = (
        count_params(free.mini.start(Candidate(shape)).model)
        for shape in (free.space.smallest, free.space.narrowest)
    )
    assert narrow < small, "a table of width 32 has most of the parameters"
    for limit, reached in ((narrow, True), (narrow - 1, False)):
        shutil.rmtree(free.run.folder)
        pipeline = Stepwise(make_run(**electra, max_params=limit))
        if reached:
            pipeline.check_limits()
        else:
            with pytest.raises(KdnasError, match=f"1x8 .* e4 .*, has {narrow:,}"):
                pipeline.check_limits()


def test_a_limit_that_a_trial_kept_is_not_timed_again(make_run: Callable[..., Run]) -> None:
    steps = Stepwise(make_run(speedup=500))
    study = steps.open_study()
    for scored in (False, True):  # one that was measured, then one that kept the limit
        known = {"speedup": 501.0, **({"loss": 0.5} if scored else {})}
        state = optuna.trial.TrialState.COMPLETE if scored else optuna.trial.TrialState.PRUNED
        value = 0.5 if scored else None
        study.add_trial(optuna.create_trial(state=state, value=value, user_attrs=known))
        if scored:
            steps.check_limits()
        else:
            with pytest.raises(KdnasError, match="--speedup 500 is out of reach"):
                steps.check_limits()
