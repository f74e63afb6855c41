"""A dense model that computes as one of its pruned students does, for as long as it should."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.students.pruning.kept import Kept, shape_of
from kdnas.students.pruning.scores import unit_maps


@contextmanager
def masked(model: PreTrainedModel, of_paths: Mapping[str, Tensor]) -> Iterator[None]:
    """What the masks of `masks` leave out gives zeros, as if it were pruned."""
    with ExitStack() as stack:
        for path, mask in of_paths.items():
            hook = model.get_submodule(path).register_forward_pre_hook(partial(_multiply, mask))
            stack.callback(hook.remove)
        yield


def masks(model: PreTrainedModel, kept: Kept, device: torch.device) -> dict[str, Tensor]:
    """By the path of a map that reads heads or neurons: 1 for each input that is kept, or 0."""
    shape, found = shape_of(model.config), dict[str, Tensor]()
    for path, (layer, kind) in unit_maps(model).items():
        heads = kind == "heads"
        count, width = (
            (shape.num_attention_heads, shape.head_size) if heads else (shape.intermediate_size, 1)
        )
        mask = torch.zeros(count)
        mask[list((kept.heads if heads else kept.neurons)[layer])] = 1
        found[path] = mask.repeat_interleave(width).to(device)
    return found


def _multiply(mask: Tensor, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (args[0] * mask.to(args[0]), *args[1:])
