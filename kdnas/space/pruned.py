"""The shape of a pruned student: the teacher's, but each layer has heads and neurons of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kdnas.errors import KdnasError
from kdnas.space.architecture import Architecture

HEADS, NEURONS = "num_attention_heads", "intermediate_size"
# The key of a checkpoint's config that notes what it keeps of its teacher.
CONFIG_KEY = "kdnas_pruned"
# And how many layers that teacher has, where it has more.
LAYERS_KEY = "kdnas_teacher_layers"


@dataclass(frozen=True, order=True)
class PrunedArchitecture:
    """How many heads and feed-forward neurons each layer of a teacher keeps.

    The size of a head, the hidden size and the activation stay the teacher's. Which heads and
    neurons are kept belongs to a student, not to its shape. The fields are those of `Architecture`,
    two of them with a number for each layer.
    """

    num_attention_heads: tuple[int, ...]
    hidden_size: int
    intermediate_size: tuple[int, ...]
    hidden_act: str

    def __post_init__(self) -> None:
        if len(self.num_attention_heads) != len(self.intermediate_size):
            raise KdnasError(
                f"invalid pruned architecture: {HEADS} has {len(self.num_attention_heads)} layers, "
                f"{NEURONS} {len(self.intermediate_size)}; give both for each layer"
            )
        if any(count < 0 for count in (*self.num_attention_heads, *self.intermediate_size)):
            raise KdnasError(
                "invalid pruned architecture: a layer has fewer than 0 heads or neurons"
            )

    @classmethod
    def of(
        cls, teacher: Architecture, heads: Iterable[int], neurons: Iterable[int]
    ) -> PrunedArchitecture:
        """A teacher with so many heads and neurons left, layer by layer."""
        return cls(tuple(heads), teacher.hidden_size, tuple(neurons), teacher.hidden_act)

    @classmethod
    def whole(cls, teacher: Architecture) -> PrunedArchitecture:
        """A teacher of which nothing is pruned."""
        depth = teacher.num_hidden_layers
        heads, neurons = teacher.num_attention_heads, teacher.intermediate_size
        return cls.of(teacher, [heads] * depth, [neurons] * depth)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> PrunedArchitecture:
        """The architecture that a trial's parameters, or a row of YAML, spell."""
        heads, neurons = _counts(HEADS, params[HEADS]), _counts(NEURONS, params[NEURONS])
        return cls(heads, int(params["hidden_size"]), neurons, str(params["hidden_act"]))

    @property
    def num_hidden_layers(self) -> int:
        """Those of the teacher that stay: a layer that lost everything still normalises."""
        return len(self.num_attention_heads)

    @property
    def params(self) -> dict[str, int | str]:
        """The fields as a trial's parameters; counts of layers stand between commas: `12,8,0`."""
        return {
            "num_hidden_layers": self.num_hidden_layers,
            HEADS: _text(self.num_attention_heads),
            "hidden_size": self.hidden_size,
            NEURONS: _text(self.intermediate_size),
            "hidden_act": self.hidden_act,
        }

    @property
    def values(self) -> dict[str, int | str]:
        """The same: nothing is left out of them."""
        return self.params

    @property
    def label(self) -> str:
        """Short name with the heads and neurons of all layers, `6x384 pruned h40 f5120 gelu`."""
        return (
            f"{self.num_hidden_layers}x{self.hidden_size} pruned "
            f"h{sum(self.num_attention_heads)} f{sum(self.intermediate_size)} {self.hidden_act}"
        )

    def share_of(self, teacher: Architecture) -> float:
        """The share of the weights of a teacher's layers that is left.

        A head has its part of four matrices, a neuron a row and a column.
        """
        head, neuron = 4 * teacher.heads_width / teacher.num_attention_heads, 2
        heads, neurons = teacher.num_attention_heads, teacher.intermediate_size
        whole = teacher.num_hidden_layers * (heads * head + neurons * neuron)
        left = sum(self.num_attention_heads) * head + sum(self.intermediate_size) * neuron
        return left / whole

    @property
    def has_all_heads(self) -> bool:
        """Whether every layer has all of its heads."""
        return False

    def fits(self, teacher: Architecture) -> bool:
        """Whether a teacher has these layers, and each of them as many heads and neurons."""
        return (
            self.num_hidden_layers == teacher.num_hidden_layers
            and self.hidden_size == teacher.hidden_size
            and self.hidden_act == teacher.hidden_act
            and max(self.num_attention_heads) <= teacher.num_attention_heads
            and max(self.intermediate_size) <= teacher.intermediate_size
        )


# Both have `num_hidden_layers`, `hidden_size`, `hidden_act`, `params`, `values`, `label`,
# `has_all_heads` and `fits`.
AnyArchitecture = Architecture | PrunedArchitecture


def architecture_from_params(params: Mapping[str, Any]) -> AnyArchitecture:
    """The architecture that a trial's parameters, or a row of YAML, spell.

    Raises:
        KeyError: A field is missing.
        KdnasError: Counts of layers cannot be read, or are not those of the same layers.
    """
    heads = params[HEADS]
    by_layer = isinstance(heads, list | tuple) or (isinstance(heads, str) and "," in heads)
    return (PrunedArchitecture if by_layer else Architecture).from_params(params)


def _text(counts: tuple[int, ...]) -> str:
    """`12,8,0`; of one layer `12,`, so that it is no number."""
    return ",".join(map(str, counts)) + "," * (len(counts) == 1)


def _counts(name: str, value: Any) -> tuple[int, ...]:
    parts = [part for part in value.split(",") if part] if isinstance(value, str) else value
    try:
        return tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        raise KdnasError(
            f"invalid {name}: {value!r}; expected a number for each layer, such as 12,8,0"
        ) from None
