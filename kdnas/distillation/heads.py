"""Queries, keys and values: which maps give them, and how a forward pass notes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.modules import family, real_tokens
from kdnas.distillation.outputs import HEADS, OutputRequest, State
from kdnas.errors import KdnasError
from kdnas.space.derivation import teacher_architecture
from kdnas.space.families import SIDES, Place, Unit

# By kind and place: a tensor a layer, with the layer's number from 0 where layers have weights of
# their own.
Recorded = dict[tuple[str, Place], list[tuple[int | None, Tensor]]]


def calls_on_tokens(model: PreTrainedModel) -> Callable[[nn.Module], bool]:
    """Gives a test of whether a call of a map, in one forward pass, is on the batch's tokens.

    DeBERTa sends its relative positions through the same maps, after the tokens. Where layers share
    their weights each call is of another layer.
    """
    shared, seen = family(model).layers is None, set()

    def on_tokens(module: nn.Module) -> bool:
        first = shared or module not in seen
        seen.add(module)
        return first

    return on_tokens


def split_units(model: PreTrainedModel, path: str, outputs: Tensor) -> dict[Unit, Tensor]:
    """What a map gives, shape (..., outputs), as queries, keys, values or what it has of them.

    `path` is the map's in the model; biases that stand beside it are added. Queries of families
    that do not divide scores by the root of a head's size are as if they did.
    """
    of, at = family(model), family(model).attention_at(path)
    units = at[1].units_of(path) if at else ()
    if of.by_head and len(units) > 1:
        size = teacher_architecture(model.config, of).head_size
        # Layers of a pruned student differ in their number of heads, not in the size of one.
        each = outputs.view(*outputs.shape[:-1], -1, len(units), size).unbind(-2)
        parts: Iterable[Tensor] = [part.flatten(-2) for part in each]
    else:
        parts = outputs.chunk(max(1, len(units)), -1)
    found = dict(zip(units, parts, strict=False))
    if "query" in found and not of.scales_scores:
        heads = of.stack_of(path).read(model.config, "num_attention_heads")
        found["query"] = found["query"] * (found["query"].shape[-1] / heads) ** 0.5
    beside = model.get_submodule(path.rpartition(".")[0])
    for name, unit in of.heads_also.items():
        bias = getattr(beside, name, None)
        if unit in found and isinstance(bias, nn.Parameter):
            found[unit] = found[unit] + bias.to(found[unit].dtype)
    return found


@contextmanager
def recorded_heads(
    model: PreTrainedModel, batch: Batch, request: OutputRequest
) -> Iterator[Recorded]:
    """Yields a dict that will hold the requested queries, keys and values, layer by layer."""
    asked = (state for state in request.states if state.kind in HEADS)
    recorded: Recorded = {(state.kind, state.place): [] for state in asked}
    on_tokens, of = calls_on_tokens(model), family(model)

    def record(path: str, place: Place, module: nn.Module, _: Any, output: Tensor) -> None:
        if on_tokens(module):
            for unit, states in split_units(model, path, output).items():
                if (unit, place) in recorded:
                    of_decoder = State(unit, 0, place).of_decoder
                    tokens = real_tokens(model, batch, states, of_decoder=of_decoder)
                    at_layer = of.layer_of(path)
                    number = at_layer[1] if at_layer else None
                    recorded[unit, place].append((number, tokens))

    with ExitStack() as stack:
        for path, module in model.named_modules() if recorded else ():
            at = of.attention_at(path)
            if at and any((unit, at[0]) in recorded for unit in at[1].units_of(path)):
                hook = partial(record, path, at[0])
                stack.callback(module.register_forward_hook(hook).remove)
        yield recorded


def heads_of(
    model: PreTrainedModel, request: OutputRequest, recorded: Recorded
) -> dict[State, Tensor]:
    """The queries, keys and values that were asked for.

    Raises:
        KdnasError: A layer lacks them: it has no heads left, or they are not where they should be.
    """
    stacks = dict(zip(SIDES, family(model).stacks, strict=False))
    found: dict[State, Tensor] = {}
    asked = [state for state in request.states if state.kind in HEADS]
    for state in sorted(asked, key=lambda one: (one.layer, HEADS.index(one.kind))):
        stack = stacks["encoder" if state.place == "encoder" else "decoder"]
        depth = stack.read(model.config, "num_hidden_layers")
        calls = recorded[state.kind, state.place]
        numbered = [i if number is None else number for i, (number, _) in enumerate(calls)]
        by_layer = dict(zip(numbered, (tokens for _, tokens in calls), strict=True))
        if state.layer - 1 not in by_layer or len(by_layer) > depth:
            raise KdnasError(
                f"cannot read the {state.kind} states of layer {state.layer}: of {depth} layers, "
                f"{len(by_layer)} have them; use losses that compare hidden states or logits"
            )
        found[state] = by_layer[state.layer - 1]
    return found
