"""The parts of a model of any family, and the real tokens of what they give or get."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation import packing
from kdnas.distillation.batches import Batch
from kdnas.space.families import Family, family_of


def family(model: PreTrainedModel) -> Family:
    """The family of a loaded model."""
    kind = model.config.model_type
    return family_of(kind, kind)


def encoder_of(model: PreTrainedModel) -> nn.ModuleList:
    """What tokens pass between embeddings and heads, in its order; the last gives their states."""
    parts = [model.base_model.get_submodule(path) for path in family(model).span]
    lists = [part if isinstance(part, nn.ModuleList) else [part] for part in parts]
    return nn.ModuleList(module for part in lists for module in part)


def stacks_of(model: PreTrainedModel) -> list[nn.ModuleList]:
    """The layers of each stack of a model with a decoder, the encoder's first.

    The family knows where they are: steps are short, and a walk through all modules is not.
    """
    return [_at(model, stack.layers) for stack in family(model).stacks if stack.layers]


def _at(model: PreTrainedModel, path: str) -> nn.ModuleList:
    """The module list at a path of a family; `*` is the name of a part's base model."""
    found: nn.Module = model.base_model
    for name in path.split("."):
        found = cast(PreTrainedModel, found).base_model if name == "*" else getattr(found, name)
    return cast(nn.ModuleList, found)


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The layers of both stacks of a model with a decoder."""
    return nn.ModuleList(itertools.chain.from_iterable(stacks_of(model)))


def outputs_a_token(model: PreTrainedModel) -> int:
    """The size of the vocabulary that a model gives for each token; 1 where it gives none."""
    head = model.get_output_embeddings()
    return 1 if head is None else len(cast(nn.Linear, head).weight)


def readers_of(model: PreTrainedModel) -> list[nn.Embedding]:
    """The word embeddings that a model's stacks read tokens with; they may be one table."""
    two = model.config.is_encoder_decoder
    stacks = (model.get_encoder(), model.get_decoder()) if two else (model,)
    return [stack.get_input_embeddings() for stack in stacks]


def can_pack(model: PreTrainedModel) -> bool:
    """Whether attention can be over packed tokens: it goes through transformers' interface."""
    return bool(model._supports_attention_backend)  # of no model with a decoder


@contextmanager
def working_attention(model: PreTrainedModel) -> Iterator[None]:
    """Attention over packed tokens, where the model can; nested contexts cost nothing.

    Of a model with a decoder, on a CPU, attention as matrix products: the fused kernel's backward
    pass is many times slower there.
    """
    usual = model.config._attn_implementation
    wanted = packing.NAME if can_pack(model) else usual
    if family(model).decoder and model.device.type == "cpu" and usual == "sdpa":
        wanted = "eager"
    switch = wanted != usual
    if switch:
        model.set_attn_implementation(wanted)
    try:
        yield
    finally:
        if switch:
            model.set_attn_implementation(usual)


def decoder_tokens(batch: Batch, states: Tensor) -> Tensor:
    """The real tokens of a decoder's states, from shape (batch, length, size) to (tokens, size)."""
    assert batch.units.position is not None
    return states[batch.units.example, batch.units.position]


def real_tokens(
    model: PreTrainedModel, batch: Batch, states: Tensor, *, of_decoder: bool = False
) -> Tensor:
    """The real tokens of what a part of the model gives or gets, shape (tokens, size)."""
    if of_decoder:
        return decoder_tokens(batch, states)
    layout = batch.packing
    return layout.sampled(states, slice(None)) if can_pack(model) else layout.real(states)
