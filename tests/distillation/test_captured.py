"""Training steps as CUDA graphs. Without a GPU, only that nothing is captured."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sentence

from kdnas.distillation import captured
from kdnas.distillation.losses.base import Shapes, TeacherStatistics, WeightedLosses
from kdnas.distillation.losses.hidden import HiddenLoss
from kdnas.distillation.losses.logits import LogitsLoss, TaskLoss
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import LiveSignal, NoSignal
from kdnas.distillation.training import predict, train
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.tasks import EncodedExamples, Examples, encode, load_spec
from kdnas.teachers.load import Teacher, load_teacher

RECIPE = Schedule(epochs=6, lr=2e-3, batch_size=16, stride=2)
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def examples(teacher: Teacher, count: int = 320) -> EncodedExamples:
    rng = random.Random(0)
    labels = np.arange(count) % 2
    texts = [("good " if label else "bad ") + sentence(rng) for label in labels]
    return encode(Examples(texts, None, labels), teacher.tokenizer, 32)


def losses(teacher: Teacher) -> WeightedLosses:
    shape = teacher.architecture
    size = (shape.num_hidden_layers + 1, shape.hidden_size)
    statistics = TeacherStatistics(torch.zeros(size), torch.ones(size))
    return WeightedLosses(
        {
            "hidden": (1.0, HiddenLoss(Shapes(shape, shape), statistics=statistics)),
            "logits": ((1.0, 0.5), LogitsLoss()),
            "task": (1.0, TaskLoss()),
        }
    )


def test_nothing_is_captured_on_a_cpu(teacher_folder: Path, runtime: Runtime) -> None:
    teacher = load_teacher(str(teacher_folder), load_spec("sst2"))
    assert not captured.captures(teacher.model, losses(teacher), runtime)


@cuda
@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "distilbert", "modernbert"])
def test_replayed_steps_train_as_others_do(
    family: str, make_teacher: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = start_runtime(device="cuda", precision="bf16")
    teacher = load_teacher(str(make_teacher(family)), load_spec("sst2"))
    teacher.model.to(runtime.device)
    data, start, curves = examples(teacher), copy.deepcopy(teacher.model), []
    # Rounding differs, and so, soon, do steps of Adam: the rate is low enough for a comparison.
    slow = replace(RECIPE, lr=1e-4, epochs=3)
    first = losses(teacher)
    for most in (0, 12):
        monkeypatch.setattr(captured, "MOST", most)
        model, objective = copy.deepcopy(start), copy.deepcopy(first)
        source = LiveSignal(teacher.model, runtime)
        result = train(model, objective, data, source, slow, runtime, pad_id=0)
        curves.append([loss for _, loss in result.curve])
    assert curves[1] == pytest.approx(curves[0], rel=0.02, abs=0.01)
    objective = WeightedLosses({"task": (1.0, TaskLoss())})
    train(model, objective, data, NoSignal(), RECIPE, runtime, pad_id=0)
    right = predict(model, data, runtime, pad_id=0).argmax(1).numpy() == data.labels
    assert right.mean() > 0.9


@cuda
def test_kinds_that_come_again_are_captured(teacher_folder: Path) -> None:
    counted = torch.zeros((), device="cuda")

    def compute(batch: Any, signal: Any) -> tuple[torch.Tensor, torch.Tensor]:
        counted.add_(batch.value.sum())
        return batch.value.sum(), signal.value.sum()

    class One:
        packing = type("Shape", (), {"shape": (1, 1)})

        def __init__(self, value: torch.Tensor) -> None:
            self.value = value

        def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> One:
            return One(change(self.value))

    steps: Any = captured.CapturedSteps(compute, lambda: None)
    with captured.stream_of_its_own(torch.device("cuda", 0)):
        found = []
        for number in (1.0, 2.0, 3.0, 4.0):
            value = torch.full((3,), number, device="cuda")
            loss, norm = steps(One(value), One(value * 2))
            found.append((float(loss), float(norm)))
    assert found == [(3.0, 6.0), (6.0, 12.0), (9.0, 18.0), (12.0, 24.0)]
    assert len(steps.graphs) == 1 and float(counted) == 30.0


@cuda
def test_a_paused_training_goes_on(teacher_folder: Path, tmp_path: Path) -> None:
    runtime = start_runtime(device="cuda", precision="bf16")
    teacher = load_teacher(str(teacher_folder), load_spec("sst2"))
    data, file = examples(teacher), tmp_path / "state.pt"
    objective = WeightedLosses({"task": (1.0, TaskLoss())})
    work = (teacher.model, objective, data, NoSignal(), replace(RECIPE, epochs=4), runtime)
    first = train(*work, pad_id=0, checkpoint=file, until=0.5)
    second = train(*work, pad_id=0, checkpoint=file)
    assert (first.steps, second.steps) == (40, 80)
    assert second.curve[: len(first.curve)] == first.curve
    assert second.curve[-1][1] < 0.5 * second.curve[0][1]
