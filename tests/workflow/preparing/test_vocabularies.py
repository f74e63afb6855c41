"""Students with a vocabulary of their own: distilled, searched for, scored, shipped."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import QUICK
from support.stepwise import Stepwise
from support.tiny import save_animals
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from kdnas import KdnasError, distill, evaluate, export, load_run, predict, search
from kdnas.measure import count_params
from kdnas.runs.run_folder import Run
from kdnas.scoring.scorer import Budget
from kdnas.space import Candidate
from kdnas.workflow.preparing.vocabularies import read_vocabularies

ONE = {k: v for k, v in QUICK.items() if k not in ("random_control", "finalists", "screen")}
SPACE: dict[str, list[Any]] = {
    "num_hidden_layers": [1, 2],
    "num_attention_heads": [2],
    "hidden_size": [16],
    "intermediate_size": [32],
    "hidden_act": ["gelu"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, data_folder: Path) -> Path:
    """A finished run of one shape with the task's vocabulary."""
    out = tmp_path_factory.mktemp("cut") / "run"
    given = {**ONE, "data_dir": data_folder, "out": out, "vocabulary": "task"}
    return distill(teacher=teacher_folder, task="mrpc", architecture="2x16", **given).folder


@pytest.fixture
def make_vocabularies(make_run: Callable[..., Run]) -> Callable[..., Stepwise]:
    """Makes a search over vocabularies."""

    def make(**changes: Any) -> Stepwise:
        given = {"vocabularies": "teacher,task,task-120", "space": SPACE, "trials": 3}
        score = {"search_over": "shape,vocabulary", "mini_score": "agreement"}
        return Stepwise(make_run(**{**given, **score, **changes}))

    return make


def test_the_student_ships_with_its_own_tokens(made: Path, teacher_folder: Path) -> None:
    student = made / "student"
    model = AutoModelForSequenceClassification.from_pretrained(student)
    tokenizer = AutoTokenizer.from_pretrained(student)
    teachers = AutoTokenizer.from_pretrained(teacher_folder)
    assert model.config.vocab_size == len(tokenizer) < 0.7 * len(teachers)
    text = "the good cat sees the river"
    assert tokenizer.tokenize(text) == teachers.tokenize(text)
    report = load_run(made).report
    assert report is not None and report.student.params == count_params(model)
    assert report.student.name == "2x16 h2 f32 gelu task"
    said = pipeline("text-classification", str(student))({"text": text, "text_pair": text})
    found = predict(made, [text], pairs=[text])[0]
    assert said["label"] == found["label"] and said["score"] == pytest.approx(found["score"])


def test_its_scores_are_those_of_its_own_tokens(made: Path, data_folder: Path) -> None:
    report = load_run(made).report
    again = evaluate(made / "student", "mrpc", data_dir=data_folder)
    assert report is not None and again["tasks"]["mrpc"]["scores"] == pytest.approx(
        report.student.scores
    )


@pytest.mark.slow
def test_it_exports_with_its_tokenizer(made: Path) -> None:
    found = export(made, "onnx,int8", max_drop=1)
    folder = Path(found["folder"])
    own = json.loads((made / "student" / "tokenizer.json").read_text())
    assert json.loads((folder / "tokenizer.json").read_text())["model"] == own["model"]
    report = load_run(made).report
    assert report is not None  # the teacher beside it reads the teacher's tokens
    scores = {row["model"]: row["scores"] for row in found["models"] if row["runtime"] == "ONNX"}
    for name, model in (("teacher", report.teacher), ("student", report.student)):
        assert scores[name] == pytest.approx(model.scores, abs=1e-4)


def test_the_control_has_the_same_vocabulary(made: Path) -> None:
    report = load_run(made).report
    assert report is not None
    assert report.controls[0].params == report.student.params


def test_cut_students_cost_what_they_are(make_vocabularies: Callable[..., Stepwise]) -> None:
    steps = make_vocabularies()
    shape = steps.space.smallest
    names = steps.settings.vocabulary_names
    costs = [steps.meter.of_candidate(Candidate(shape, vocabulary=name)) for name in names]
    sizes = [len(steps.inputs.vocabularies[name]) for name in names]
    assert sizes[0] > sizes[1] > sizes[2]
    for (one, cost), (other, less) in zip(
        zip(sizes, costs, strict=True), list(zip(sizes, costs, strict=True))[1:], strict=False
    ):
        assert cost.params - less.params == (one - other) * shape.hidden_size


def test_a_score_sees_the_tokens_that_are_missing(
    make_vocabularies: Callable[..., Stepwise],
) -> None:
    """Training is the same; held-out texts are read in each student's own tokens."""
    steps = make_vocabularies()
    shape = steps.space.smallest
    scores = {
        name: steps.scorer.score(Candidate(shape, vocabulary=name), Budget()).value
        for name in steps.settings.vocabulary_names
    }
    # All words of these texts occur in the counted ones.
    assert scores["task"] == scores["teacher"] != scores["task-120"]


def test_held_out_texts_are_read_by_the_students_tokenizer(
    make_vocabularies: Callable[..., Stepwise],
) -> None:
    steps = make_vocabularies()
    proxy, few = steps.mini.proxy, steps.inputs.vocabularies["task-120"]
    rows, _ = proxy.scored("task-120")
    whole, _ = proxy.scored("teacher")
    assert len(rows) == len(whole) and len(rows.input_ids) > len(whole.input_ids)
    assert set(rows.input_ids.tolist()) <= set(few.kept.tolist())
    texts = steps.data.examples.take(steps.data.proxy[proxy.heldout])
    first = few.tokenizer(texts.text[0], texts.text_pair[0])["input_ids"]
    assert rows.input_ids[: rows.offsets[1]].tolist() == few.kept[first].tolist()


def test_what_students_train_on_is_counted(make_vocabularies: Callable[..., Stepwise]) -> None:
    steps = make_vocabularies(max_train_rows=120)
    found = read_vocabularies(steps.settings, steps.data, steps.inputs.config)
    own = set(np.unique(steps.data.train.input_ids).tolist())
    assert own <= set(found["task"].kept.tolist())


@pytest.mark.slow
def test_a_search_chooses_a_shape_and_a_vocabulary(
    teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    given = {**QUICK, "data_dir": data_folder, "out": tmp_path / "run", "space": SPACE}
    given |= {"vocabularies": "teacher,task,task-120", "trials": 6, "cost": "params"}
    run = search(teacher_folder, "mrpc", alpha=-1, **given)
    with (run.folder / "trials.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert {row["vocabulary"] for row in rows} == {"teacher", "task", "task-120"}
    assert len({(row["num_hidden_layers"], row["vocabulary"]) for row in rows}) == 6
    assert run.report is not None and run.student is not None
    tokenizer = AutoTokenizer.from_pretrained(run.student)
    model = AutoModelForSequenceClassification.from_pretrained(run.student)
    assert model.config.vocab_size == len(tokenizer)
    again = evaluate(run.student, "mrpc", data_dir=data_folder)
    assert again["tasks"]["mrpc"]["scores"] == pytest.approx(run.report.student.scores)


@pytest.mark.slow
def test_entities_are_found_with_fewer_tokens(teacher_folder: Path, tmp_path: Path) -> None:
    save_animals(tmp_path)
    given = {**ONE, "data_dir": tmp_path, "out": tmp_path / "run", "vocabulary": "task-120"}
    task = tmp_path / "animals.yaml"
    made = distill(teacher=teacher_folder, task=task, architecture="2x16", **given)
    again = evaluate(made.student, str(task), data_dir=tmp_path)
    assert again["tasks"]["animals"]["scores"] == pytest.approx(made.report.student.scores)


@pytest.mark.slow
def test_finalists_with_fewer_tokens_are_compared_on_the_words_that_both_read(
    teacher_folder: Path, tmp_path: Path
) -> None:
    """Words have other pieces, each of them a unit, and fewer words fit into the length."""
    save_animals(tmp_path)
    given = {**QUICK, "data_dir": tmp_path, "out": tmp_path / "run", "vocabulary": "task-120"}
    given |= {"finalists": 2, "space": SPACE, "label_all_pieces": True, "max_length": 16}
    made = search(teacher_folder, tmp_path / "animals.yaml", trials=2, **given)
    assert made.report is not None and made.report.search is not None
    found = made.report.search.finalists
    assert len(found) == 2 and all(-1 <= (one.agreement or 9) <= 1 for one in found)


def test_windows_are_not_searched_over_vocabularies(
    make_vocabularies: Callable[..., Stepwise],
) -> None:
    steps = make_vocabularies()
    windows = replace(steps.data.train, rows=np.arange(len(steps.data.train)))
    data = replace(steps.data, train=windows)
    with pytest.raises(KdnasError, match="windows on long texts differ with the vocabulary"):
        read_vocabularies(steps.settings, data, steps.inputs.config)
    one = {"vocabularies": None, "vocabulary": "task", "search_over": "shape"}
    alone = steps.settings.model_copy(update=one)
    with pytest.raises(KdnasError, match="so that agreement with the teacher cannot be told"):
        read_vocabularies(alone, data, steps.inputs.config)
    by_states = alone.model_copy(update={"mini_score": "hidden"})
    assert set(read_vocabularies(by_states, data, steps.inputs.config)) >= {"task"}
