"""One forward pass, packed where the model allows it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation import packing
from kdnas.distillation.batches import Batch
from kdnas.distillation.outputs import HEADS, ModelOutputs, OutputRequest, State
from kdnas.space.families import family_of


def forward(model: PreTrainedModel, batch: Batch, request: OutputRequest) -> ModelOutputs:
    """Runs a model with its head, or its encoder alone where no logits are asked for, on a batch.

    Families whose attention goes through transformers' interface run packed, the others padded.
    """
    part = model if request.logits else model.base_model
    layers = [state.layer for state in request.states if state.kind == "hidden"]
    with _packed(model, batch) as last, _recorded(model, batch, request) as recorded:
        output = part(**batch.inputs, output_hidden_states=bool(layers))
    states = {s: recorded[s.kind][s.layer - 1] for s in request.states if s.kind != "hidden"}
    if layers:
        every = (*output.hidden_states[:-1], last[0]) if last else output.hidden_states
        read = batch.packing.sampled if last else batch.packing.real
        for layer in layers:
            states[State("hidden", layer)] = read(every[layer], batch.sample)
    logits = batch.task.pick_logits(output, batch.units) if request.logits else None
    return ModelOutputs(states, logits)


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


def real_tokens(model: PreTrainedModel, batch: Batch, states: Tensor) -> Tensor:
    """The real tokens of what a part of the encoder gives or gets, shape (tokens, size)."""
    layout = batch.packing
    return layout.sampled(states, slice(None)) if can_pack(model) else layout.real(states)


def calls_on_tokens(model: PreTrainedModel) -> Callable[[nn.Module], bool]:
    """Gives a test of whether a call of a map, in one forward pass, is on the batch's tokens.

    DeBERTa sends its relative positions through the same maps, after the tokens. Where layers share
    their weights each call is of another layer.
    """
    kind = model.config.model_type
    shared, seen = family_of(kind, kind).layers is None, set()

    def on_tokens(module: nn.Module) -> bool:
        first = shared or module not in seen
        seen.add(module)
        return first

    return on_tokens


@contextmanager
def _recorded(
    model: PreTrainedModel, batch: Batch, request: OutputRequest
) -> Iterator[dict[str, list[Tensor]]]:
    """Yields a dict that will hold the requested queries, keys and values, layer by layer."""
    recorded: dict[str, list[Tensor]] = {state.kind: [] for state in request.states}
    kind = model.config.model_type
    ends = dict(zip(HEADS, family_of(kind, kind).heads_out, strict=False))
    on_tokens = calls_on_tokens(model)

    def keep(name: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Tensor) -> None:
            if on_tokens(module):
                recorded[name].append(real_tokens(model, batch, output))

        return hook

    with ExitStack() as stack:
        for path, module in encoder_of(model).named_modules():
            for name in HEADS:
                if name in recorded and path.endswith("." + ends[name]):
                    stack.callback(module.register_forward_hook(keep(name)).remove)
        yield recorded


@contextmanager
def _packed(model: PreTrainedModel, batch: Batch) -> Iterator[list[Tensor]]:
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
