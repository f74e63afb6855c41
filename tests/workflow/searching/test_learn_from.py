"""A search that learns from earlier runs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import made_runs
import optuna
import pytest
from conftest import Said
from optuna.trial import TrialState, create_trial
from support.stepwise import Stepwise

from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run
from kdnas.study.attributes import LESSONS
from kdnas.study.lessons import best_of
from kdnas.study.storage import storage_url
from kdnas.study.study import evaluated, load_study
from kdnas.study.warm_start import warm_start
from kdnas.study.whole import name_of
from kdnas.workflow.searching.learn_from import check_lessons, read_lessons, teach


def test_lessons_are_read_once_and_begin_the_search(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    earlier = made(tmp_path / "earlier")
    given = {"learn_from": str(earlier), "trials": 16, "sampler": "tpe"}
    step = Stepwise(make_run(**given))
    study = optuna.create_study(direction="maximize")
    teach(step.context, step.space, study, 1000)
    lessons = study.user_attrs[LESSONS]
    earlier_run = Run.open(earlier)
    names = [name_of(earlier_run, control=control) for control in (False, True)]
    url = storage_url(None, earlier_run.folder)
    trials = [t for name in names for t in evaluated(load_study(url, name))]
    assert len(lessons) == len({json.dumps(t.params) for t in trials}) > 4
    assert all(step.space.is_valid(one["params"]) for one in lessons)
    shutil.rmtree(earlier)
    teach(step.context, step.space, study, 1000)  # what it knows, it knows
    warm_start(study, step.space, step.settings, step.meter)
    queued = [t.system_attrs["fixed_params"] for t in study.trials]
    assert queued == [step.space.params(one) for one in best_of(study, step.space)[:2]]


def test_a_study_that_was_made_again_has_its_lessons(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    earlier = made(tmp_path / "earlier")
    step = Stepwise(make_run(learn_from=str(earlier), sampler="tpe"))
    lost, again = (optuna.create_study(direction="maximize") for _ in range(2))
    again.add_trial(create_trial(state=TrialState.FAIL))
    teach(step.context, step.space, again, 1000)
    assert LESSONS not in again.user_attrs  # it began without
    teach(step.context, step.space, lost, 1000)
    shutil.rmtree(earlier)
    teach(step.context, step.space, again, 1000)
    assert again.user_attrs[LESSONS] == lost.user_attrs[LESSONS] != []


def test_a_run_that_is_named_twice_counts_once(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    first, second = made(tmp_path / "first"), made(tmp_path / "second", trials=5)
    link = tmp_path / "link"
    link.symlink_to(first)
    twice = make_run(learn_from=f"{first},{second},{first},{link}")
    assert twice.settings.learn_from == f"{first},{second}"


def learning(run: Run, folder: Path) -> Stepwise:
    settings = run.settings.model_copy(update={"learn_from": str(folder)})
    return Stepwise(Run(run.folder, settings))


def made(folder: Path, **options: object) -> Path:
    return made_runs.make_run(folder, **options).folder  # type: ignore[arg-type]


def test_bad_runs_are_refused_before_anything_is_trained(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    bare = made(tmp_path / "bare", trials=0, finished=False)
    run = make_run()
    for folder, wrong in (
        (tmp_path / "absent", "absent does not exist"),
        (tmp_path, "holds no kdnas run"),
        (bare, "its study has no finished trial; continue it with `kdnas resume"),
        (tmp_path / "run", "it is this run; name earlier ones"),
    ):
        step = learning(run, folder)
        with pytest.raises(KdnasError, match=f"invalid --learn-from {folder}: .*{wrong}"):
            check_lessons(step.context, step.space)
    recipes = step.space.with_recipes(["logits", "pkd"])
    whole = learning(run, made(tmp_path / "whole"))
    with pytest.raises(KdnasError, match="its students have no counterpart in this space"):
        read_lessons(whole.context, recipes)


@pytest.mark.slow
def test_the_whole_command(
    finished_run: Path, quick_flags: list[str], tmp_path: Path, command: Said
) -> None:
    out = tmp_path / "second"
    flags = [*quick_flags, "--out", out, "--trials", 2, "--learn-from", finished_run]
    code, error = command("search", *flags)
    assert code == 0, error
    assert "of 1 earlier run (--learn-from)" in command.all
    assert re.search(r"^  learns +from \S", command.all, re.MULTILINE)
    code, error = command("resume", out, "--trials", 3)
    assert code == 0, error
