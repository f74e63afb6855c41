"""What is made before students are trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import QUICK
from support.stepwise import Stepwise

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
