"""A multi-label task the whole way: search, student, card, predict, evaluate, export."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import QUICK, Said, flags_of
from conftest import kdnas as command
from support.tiny import TOPICS, save_topics
from transformers import AutoConfig, pipeline

import kdnas
from kdnas.evaluation.answers import threshold_of_teacher
from kdnas.report.model import Report
from kdnas.runs.run_folder import Run
from kdnas.runtime.shown import printable

TASK = "task: topics\ntasks:\n  topics: {type: multi-label, text: text, label: topics}\n"
TEXTS = ["the good cat sees the dull film", "the bad bank helps the slow city", "a film"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, and a file that describes them."""
    folder = tmp_path_factory.mktemp("topics")
    save_topics(folder)
    (folder / "task.yaml").write_text(TASK)
    return folder


@pytest.fixture(scope="module")
def finished(place: Path, teacher_folder: Path) -> Path:
    """A finished search of one candidate."""
    options = {**QUICK, "data_dir": place, "out": place / "run", "trials": 1, "teacher_lr": 3e-3}
    # Long enough that no two rows score alike: the last bits would rank them.
    options |= {"teacher_epochs": 4, "task_epochs": 2, "class_weights": "balanced"}
    return kdnas.search(teacher_folder, config=[place / "task.yaml"], **options).folder


@pytest.fixture(scope="module")
def threshold(finished: Path) -> float:
    return float(AutoConfig.from_pretrained(finished / "student").kdnas_threshold)


def test_the_report_tells_labels_scores_and_samples(finished: Path, threshold: float) -> None:
    report = Report.read(finished / "report.json")
    assert list(report.student.scores) == [
        *("f1_micro", "f1_macro", "average_precision", "subset_accuracy")
    ]
    assert report.student.intervals.keys() == report.student.scores.keys()
    assert [low.name.split()[0] for low in report.baselines] == ["always", "TF-IDF,"]
    assert report.baselines[1].scores["f1_micro"] > 0.9
    assert report.details is not None and report.details.confusion is None
    assert [one.name for one in report.details.classes] == list(TOPICS)
    assert report.data is not None and report.data.splits["train"].classes.keys() == TOPICS.keys()
    assert report.student.threshold == threshold
    assert report.disagreement is not None
    named = re.compile(r"\(none\)|[a-z]+(, [a-z]+)*")
    for sample in report.disagreement.samples:
        assert all(map(named.fullmatch, (sample.truth, sample.teacher, sample.student)))
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "precision" in page and "The plot shows for each class" not in page


def test_the_checkpoint_is_of_the_kind_that_transformers_knows(
    finished: Path, threshold: float
) -> None:
    config = AutoConfig.from_pretrained(finished / "student")
    assert config.problem_type == "multi_label_classification"
    assert list(config.label2id) == list(TOPICS)
    assert 0 < threshold < 1


def test_a_pipeline_says_what_kdnas_predict_says(finished: Path, threshold: float) -> None:
    student = str(finished / "student")
    classify = pipeline("text-classification", student, function_to_apply="sigmoid", top_k=None)
    for said, mine in zip(classify(TEXTS), kdnas.predict(finished, TEXTS), strict=True):
        scores = {one["label"]: one["score"] for one in said}
        assert mine["probabilities"] == pytest.approx(scores, abs=1e-5)
        assert mine["labels"] == [name for name in TOPICS if scores[name] >= threshold]


def test_the_code_of_the_card_says_the_same(finished: Path) -> None:
    card = (finished / "student" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", card, re.S)
    assert found
    code = found[1].replace('["a text"]', repr(TEXTS))
    lines: list[Any] = []
    exec(code, {"print": lines.append})
    assert lines == [said["labels"] for said in kdnas.predict(finished, TEXTS)]


def test_the_code_of_the_page_says_the_same(finished: Path) -> None:
    page = (Path(kdnas.__file__).parents[1] / "docs/multi-label.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", page, re.S)
    assert found
    code = found[1].replace("runs/comments/student", str(finished / "student"))
    lines: list[list[str]] = []
    exec(re.sub(r"classify\(\[.*?\]\)", f"classify({TEXTS!r})", code), {"print": lines.append})
    wanted = [said["labels"] for said in kdnas.predict(finished, TEXTS)]
    assert list(map(sorted, lines)) == list(map(sorted, wanted))


def test_predict_on_the_terminal(
    finished: Path, command: Said, capfd: Any, monkeypatch: Any
) -> None:
    del command
    monkeypatch.setattr("sys.argv", ["kdnas", "predict", str(finished), *TEXTS])
    assert kdnas.cli.app.run() == 0
    lines = capfd.readouterr().out.splitlines()
    for line, text, said in zip(lines, TEXTS, kdnas.predict(finished, TEXTS), strict=True):
        shares = sorted((-said["probabilities"][name], name) for name in said["labels"])
        told = ", ".join(f"{name} {-share:.4f}" for share, name in shares)
        assert line == printable(f"{told or '(none)'}  {text}")
    monkeypatch.setattr("sys.argv", ["kdnas", "predict", str(finished), "--json", *TEXTS])
    assert kdnas.cli.app.run() == 0
    found = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert found == kdnas.predict(finished, TEXTS)


def test_evaluate_gives_the_scores_of_the_report(finished: Path) -> None:
    result = kdnas.evaluate(finished, device="cpu")
    report = Report.read(finished / "report.json")
    task = result["tasks"]["topics"]
    assert task["scores"] == pytest.approx(report.student.scores, abs=1e-5)
    assert [one["name"] for one in task["details"]["classes"]] == list(TOPICS)
    settings = {"config": finished / "config.yaml", "device": "cpu"}
    teacher = kdnas.evaluate(finished / "teacher", **settings)["tasks"]["topics"]
    assert teacher["scores"] == pytest.approx(report.teacher.scores, abs=1e-5)


def test_an_export_has_code_that_says_the_same(finished: Path, place: Path) -> None:
    pytest.importorskip("onnxruntime")
    folder = place / "served"
    found = kdnas.export(finished, ["torch", "onnx", "int8"], out=folder, timing=False, max_drop=1)
    assert found["threshold"] == AutoConfig.from_pretrained(finished / "student").kdnas_threshold
    readme = (folder / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", readme, re.S)[-1].replace('["a text"]', repr(TEXTS))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    wanted = [said["labels"] for said in kdnas.predict(finished, TEXTS)]
    assert done.stdout.strip() == str(wanted)
    chosen = AutoConfig.from_pretrained(finished / "teacher").kdnas_threshold
    assert threshold_of_teacher(Run.open(finished)) == chosen
    scores = {row["runtime"]: row["scores"] for row in found["models"]}
    assert scores["ONNX"] == pytest.approx(scores["PyTorch"], abs=1e-4)
    assert np.isfinite(list(scores["int8"].values())).all()


RECIPE = """
transfer_rows: 300
stages:
  - {name: hidden, data: transfer, losses: {hidden: 1}, epochs: 0.5, lr: 1.0e-3}
  - {name: task, data: transfer, losses: {task: 1, logits: 1}, epochs: 1, lr: 1.0e-3}
"""


@pytest.mark.slow
def test_a_transfer_set_workers_and_fidelity(
    place: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    """Rows without labels are learnt from the teacher; other commands go on from the run."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    quick = {k: v for k, v in QUICK.items() if k not in ("epochs", "task_epochs")}
    flags = {"teacher": teacher_folder, "data-dir": place, "trials": 4, **quick}
    run, files = tmp_path / "run", (place / "task.yaml", tmp_path / "recipe.yaml")
    given = [word for file in files for word in ("--config", file)]
    done = command("search", *flags_of(flags), *given, "--out", run, timeout=200)
    assert done.returncode == 0, done.stderr
    rows = gzip.decompress((run / "transfer.jsonl.gz").read_bytes()).decode().splitlines()
    assert len(rows) == 300 and len(json.loads(rows[0])["logits"]) == len(TOPICS)
    done = command("worker", run, "--dry-run")
    assert done.returncode == 0, done.stderr
    done = command("fidelity", run, "--students", 4, timeout=200)
    assert done.returncode == 0, done.stderr
    done = command("distill", run, "--trial", 1, timeout=200)
    assert done.returncode == 0, done.stderr
    report = Report.read(run / "students" / "trial-1" / "report.json")
    assert 0 <= report.student.scores["f1_micro"] <= 1
    assert report.student.threshold is not None
