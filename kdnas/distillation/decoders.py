"""The forward pass of an encoder with a decoder, padded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.modules import decoder_tokens, stacks_of
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, State


def forward_pair(model: PreTrainedModel, batch: Batch, request: OutputRequest) -> ModelOutputs:
    """Hidden states of both stacks, first tokens and logits of target tokens."""
    streams = [state for state in request.states if state.kind in ("hidden", "first")]
    with (
        _headless(model, request) as part,
        _layers_in_their_precision(model),
        _head_on_units(model, batch) as narrowed,
    ):
        output = part(**batch.inputs, output_hidden_states=bool(streams), use_cache=False)
    states: dict[State, Tensor] = {}
    for state in streams:
        decoder = state.place == "decoder"
        every = output.decoder_hidden_states if decoder else output.encoder_hidden_states
        whole = every[state.layer]
        if state.kind == "first":
            states[state] = whole[:, 0]
        elif decoder:
            states[state] = decoder_tokens(batch, whole)
        else:
            states[state] = batch.packing.real(whole, batch.compared)
    logits: Tensor | None = None
    if request.logits:
        logits = output.logits[0] if narrowed else batch.task.pick_logits(output, batch.units)
    return ModelOutputs(states, logits)


@contextmanager
def _layers_in_their_precision(model: PreTrainedModel) -> Iterator[None]:
    """The layers of both stacks get what they read in their own precision; all else stays fp32."""
    stacks = stacks_of(model)
    dtype = next((p.dtype for stack in stacks for p in stack.parameters()), torch.float32)
    least = torch.finfo(dtype).min  # the least fp32 number of a mask would become -inf

    def cast(value: Any) -> Any:
        floats = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != dtype
        return value.clamp(min=least).to(dtype) if floats else value

    def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        return tuple(map(cast, args)), {name: cast(value) for name, value in kwargs.items()}

    def leave(_: nn.Module, __: Any, output: Any) -> Any:
        return (output[0].float(), *output[1:]) if isinstance(output, tuple) else output.float()

    with ExitStack() as hooks:
        for stack in stacks if dtype != torch.float32 else ():
            for layer in stack:
                hooks.callback(layer.register_forward_pre_hook(enter, with_kwargs=True).remove)
            hooks.callback(stack[-1].register_forward_hook(leave).remove)
        yield


@contextmanager
def _head_on_units(model: PreTrainedModel, batch: Batch) -> Iterator[bool]:
    """The head over the vocabulary, where there is one, sees the batch's target tokens alone.

    Its logits, shape (1, units, vocabulary), are fp32 before a model adds its bias: the sum of two
    types is slow on CPUs. Yields whether there is such a head.
    """

    def enter(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (decoder_tokens(batch, args[0])[None],)

    def leave(_: nn.Module, __: Any, logits: Tensor) -> Tensor:
        return logits.float()

    head = model.get_output_embeddings()
    with ExitStack() as stack:
        if isinstance(head, nn.Module):
            stack.callback(head.register_forward_pre_hook(enter).remove)
            stack.callback(head.register_forward_hook(leave).remove)
        yield isinstance(head, nn.Module)


@contextmanager
def _headless(model: PreTrainedModel, request: OutputRequest) -> Iterator[nn.Module]:
    """A model as far as logits need it: some have no part that leaves the vocabulary out."""
    if request.logits or model.base_model is not model:
        yield model if request.logits else model.base_model
        return
    head = model.get_output_embeddings()
    path = next(name for name, module in model.named_modules() if module is head)
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, nn.Identity())
    try:
        yield model
    finally:
        setattr(model.get_submodule(parent), name, head)
