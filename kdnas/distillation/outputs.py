"""Requests for a model's outputs on a batch, and the outputs; the same for teacher and student."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from torch import Tensor

Kind = Literal["hidden", "query", "key", "value"]
HEADS: tuple[Kind, ...] = ("query", "key", "value")


class State(NamedTuple):
    """One kind of states of a layer: hidden states, or its attention's queries, keys or values.

    Layers count from 1; hidden states of layer 0 are the embeddings.
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
    """The hidden states of some layers."""
    return frozenset(State("hidden", layer) for layer in layers)


def attention_states(layer: int) -> frozenset[State]:
    """Queries, keys and values of a layer."""
    return frozenset(State(kind, layer) for kind in HEADS)


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
            hidden states those that `batch.sample` picks.
        logits: Shape (units, outputs), float32; None where there are none.
    """

    states: dict[State, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None

    def hidden(self, layer: int) -> Tensor:
        """A layer's hidden states."""
        return self.states[State("hidden", layer)]
