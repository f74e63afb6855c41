"""The forward pass of an encoder: packed where its family can be, else padded."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.modules import can_pack, encoder_of, working_attention
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, State
from kdnas.distillation.packing import Packing


def forward_encoder(model: PreTrainedModel, batch: Batch, request: OutputRequest) -> ModelOutputs:
    """Hidden states, first tokens and logits; its encoder alone runs where no logits are asked."""
    part = model if request.logits else model.base_model
    streams = [state for state in request.states if state.kind in ("hidden", "first")]
    with _packed(model, batch) as last:
        output = part(**batch.inputs, output_hidden_states=bool(streams))
    states: dict[State, Tensor] = {}
    if streams:
        every = (*output.hidden_states[:-1], last[0]) if last else output.hidden_states
        read = batch.packing.sampled if last else batch.packing.real
        for state in streams:
            whole = every[state.layer]
            if state.kind == "hidden":
                states[state] = read(whole, batch.compared)
            else:
                firsts = batch.packing.firsts
                states[state] = batch.packing.sampled(whole, firsts) if last else whole[:, 0]
    logits = batch.task.pick_logits(output, batch.units) if request.logits else None
    return ModelOutputs(states, logits)


@contextmanager
def _packed(model: PreTrainedModel, batch: Batch) -> Iterator[list[Tensor]]:
    """The model's encoder gets its own precision and, where it can, packed tokens.

    Yields a list that will hold the encoder's packed last states.
    """
    last: list[Tensor] = []
    encoder, layout, packs = encoder_of(model), batch.packing, can_pack(model)
    dtype = next(encoder.parameters()).dtype
    turned: dict[int, Any] = {}

    def enter(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        names = tuple(inspect.signature(module.forward).parameters)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        states = _tensor(given.pop(names[0])).to(dtype)
        if packs and module is encoder[0]:
            states = layout.pack(states)[None]
        if packs and "attention_mask" in names:
            given.update(attention_mask=None, packing=layout)
        if packs and given.get("position_embeddings") is not None:
            angles = given["position_embeddings"]
            if id(angles) not in turned:  # with the original, whose id no other may get
                turned[id(angles)] = angles, tuple(_pack_angles(layout, a, dtype) for a in angles)
            given["position_embeddings"] = turned[id(angles)][1]
        return (states,), given

    def leave(_: nn.Module, __: Any, output: Any) -> Any:
        states = _tensor(output)
        if packs:
            last.append(states)
            states = layout.unpack(states[0])
        if isinstance(output, Tensor):
            return states.float()
        output.last_hidden_state = states.float()
        return output

    with ExitStack() as stack:
        for module in encoder if packs and layout.cells.is_cuda else ():
            stack.enter_context(_in_its_own_precision(module))
        for module in encoder:
            stack.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
        stack.callback(encoder[-1].register_forward_hook(leave).remove)
        stack.enter_context(working_attention(model))
        yield last


@contextmanager
def _in_its_own_precision(module: nn.Module) -> Iterator[None]:
    """Without autocast, which on GPUs would turn what normalisations read and give into fp32."""
    usual = module.forward

    @wraps(usual)
    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cuda", enabled=False):
            return usual(*args, **kwargs)

    module.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        del module.forward


def _tensor(states: Any) -> Tensor:
    """The states of what a module gives or gets, which may hold more."""
    found: Tensor = states if isinstance(states, Tensor) else states.last_hidden_state
    return found


def _pack_angles(layout: Packing, angles: Tensor, dtype: torch.dtype) -> Tensor:
    """Sines or cosines of positions, from shape (1 or batch, length, size) to packed rows."""
    whole = angles.to(dtype).expand(layout.shape[0], -1, -1)
    return layout.pack(whole)[None]
