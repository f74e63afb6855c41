"""Limits out of reach are refused before anything is trained, and leave no run behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import kdnas
from support.stepwise import Stepwise
from support.tiny_pairs import tiny_pair

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.measure import count_params
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.scoring.costs import FINAL, CostMeter, Costs
from kdnas.scoring.limits import Limits, check_reachable, may_keep
from kdnas.space import Candidate, family_of
from kdnas.space.derivation import teacher_architecture
from kdnas.workflow import pipeline
from kdnas.workflow.preparing.inputs import check_limits, keep_limits


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
        steps = Stepwise(make_run(max_params=limit))
        if reached:
            steps.check_limits()
        else:
            with pytest.raises(KdnasError, match=f"has {params:,}"):
                steps.check_limits()


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
        steps = Stepwise(make_run(**electra, max_params=limit))
        if reached:
            steps.check_limits()
        else:
            with pytest.raises(KdnasError, match=f"1x8 .* e4 .*, has {narrow:,}"):
                steps.check_limits()


def test_a_student_without_layers_may_keep_what_those_with_layers_break(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Stepwise(make_run())
    space, meter = steps.space.with_recipes(["default"], static=["static"]), steps.meter
    params = count_params(meter.untrained(Candidate(space.statics[0])))
    assert params < count_params(meter.untrained(Candidate(space.smallest)))
    check_reachable(Limits(max_params=params), space, meter)
    with pytest.raises(KdnasError, match=f"{space.statics[0].label}, has {params:,} parameters"):
        check_reachable(Limits(max_params=params - 1), space, meter)
    timed_as(monkeypatch, [0.3, 0.3, 0.3, 2.5])
    check_reachable(Limits(speedup=2), space, meter)


def test_the_speed_of_what_writes_is_not_foretold_by_arithmetic() -> None:
    teacher = tiny_pair("marian")
    meter = CostMeter(teacher, Settings(latency_length=8))
    whole = teacher_architecture(teacher.config, family_of("marian", "marian"))
    shallow = Candidate(replace(whole, num_decoder_layers=1))
    share = meter.teacher_macs / meter.macs_of(shallow)
    assert may_keep(Limits(speedup=2 * share), shallow, meter)
    params = count_params(meter.untrained(shallow))
    assert not may_keep(Limits(max_params=params - 1), shallow, meter)


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


def timed_as(monkeypatch: pytest.MonkeyPatch, found: list[float]) -> list[int]:
    """Gives one speed-up after another to what is timed; returns how long each timing was."""
    script, asked, usual = iter(found), list[int](), CostMeter.of_model

    def of_model(meter: CostMeter, student: Any, longer: int = 1) -> Costs:
        asked.append(longer)
        return replace(usual(meter, student), speedup=next(script))

    monkeypatch.setattr(CostMeter, "of_model", of_model)
    return asked


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize(
    ("found", "reached"), [([2.5], True), ([0.3, 2.5], True), ([0.3, 0.5, 0.4], False)]
)
def test_a_speed_up_is_refused_after_several_timings_alone(
    make_run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    pruned: bool,
    found: list[float],
    reached: bool,
) -> None:
    asked = timed_as(monkeypatch, found)
    steps = Stepwise(make_run(speedup=2, pruned="magnitude" if pruned else None))
    if reached:
        steps.check_limits()
    else:
        with pytest.raises(KdnasError, match=r"is 0\.50 times as fast .*at the best of 3 timings"):
            steps.check_limits()
    assert asked == [1, FINAL, FINAL][: len(found)]


def test_a_run_that_began_within_reach_is_not_refused_later(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = timed_as(monkeypatch, [2.5, 0.1, 0.1, 0.1])
    steps = Stepwise(make_run(speedup=2))
    steps.check_limits()
    keep_limits(steps.context, steps.inputs)
    steps.check_limits()
    assert len(asked) == 1
    harder = replace(steps.context, settings=steps.settings.model_copy(update={"speedup": 3.0}))
    with pytest.raises(KdnasError, match="--speedup 3 is out of reach"):
        check_limits(harder, steps.inputs)


def test_a_run_that_was_stopped_early_goes_on_whatever_is_timed(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed_as(monkeypatch, [2.5, 0.1, 0.1, 0.1])

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "prepare", stop)
    context = open_context(make_run(speedup=2))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            pipeline.find_student(context)
