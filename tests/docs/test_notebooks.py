"""The walk-through notebooks run from the first cell to the last."""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random

import nbclient
import nbformat
import pytest
from conftest import ADJECTIVES, QUICK

NOTEBOOKS = Path(__file__).parents[2] / "docs/notebooks"
# The same cells, with a teacher and data that are smaller still.
SMALL = (
    "\nsettings |= {{'teacher': {teacher!r}, 'task': 'sst2', 'data_dir': {data!r}, **{quick!r}}}\n"
)


def run(name: str, monkeypatch: pytest.MonkeyPatch, small: str = "") -> str:
    """Runs a notebook; returns what its cells print and show."""
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


def save_sst2(folder: Path) -> Path:
    """SST-2 with rows that can be learnt."""
    (folder / "sst2").mkdir(parents=True)
    rng = Random(0)
    for split, count in (("train", 120), ("validation", 40)):
        with (folder / f"sst2/{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["sentence", "label"])
            for _ in range(count):
                label = rng.randrange(2)
                half = len(ADJECTIVES) // 2
                words = rng.choices(ADJECTIVES[half:] if label else ADJECTIVES[:half], k=4)
                writer.writerow([" ".join(words), label])
    return folder


@pytest.mark.slow
def test_from_a_teacher_to_a_student(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"teacher": str(teacher_folder), "data": str(save_sst2(tmp_path)), "quick": QUICK}
    printed = run("pipeline", monkeypatch, SMALL.format(**given))
    for part in ("times its speed", "6 scored", "'accuracy'", "model.safetensors"):
        assert part in printed


@pytest.mark.slow
def test_reading_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    database = NOTEBOOKS / "example-run/study.db"
    before = database.read_bytes()
    printed = run("reading-a-study", monkeypatch)
    assert "accuracy" in printed and "24 rows; 24 trials" in printed
    assert database.read_bytes() == before


def test_notebooks_use_the_public_api_alone() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                assert "kdnas." not in cell.source.replace("import kdnas", "")
