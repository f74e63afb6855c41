"""kdnas export, evaluate and predict on a pruned student use its sliced form, and say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import QUICK, Said
from transformers import AutoModelForSequenceClassification, pipeline

from kdnas import evaluate, predict
from kdnas.config import Settings
from kdnas.evaluation.predict import load_classifier
from kdnas.exporting.export import export
from kdnas.exporting.readme import table_lines
from kdnas.runs.run_folder import Run, dump
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.students.pruning import Kept, is_sliced, sliced
from kdnas.tasks import load_spec
from kdnas.teachers.load import load_teacher

KEPT = Kept.of([[0, 2, 3], [], [1]], [range(8, 40), range(3, 64, 2), []])


@pytest.fixture
def run(tmp_path: Path, teacher_folder: Path, data_folder: Path) -> Run:
    """A run whose student is its pruned teacher."""
    teacher = load_teacher(str(teacher_folder), load_spec("mrpc"))
    folder = tmp_path / "run"
    student_artifact(folder / "student", {"trial": 3}, teacher.tokenizer).write(
        sliced(teacher.model, KEPT)
    )
    settings = Settings(teacher=str(teacher_folder), task="mrpc", data_dir=data_folder, **QUICK)
    (folder / "config.yaml").write_text(dump(settings))
    return Run.open(folder)


def test_an_export_is_sliced_and_says_which_file_a_speed_is_of(run: Run) -> None:
    found = export(run, ["torch", "onnx"], timing=False)
    target = Path(found["folder"])
    facts = json.loads((target / "export.json").read_text())["pruned"]
    assert facts["heads"] == [3, 0, 1] and facts["neurons"] == [32, 31, 0]
    for name in ("params", "params_without_embeddings", "macs"):
        assert facts[name]["sliced"] < facts[name]["dense"]
    plain = AutoModelForSequenceClassification.from_pretrained(target)
    assert facts["params"]["dense"] == sum(p.numel() for p in plain.parameters())
    assert (target / "onnx/model.onnx").stat().st_size < 1e6
    for told in ("\n".join(table_lines(found)), (target / "README.md").read_text()):
        assert "are those of its sliced form" in told
        assert "model.safetensors is dense, with zeros" in told
    assert is_sliced(load_student(target))


def test_predict_and_evaluate_use_the_sliced_form(run: Run, data_folder: Path) -> None:
    folder = run.folder / "student"
    pairs = {"pairs": ["the dull cat", "a good film"], "device": "cpu"}
    texts = ["the good cat", "a good film"]
    assert is_sliced(load_classifier(folder, device="cpu").model)
    assert is_sliced(load_classifier(run.folder, device="cpu").model)
    said = predict(folder, texts, **pairs)
    plain = pipeline("text-classification", str(folder), top_k=None, device="cpu")
    for one, text, second in zip(said, texts, pairs["pairs"], strict=True):
        theirs = plain([{"text": text, "text_pair": second}])[0]
        scores = {each["label"]: each["score"] for each in theirs}
        assert one["probabilities"] == pytest.approx(scores, abs=1e-4)
    found = evaluate(folder, "mrpc", data_dir=data_folder, device="cpu", threads=1)
    assert found["tasks"]["mrpc"]["sliced"]


def test_evaluate_says_that_the_speed_is_of_the_sliced_form(
    run: Run, data_folder: Path, command: Said
) -> None:
    code, error = command(
        *("evaluate", run.folder / "student", "--task", "mrpc", "--data-dir", data_folder),
        *("--device", "cpu", "--threads", 1),
    )
    assert code == 0, error
    told = " ".join(command.all.split())
    assert "in the sliced form" in told and "as slow as unpruned layers" in told


def test_weights_that_are_not_zero_are_refused_in_one_line(run: Run, command: Said) -> None:
    folder = run.folder / "student"
    (folder / "kdnas.json").unlink()
    plain = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        plain.bert.encoder.layer[1].attention.self.query.weight.add_(1)
    plain.save_pretrained(folder)
    code, error = command("predict", folder, "a text", "--text-pair", "b", "--device", "cpu")
    assert code == 2 and error.count("\n") == 1
    assert "is not zero where the config's kdnas_pruned says that it is pruned" in error


def test_a_pruned_student_can_be_a_teacher_again(run: Run) -> None:
    """It is loaded dense, so that students can be built and pruned from it."""
    teacher = load_teacher(str(run.folder / "student"), load_spec("mrpc"))
    assert not is_sliced(teacher.model)
