"""The examples of docs/pruning.md run, and what they make is used as the page says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification

from kdnas import evaluate
from kdnas.students.checkpoint import load_student
from kdnas.students.pruning import is_sliced, shape_of, speed
from kdnas.students.pruning.methods import PRUNING_METHODS

PAGE = (Path(__file__).parents[2] / "docs" / "pruning.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_examples_run(
    tmp_path: Path, teacher_folder: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed, "neuron_levels", lambda size: [0, size // 2, size])
    shutil.copytree(teacher_folder, tmp_path / "teacher")
    shutil.copytree(data_folder, tmp_path / "glue")
    names: dict[str, Any] = {}
    first, second = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(first, names)
    assert names["table"].speedup(names["counts"]) >= 1.2
    assert is_sliced(load_student(tmp_path / "pruned"))
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "pruned")
    found = evaluate(tmp_path / "pruned", "mrpc", data_dir=tmp_path / "glue", device="cpu")
    assert found["tasks"]["mrpc"]["sliced"]
    exec(second, names)
    assert sum(names["half"].num_attention_heads) == 6
    assert shape_of(names["student"].config).num_attention_heads == 4


def test_the_methods_are_those_of_the_page() -> None:
    assert re.findall(r"^\| `([a-z]+)` \|", PAGE, re.M) == list(PRUNING_METHODS)
