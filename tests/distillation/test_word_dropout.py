from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import sentence

from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.losses.logits import TaskLoss
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import NoSignal
from kdnas.distillation.training import train
from kdnas.distillation.word_dropout import hidden_words, thinned
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture
from kdnas.students.build import build_student
from kdnas.tasks import Examples, encode, load_spec
from kdnas.teachers.load import load_teacher

MASK = (torch.arange(40) < torch.tensor([[40], [25], [1]])).long().repeat(200, 1)


def test_a_share_of_the_tokens_is_hidden_and_padding_stays_so() -> None:
    torch.manual_seed(0)
    found = thinned(MASK, 0.3)
    assert found.dtype == MASK.dtype and bool((found <= MASK).all())
    long = MASK.sum(1) > 1
    assert found[long].sum() / MASK[long].sum() == pytest.approx(0.7, abs=0.01)
    assert not torch.equal(found[0], found[3])  # each text has a draw of its own


def test_a_text_that_lost_all_its_tokens_keeps_all() -> None:
    torch.manual_seed(0)
    found = thinned(MASK, 0.99)
    assert bool(found.any(1).all())
    alone = MASK.sum(1) == 1
    assert torch.equal(found[alone], MASK[alone])


class Seen(torch.nn.Module):
    """Remembers the masks that it is given."""

    def forward(self, *, attention_mask: torch.Tensor) -> torch.Tensor:
        return attention_mask


def test_a_model_reads_thinned_masks_meanwhile_only() -> None:
    model, mask = Seen(), MASK[:1]
    with hidden_words(model, 0.5):
        torch.manual_seed(1)
        one, other = model(attention_mask=mask), model(attention_mask=mask)
        torch.manual_seed(1)
        assert torch.equal(model(attention_mask=mask), one) and not torch.equal(one, other)
    with hidden_words(model, 0.0):
        assert model(attention_mask=mask) is mask
    assert model(attention_mask=mask) is mask


def test_trainings_with_it_repeat_themselves(teacher_folder: Path, runtime: Runtime) -> None:
    teacher, rng = load_teacher(str(teacher_folder), load_spec("sst2")), random.Random(0)
    texts = Examples([sentence(rng) for _ in range(40)], None, np.arange(40) % 2)
    data, schedule = encode(texts, teacher.tokenizer, 32), Schedule(epochs=2, lr=1e-2)

    def trained(share: float) -> torch.Tensor:
        student = build_student(teacher.model, Architecture(0, 1, 16, 1, "gelu"))
        objective = WeightedLosses({"task": (1.0, TaskLoss())})
        train(
            *(student, objective, data, NoSignal(), schedule, runtime),
            pad_id=0,
            word_dropout=share,
        )
        return student.get_input_embeddings().weight.detach()

    assert torch.equal(trained(0.5), trained(0.5))
    assert not torch.allclose(trained(0.5), trained(0.0), atol=1e-3)
