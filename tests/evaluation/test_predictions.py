"""Predictions files in the form of GLUE's server."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from glue_layout import LAYOUT, TEST, write_task
from safetensors.torch import load_file, save_file

from kdnas.errors import KdnasError
from kdnas.evaluation.evaluate import evaluate, write_predictions
from kdnas.tasks import TaskSpec, load_spec

FILES = {
    **{"cola": {"CoLA.tsv"}, "sst2": {"SST-2.tsv"}, "mrpc": {"MRPC.tsv"}, "stsb": {"STS-B.tsv"}},
    **{"qqp": {"QQP.tsv"}, "mnli": {"MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"}},
    **{"qnli": {"QNLI.tsv"}, "rte": {"RTE.tsv"}, "wnli": {"WNLI.tsv"}},
}
ROWS = {"MNLI-mm.tsv": TEST + 1, "AX.tsv": TEST + 2}


def predicted(model: Path, task: str, data: Path, out: Path) -> dict[str, list[str]]:
    """The words of every predictions file."""
    result = evaluate(model, task, data_dir=data, device="cpu", predictions=out)
    assert {Path(file).name for file in result["predictions"]} == {p.name for p in out.iterdir()}
    found = {}
    for path in out.iterdir():
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        assert lines[0] == ["index", "prediction"]
        assert [cells[0] for cells in lines[1:]] == [str(i) for i in range(len(lines) - 1)]
        found[path.name] = [cells[1] for cells in lines[1:]]
    return found


@pytest.mark.parametrize("task", LAYOUT)
def test_every_task_has_its_file_and_its_words(
    task: str, glue_folder: Path, make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    words = LAYOUT[task][2]
    found = predicted(make_classifier(words), task, glue_folder, tmp_path)
    assert set(found) == FILES[task]
    assert {name: len(rows) for name, rows in found.items()} == {
        name: ROWS.get(name, TEST) for name in FILES[task]
    }
    for rows in found.values():
        assert words is None or set(rows) <= set(words)


def test_scores_are_cut_at_the_scale(
    glue_folder: Path, make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    model = make_classifier(None)
    weights = load_file(model / "model.safetensors")
    weights["classifier.bias"] += torch.tensor([100.0])
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    data = tmp_path / "data"  # no training rows show that the head has another unit
    shutil.copytree(glue_folder / "STS-B", data / "STS-B", ignore=lambda *_: {"train.tsv"})
    assert predicted(model, "stsb", data, tmp_path / "out")["STS-B.tsv"] == ["5.000"] * TEST


@pytest.mark.parametrize(
    ("task", "logits", "words"),
    [
        ("rte", [[0.0, 1.0], [2.0, 1.0]], ["not_entailment", "entailment"]),
        ("wnli", [[0.0, 1.0], [2.0, 1.0]], ["1", "0"]),
        ("stsb", [[-1.0], [3.14159]], ["0.000", "3.142"]),
    ],
)
def test_words(task: str, logits: list[list[float]], words: list[str], tmp_path: Path) -> None:
    path = write_predictions(tmp_path, load_spec(task), "test", np.array(logits))
    rows = [f"{i}\t{word}" for i, word in enumerate(words)]
    assert path.read_text().splitlines() == ["index\tprediction", *rows]


def test_numbers_of_ones_own_have_their_digits_in_any_unit(tmp_path: Path) -> None:
    spec = TaskSpec.model_validate({"name": "rates", "text": "body", "type": "regression"})
    logits = np.array([[0.000131], [-0.25], [1234567.5]], np.float32)
    path = write_predictions(tmp_path, spec, "test", logits)
    assert path.read_text().split()[2:] == ["0", "0.000131", "1", "-0.25", "2", "1234568"]
    lines = [
        spec.task_type.answer_line(answer, ()) for answer in spec.task_type.answers(logits, ())
    ]
    assert lines == ["0.000131", "-0.2500", "1234567.5000"]


def test_a_task_of_ones_own_has_a_file_with_its_words(tmp_path: Path) -> None:
    spec = TaskSpec.model_validate({"name": "mail", "text": "body", "labels": ["ham", "spam"]})
    path = write_predictions(tmp_path, spec, "test", np.array([[0.0, 1.0]]))
    assert (path.name, path.read_text()) == ("mail.tsv", "index\tprediction\n0\tspam\n")


def test_an_empty_text_is_predicted_and_a_broken_row_refused(
    make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    model = make_classifier(("0", "1"))
    write_task(tmp_path, "qqp", random.Random(0))
    file = tmp_path / "QQP" / "test.tsv"
    file.write_text(file.read_text() + "5\tWhy?\t\n")
    assert len(predicted(model, "qqp", tmp_path, tmp_path / "out")["QQP.tsv"]) == TEST + 1
    file.write_text(file.read_text() + "6\tWhy?\n")
    with pytest.raises(KdnasError, match="a predictions file needs every row"):
        predicted(model, "qqp", tmp_path, tmp_path / "other")


def test_predictions_need_a_test_file(
    data_folder: Path, make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(KdnasError, match="no test file for mrpc"):
        predicted(make_classifier(("0", "1")), "mrpc", data_folder, tmp_path)
