"""What is asked of a teacher or a student, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from torch import Tensor

from kdnas.distillation.top_logits import TopLogits
from kdnas.space.families import UNITS, Place, Unit

# The last are made of a teacher's hidden states by a view (`kdnas.distillation.losses.base`).
Kind = Literal["hidden", "first", "query", "key", "value", "filtered"]
HEADS: tuple[Unit, ...] = UNITS


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
