"""A task type whose logits belong to tokens: nothing takes a row of logits for an example."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import sentence
from torch import Tensor
from transformers import AutoModelForTokenClassification

from kdnas.distillation.batches import collate
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.losses.logits import LogitsLoss, TaskLoss
from kdnas.distillation.outputs import OutputRequest
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import LiveSignal
from kdnas.distillation.training import heldout_losses, predict, train
from kdnas.evaluation.scores import evaluate_model
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture
from kdnas.students import build_student
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.tasks import TASK_TYPES, EncodedExamples, Examples, TaskSpec, encode
from kdnas.tasks.encode import Units, tokenise
from kdnas.tasks.sampling import stratified_sample
from kdnas.tasks.types.classification import Classification
from kdnas.teachers.load import Teacher, load_teacher
from kdnas.teachers.store import build_store

SHAPE = Architecture(2, 2, 16, 32, "gelu")


class Parity(Classification):
    """Whether the id of each token is even or odd."""

    name = "parity"
    auto_class = AutoModelForTokenClassification
    head = "ForTokenClassification"
    problem_type = None

    def encode(
        self, examples: Examples, tokenizer: Any, max_length: int, **options: Any
    ) -> EncodedExamples:
        data = tokenise(examples, tokenizer, max_length)
        positions = np.concatenate([np.arange(n, dtype=np.int32) for n in data.lengths])
        labels = data.input_ids.astype(np.int64) % 2
        labels[positions == 0] = self.no_label
        return replace(data, labels=labels, units=data.offsets, positions=positions)

    def task_loss(self, logits: Tensor, labels: Tensor, units: Units) -> Tensor:
        return F.cross_entropy(logits, labels)


@pytest.fixture(autouse=True)
def parity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASK_TYPES, "parity", Parity())


@pytest.fixture
def spec() -> TaskSpec:
    entry = {"name": "tokens", "type": "parity", "text": "text", "labels": ["even", "odd"]}
    return TaskSpec.model_validate(entry)


@pytest.fixture
def teacher(teacher_folder: Path, spec: TaskSpec) -> Teacher:
    return replace(load_teacher(str(teacher_folder), spec), has_head=True)


@pytest.fixture
def data(teacher: Teacher) -> EncodedExamples:
    rng = random.Random(0)
    texts = [" ".join([sentence(rng)] * rng.randint(1, 3)) for _ in range(40)]
    return encode(Examples(texts, task_type="parity"), teacher.tokenizer, 48)


def test_a_batch_has_the_labels_and_units_of_its_tokens(data: EncodedExamples) -> None:
    batch = collate(data, np.array([3, 1]), 0)
    mask = batch.inputs["attention_mask"].bool()
    assert batch.labels is not None
    assert len(batch.units) == int(mask.sum()) == len(batch.labels)
    ids = batch.inputs["input_ids"][batch.units.example, batch.units.position]
    assert ids.tolist() == batch.inputs["input_ids"][mask].tolist()
    assert set((ids % 2 == batch.labels).tolist()) == {True, False}  # the first token has none
    assert TaskLoss().count(batch) == len(batch.units) - 2
    assert LogitsLoss().count(batch) == len(batch.units)


def test_parts_keep_their_units(data: EncodedExamples) -> None:
    part = data.take([5, 2])
    assert part.units is not None and part.positions is not None and part.labels is not None
    assert part.units.tolist() == part.offsets.tolist()
    assert part.positions[part.units[1]] == 0
    second = part.units[1]
    assert part.labels[1:second].tolist() == (part.input_ids % 2)[1:second].tolist()
    assert len(stratified_sample(data, 10, seed=0)) == 10
    whole = data.take([0]).joined(data.take([1]))
    assert whole.units is not None and whole.units.tolist() == data.take([0, 1]).offsets.tolist()


def test_a_store_has_the_logits_of_every_token(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "s", teacher, data, (), runtime)
    said = predict(teacher.model, data, runtime, pad_id=0)
    assert said.shape == (len(data.input_ids), 2)
    assert store.logits is not None
    torch.testing.assert_close(store.logits, said, atol=1e-5, rtol=0)
    rows = np.array([7, 30, 2])
    part = store.subset(rows)
    alone = predict(teacher.model, data.take(rows), runtime, pad_id=0)
    assert part.logits() is not None
    torch.testing.assert_close(part.logits(), alone, atol=1e-5, rtol=0)
    batch = collate(data.take(rows), np.array([2, 0]), 0)
    asked = OutputRequest(logits=True)
    stored, live = part.fetch(batch, asked), LiveSignal(teacher.model, runtime).fetch(batch, asked)
    torch.testing.assert_close(stored.logits, live.logits, atol=1e-5, rtol=0)


def test_a_student_learns_tokens_and_ships(
    teacher: Teacher, data: EncodedExamples, spec: TaskSpec, runtime: Runtime, tmp_path: Path
) -> None:
    student = build_student(teacher.model, SHAPE)
    assert type(student).__name__ == "BertForTokenClassification"
    before = evaluate_model(student, {"validation": data}, spec, runtime, 0)
    losses = WeightedLosses({"task": (1.0, TaskLoss()), "logits": (0.1, LogitsLoss())})
    source = LiveSignal(teacher.model, runtime)
    schedule = Schedule(8, 1e-2, 8, 0)
    train(student, losses, data, source, schedule, runtime, pad_id=0)
    after = evaluate_model(student, {"validation": data}, spec, runtime, 0)
    assert after["accuracy"] > max(0.8, before["accuracy"])
    assert heldout_losses(student, losses, data, source, runtime, pad_id=0)["task"] < 0.5
    student_artifact(tmp_path / "student", {}, teacher.tokenizer).write(student)
    again = load_student(tmp_path / "student")
    torch.testing.assert_close(
        predict(again, data, runtime, pad_id=0), predict(student, data, runtime, pad_id=0)
    )
