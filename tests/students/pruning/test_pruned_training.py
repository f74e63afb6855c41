"""A pruned candidate goes the way of any student: recipe, states, checkpoint, costs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_tokenizer
from support.stepwise import Stepwise

from kdnas.recipes.full import run_recipe
from kdnas.recipes.stages import rates_of
from kdnas.runs.run_folder import Run
from kdnas.space import AnyArchitecture, Architecture, Candidate, PrunedArchitecture
from kdnas.space.pruned import LAYERS_KEY
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.students.pruning import is_sliced
from kdnas.students.state import StudentState

COUNTS = PrunedArchitecture((3, 0, 1), 32, (64, 8, 0), "gelu")
STAGE = {"name": "only", "data": "task", "losses": {"hidden": 1, "task": 1}, "epochs": 2}


def test_a_recipe_trains_it(make_run: Callable[..., Run]) -> None:
    pipeline = Stepwise(make_run(stages=[{**STAGE, "lr": 1e-3}], epochs=3, task_epochs=3))
    curves: list[Any] = []
    record = lambda name, stage, points, **_: curves.append(points)  # noqa: E731
    job = replace(pipeline.full, record=record)
    state = run_recipe(job, Candidate(COUNTS), pipeline.run.folder / "work", "student")
    assert state.architecture == COUNTS and is_sliced(state.model)
    ((_, first), *_, (_, last)) = curves[0]
    assert last < first
    folder = pipeline.run.folder / "student"
    student_artifact(folder, {"trial": 1}, small_tokenizer()).write(state.model)
    tokens = torch.arange(5, 25).view(2, 10)
    with torch.no_grad():
        logits = [m.eval()(tokens).logits for m in (state.model, load_student(folder))]
    torch.testing.assert_close(logits[0], logits[1])


def test_what_is_near_its_teacher_has_lower_rates(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    """272 of 768 parts are left: the rates are 0.15 over that times as high."""
    factor = 0.15 * 768 / 272

    def trained(name: str, lr: float, *, lower_rates: bool) -> StudentState:
        stages = [{**STAGE, "epochs": 0.5, "lr": lr}]
        given = {"stages": stages, "epochs": 3, "task_epochs": 3, "out": tmp_path / name}
        pipeline = Stepwise(make_run(**given, lower_rates=lower_rates))
        return run_recipe(pipeline.full, Candidate(COUNTS), pipeline.run.folder / name, name)

    state = trained("lower", 1e-3, lower_rates=True)
    by_hand = trained("by-hand", factor * 1e-3, lower_rates=False)
    for ours, theirs in zip(state.model.parameters(), by_hand.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    others = trained("others", 1e-3, lower_rates=False)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(state.model.parameters(), others.model.parameters(), strict=True)
    )


def test_a_teacher_that_lost_layers_itself_counts_as_whole(
    make_run: Callable[..., Run], make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    """It notes how many layers its own teacher had."""
    folder = Path(shutil.copytree(make_teacher(), tmp_path / "shallow"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, LAYERS_KEY: 6}))
    pipeline = Stepwise(make_run(teacher=str(folder)))
    whole = Candidate(PrunedArchitecture((4, 4, 4), 32, (64, 64, 64), "gelu"))
    assert rates_of(pipeline.mini.start(whole), pipeline.settings) == 0.15


def test_others_and_what_is_far_from_its_teacher_have_the_recipe_s_rates(
    make_run: Callable[..., Run],
) -> None:
    pipeline = Stepwise(make_run())
    settings, mini = pipeline.settings, pipeline.mini

    def factor(shape: AnyArchitecture) -> float:
        return rates_of(mini.start(Candidate(shape)), settings)

    assert factor(Architecture(2, 4, 32, 64, "gelu")) == 1
    assert factor(PrunedArchitecture((1, 0, 0), 32, (8, 0, 0), "gelu")) == 1
    assert factor(PrunedArchitecture((4, 4, 4), 32, (64, 64, 64), "gelu")) == 0.15
    # Two thirds of the layers, whole.
    assert factor(PrunedArchitecture((4, 4), 32, (64, 64), "gelu")) == pytest.approx(0.225)
