"""Rows of random tokens, and models that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from kdnas.tasks import EncodedExamples, load_spec
from kdnas.teachers.load import load_teacher

PAD = 0


def ragged_data() -> EncodedExamples:
    """9 rows of 3 to 29 tokens."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 30, 9))]).astype(np.int64)
    ids = rng.integers(5, 150, offsets[-1]).astype(np.int32)
    return EncodedExamples(ids, None, offsets, np.arange(9) % 2)


def model_of(folder: Path) -> PreTrainedModel:
    """A checkpoint with a head for SST-2, in evaluation mode."""
    return load_teacher(str(folder), load_spec("sst2")).model.train(False)
