"""The first run of docs/black-box-teachers.md: its script makes a task and a file that fits it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kdnas.config.read import read_yaml
from kdnas.tasks import load_data, load_spec
from kdnas.tasks.teacher_predictions import with_predictions

PAGE = Path(__file__).parents[2] / "docs" / "black-box-teachers.md"


@pytest.mark.slow
def test_the_script_of_the_page(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)
    assert set(read_yaml(tmp_path / "films.yaml")) == {"name", "text"}
    data = load_data(load_spec(str(tmp_path / "films.yaml"), {}), tmp_path)
    found = with_predictions(data, tmp_path / "answers.jsonl")
    assert found.further is not None and len(found.further) > 2900
    assert all(part.predictions is not None for part in found.splits.values())
