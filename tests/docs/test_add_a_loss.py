"""The example of docs/add-a-loss.md, as a package of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.stepwise import Stepwise

from kdnas.distillation.losses import LOSSES
from kdnas.errors import KdnasError
from kdnas.recipes.check import check_recipe
from kdnas.recipes.full import run_recipe
from kdnas.runs.run_folder import Run
from kdnas.runtime.plugins import load_plugins
from kdnas.space import Architecture
from kdnas.space.candidate import Candidate

DOCS = Path(__file__).parents[2] / "docs" / "add-a-loss.md"
SMALL = Architecture(2, 2, 16, 32, "gelu")
STAGE = {
    "name": "only",
    "data": "task",
    "losses": {"task": 0.1, "similarity": 1},
    "similarity_layer": 2,
    "epochs": 2,
    "lr": 1e-3,
}

DEFAULTS = {"epochs": 3, "task_epochs": 3}  # a recipe with stages has no others


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example, installed."""
    text = DOCS.read_text()
    code, entry = (re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("python", "toml"))
    site = tmp_path / "site"
    info = site / "kdnas_similarity-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "kdnas_similarity.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kdnas-similarity\nVersion: 1.0\n")
    points = entry.replace('project.entry-points."kdnas.plugins"', "kdnas.plugins")
    (info / "entry_points.txt").write_text(points.replace('"', ""))
    monkeypatch.syspath_prepend(str(site))
    load_plugins.cache_clear()
    load_plugins()
    yield
    load_plugins.cache_clear()
    del LOSSES["similarity"], sys.modules["kdnas_similarity"]


def test_a_recipe_trains_with_the_loss_of_another_package(
    plugin: None, make_run: Callable[..., Run]
) -> None:
    pipeline = Stepwise(make_run(stages=[STAGE], **DEFAULTS))
    pipeline.check()
    curves: list[Any] = []
    record = lambda name, stage, points, **_: curves.append(points)  # noqa: E731
    job = replace(pipeline.full, record=record)
    run_recipe(job, Candidate(SMALL), pipeline.run.folder / "work", "student")
    ((_, first), *_, (_, last)) = curves[0]
    assert last < first


def test_its_options_are_checked(plugin: None, make_run: Callable[..., Run]) -> None:
    deep = make_run(stages=[{**STAGE, "similarity_layer": 9}], **DEFAULTS)
    with pytest.raises(KdnasError, match="stage 'only': invalid similarity_layer: the teacher has"):
        Stepwise(deep).check()
    settings = deep.settings.model_copy(update={"mini_losses": {"similarty": 1}})
    with pytest.raises(KdnasError, match="unknown loss 'similarty' .* did you mean 'similarity'?"):
        check_recipe(settings)
