"""Word embeddings while a model trains: frozen, or the rows of tokens that occur alone.

A vocabulary is most of a small model's weights, and an optimiser visits all of them at every step.
Rows of tokens that never occur get no gradient; here they are left out of the training altogether.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.modules import readers_of
from kdnas.tasks.encode import EncodedExamples


class UsedRows(nn.Module):
    """The rows `used`, shape (rows,), of a table of word embeddings, looked up by its own ids."""

    place: Tensor

    def __init__(self, whole: nn.Embedding, used: Tensor) -> None:
        super().__init__()
        self.used = used
        self.weight = nn.Parameter(whole.weight.detach()[used])
        place = torch.zeros(len(whole.weight), dtype=torch.long, device=used.device)
        place[used] = torch.arange(len(used), device=used.device)
        self.register_buffer("place", place, persistent=False)
        # The padding's row is not trained, as in the whole table, where it is among those kept.
        pad = whole.padding_idx
        self.padding = int(place[pad]) if pad is not None and pad in used else None

    def forward(self, ids: Tensor) -> Tensor:
        """From shape (...) to (..., embedding size)."""
        return nn.functional.embedding(self.place[ids], self.weight, self.padding)


@contextmanager
def word_embeddings(
    model: PreTrainedModel, data: EncodedExamples, pad_id: int, *, frozen: bool = False
) -> Iterator[None]:
    """Freezes the word embeddings, or replaces them by the rows that some data needs.

    Both stacks' are frozen where an encoder-decoder has two tables.

    A table that other modules have, too, such as a head that gives a whole vocabulary, is trained
    whole: every row of it gets a gradient. So is that of an encoder-decoder: with another table in
    its place, transformers ties what was apart. Else the model can meanwhile read this data alone.
    On leaving, the trained rows are in the table, and tables need gradients or not as before.
    """
    whole, tables = model.get_input_embeddings(), readers_of(model)
    assert isinstance(whole, nn.Embedding)
    before = [table.weight.requires_grad for table in tables]
    for table in tables:
        table.requires_grad_(not frozen)
    rows = None
    if not (frozen or model.config.is_encoder_decoder or _is_shared(model, whole)):
        used = torch.from_numpy(np.union1d(data.input_ids, [pad_id]).astype(np.int64))
        rows = UsedRows(whole, used.to(whole.weight.device))
        model.set_input_embeddings(rows)
    try:
        yield
    finally:
        if rows is not None:
            model.set_input_embeddings(whole)
            with torch.no_grad():
                whole.weight[rows.used] = rows.weight
        for table, needed in zip(tables, before, strict=True):
            table.requires_grad_(needed)


def _is_shared(model: PreTrainedModel, table: nn.Embedding) -> bool:
    """Whether another module of a model has the same weights."""
    holders = (m for m in model.modules() if m is not table and "weight" in m._parameters)
    return any(module._parameters["weight"] is table.weight for module in holders)
