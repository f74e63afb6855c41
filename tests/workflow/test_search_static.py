"""A search among students with layers and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK

from kdnas import KdnasError, load_run, search

SPACE: dict[str, list[Any]] = {
    "num_hidden_layers": [1],
    "num_attention_heads": [2, 4],
    "hidden_size": [16, 32],
    "intermediate_size": [16],
    "hidden_act": ["relu"],
}
QUICKLY = """
students: static
transfer_rows: 260
stages:
  - {name: outputs, data: transfer, losses: {task: 1, logits: 1}, epochs: 2, lr: 1.0e-2}
"""
GIVEN = {**QUICK, "space": SPACE, "trials": 5, "random_control": "off", "finalists": 1}


@pytest.fixture(scope="module")
def finished(
    teacher_folder: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished search that a student without layers wins: nothing else is so fast."""
    home = tmp_path_factory.mktemp("static")
    (home / "quickly.yaml").write_text(QUICKLY)
    given = {**GIVEN, "sampler": "tpe", "cost": "macs", "alpha": -5, "data_dir": data_folder}
    offered = f"default,{home / 'quickly.yaml'}"
    return search(teacher_folder, "mrpc", recipes=offered, out=home / "run", **given).folder


@pytest.mark.slow
def test_both_kinds_are_tried_each_by_its_recipe(finished: Path) -> None:
    table = load_run(finished).scored
    static = table.num_hidden_layers == 0
    assert len(table) == 5 and 0 < static.sum() <= 2
    assert set(table[static].recipe) == {"quickly"} and set(table[~static].recipe) == {"default"}
    assert table[static].hidden_size.is_unique


@pytest.mark.slow
def test_one_without_layers_is_distilled(finished: Path) -> None:
    searched = finished / "controls" / "searched"
    folder = searched if searched.exists() else finished / "student"
    made = json.loads((folder / "kdnas.json").read_text())["key"]["candidate"]
    assert made["num_hidden_layers"] == 0 and made["recipe"] == "quickly"
    report = json.loads((finished / "report.json").read_text())
    recipes = {control["name"]: control["recipe"] for control in report["controls"]}
    recipes[report["selection"]["shipped"]] = report["student"]["recipe"]
    assert recipes["hand-picked, as fast"] == "default", "one with layers"


def test_a_recipe_for_them_alone_is_refused(
    teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    plain = {k: v for k, v in GIVEN.items() if k not in ("epochs", "task_epochs", "task_lr", "lr")}
    given = {**plain, "data_dir": data_folder, "out": tmp_path / "run"}
    with pytest.raises(
        KdnasError, match="'static' is for students without layers; distil one with"
    ):
        search(teacher_folder, "mrpc", recipe="static", **given)
    assert not (tmp_path / "run").exists()
