"""Question answering goes the whole way: search, report, evaluation, prediction, export."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK, Said
from support.tiny import save_squad, squad_articles

from kdnas import evaluate, load_run, predict, resume, search
from kdnas.errors import KdnasError
from kdnas.tasks.types import THRESHOLD

OPTIONS: dict[str, Any] = {
    **QUICK,
    "trials": 2,
    "teacher_epochs": 2,
    "teacher_lr": 2e-3,
    "max_length": 40,
    "window_stride": 8,
}
CONTEXT = "the good cat likes the bad dog. the slow bird sees the quick film. " * 3
QUESTION = "the slow bird sees what?"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQuAD 2.0 as made up, and a test file without answers."""
    folder = save_squad(tmp_path_factory.mktemp("asked"), impossible=0.3)
    articles = squad_articles(8, 3)
    for article in articles:
        for question in article["paragraphs"][0]["qas"]:
            del question["answers"]
    (folder / "squad" / "test.json").write_text(json.dumps({"data": articles}))
    return folder


@pytest.fixture(scope="module")
def finished(teacher_folder: Path, asked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("questions") / "run"
    return search(teacher_folder, "squad2", data_dir=asked, out=out, **OPTIONS).folder


def test_a_search_ends_in_a_student_with_its_threshold(finished: Path) -> None:
    config = json.loads((finished / "student" / "config.json").read_text())
    assert config["architectures"] == ["BertForQuestionAnswering"]
    assert isinstance(config[THRESHOLD], float)
    assert config["kdnas_task_type"] == "question-answering"
    assert isinstance(json.loads((finished / "teacher" / "config.json").read_text()), dict)


def test_the_report_has_the_official_scores_of_questions(finished: Path) -> None:
    run = load_run(finished)
    report = run.report
    assert report is not None
    names = ["f1", "exact_match", "f1_has_answer", "exact_has_answer"]
    names += ["f1_no_answer", "exact_no_answer"]
    assert list(report.student.scores) == names and report.main_score == "f1"
    assert report.examples == {"validation": 40}  # questions, not windows
    assert {low.name for low in report.baselines} == {
        "always no answer",
        "word overlap, short span",
    }
    assert report.student.seconds_per_1000 and report.teacher.seconds_per_1000
    low, high = report.student.intervals["f1"]
    assert low <= report.student.scores["f1"] <= high
    none, has = (report.student.scores[f"f1_{kind}_answer"] for kind in ("no", "has"))
    assert min(none, has) - 1e-4 <= report.student.scores["f1"] <= max(none, has) + 1e-4
    assert report.disagreement is None or report.disagreement.of == 40


def test_resuming_a_finished_run_trains_nothing(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    before = (copy / "student" / "model.safetensors").stat().st_mtime_ns
    report = resume(copy).report
    assert report is not None and load_run(finished).report is not None
    assert (copy / "student" / "model.safetensors").stat().st_mtime_ns == before


def test_predictions_have_the_answer_and_its_place(finished: Path) -> None:
    [said] = predict(finished, QUESTION, pairs=CONTEXT)
    assert set(said) == {"text", "text_pair", "answer", "score", "start", "end"}
    assert said["answer"] == CONTEXT[said["start"] : said["end"]]
    assert 0 <= said["score"] <= 1
    with pytest.raises(KdnasError, match="give a second text for each text"):
        predict(finished, QUESTION)
    [empty] = predict(finished, QUESTION, pairs="")
    assert (empty["answer"], empty["start"], empty["end"]) == ("", 0, 0)


def test_the_command_answers_texts_files_and_squad_files(
    finished: Path, asked: Path, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    said = Said(monkeypatch, capfd)
    assert said("predict", finished, QUESTION, "--text-pair", CONTEXT)[0] == 0
    line = said.all.splitlines()[-1]
    assert line.endswith(QUESTION) and re.match(r".+  0\.\d{4}  the slow", line), line

    rows = [{"question": QUESTION, "context": CONTEXT, "id": f"n{i}"} for i in range(3)]
    table = tmp_path / "ask.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    for file, ids in (
        (table, ["n0", "n1", "n2"]),
        (asked / "squad" / "test.json", [f"q3-{a}-{i}" for a in range(2) for i in range(4)]),
    ):
        for model in (finished, finished / "student"):
            said.all = ""
            assert said("predict", model, "--file", file, "--json")[0] == 0, said.all
            found = [json.loads(one) for one in said.all.splitlines() if one.startswith("{")]
            assert [one["id"] for one in found] == ids
            for one in found:
                assert one["answer"] == one["text_pair"][one["start"] : one["end"]]


def test_evaluate_scores_and_writes_the_official_predictions(
    finished: Path, asked: Path, tmp_path: Path
) -> None:
    found = evaluate(finished, predictions=tmp_path / "out")
    task = found["tasks"]["squad2"]
    report = load_run(finished).report
    assert report is not None
    assert task["scores"]["f1"] == pytest.approx(report.student.scores["f1"], abs=1e-4)
    assert task["rows"] == {"validation": 40} and task["seconds_per_1000"] > 0
    [file] = found["predictions"]
    assert Path(file).name == "squad2.json"
    answers = json.loads(Path(file).read_text())
    assert list(answers) == [f"q3-{a}-{i}" for a in range(2) for i in range(4)]
    assert all(isinstance(answer, str) for answer in answers.values())


@pytest.mark.slow
def test_a_checkpoint_from_elsewhere_is_fine_tuned_and_scored(
    teacher_folder: Path, asked: Path, tmp_path: Path
) -> None:
    options = {"data_dir": asked, "max_length": 40, "window_stride": 8, "threads": 1}
    found = evaluate(
        teacher_folder, "squad2", fine_tune=True, epochs=1, out=tmp_path / "tuned", **options
    )
    task = found["tasks"]["squad2"]
    assert task["tuned"] and 0 <= task["scores"]["f1"] <= 1


EXPORTED = 'print("" if'


@pytest.mark.slow
def test_an_export_answers_as_its_readme_says(finished: Path, tmp_path: Path) -> None:
    from kdnas import export

    result = export(finished, "torch,onnx,int8", out=tmp_path / "out", timing=False, max_drop=1.0)
    assert result["largest_difference"] < 1e-4
    readme = (tmp_path / "out" / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.S)
    [code] = [block for block in blocks if "onnxruntime" in block]
    assert "start_logits, end_logits" in code
    [card] = [block for block in blocks if "from transformers" in block]
    card = card.replace('"PATH"', '"."')
    for asked in (QUESTION, f"{QUESTION} " * 12):
        pair = f"{asked!r}, {CONTEXT!r}"
        given = re.sub(r"^texts = .*$", f"texts = [({pair})]", code, flags=re.M)
        of_card = re.sub(r"^(question, context =) .*$", rf"\1 {pair}", card, flags=re.M)
        [said] = predict(finished, asked, pairs=CONTEXT)
        for block in (given, of_card):
            done = subprocess.run(
                [sys.executable, "-c", block],
                cwd=tmp_path / "out",
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            if asked == QUESTION or block == given:  # a card reads one window, however long
                assert done.stdout.strip() == said["answer"]


def test_a_head_that_was_not_trained_is_no_teacher(
    teacher_folder: Path, asked: Path, tmp_path: Path, command: Said
) -> None:
    """Neither one without weights, nor one that was saved as it was drawn."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForQuestionAnswering

    model = AutoModelForQuestionAnswering.from_pretrained(teacher_folder)
    drawn, lacking = tmp_path / "drawn", tmp_path / "lacking"
    for folder in (drawn, lacking):
        shutil.copytree(teacher_folder, folder)
        model.save_pretrained(folder)
    weights = load_file(lacking / "model.safetensors")
    del weights["qa_outputs.weight"]
    save_file(weights, lacking / "model.safetensors", {"format": "pt"})
    data = save_squad(tmp_path, train=80, dev=40)
    flags = ["--task", "squad", "--data-dir", data, "--max-length", 40, "--threads", 1]
    code, error = command("evaluate", lacking, *flags, "--no-fine-tune")
    assert code == 2 and "lacks weights of the head" in error
    flags += ["--proxy-fraction", 1, "--trials", 1, "--out", tmp_path / "o"]
    code, error = command("search", "--teacher", drawn, *flags)
    assert code == 2, error
    told = " ".join(error.split())
    assert "the teacher is not clearly better than a simple model: f1" in told
    assert "word overlap, short span" in told and "--fresh-head trains a new one" in told
    code, error = command("predict", lacking, "q", "--text-pair", "c")
    assert code == 2 and "has no trained head" in error


def test_a_teacher_with_a_head_is_used_as_it_is(
    finished: Path, asked: Path, command: Said, tmp_path: Path
) -> None:
    flags = ["--task", "squad2", "--data-dir", asked, "--max-length", 40, "--dry-run"]
    flags += ["--proxy-fraction", 1, "--out", tmp_path / "o"]
    code, error = command("search", "--teacher", finished / "teacher", *flags)
    assert code == 0, error
    assert "fine-tune the teacher" not in command.all


@pytest.mark.parametrize("family", ["eurobert", "gte"])
def test_a_family_without_a_head_is_refused_in_a_line(
    family: str, make_teacher: Callable[..., Path], asked: Path, command: Said, tmp_path: Path
) -> None:
    flags = ["--task", "squad2", "--data-dir", asked, "--out", tmp_path / "o"]
    for words in (
        ["search", "--teacher", make_teacher(family)],
        ["evaluate", make_teacher(family)],
    ):
        code, error = command(*words, *flags)
        assert code == 2
        told = " ".join(error.split())
        assert f"is of the family '{family}', for which transformers has no head for" in told
        assert "give a teacher of another family: albert, bert" in told
