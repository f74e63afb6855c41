from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import sentence

import kdnas.distillation.checkpoint as checkpoints
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.losses.logits import LogitsLoss, LogitsOptions, TaskLoss
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import LiveSignal, NoSignal
from kdnas.distillation.training import heldout_losses, predict, train
from kdnas.errors import DivergedError
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples, Examples, encode, load_spec
from kdnas.teachers.load import Teacher, load_teacher

RECIPE = Schedule(epochs=8, lr=5e-3, batch_size=16)


@pytest.fixture
def teacher(teacher_folder: Path) -> Teacher:
    return load_teacher(str(teacher_folder), load_spec("sst2"))


@pytest.fixture
def data(teacher: Teacher) -> EncodedExamples:
    rng = random.Random(0)
    labels = np.arange(160) % 2
    texts = [("good " if label else "bad ") + sentence(rng) for label in labels]
    return encode(Examples(texts, None, labels), teacher.tokenizer, 32)


def test_training_learns_the_task(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime
) -> None:
    objective = WeightedLosses({"task": (1.0, TaskLoss())})
    before = heldout_losses(teacher.model, objective, data, NoSignal(), runtime, pad_id=0)
    result = train(teacher.model, objective, data, NoSignal(), RECIPE, runtime, pad_id=0)
    after = heldout_losses(teacher.model, objective, data, NoSignal(), runtime, pad_id=0)
    assert result.steps == 80
    assert after["task"] < 0.2 * before["task"]
    right = predict(teacher.model, data, runtime, pad_id=0).argmax(1).numpy() == data.labels
    assert right.mean() > 0.95
    assert not teacher.model.training


@pytest.mark.parametrize("lr", [1e20, 1e38])
def test_training_that_diverges_stops_at_once_and_leaves_no_checkpoint(
    teacher: Teacher,
    data: EncodedExamples,
    runtime: Runtime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lr: float,
) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS", -1.0)
    objective = WeightedLosses({"task": (1.0, TaskLoss())})
    schedule, file = replace(RECIPE, lr=lr), tmp_path / "state.pt"
    with pytest.raises(DivergedError, match="job diverged: .* of 80; lower it$") as caught:
        train(
            *(teacher.model, objective, data, NoSignal(), schedule, runtime),
            **{"pad_id": 0, "title": "job", "remedy": "lower it", "checkpoint": file},
        )
    assert "step 8" not in str(caught.value)
    assert not file.exists()


def test_fractions_of_an_epoch_are_steps() -> None:
    lengths = np.full(128, 10)
    assert Schedule(0.5, 1e-3, 32).steps(lengths) == 2
    assert Schedule(1.5, 1e-3, 32).steps(lengths) == 6
    assert Schedule(0.01, 1e-3, 32).steps(lengths[:10]) == 1
    assert Schedule(3, 1e-3, 32, max_steps=5).steps(lengths) == 5


@pytest.mark.parametrize("dropout", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_killed_training_ends_like_an_unbroken_one(
    teacher_folder: Path,
    data: EncodedExamples,
    runtime: Runtime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dropout: bool,
) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS", -1.0)
    schedule = replace(RECIPE, dropout=dropout)

    class KilledError(Exception):
        pass

    class Deadly(TaskLoss):
        left = 1000

        def loss(self, *arguments: object) -> torch.Tensor:
            if self.left == 0:
                raise KilledError
            self.left -= 1
            return super().loss(*arguments)  # type: ignore[arg-type]

    def trained(file: Path | None, life: int) -> dict[str, torch.Tensor]:
        model = load_teacher(str(teacher_folder), load_spec("sst2")).model
        term = Deadly()
        term.left = life
        objective = WeightedLosses({"task": (1.0, term)})
        train(model, objective, data, NoSignal(), schedule, runtime, pad_id=0, checkpoint=file)
        return {k: v.clone() for k, v in model.state_dict().items()}

    unbroken = trained(None, 1000)
    file = tmp_path / "state.pt"
    with pytest.raises(KilledError):
        trained(file, 23)
    assert file.exists()
    resumed = trained(file, 57)
    assert file.exists()  # until the result is safe
    for name, value in unbroken.items():
        torch.testing.assert_close(resumed[name], value, atol=1e-5, rtol=1e-4)


def test_a_training_in_three_parts_is_the_training_in_one(
    teacher_folder: Path, data: EncodedExamples, runtime: Runtime, tmp_path: Path
) -> None:
    def trained(parts: list[float]) -> tuple[list[int], dict[str, torch.Tensor]]:
        steps = []
        for until in parts:  # a fresh model each time: all that counts lies in the checkpoint
            model = load_teacher(str(teacher_folder), load_spec("sst2")).model
            objective = WeightedLosses({"task": (1.0, TaskLoss())})
            source, file = NoSignal(), tmp_path / f"{len(parts)}.pt"
            result = train(
                model, objective, data, source, RECIPE, runtime, pad_id=0, checkpoint=file,
                until=until,
            )  # fmt: skip
            assert file.exists() == (len(parts) > 1)
            steps.append(result.steps)
        return steps, {k: v.clone() for k, v in model.state_dict().items()}

    steps, whole = trained([1.0])
    steps_of_parts, parts = trained([1 / 9, 1 / 3, 1.0])
    assert steps == [80] and steps_of_parts == [9, 27, 80]
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-5, rtol=1e-4)


def test_a_damaged_checkpoint_starts_over(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime, tmp_path: Path
) -> None:
    file = tmp_path / "state.pt"
    file.write_bytes(b"half a file")
    objective = WeightedLosses({"task": (1.0, TaskLoss())})
    schedule = Schedule(0.2, 1e-3, 16)
    result = train(
        teacher.model, objective, data, NoSignal(), schedule, runtime, pad_id=0, checkpoint=file
    )
    assert result.steps == 2 and result.curve[-1][0] == 2


def test_dropout_and_frozen_embeddings_are_as_asked(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime
) -> None:
    table = teacher.model.get_input_embeddings().weight
    before = table.detach().clone()
    frozen = Schedule(0.2, 1e-2, 16, freeze_embeddings=True)
    objective = WeightedLosses({"task": (1.0, TaskLoss())})
    train(teacher.model, objective, data, NoSignal(), frozen, runtime, pad_id=0)
    assert torch.equal(table, before) and table.requires_grad


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("required", [True, False])
def test_training_leaves_the_embeddings_as_trainable_as_it_found_them(
    frozen: bool, required: bool, teacher: Teacher, data: EncodedExamples, runtime: Runtime
) -> None:
    table = teacher.model.get_input_embeddings().weight
    table.requires_grad_(required)
    objective = WeightedLosses({"task": (1.0, TaskLoss())})
    schedule = Schedule(0.2, 1e-2, 16, freeze_embeddings=frozen)
    train(teacher.model, objective, data, NoSignal(), schedule, runtime, pad_id=0)
    assert table.requires_grad is required


@pytest.mark.slow
def test_logit_kd_follows_the_teacher(
    teacher: Teacher, teacher_folder: Path, data: EncodedExamples, runtime: Runtime
) -> None:
    objective = WeightedLosses({"task": (1.0, TaskLoss())})
    train(teacher.model, objective, data, NoSignal(), RECIPE, runtime, pad_id=0)
    student = load_teacher(str(teacher_folder), load_spec("sst2")).model
    live = LiveSignal(teacher.model, runtime)
    logits = WeightedLosses(
        {
            "logits": (1.0, LogitsLoss(options=LogitsOptions(temperature=2.0))),
            "task": (0.0, TaskLoss()),
        }
    )
    unlabelled = EncodedExamples(data.input_ids, data.token_type_ids, data.offsets)
    train(student, logits, unlabelled, live, RECIPE, runtime, pad_id=0)
    ours = predict(student, data, runtime, pad_id=0).argmax(1)
    theirs = predict(teacher.model, data, runtime, pad_id=0).argmax(1)
    assert (ours == theirs).float().mean() > 0.95
