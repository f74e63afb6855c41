from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import small_tokenizer

from kdnas.errors import KdnasError
from kdnas.recipes.run_data import mask_tokens
from kdnas.scoring.proxy import split_heldout
from kdnas.tasks import EncodedExamples


def examples(labels: np.ndarray) -> EncodedExamples:
    count = len(labels)
    ids = np.tile(np.array([2, 10, 11, 12, 3], np.int32), count)
    return EncodedExamples(ids, None, np.arange(count + 1) * 5, labels)


def test_heldout_and_training_share_nothing() -> None:
    training, heldout = split_heldout(examples(np.arange(500) % 2), 0.1, seed=0)
    assert len(heldout) == 50
    assert sorted([*training, *heldout]) == list(range(500))


def test_few_questions_are_split_between_them() -> None:
    rows = np.repeat([0, 1], [7, 9])
    data = dataclasses.replace(examples(np.zeros(16, np.int64)), labels=None, rows=rows)
    for share in (0.1, 0.9):
        training, heldout = split_heldout(data, share, seed=0)
        assert {len(training), len(heldout)} == {7, 9}
    with pytest.raises(KdnasError, match="found 1 training example, and one must be held out"):
        split_heldout(data.take(range(7)), 0.1, seed=0)


def test_a_mask_is_drawn_once_and_spares_special_tokens() -> None:
    data, tokenizer = examples(np.zeros(400, np.int64)), small_tokenizer()
    masked = mask_tokens(data, tokenizer, 0.2, seed=0)
    hidden = masked.input_ids == tokenizer.mask_token_id
    assert 0.16 < hidden.sum() / 1200 < 0.24
    special = np.isin(data.input_ids, tokenizer.all_special_ids)
    assert not hidden[special].any()
    again = mask_tokens(data, tokenizer, 0.2, seed=0)
    assert np.array_equal(again.input_ids, masked.input_ids)
    assert mask_tokens(data, tokenizer, 0.0, seed=0) is data


def test_a_tokenizer_without_mask_is_refused() -> None:
    tokenizer = small_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(KdnasError, match="no mask token"):
        mask_tokens(examples(np.zeros(4, np.int64)), tokenizer, 0.2, seed=0)
