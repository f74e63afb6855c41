"""What is made before students are trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import QUICK
from support.stepwise import Stepwise
from support.tiny_writers import save_captions, save_writer

from kdnas.config import load_settings
from kdnas.runs.run_folder import Run
from kdnas.space import Candidate

OF_SEARCHES = ("random_control", "finalists", "screen", "speedup", "epochs", "task_epochs")


@pytest.fixture
def make(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Callable[[str], Stepwise]:
    """Makes a run of one small student by a recipe."""

    def made(recipe: str) -> Stepwise:
        given = {name: value for name, value in QUICK.items() if name not in OF_SEARCHES}
        given |= {"teacher": str(teacher_folder), "task": "mrpc", "data_dir": data_folder}
        given |= {"architecture": "1x16", "recipe": recipe, "out": tmp_path / recipe}
        return Stepwise(Run.create(load_settings(None, given)))

    return made


def test_what_short_trainings_read_is_stored_where_there_are_such(
    make: Callable[[str], Stepwise],
) -> None:
    """Full trainings that begin with the teacher's weights have no need of it."""
    steps = make("labels")
    candidate = Candidate(steps.space.architectures[0])
    steps.distil(candidate.architecture, None, steps.run.folder / "student")
    steps.fine_tune(candidate.architecture, steps.run.folder / "controls" / "fine-tuned")
    assert "signal" not in steps.run.seconds()
    follows = make("states")
    assert follows.mini.start(candidate) and "signal" in follows.run.seconds()


def test_recipes_that_are_left_out_are_not_prepared(tmp_path: Path) -> None:
    """T5 cannot even read single tokens, as students without layers begin with."""
    teacher, task = save_writer(tmp_path / "t5", "t5"), save_captions(tmp_path) / "captions.yaml"
    given = {**QUICK, "teacher": str(teacher), "task": str(task), "data_dir": tmp_path}
    given |= {"recipes": "all", "teacher_as_is": True, "out": tmp_path / "run"}
    given |= {"max_length": 16, "max_target_length": 16}
    steps = Stepwise(Run.create(load_settings(None, given)))
    assert "static" in steps.settings.offered and "static" not in steps.space.every_recipe
    assert steps.mini.recipes == steps.space.every_recipe
