from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_pairs import PAD, pair_data, tiny_pair
from support.tiny_writers import writers_config
from torch import nn
from transformers import AutoModelForSeq2SeqLM

from kdnas.distillation.embedding_rows import UsedRows, word_embeddings
from kdnas.tasks import EncodedExamples


def test_every_row_is_trained_where_the_padding_is_not_among_them() -> None:
    """A tokenizer whose padding is not the embedding's: the first row kept is an ordinary one."""
    cut = UsedRows(nn.Embedding(8, 2, padding_idx=1), torch.tensor([0, 3, 5]))
    cut(torch.tensor([0, 3, 5])).sum().backward()
    assert cut.weight.grad is not None and cut.weight.grad.tolist() == [[1, 1]] * 3


def test_the_row_of_the_padding_is_not_trained() -> None:
    cut = UsedRows(nn.Embedding(8, 2, padding_idx=3), torch.tensor([0, 3, 5]))
    cut(torch.tensor([0, 3, 5])).sum().backward()
    assert cut.weight.grad is not None and cut.weight.grad.tolist() == [[1, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize("model_type", ["bart", "t5", "marian"])
def test_a_table_that_a_head_has_too_is_trained_whole(model_type: str) -> None:
    model: Any = AutoModelForSeq2SeqLM.from_config(writers_config(model_type))
    data = EncodedExamples(np.array([5, 6], np.int32), None, np.array([0, 2]))
    table = model.get_input_embeddings()
    with word_embeddings(model, data, 0):
        assert model.get_input_embeddings() is table and table.weight.requires_grad
        assert model.get_output_embeddings().weight is table.weight


@pytest.mark.parametrize(
    ("model_type", "changes"), [("bart", {"tie_word_embeddings": False}), ("encoder-decoder", {})]
)
def test_tables_of_two_stacks_stay_apart(model_type: str, changes: dict[str, Any]) -> None:
    model = tiny_pair(model_type, **changes)
    data, before = pair_data(), {name: id(part) for name, part in model.named_parameters()}
    with word_embeddings(model, data, PAD):
        pass
    assert {name: id(part) for name, part in model.named_parameters()} == before


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [("marian", {"share_encoder_decoder_embeddings": False}), ("encoder-decoder", {})],
)
def test_the_tables_of_both_stacks_are_frozen(model_type: str, changes: dict[str, Any]) -> None:
    model = tiny_pair(model_type, **changes)
    tables = [stack.get_input_embeddings() for stack in (model.get_encoder(), model.get_decoder())]
    assert tables[0].weight is not tables[1].weight
    tables[0].weight.requires_grad_(False)
    for frozen in (True, False):
        with word_embeddings(model, pair_data(), PAD, frozen=frozen):
            assert [table.weight.requires_grad for table in tables] == [not frozen] * 2
        assert [table.weight.requires_grad for table in tables] == [False, True]
