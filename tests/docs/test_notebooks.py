"""The walk-through notebooks run from the first cell to the last."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pytest
from conftest import QUICK

NOTEBOOKS = Path(__file__).parents[2] / "docs/notebooks"
# The same cells, with a teacher and data that are smaller still.
SMALL = """
settings = Settings(out=settings.out, trials=settings.trials, teacher={teacher!r}, task="mrpc",
                    data_dir={data!r}, **{quick!r})
"""


def run(name: str, monkeypatch: pytest.MonkeyPatch, small: str = "") -> str:
    """Runs a notebook; returns what its cells printed and showed."""
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parents[1]))
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code[0].source += small
    place = {"metadata": {"path": str(NOTEBOOKS)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=place).execute()
    return "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for cell in code
        for output in cell.outputs
    )


def test_the_pipeline_step_by_step(
    teacher_folder: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"teacher": str(teacher_folder), "data": str(data_folder), "quick": QUICK}
    printed = run("pipeline", monkeypatch, SMALL.format(**given))
    assert "times as fast" in printed and "without KD" in printed and "best:" in printed


def test_reading_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = run("reading-a-study", monkeypatch)
    assert "accuracy" in printed and "teacher" in printed
