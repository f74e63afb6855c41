from __future__ import annotations

import torch
from torch import nn

from kdnas.distillation.embedding_rows import UsedRows


def test_every_row_is_trained_where_the_padding_is_not_among_them() -> None:
    """A tokenizer whose padding is not the embedding's: the first row kept is an ordinary one."""
    cut = UsedRows(nn.Embedding(8, 2, padding_idx=1), torch.tensor([0, 3, 5]))
    cut(torch.tensor([0, 3, 5])).sum().backward()
    assert cut.weight.grad is not None and cut.weight.grad.tolist() == [[1, 1]] * 3


def test_the_row_of_the_padding_is_not_trained() -> None:
    cut = UsedRows(nn.Embedding(8, 2, padding_idx=3), torch.tensor([0, 3, 5]))
    cut(torch.tensor([0, 3, 5])).sum().backward()
    assert cut.weight.grad is not None and cut.weight.grad.tolist() == [[1, 1], [0, 0], [1, 1]]
