"""The few batches on which things are measured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from kdnas.distillation.batches import FORWARD_TOKENS_GPU, Batch, plan_epoch
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples
from kdnas.teachers.distillation_data import some_batches

ROWS = 20_000


@pytest.fixture(scope="module")
def data() -> EncodedExamples:
    """Rows of 3 to 250 tokens."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 251, ROWS))]).astype(np.int64)
    ids = rng.integers(5, 150, offsets[-1]).astype(np.int32)
    return EncodedExamples(ids, None, offsets, np.arange(ROWS) % 2)


@pytest.fixture
def elsewhere() -> Any:
    """A stand-in for a runtime with a GPU."""
    return SimpleNamespace(device=torch.device("meta"))


def rows_of(batches: list[Batch]) -> list[int]:
    return sorted(int(i) for batch in batches for i in batch.indices)


def test_the_cpu_has_the_first_batches_of_an_epoch(data: EncodedExamples, runtime: Runtime) -> None:
    batches, plan = some_batches(data, 0, runtime, seed=3), plan_epoch(data.sizes, 32, 3, 0)
    assert len(batches) == 8
    for batch, indices in zip(batches, plan, strict=False):
        assert np.array_equal(batch.indices, indices)


def test_a_gpu_has_the_same_rows(data: EncodedExamples, runtime: Runtime, elsewhere: Any) -> None:
    """Of one large batch all would be about as long."""
    batches = some_batches(data, 0, elsewhere, seed=3)
    rows = rows_of(batches)
    assert rows == rows_of(some_batches(data, 0, runtime, seed=3))
    assert np.ptp(data.lengths[rows]) > 80
    assert len(batches) < 8
    for batch in batches:
        assert batch.inputs["input_ids"].device == elsewhere.device
        assert int(data.lengths[batch.indices].sum()) < 1.1 * FORWARD_TOKENS_GPU


def test_where_batches_matter_a_gpu_has_those_of_the_cpu(
    data: EncodedExamples, runtime: Runtime, elsewhere: Any
) -> None:
    theirs = some_batches(data, 0, elsewhere, seed=3, merge=False)
    for one, other in zip(theirs, some_batches(data, 0, runtime, seed=3), strict=True):
        assert np.array_equal(one.indices, other.indices)


def test_of_few_rows_a_gpu_has_all_once(data: EncodedExamples, elsewhere: Any) -> None:
    few = data.take(np.arange(40))
    assert rows_of(some_batches(few, 0, elsewhere)) == list(range(40))
