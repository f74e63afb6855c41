"""Dense models with zeros, made without the product's own way to them."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from kdnas.students.pruning import Kept
from kdnas.students.pruning.places import Places


@torch.no_grad()
def zero_pruned(model: PreTrainedModel, kept: Kept) -> None:
    """Zeroes in a dense model, in place, all that is not kept, and notes in its config what is."""
    tensors = model.state_dict()
    for name, (axis, rows) in Places(model.config, kept).of_all(tensors).items():
        pruned = torch.ones(tensors[name].shape[axis], dtype=torch.bool)
        pruned[rows] = False
        tensors[name].index_fill_(axis, pruned.nonzero().flatten(), 0)
    kept.write(model.config)
