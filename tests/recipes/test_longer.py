"""How long students train that have little of their teacher's arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.stepwise import Stepwise

from kdnas.config import Settings, load_settings
from kdnas.config.offer import settings_of
from kdnas.config.recipe import Stage
from kdnas.recipes.full import run_recipe, train_on_labels
from kdnas.recipes.stages import longer, longer_for
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture, Candidate, PrunedArchitecture
from kdnas.space.arithmetic import share_of_arithmetic
from kdnas.workflow.preparing.records import recipe_record

TEACHER = Architecture(6, 12, 384, 1536, "gelu")
PLAIN = {"epochs": 3, "task_epochs": 3}  # a recipe with stages has its own
STAGE = {"name": "task", "data": "task", "losses": {"task": 1}, "epochs": 3, "lr": 1e-3}


@pytest.mark.parametrize(
    ("share", "epochs"), [(1, 3), (0.12, 3), (0.1, 3.6), (0.06, 6), (0.04, 9), (0.001, 9), (0, 3)]
)
def test_epochs_by_share(share: float, epochs: float) -> None:
    stage = Stage(**STAGE)
    assert longer(stage, share, Settings()).epochs == pytest.approx(epochs)
    assert longer(stage, share, Settings(more_epochs=False)) == stage
    for data in ("transfer", "corpus"):
        other = Stage(**{**STAGE, "data": data})
        assert longer(other, share, Settings()) == other


def test_the_share_is_that_of_what_layers_multiply() -> None:
    """2x96 f384: 2 x (4 x 96^2 + 2 x 96 x 384) of 6 x 12 x 384^2; pruned: 5 of 72 heads, ..."""
    dense = Architecture(2, 12, 96, 384, "gelu")
    assert share_of_arithmetic(dense, TEACHER) == pytest.approx(221184 / 10616832)
    pruned = PrunedArchitecture((3, 2), 384, (24, 24), "gelu")
    assert share_of_arithmetic(pruned, TEACHER) == pytest.approx(5 / 72 / 3 + 48 / 9216 * 2 / 3)
    assert share_of_arithmetic(TEACHER, TEACHER) == 1
    assert longer_for(dense, TEACHER, Stage(**STAGE), Settings()).epochs == 9
    writes = replace(TEACHER, num_decoder_layers=6)
    assert longer_for(dense, writes, Stage(**STAGE), Settings()).epochs == 3


def test_a_recipe_and_the_control_on_labels_train_so_long(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    small = Candidate(Architecture(1, 2, 16, 32, "gelu"))  # 2,048 of 24,576: 1.44 times the epochs

    def steps(name: str, *, more_epochs: bool, epochs: float = 1.0) -> list[int]:
        given: dict[str, Any] = {"stages": [{**STAGE, "epochs": epochs}], "out": tmp_path / name}
        pipeline = Stepwise(make_run(**given, **PLAIN, more_epochs=more_epochs))
        curves: list[Any] = []
        record = lambda title, stage, points, **_: curves.append(points)  # noqa: E731
        job, folder = replace(pipeline.full, record=record), pipeline.run.folder / "work"
        run_recipe(job, small, folder, "student")
        train_on_labels(job, pipeline.mini.untrained(small), folder, "alone")
        return [curve[-1][0] for curve in curves]

    longer, as_long = steps("more", more_epochs=True), steps("same", more_epochs=False, epochs=1.44)
    assert longer == as_long
    assert min(longer) > max(steps("plain", more_epochs=False))


def test_students_without_more_epochs_are_other_students() -> None:
    plain, without = Settings(), Settings(more_epochs=False)
    assert recipe_record(plain) != recipe_record(without)
    assert "more_epochs" not in recipe_record(without)[0]  # those of runs begun before are found


def test_a_run_that_was_begun_before_trains_as_before(make_run: Callable[..., Run]) -> None:
    run = make_run()
    assert Run.open(run.folder).settings.more_epochs
    file = run.folder / "config.yaml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("more_epochs")))
    assert not Run.open(run.folder).settings.more_epochs


def test_a_recipe_may_keep_its_epochs(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    stages = "stages: [{name: task, data: task, losses: {task: 1}, epochs: 3, lr: 1.0e-3}]"
    own.write_text(f"more_epochs: false\n{stages}\n")
    assert not load_settings(None, {"recipe": str(own)}).more_epochs
    of_both = load_settings(None, {"recipes": f"relations,{own}"})
    assert settings_of(of_both, "relations").more_epochs
    assert not settings_of(of_both, "own").more_epochs
    given = load_settings(None, {"recipes": f"relations,{own}", "more_epochs": True})
    assert settings_of(given, "own").more_epochs  # what a person says comes first
