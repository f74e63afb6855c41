"""The outputs of teacher and student: what is asked of them, and the forward pass that answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation import packing
from kdnas.distillation.batches import Batch
from kdnas.errors import KdnasError
from kdnas.runtime.device import Runtime
from kdnas.space.families import UNITS, Family, Unit, family_of

# The last are made of a teacher's hidden states by a view (`kdnas.distillation.losses.base`).
Kind = Literal["hidden", "first", "query", "key", "value", "filtered"]
HEADS: tuple[Unit, ...] = UNITS


class State(NamedTuple):
    """One kind of states of a layer.

    Hidden states, those of each example's first token alone, or its attention's queries, keys or
    values; or what a view makes of a teacher's. Layers count from 1; hidden states of layer 0 are
    the embeddings.
    """

    kind: Kind
    layer: int

    @classmethod
    def parse(cls, name: str) -> State:
        """From the form that `str` gives."""
        kind, _, layer = name.partition("-")
        return cls(cast(Kind, kind), int(layer))

    def __str__(self) -> str:
        return f"{self.kind}-{self.layer:02d}"


def hidden_states(layers: Iterable[int]) -> frozenset[State]:
    return frozenset(State("hidden", layer) for layer in layers)


def first_token_states(layers: Iterable[int]) -> frozenset[State]:
    return frozenset(State("first", layer) for layer in layers)


def attention_states(*layers: int, kinds: Iterable[Unit] = HEADS) -> frozenset[State]:
    return frozenset(State(kind, layer) for kind in kinds for layer in layers)


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
            hidden states those that the batch compares; of first tokens one an example.
        logits: Shape (units, outputs), float32; None where there are none.
    """

    states: dict[State, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None

    def hidden(self, layer: int) -> Tensor:
        return self.states[State("hidden", layer)]

    def first(self, layer: int) -> Tensor:
        return self.states[State("first", layer)]

    def map(self, change: Callable[[Tensor], Tensor]) -> ModelOutputs:
        """The same with each tensor changed, always in the same order."""
        states = {state: change(self.states[state]) for state in sorted(self.states)}
        return ModelOutputs(states, None if self.logits is None else change(self.logits))


def forward(model: PreTrainedModel, batch: Batch, request: OutputRequest) -> ModelOutputs:
    """Runs a model with its head, or its encoder alone where no logits are asked for, on a batch.

    Families whose attention goes through transformers' interface run packed, the others padded.

    Raises:
        KdnasError: States of heads are asked for, and some layer of a pruned student has no heads.
    """
    part = model if request.logits else model.base_model
    streams = [state for state in request.states if state.kind in ("hidden", "first")]
    with _packed(model, batch) as last, _recorded(model, batch, request) as recorded:
        output = part(**batch.inputs, output_hidden_states=bool(streams))
    _check_recorded(model, recorded)
    states = {s: recorded[s.kind][s.layer - 1] for s in request.states if s.kind in HEADS}
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


def _check_recorded(model: PreTrainedModel, recorded: dict[str, list[Tensor]]) -> None:
    """Refuses to count layers by states that some of them lack."""
    depth = getattr(model.config, family(model).field_name("num_hidden_layers"))
    for kind, found in recorded.items():
        if kind in HEADS and len(found) != depth:
            raise KdnasError(
                f"cannot read the {kind} states: {len(found)} of {depth} layers have heads left; "
                "use losses that compare hidden states or logits"
            )


def encoder_of(model: PreTrainedModel) -> nn.ModuleList:
    """What tokens pass between embeddings and heads, in its order; the last gives their states."""
    parts = [model.base_model.get_submodule(path) for path in family(model).span]
    lists = [part if isinstance(part, nn.ModuleList) else [part] for part in parts]
    return nn.ModuleList(module for part in lists for module in part)


def family(model: PreTrainedModel) -> Family:
    """The family of a loaded model."""
    kind = model.config.model_type
    return family_of(kind, kind)


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
    shared, seen = family(model).layers is None, set()

    def on_tokens(module: nn.Module) -> bool:
        first = shared or module not in seen
        seen.add(module)
        return first

    return on_tokens


def split_units(model: PreTrainedModel, path: str, outputs: Tensor) -> dict[Unit, Tensor]:
    """What a map gives, shape (..., outputs), as queries, keys, values or what it has of them.

    `path` is the map's in the model; biases that stand beside it are added.
    """
    of, units = family(model), family(model).units_of(path)
    if of.by_head and len(units) > 1:
        size = getattr(model.config, of.field_name("hidden_size"))
        size //= getattr(model.config, of.field_name("num_attention_heads"))
        # Layers of a pruned student differ in their number of heads, not in the size of one.
        each = outputs.view(*outputs.shape[:-1], -1, len(units), size).unbind(-2)
        parts: Iterable[Tensor] = [part.flatten(-2) for part in each]
    else:
        parts = outputs.chunk(max(1, len(units)), -1)
    found = dict(zip(units, parts, strict=False))
    beside = model.get_submodule(path.rpartition(".")[0])
    for name, unit in of.heads_also.items():
        bias = getattr(beside, name, None)
        if unit in found and isinstance(bias, nn.Parameter):
            found[unit] = found[unit] + bias.to(found[unit].dtype)
    return found


@contextmanager
def _recorded(
    model: PreTrainedModel, batch: Batch, request: OutputRequest
) -> Iterator[dict[str, list[Tensor]]]:
    """Yields a dict that will hold the requested queries, keys and values, layer by layer."""
    recorded: dict[str, list[Tensor]] = {state.kind: [] for state in request.states}
    on_tokens, of = calls_on_tokens(model), family(model)

    def record(path: str, module: nn.Module, _: Any, output: Tensor) -> None:
        if on_tokens(module):
            for unit, states in split_units(model, path, output).items():
                if unit in recorded:
                    recorded[unit].append(real_tokens(model, batch, states))

    with ExitStack() as stack:
        for path, module in model.named_modules():
            if any(unit in recorded for unit in of.units_of(path)):
                stack.callback(module.register_forward_hook(partial(record, path)).remove)
        yield recorded


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


class TeacherSignal(Protocol):
    """A source of a teacher's outputs for the examples of one data set."""

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        """The teacher's outputs for a batch, on the batch's device."""


@dataclass(frozen=True)
class NoSignal:
    """No teacher: for training on labels alone."""

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        return ModelOutputs()


@dataclass(frozen=True)
class KnownSignal:
    """A teacher's outputs for one batch, fetched before."""

    outputs: ModelOutputs

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        return self.outputs


class View(Protocol):
    """A map from some of a teacher's states to states of another kind."""

    of_teacher: OutputRequest

    def to(self, device: torch.device) -> Any:
        """Moves the map, in place."""

    def view(self, signal: ModelOutputs) -> Tensor:
        """From the states that `of_teacher` asks for to shape (tokens, width), float32."""


@dataclass(frozen=True)
class ViewedSignal:
    """A source that also has the states that views make of its own."""

    source: TeacherSignal
    views: Mapping[State, View]

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        made = {state: self.views[state] for state in request.states & self.views.keys()}
        plain = OutputRequest(request.states - made.keys(), request.logits)
        needed = plain
        for view in made.values():
            needed |= view.of_teacher
        found = self.source.fetch(batch, needed)
        device = batch.inputs["input_ids"].device
        states = {state: found.states[state] for state in plain.states}
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            for state, view in made.items():
                view.to(device)
                states[state] = view.view(found)
        return ModelOutputs(states, found.logits)


@dataclass(frozen=True)
class LiveSignal:
    """Runs the teacher, in evaluation mode, on each batch: where a store would not fit."""

    teacher: PreTrainedModel
    runtime: Runtime

    @torch.no_grad()
    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        with self.runtime.autocast():
            return forward(self.teacher, batch, request)
