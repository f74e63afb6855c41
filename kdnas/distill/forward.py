"""One forward pass: what a model says of a batch, token by token, however it gets there."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distill import packing
from kdnas.distill.batches import Batch
from kdnas.space.families import family_of


@dataclass(frozen=True)
class Outputs:
    """What a model says of a batch.

    Attributes:
        hidden: By layer, 0 the embeddings: shape (sampled tokens, hidden size), those of the
            batch's real tokens that `batch.sample` picks. Empty where not asked for.
        logits: Shape (batch, classes), float32; None where not asked for.
    """

    hidden: list[Tensor]
    logits: Tensor | None


def forward(model: PreTrainedModel, batch: Batch, *, hidden: bool, logits: bool) -> Outputs:
    """Runs a sequence classifier, or without logits its encoder alone, on a batch.

    Families whose attention goes through transformers' interface run packed, the others padded.
    """
    part = model if logits else model.base_model
    with _in_form(model, batch) as last:
        output = part(**batch.inputs, output_hidden_states=hidden)
    return Outputs(
        _sampled(output.hidden_states, batch, last) if hidden else [],
        output.logits.float() if logits else None,
    )


def encoder_of(model: PreTrainedModel) -> nn.Module:
    """The layers of a model, without embeddings and heads."""
    kind = model.config.model_type
    encoder: nn.Module = model.base_model.get_submodule(family_of(kind, kind).encoder)
    return encoder


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Attention over packed tokens, where the model can; nested contexts cost nothing."""
    usual = model.config._attn_implementation
    switch = can_pack(model) and usual != packing.NAME
    if switch:
        model.set_attn_implementation(packing.NAME)
    try:
        yield
    finally:
        if switch:
            model.set_attn_implementation(usual)


def can_pack(model: PreTrainedModel) -> bool:
    """Whether the model's attention can be replaced."""
    return bool(model._supports_attention_backend)


def _sampled(states: Any, batch: Batch, last: list[Tensor]) -> list[Tensor]:
    if not last:
        return [batch.packing.real(layer, batch.sample) for layer in states]
    return [batch.packing.sampled(layer, batch.sample) for layer in (*states[:-1], last[0])]


@contextmanager
def _in_form(model: PreTrainedModel, batch: Batch) -> Iterator[list[Tensor]]:
    """The model's encoder gets its own precision and, where it can, packed tokens.

    Yields a list that will hold the encoder's packed last states.
    """
    last: list[Tensor] = []
    encoder, layout, packs = encoder_of(model), batch.packing, can_pack(model)
    dtype = next(encoder.parameters()).dtype
    names = tuple(inspect.signature(encoder.forward).parameters)

    def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        states = given.pop("hidden_states").to(dtype)
        if packs:
            states = layout.pack(states)[None]
            given.update(attention_mask=None, packing=layout)
        return (states,), given

    def leave(_: nn.Module, __: Any, output: Any) -> Any:
        states = output.last_hidden_state
        if packs:
            last.append(states)
            states = layout.unpack(states[0])
        output.last_hidden_state = states.float()
        return output

    hooks = [
        encoder.register_forward_pre_hook(enter, with_kwargs=True),
        encoder.register_forward_hook(leave),
    ]
    try:
        with packed_attention(model):
            yield last
    finally:
        for hook in hooks:
            hook.remove()
