"""A pruned candidate goes the way of any student: recipe, states, checkpoint, costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from conftest import small_tokenizer
from support.stepwise import Stepwise

from kdnas.recipes.full import run_recipe
from kdnas.runs.run_folder import Run
from kdnas.space import Candidate, PrunedArchitecture
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.students.pruning import is_sliced

COUNTS = PrunedArchitecture((3, 0, 1), 32, (64, 8, 0), "gelu")
STAGE = {"name": "only", "data": "task", "losses": {"hidden": 1, "task": 1}, "epochs": 2}


def test_a_recipe_trains_it(make_run: Callable[..., Run]) -> None:
    pipeline = Stepwise(make_run(stages=[{**STAGE, "lr": 1e-3}], epochs=3, task_epochs=3))
    curves: list[Any] = []
    record = lambda name, stage, points, heldout=None: curves.append(points)  # noqa: E731
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
