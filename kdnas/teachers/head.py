"""The last linear layer of a head: its outputs put in order, or brought to another unit.

Students learn regression in standard units, (label - mean) / spread of the training labels: at the
learning rates of transformers no head reaches labels of 300,000 by itself, and no loss on them
weighs what the others do. Whatever is saved has its outputs in the unit of the labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from kdnas.tasks.types import UNSCALED, LabelScale


@torch.no_grad()
def order_outputs(model: PreTrainedModel, order: Sequence[int]) -> None:
    """Makes output `order[i]` the output i, in place."""
    layer, places = last_layer(model), list(order)
    layer.weight.copy_(layer.weight[places])
    if layer.bias is not None:
        layer.bias.copy_(layer.bias[places])


@torch.no_grad()
def scale_outputs(model: PreTrainedModel, factor: float, shift: float) -> None:
    """Makes each output `factor * output + shift`, in place."""
    layer = last_layer(model)
    layer.weight.mul_(factor)
    if layer.bias is not None:
        layer.bias.mul_(factor).add_(shift)


@torch.no_grad()
def shift_outputs(model: PreTrainedModel, bias: NDArray[np.float32]) -> None:
    """Adds `bias`, shape (outputs,), to the outputs, in place; not where a head has no bias."""
    layer = last_layer(model)
    if layer.bias is not None:
        layer.bias.add_(torch.from_numpy(bias).to(layer.bias))


def to_standard_units(model: PreTrainedModel, scale: LabelScale) -> None:
    """From the unit of the labels, in place."""
    if scale != UNSCALED:
        scale_outputs(model, 1 / scale.spread, -scale.mean / scale.spread)


def to_label_units(model: PreTrainedModel, scale: LabelScale) -> None:
    """From standard units, in place."""
    if scale != UNSCALED:
        scale_outputs(model, scale.spread, scale.mean)


@contextmanager
def in_label_units(model: PreTrainedModel, scale: LabelScale) -> Iterator[None]:
    """The outputs of a model in standard units are in the unit of the labels meanwhile."""
    if scale == UNSCALED:
        yield
        return
    layer = last_layer(model)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    to_label_units(model, scale)
    try:
        yield
    finally:
        layer.load_state_dict(before)


def last_layer(model: PreTrainedModel) -> nn.Linear:
    """The linear layer that gives a head's outputs: the last one outside the encoder.

    Of the whole model it need not be the last: XLM-RoBERTa has its head ahead of its encoder.
    """
    inside = set(model.base_model.modules())
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return [module for module in linear if module not in inside][-1]
