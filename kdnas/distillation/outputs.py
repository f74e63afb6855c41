"""The outputs of teacher and student: what is asked of them, and the forward pass that answers."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation import packing
from kdnas.distillation.batches import Batch
from kdnas.distillation.top_logits import TopLogits
from kdnas.errors import KdnasError
from kdnas.space.families import SIDES, UNITS, Family, Place, Unit, family_of

# The last are made of a teacher's hidden states by a view (`kdnas.distillation.losses.base`).
Kind = Literal["hidden", "first", "query", "key", "value", "filtered"]
HEADS: tuple[Unit, ...] = UNITS
PLACES: tuple[Place, ...] = (*SIDES, "cross")
# By kind and place: a tensor a layer.
Recorded = dict[tuple[str, Place], list[Tensor]]


class State(NamedTuple):
    """One kind of states of a layer.

    Hidden states, those of each example's first token alone, or its attention's queries, keys or
    values; or what a view makes of a teacher's. Layers count from 1; hidden states of layer 0 are
    the embeddings.

    Of a decoder's layer, `place` tells its attention to itself from that to the encoder's states
    (`cross`); its hidden states are at `decoder`.
    """

    kind: Kind
    layer: int
    place: Place = "encoder"

    @classmethod
    def parse(cls, name: str) -> State:
        """From the form that `str` gives."""
        *place, kind, layer = name.split("-")
        return cls(cast(Kind, kind), int(layer), cast(Place, place[0] if place else "encoder"))

    def __str__(self) -> str:
        place = "" if self.place == "encoder" else f"{self.place}-"
        return f"{place}{self.kind}-{self.layer:02d}"

    @property
    def of_decoder(self) -> bool:
        """Whether it has a row for each of the decoder's tokens, not for the encoder's."""
        return self.place == "decoder" or (self.place == "cross" and self.kind == "query")


def hidden_states(layers: Iterable[int], place: Place = "encoder") -> frozenset[State]:
    return frozenset(State("hidden", layer, place) for layer in layers)


def first_token_states(layers: Iterable[int]) -> frozenset[State]:
    return frozenset(State("first", layer) for layer in layers)


def attention_states(
    *layers: int, kinds: Iterable[Unit] = HEADS, place: Place = "encoder"
) -> frozenset[State]:
    return frozenset(State(kind, layer, place) for kind in kinds for layer in layers)


@dataclass(frozen=True)
class OutputRequest:
    """Which states, and whether logits, are asked of a model."""

    states: frozenset[State] = frozenset()
    logits: bool = False

    def __or__(self, other: OutputRequest) -> OutputRequest:
        return OutputRequest(self.states | other.states, self.logits or other.logits)


@dataclass(frozen=True)
class ModelOutputs:
    """A model's outputs for a batch.

    Attributes:
        states: Shape (tokens, size) each: the batch's real tokens, example after example; of
            hidden states those that the batch compares; of first tokens one an example; of a
            decoder all its tokens, which are the batch's units.
        logits: Shape (units, outputs), float32; None where there are none.
        top: In their place, the likeliest of a teacher's outputs, where a store has no more.
    """

    states: dict[State, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None
    top: TopLogits | None = None

    def hidden(self, layer: int, place: Place = "encoder") -> Tensor:
        return self.states[State("hidden", layer, place)]

    def first(self, layer: int) -> Tensor:
        return self.states[State("first", layer)]

    def map(self, change: Callable[[Tensor], Tensor]) -> ModelOutputs:
        """The same with each tensor changed, always in the same order."""
        states = {state: change(self.states[state]) for state in sorted(self.states)}
        logits = None if self.logits is None else change(self.logits)
        return ModelOutputs(states, logits, None if self.top is None else self.top.map(change))


def forward(model: PreTrainedModel, batch: Batch, request: OutputRequest) -> ModelOutputs:
    """Runs a model with its head, or its encoder alone where no logits are asked for, on a batch.

    Families whose attention goes through transformers' interface run packed, the others padded. A
    decoder reads what the batch gives it (teacher forcing).

    Raises:
        KdnasError: States of heads are asked for, and some layer of a pruned student has no heads.
    """
    if family(model).decoder:
        return _forward_pair(model, batch, request)
    part = model if request.logits else model.base_model
    streams = [state for state in request.states if state.kind in ("hidden", "first")]
    with _packed(model, batch) as last, _recorded(model, batch, request) as recorded:
        output = part(**batch.inputs, output_hidden_states=bool(streams))
    states = _heads_of(model, request, recorded)
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


def _forward_pair(model: PreTrainedModel, batch: Batch, request: OutputRequest) -> ModelOutputs:
    """The same of an encoder with a decoder, padded."""
    streams = [state for state in request.states if state.kind in ("hidden", "first")]
    with (
        _headless(model, request) as part,
        _recorded(model, batch, request) as recorded,
        _layers_in_their_precision(model),
        _head_on_units(model, batch) as narrowed,
    ):
        output = part(**batch.inputs, output_hidden_states=bool(streams), use_cache=False)
    states = _heads_of(model, request, recorded)
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
    layers = layers_of(model)
    dtype = next((p.dtype for layer in layers for p in layer.parameters()), torch.float32)
    least = torch.finfo(dtype).min  # the least fp32 number of a mask would become -inf

    def cast(value: Any) -> Any:
        floats = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != dtype
        return value.clamp(min=least).to(dtype) if floats else value

    def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        return tuple(map(cast, args)), {name: cast(value) for name, value in kwargs.items()}

    def leave(_: nn.Module, __: Any, output: Any) -> Any:
        return (output[0].float(), *output[1:]) if isinstance(output, tuple) else output.float()

    with ExitStack() as stack:
        for layer in layers if dtype != torch.float32 else ():
            stack.callback(layer.register_forward_pre_hook(enter, with_kwargs=True).remove)
        for layer in _last_of_stacks(model) if dtype != torch.float32 else ():
            stack.callback(layer.register_forward_hook(leave).remove)
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


def decoder_tokens(batch: Batch, states: Tensor) -> Tensor:
    """The real tokens of a decoder's states, from shape (batch, length, size) to (tokens, size)."""
    assert batch.units.position is not None
    return states[batch.units.example, batch.units.position]


def encoder_of(model: PreTrainedModel) -> nn.ModuleList:
    """What tokens pass between embeddings and heads, in its order; the last gives their states."""
    parts = [model.base_model.get_submodule(path) for path in family(model).span]
    lists = [part if isinstance(part, nn.ModuleList) else [part] for part in parts]
    return nn.ModuleList(module for part in lists for module in part)


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The layers of both stacks of a model with a decoder."""
    at = ((family(model).layer_of(path), path, module) for path, module in model.named_modules())
    return nn.ModuleList(module for found, path, module in at if found and found[0] == path)


def _last_of_stacks(model: PreTrainedModel) -> Iterable[nn.Module]:
    """The last layer of each stack of a model with a decoder."""
    of = family(model)
    found = {}
    for path, module in model.named_modules():
        at = of.layer_of(path)
        if at and at[0] == path:
            found[path.rpartition(".")[0]] = module
    return found.values()


def family(model: PreTrainedModel) -> Family:
    """The family of a loaded model."""
    kind = model.config.model_type
    return family_of(kind, kind)


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
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


def can_pack(model: PreTrainedModel) -> bool:
    return bool(model._supports_attention_backend)  # of no model with a decoder


def real_tokens(
    model: PreTrainedModel, batch: Batch, states: Tensor, *, of_decoder: bool = False
) -> Tensor:
    """The real tokens of what a part of the model gives or gets, shape (tokens, size)."""
    if of_decoder:
        return decoder_tokens(batch, states)
    layout = batch.packing
    return layout.sampled(states, slice(None)) if can_pack(model) else layout.real(states)


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
        size = of.read(model.config, "hidden_size")
        size //= of.read(model.config, "num_attention_heads")
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
def _recorded(model: PreTrainedModel, batch: Batch, request: OutputRequest) -> Iterator[Recorded]:
    """Yields a dict that will hold the requested queries, keys and values, layer by layer."""
    recorded: Recorded = {(state.kind, state.place): [] for state in request.states}
    on_tokens, of = calls_on_tokens(model), family(model)

    def record(path: str, place: Place, module: nn.Module, _: Any, output: Tensor) -> None:
        if on_tokens(module):
            for unit, states in split_units(model, path, output).items():
                if (unit, place) in recorded:
                    of_decoder = State(unit, 0, place).of_decoder
                    tokens = real_tokens(model, batch, states, of_decoder=of_decoder)
                    recorded[unit, place].append(tokens)

    with ExitStack() as stack:
        for path, module in model.named_modules():
            at = of.attention_at(path)
            if at and any((unit, at[0]) in recorded for unit in at[1].units_of(path)):
                hook = partial(record, path, at[0])
                stack.callback(module.register_forward_hook(hook).remove)
        yield recorded


def _heads_of(
    model: PreTrainedModel, request: OutputRequest, recorded: Recorded
) -> dict[State, Tensor]:
    """The queries, keys and values that were asked for; refuses to count layers that lack them."""
    stacks = dict(zip(SIDES, family(model).stacks, strict=False))
    for kind, place in itertools.product(HEADS, PLACES):
        if (kind, place) not in recorded:
            continue
        stack = stacks["encoder" if place == "encoder" else "decoder"]
        depth, found = stack.read(model.config, "num_hidden_layers"), recorded[kind, place]
        if len(found) != depth:
            raise KdnasError(
                f"cannot read the {kind} states: {len(found)} of {depth} layers have heads left; "
                "use losses that compare hidden states or logits"
            )
    asked = (state for state in request.states if state.kind in HEADS)
    return {state: recorded[state.kind, state.place][state.layer - 1] for state in asked}


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
        stack.enter_context(packed_attention(model))
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


def _pack_angles(layout: packing.Packing, angles: Tensor, dtype: torch.dtype) -> Tensor:
    """Sines or cosines of positions, from shape (1 or batch, length, size) to packed rows."""
    whole = angles.to(dtype).expand(layout.shape[0], -1, -1)
    return layout.pack(whole)[None]
