"""A masked dense model answers as its sliced student; several are trained in one network."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from support.tiny import small_config
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from kdnas.distillation.batches import Batch, collate, part_of
from kdnas.distillation.losses import LOSSES
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.sandwich import A_STEP, SandwichLosses
from kdnas.distillation.signals import NoSignal
from kdnas.students.pruning import Kept, masked, masks, sliced
from kdnas.tasks import EncodedExamples
from kdnas.workflow.distilling.find_assistant import choose_assistant

FULL = Kept.of([range(4)] * 3, [range(64)] * 3)
LESS = Kept.of([[0, 2], [], [1, 2, 3]], [range(8), range(40, 64), []])


def labelled_batch() -> Batch:
    rng = np.random.default_rng(0)
    offsets = np.arange(0, 41, 10, dtype=np.int64)
    ids = rng.integers(5, 150, 40).astype(np.int32)
    return collate(EncodedExamples(ids, None, offsets, np.arange(4) % 2), np.arange(4), 0)


def teacher() -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(small_config())
    for parameter in model.parameters():  # larger than at first, so that heads and neurons matter
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def test_masks_leave_what_slicing_leaves() -> None:
    model = teacher()
    inputs = {"input_ids": torch.arange(2, 22).view(2, 10)}
    whole = model(**inputs).logits
    with masked(model, masks(model, LESS, torch.device("cpu"))):
        found = model(**inputs).logits
    torch.testing.assert_close(found, sliced(model, LESS)(**inputs).logits)
    assert not torch.allclose(found, whole, atol=1e-4)
    torch.testing.assert_close(model(**inputs).logits, whole)


def test_assistants_are_chosen_by_score_and_sparsity() -> None:
    assert choose_assistant({0.8: 0.86, 0.5: 0.90, 0.9: 0.80}) == 0.8
    assert choose_assistant({0.5: 0.90, 0.8: 0.80}) == 0.5


def test_a_sandwich_is_the_mean_over_its_parts() -> None:
    model, batch = teacher(), labelled_batch()
    own = WeightedLosses({"task": (2.0, LOSSES["task"]())})
    found = [masks(model, one, torch.device("cpu")) for one in (FULL, LESS)]
    parts = [partial(masked, of_paths=of_paths) for of_paths in found]
    both = SandwichLosses(own, parts)(model, batch, NoSignal())
    each = []
    for part in parts:
        with part(model):
            each.append(own(model, batch, NoSignal())["total"])
    torch.testing.assert_close(both["total"], torch.stack(each).mean())
    assert each[0] != each[1]


def test_each_step_trains_some_of_many_parts_the_same_for_the_same_rows() -> None:
    parts = [lambda _: nullcontext() for _ in range(7)]
    losses = SandwichLosses(WeightedLosses({"task": (1.0, LOSSES["task"]())}), parts)
    batch = labelled_batch()
    drawn = []
    for start in range(40):
        rows = replace(batch, indices=np.arange(start, start + 4))
        found = losses.parts_of(rows)
        assert len({id(part) for part in found}) == A_STEP
        assert list(losses.parts_of(rows)) == list(found)
        drawn += [parts.index(part) for part in found]
    assert set(drawn) == set(range(7))
    assert losses.varies


def test_processes_that_share_a_batch_train_the_same_parts() -> None:
    parts = [lambda _: nullcontext() for _ in range(7)]
    losses = SandwichLosses(WeightedLosses({"task": (1.0, LOSSES["task"]())}), parts)
    ids, rows = np.arange(5, 45, dtype=np.int32), np.array([8, 3, 6, 1, 0])
    data = EncodedExamples(ids, None, np.arange(0, 41, 4), np.zeros(10, np.int64))
    whole = losses.parts_of(collate(data, rows, 0))
    for rank in range(2):
        assert losses.parts_of(part_of(data, rows, 0, 1, rank, 2)) == whole
