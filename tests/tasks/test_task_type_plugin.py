"""The example of docs/add-a-task-type.md, installed as a package of its own."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK, flags_of, sentence

import kdnas
from kdnas.tasks import spec, types
from kdnas.tasks.encode import Units
from kdnas.tasks.load import load_data

ROOT = Path(kdnas.__file__).parents[1]
TASK = """
tasks:
  stars:
    type: ordinal
    text: text
    label: stars
"""


@pytest.fixture
def blocks() -> dict[str, str]:
    """The code of the page, by language."""
    page = (ROOT / "docs" / "add-a-task-type.md").read_text(encoding="utf-8")
    return dict(re.findall(r"```(\w+)\n(.*?)```", page, re.S))


def test_its_loss_takes_class_weights(
    blocks: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As --class-weights balanced gives them to every classification."""
    monkeypatch.setattr(types, "TASK_TYPES", {})
    names: dict[str, Any] = {}
    exec(blocks["python"], names)
    logits, labels = torch.eye(3), torch.tensor([0, 2, 2])
    units = Units(torch.arange(3), torch.zeros(3, dtype=torch.long), 3, 1)
    kind = types.TASK_TYPES["ordinal"]
    plain = kind.task_loss(logits, labels, units)
    even, rare = (
        kind.task_loss(logits, labels, units, torch.tensor([w, 1.0, 1.0])) for w in (1.0, 9.0)
    )
    assert even == plain < rare


def test_it_predicts_and_exports_what_it_is_scored_by(
    blocks: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(types, "TASK_TYPES", {})
    exec(blocks["python"], {})
    kind, labels = types.TASK_TYPES["ordinal"], ["1", "2", "3", "4"]
    logits = np.random.default_rng(0).normal(0, 2, (50, 4)).astype(np.float32)
    scored = [labels[i] for i in kind.decode(logits)]
    answers = kind.answers(logits, labels)
    assert [one["label"] for one in answers] == scored
    assert all(one["score"] == one["probabilities"][one["label"]] for one in answers)
    assert scored != [labels[i] for i in logits.argmax(-1)]
    exec(kind.onnx_answer(labels), {"np": np, "logits": logits})
    assert capsys.readouterr().out.strip() == repr(scored)


def test_its_main_metric_stays_where_a_class_is_rare(
    blocks: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(types, "TASK_TYPES", types.TASK_TYPES.copy())
    monkeypatch.setattr(spec, "TASK_TYPES", types.TASK_TYPES)
    exec(blocks["python"], {})
    stars = ["1"] * 60 + ["2"] * 37 + ["3"] * 3
    for name in ("train", "dev"):
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *map("a,{}".format, stars)]))
    entry = {"name": "stars", "text": "text", "label": "label"}
    for kind, metrics in (
        ("ordinal", ("kappa", "accuracy")),
        ("classification", ("f1_macro", "accuracy")),
    ):
        found = load_data(spec.TaskSpec(**entry, type=kind), tmp_path).spec
        assert found.metrics == metrics


@pytest.fixture
def site(tmp_path: Path, blocks: dict[str, str]) -> Path:
    """A folder for PYTHONPATH with the example and its entry point, and the data of a task."""
    (tmp_path / "kdnas_ordinal.py").write_text(blocks["python"])
    info = tmp_path / "kdnas_ordinal-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kdnas-ordinal\nVersion: 1.0\n")
    group = re.search(r'\[project.entry-points."(.*)"\]\nordinal = "(.*)"', blocks["toml"])
    assert group
    (info / "entry_points.txt").write_text(f"[{group[1]}]\nordinal = {group[2]}\n")
    rng, folder = random.Random(0), tmp_path / "data" / "stars"
    folder.mkdir(parents=True)
    for name, rows in (("train", 128), ("validation", 32)):
        lines = [
            {"text": " ".join(["good"] * stars + [sentence(rng)]), "stars": stars}
            for stars in (rng.randint(1, 4) for _ in range(rows))
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "stars.yaml").write_text(TASK)
    return tmp_path


@pytest.mark.slow
def test_a_search_with_a_task_type_of_another_package(site: Path, teacher_folder: Path) -> None:
    flags = {"teacher": teacher_folder, "task": "stars", "data_dir": site / "data", **QUICK}
    flags |= {"config": site / "stars.yaml", "trials": 1, "out": site / "run"}
    given = flags_of(flags)
    places = {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "kdnas", "search", *given],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((site / "run" / "report.json").read_text())
    assert set(report["student"]["scores"]) == {"kappa", "accuracy"}
    assert np.isfinite(report["teacher"]["scores"]["kappa"])
