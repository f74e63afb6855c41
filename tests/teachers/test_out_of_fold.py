"""Outputs for training rows by teachers that have not seen them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sentence

from kdnas.distillation.batches import collate
from kdnas.distillation.outputs import OutputRequest, hidden_states
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.training import logits_of
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples, Examples, encode, load_spec
from kdnas.teachers import out_of_fold as module
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.fine_tune import fine_tune
from kdnas.teachers.load import Teacher, load_teacher
from kdnas.teachers.out_of_fold import folds_left, out_of_fold

SCHEDULE = Schedule(2, 1e-3, batch_size=8, seed=5)
ROWS = 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def rows(teacher_folder: Path) -> EncodedExamples:
    rng = random.Random(0)
    texts = [sentence(rng) for _ in range(ROWS)]
    tokenizer = load_teacher(str(teacher_folder), load_spec("sst2")).tokenizer
    return encode(Examples(texts, None, np.arange(ROWS) % 2), tokenizer, 32)


@pytest.fixture
def fresh(teacher_folder: Path) -> Any:
    return lambda: load_teacher(str(teacher_folder), load_spec("sst2"))


def test_each_row_is_answered_by_a_teacher_trained_without_it(
    fresh: Any, rows: EncodedExamples, runtime: Runtime, tmp_path: Path
) -> None:
    found = out_of_fold(fresh, rows, 4, SCHEDULE, runtime)
    assert found.shape == (ROWS, 2) and found.dtype == torch.float32
    parts = module._parts(rows, 4, SCHEDULE)
    assert [len(part) for part in parts] == [5, 5, 5, 5]
    assert sorted(np.concatenate(parts).tolist()) == list(range(ROWS))
    for fold, part in enumerate(parts):
        teacher: Teacher = fresh()
        left, own = sorted({*range(ROWS)} - {*part.tolist()}), replace(SCHEDULE, seed=6 + fold)
        fine_tune(teacher, rows.take(left), own, runtime, tmp_path / "its.pt", "fold", "")
        expected = logits_of(teacher.model, rows.take(part), runtime, pad_id=teacher.pad_id)
        torch.testing.assert_close(found[part], expected)


def test_teachers_that_are_done_are_not_trained_again(
    fresh: Any, rows: EncodedExamples, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, given = list[int](), (rows, 3, SCHEDULE, runtime)

    def killed(*args: Any) -> Any:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(len(args[1]))
        return fine_tune(*args)

    monkeypatch.setattr(module, "fine_tune", killed)
    assert folds_left(fresh(), *given) == 3
    with pytest.raises(KeyboardInterrupt):
        out_of_fold(fresh, *given)
    assert folds_left(fresh(), *given) == 1 and trained == [13, 13]
    trained.clear()
    first = out_of_fold(fresh, *given)
    assert trained == [14] and folds_left(fresh(), *given) == 0
    assert torch.equal(out_of_fold(fresh, *given), first) and trained == [14]
    assert folds_left(fresh(), rows, 3, replace(SCHEDULE, lr=1e-4), runtime) == 3


def test_windows_on_one_row_are_in_one_part(rows: EncodedExamples) -> None:
    windows = replace(rows, rows=np.repeat(np.arange(ROWS // 4), 4))
    for part in module._parts(windows, 2, SCHEDULE):
        assert all(count == 4 for count in np.unique(windows.rows[part], return_counts=True)[1])


@pytest.mark.parametrize("known", [ROWS, 12], ids=["all", "the-first"])
def test_students_learn_from_them_and_from_the_teachers_states(
    fresh: Any, rows: EncodedExamples, runtime: Runtime, known: int
) -> None:
    teacher = fresh()
    teacher.has_head = True
    states = hidden_states([1])
    request = OutputRequest(states, logits=True)
    usual = DistillationData.prepare(teacher, rows, request, runtime)
    outputs = torch.randn(known, 2, generator=torch.Generator().manual_seed(0))
    data = usual.with_outputs(outputs, runtime)
    batch = collate(rows, np.array([13, 2, 7]), teacher.pad_id)
    before, after = (one.source.fetch(batch, request) for one in (usual, data))
    assert before.logits is not None and after.logits is not None
    own = [outputs[i] if i < known else before.logits[n] for n, i in enumerate((13, 2, 7))]
    assert torch.equal(after.logits, torch.stack(own))
    assert torch.equal(after.hidden(1), before.hidden(1))
    assert data.source.fetch(batch, OutputRequest(states)).logits is None
    whole = data.logits(runtime)
    assert whole is not None and torch.equal(whole[:known], outputs)
    centred = whole - whole.mean(1, keepdim=True)
    variance = float(centred.var(0, correction=0).sum())
    assert data.statistics.logit_variance == pytest.approx(variance)
    assert torch.equal(data.statistics.mean, usual.statistics.mean)
