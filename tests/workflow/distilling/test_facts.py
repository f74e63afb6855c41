"""What a report tells of data, and of rows on which teacher and student differ."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.stepwise import Stepwise

from kdnas.runs.run_folder import Run
from kdnas.tasks import Examples, TaskSpec
from kdnas.workflow.distilling.facts import data_facts, disagreement


def test_rows_classes_and_lengths_are_those_of_the_data(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    data = Stepwise(make_run(max_length=16)).data
    facts = data_facts(data)
    train, scored = facts.splits["train"], facts.splits["validation"]
    assert (train.rows, scored.rows) == (240, 40)
    assert set(train.classes) == set(data.spec.labels or ()) and sum(train.classes.values()) == 240
    assert facts.length == 16 < train.median_tokens <= train.longest_tokens
    assert train.cut == pytest.approx(1.0)  # two sentences of eight words, and three marks
    assert facts.proxy == len(data.proxy)
    first, second = facts.example
    assert (first, second) in zip(data.examples.text, data.examples.text_pair or [], strict=True)
    long = data_facts(Stepwise(make_run(max_length=64, out=tmp_path / "long")).data).splits["train"]
    assert long.cut == 0 and long.median_tokens == train.median_tokens


def test_how_files_were_read_is_a_fact(
    make_run: Callable[..., Run], data_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "glue"
    shutil.copytree(data_folder, folder)
    for file in folder.rglob("*train.tsv"):
        file.write_bytes(file.read_bytes().decode().encode("utf-16"))
    (tmp_path / "corpus.txt").write_bytes(
        "\n".join(f"text {i}" for i in range(200)).encode("utf-16")
    )
    data = Stepwise(make_run(data_dir=folder, corpus=str(tmp_path / "corpus.txt"))).data
    told = ["train.tsv: read as UTF-16-LE", "corpus.txt: read as UTF-16-LE"]
    assert data_facts(data).assumed == told


def spec(**changes: object) -> TaskSpec:
    fields = {"name": "mail", "text": "text", "labels": ["ham", "spam"], "metrics": ["accuracy"]}
    return TaskSpec.model_validate({**fields, **changes})


def test_samples_are_of_each_kind_and_skip_rows_without_label() -> None:
    labels = np.array([1, -100, 0, 1, 0])
    texts = [f"text {i} {'x ' * 300}" for i in range(5)]
    rows = {"validation": {"truth": [1, 0, 1, 0], "predicted": [1, 1, 0, 0]}}
    teacher = {"validation": {"truth": [1, 0, 1, 0], "predicted": [1, 0, 1, 1]}}
    found = disagreement(spec(), {"validation": Examples(texts, None, labels)}, rows, teacher)
    assert found and (found.rows, found.of) == (3, 4)
    told = [(s.text[:6], s.truth, s.teacher, s.student) for s in found.samples]
    assert told == [
        ("text 2", "ham", "ham", "spam"),
        ("text 3", "spam", "spam", "ham"),
        ("text 4", "ham", "spam", "ham"),
    ]
    assert max(len(s.text) for s in found.samples) <= 400


def test_numbers_differ_most_first() -> None:
    task = spec(type="regression", labels=None, metrics=["pearson"])
    rows = {"validation": {"truth": [1.0, 2.0, 3.0], "predicted": [1.0, 2.5, 0.0]}}
    teacher = {"validation": {"truth": [1.0, 2.0, 3.0], "predicted": [1.0, 2.0, 3.25]}}
    examples = Examples(["a", "b", "c"], None, np.array([1.0, 2.0, 3.0]), task_type="regression")
    found = disagreement(task, {"validation": examples}, rows, teacher)
    assert found and [s.text for s in found.samples] == ["c", "b"]
    assert (found.samples[0].teacher, found.samples[0].student) == ("3.25", "0")


def test_without_answers_one_a_text_there_is_none() -> None:
    examples = {"validation": Examples(["a", "b"], None, np.array([0, 1]))}
    rows = {"validation": {"truth": [0, 1], "predicted": [0, 1]}}
    assert disagreement(spec(), examples, rows, {}) is None  # a teacher without a head
    tokens = {"validation": {"truth": [0, 1, 1, 0], "predicted": [0, 1, 1, 1]}}
    assert disagreement(spec(), examples, tokens, tokens) is None
