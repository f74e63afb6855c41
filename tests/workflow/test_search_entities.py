"""Token classification the whole way: search, report, predict, evaluate, export, resume."""

from __future__ import annotations

import gzip
import json
import random
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import QUICK, Said, save_teacher
from support.tiny import save_animals, tagged_sentence
from transformers import AutoModelForTokenClassification, pipeline

from kdnas import distill, evaluate, export, load_run, predict, resume, search

RECIPE: list[dict[str, Any]] = [
    {
        "name": "transfer",
        "data": "transfer",
        "losses": {"task": 1, "logits": 1, "hidden": 0.1},
        "epochs": 4,
        "lr": 5e-3,
    },
    {"name": "task", "data": "task", "losses": {"task": 1, "logits": 1}, "epochs": 6, "lr": 5e-3},
]
SERVING = Path(__file__).parents[2] / "docs" / "serving" / "student.py"
CORPUS = ["A quick dog, they say (the dog's owner), finds the market...", "", "\u200b \u200b"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search with a corpus and a transfer set."""
    folder = tmp_path_factory.mktemp("entities")
    teacher, rng = save_teacher(folder / "teacher"), random.Random(5)
    save_animals(folder)
    corpus = [*CORPUS, *(" ".join(tagged_sentence(rng)[0]) + "." for _ in range(60))]
    (folder / "corpus.txt").write_text("\n".join(corpus), encoding="utf-8")
    plain = ("epochs", "task_epochs")
    options = {name: value for name, value in QUICK.items() if name not in plain}
    options |= {"teacher_epochs": 10, "teacher_lr": 3e-3, "trials": 2, "data_dir": folder}
    options |= {"corpus": str(folder / "corpus.txt"), "stages": RECIPE, "transfer_rows": 320}
    options |= {"label_all_pieces": True, "class_weights": "balanced", "max_length": 32}
    options |= {"proxy_fraction": 1.0, "cost": "macs"}
    return search(teacher, folder / "animals.yaml", out=folder / "run", **options).folder


def test_the_report_and_the_card_tell_of_entities(run: Path) -> None:
    report = load_run(run).report
    assert report.main_score == "f1" and report.task_type == "token-classification"
    assert set(report.student.scores) == {"f1", "precision", "recall"}
    assert report.student.scores["f1"] > 0.7 and report.teacher.scores["f1"] > 0.7
    names = [one.name for one in report.baselines]
    assert names == ["always O", "word features, linear"]
    assert report.details is not None and report.details.counted == "entities"
    assert [one.name for one in report.details.classes] == ["animal", "place"]
    assert report.data is not None
    assert set(report.data.splits["train"].classes) == {"animal", "place"}
    for sample in report.disagreement.samples if report.disagreement else ():
        assert all("animal: " in x or "place: " in x or x == "no entity" for x in (sample.truth,))
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "word features, linear" in page and "entities" in page
    card = (run / "student" / "README.md").read_text(encoding="utf-8")
    assert (
        "pipeline_tag: token-classification" in card and "AutoModelForTokenClassification" in card
    )


def test_the_transfer_set_has_words_labelled_by_the_teacher(run: Path) -> None:
    lines = gzip.decompress((run / "transfer.jsonl.gz").read_bytes()).decode().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 320 and {"own", "corpus"} <= {row["method"] for row in rows}
    assert all(len(label) == 4 for row in rows for label in row["logits"])
    own = next(row for row in rows if row["method"] == "own")
    assert len(own["logits"]) >= len(own["text"].split())


def test_predict_prints_entities(run: Path, command: Said, tmp_path: Path) -> None:
    code, _ = command("predict", run, "the good cat sees the dull river", "a film")
    assert code == 0
    first, second = command.all.strip().splitlines()[-2:]
    score = r"\((0\.\d\d|1\.00)\)"
    # A student so small may take one more word for an animal.
    others = rf"(animal: \w+ {score}; )*"
    assert re.match(rf"\[animal: good cat {score}; {others}place: river {score}\]  the good", first)
    assert second == "[no entity]  a film"
    rows = [{"id": 7, "tokens": ["the", "good", "cat"]}, {"id": 8, "tokens": []}]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "new.conll").write_text("the\tO\ngood\tO\ncat\tO\n\na\tO\n")
    (tmp_path / "new.txt").write_text("the good cat\na film\n")
    for name in ("new.jsonl", "new.conll", "new.txt"):
        command.all = ""
        code, _ = command("predict", run, "--file", tmp_path / name, "--json")
        assert code == 0, command.all
        said = [json.loads(line) for line in command.all.splitlines() if line.startswith("{")]
        assert [one["entities"][0]["text"] for one in said[:1]] == ["good cat"]
        assert said[0]["text"] == "the good cat" and said[1]["entities"] == []
    command.all = ""
    code, _ = command("predict", run, "a cat", "--text-pair", "a dog")
    assert code == 2 and "reads one text a row; leave out the second texts" in command.all
    (tmp_path / "bad.jsonl").write_text('{"tokens": ["a", 5]}')
    code, _ = command("predict", run, "--file", tmp_path / "bad.jsonl")
    assert code == 2 and "line 1: has a number as word 2 under 'tokens'" in command.all


def test_the_student_is_a_plain_checkpoint(run: Path) -> None:
    model = AutoModelForTokenClassification.from_pretrained(run / "student")
    assert model.config.id2label[1] == "B-animal"
    tagger = pipeline("token-classification", str(run / "student"), aggregation_strategy="first")
    text = "the good cat sees the dull river"
    found = [(one["entity_group"], one["word"]) for one in tagger(text)]
    [said] = predict(run, text)
    assert found == [(one["type"], one["text"]) for one in said["entities"]]


@pytest.mark.slow
def test_evaluate_and_its_predictions_file(run: Path, tmp_path: Path) -> None:
    folder = run.parent
    given = {"task": str(folder / "animals.yaml"), "data_dir": folder}
    found = evaluate(run / "student", **given, predictions=tmp_path)["tasks"]["animals"]
    report = load_run(run).report
    assert found["scores"] == pytest.approx(report.student.scores, abs=1e-5)
    assert found["details"]["counted"] == "entities"
    lines = (tmp_path / "animals.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction" and len(lines) == 13
    words = (folder / "animals" / "test.conll").read_text().split("\n\n")
    tags = [line.split("\t")[1].split() for line in lines[1:]]
    assert [len(row) for row in tags] == [len(part.strip().splitlines()) for part in words]
    assert {tag for row in tags for tag in row} <= {"O", "B-animal", "I-animal", "B-place"}


@pytest.mark.slow
def test_a_checkpoint_is_fine_tuned_and_evaluated(run: Path, tmp_path: Path) -> None:
    folder = run.parent
    here = {"device": "cpu", "threads": 1, "precision": "fp32", "max_length": 32}
    given = {"task": str(folder / "animals.yaml"), "data_dir": folder, "out": tmp_path / "out"}
    options = {**here, "epochs": 4, "lrs": "3e-3", "batch_sizes": "16"}
    found = evaluate(folder / "teacher", fine_tune=True, **given, **options)["tasks"]["animals"]
    assert found["tuned"] and found["scores"]["f1"] > 0.3


@pytest.mark.slow
def test_export_and_the_code_in_its_readme(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "served"
    found = export(run, ["torch", "onnx", "int8"], out=out, timing=False, max_drop=1.0)
    scores = {one["runtime"]: one["scores"]["f1"] for one in found["models"]}
    assert scores["ONNX"] == pytest.approx(scores["PyTorch"], abs=1e-6)
    text = (out / "README.md").read_text(encoding="utf-8")
    code = next(
        part for part in re.findall(r"```python\n(.*?)```", text, re.S) if "onnxrun" in part
    )
    texts = ["the good cat sees the dull river", "a film", "the bright dog likes the city"]
    monkeypatch.chdir(out)
    capsys.readouterr()
    exec(code.replace('["a text"]', repr(texts)), {})
    printed, said = capsys.readouterr().out.splitlines(), predict(run, texts)
    ours = [str([(e["type"], e["text"]) for e in one["entities"]]) for one in said]
    assert printed == ours and "good cat" in printed[0]
    student = runpy.run_path(str(SERVING))
    for one, other in zip(student["load"](out)(texts), said, strict=True):
        for ours_, theirs in zip(one["entities"], other["entities"], strict=True):
            assert ours_ == {**theirs, "score": pytest.approx(theirs["score"], abs=1e-4)}


@pytest.mark.slow
def test_a_run_goes_on_and_distils_another_trial(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    again = resume(run)
    assert "distilling" not in capsys.readouterr().out
    assert again.report.verdict == load_run(run).report.verdict
    other = distill(run, trial=1)
    assert np.isfinite(other.report.student.scores["f1"])
